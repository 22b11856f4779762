import assert from "node:assert/strict";
import { test } from "node:test";

import { comfyPage } from "../../web/start/comfy.js";
import { isOlder } from "../../web/start/version.js";

test("releases are compared by numbers", () => {
  for (const older of ["1.32.9", "1.41.12", "0.99", "1.9.99", "1.41", "unknown"]) assert.ok(isOlder(older, "1.41.13"), older);
  for (const newer of ["1.41.13", "1.41.14-beta.2", "1.58.1", "2.0"]) assert.ok(!isOlder(newer, "1.41.13"), newer);
});

test("a template opens as a graph where the page has no forms, and other packs' graphs are left alone", () => {
  const opened = (version, type, extra) => {
    globalThis.__COMFYUI_FRONTEND_VERSION__ = version;
    const graph = { nodes: [{ type: "KSampler" }, { type }], extra: { ...extra } };
    comfyPage({}, {}).keepFromOldForms(graph);
    return graph.extra;
  };
  const form = { linearMode: true, linearData: { inputs: [], outputs: [3] } };
  assert.deepEqual(opened("1.32.9", "LynxApply", form), { linearData: form.linearData });
  assert.deepEqual(opened("1.58.1", "LynxApply", form), form);
  assert.deepEqual(opened("1.32.9", "SaveVideo", form), form);
  assert.deepEqual(opened("1.32.9", "LynxApply", { linearMode: false }), { linearMode: false });
  comfyPage({}, {}).keepFromOldForms(undefined);
});

test("a workflow has nodes of the pack in itself or in its subgraphs", () => {
  const { hasOurNodes } = comfyPage({}, {});
  const ours = { nodes: [{ type: "KSampler" }, { type: "STDRCApply" }] };
  const others = { nodes: [{ type: "KSampler" }] };
  assert.ok(hasOurNodes(ours));
  assert.ok(hasOurNodes({ ...others, definitions: { subgraphs: [others, ours] } }));
  assert.ok(!hasOurNodes({ ...others, definitions: { subgraphs: [others] } }));
  for (const none of [undefined, {}, { nodes: [] }, { definitions: {} }]) assert.ok(!hasOurNodes(none));
});
