// The pack's page: what its nodes show, and what is touched in them instead of typed. See README.md.
// ComfyUI loads every .js file of this folder when its page opens; the others define things, this one alone acts.

import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";
import { comfyPage, isOurClass } from "./page/comfy.js";
import { menu } from "./page/menu.js";
import { editors } from "./page/editors.js";
import { panelOf } from "./page/panel.js";
import { people } from "./page/people.js";
import { addStyle } from "./page/style.js";
import { views } from "./page/views.js";

const comfy = comfyPage(app, api);
const TRAINING = "SlotIDTrainEncoder";
const isOurs = (node) => isOurClass(node.comfyClass);

/** Show what a run told of a node: its warnings, then what is to be seen. */
function showOutput(node, output) {
  const warnings = output?.slotid_warnings ?? [];
  const seen = output?.slotid_seen ?? [];
  const panel = panelOf(node, comfy, { make: warnings.length + seen.length > 0 });
  if (!panel) return;
  panel.warn(warnings);
  panel.show(seen, views);
}

app.registerExtension({
  name: "SlotID.Page",
  ...menu(comfy),

  setup() {
    addStyle();
    // A training tells how it goes while its node runs; the last of it comes again as the node's output.
    api.addEventListener("slotid_training", ({ detail }) => {
      const node = comfy.nodeOf(detail.node);
      // Another workflow may be on the screen, whose node of this id is of another kind.
      if (node?.comfyClass === TRAINING) panelOf(node, comfy, { make: true }).show([detail.seen], views);
    });
  },

  beforeConfigureGraph: (graphData) => comfy.keepFromOldForms(graphData),

  nodeCreated(node) {
    if (!isOurs(node)) return;
    const editor = editors[node.comfyClass] ?? (comfy.peopleInput(node) && people);
    if (editor) panelOf(node, comfy, { make: true }).edit(editor);
    const { onExecuted, onConfigure } = node;
    node.onExecuted = function (output, ...rest) {
      onExecuted?.call(this, output, ...rest);
      showOutput(node, output);
    };
    node.onConfigure = function (...given) {
      onConfigure?.apply(this, given);
      panelOf(node, comfy)?.refresh();
    };
  },

  // Undo, another tab and another renderer make the nodes anew; what their last run told is kept by ComfyUI.
  afterConfigureGraph() {
    setTimeout(() => {
      for (const node of comfy.everyNode()) {
        const output = isOurs(node) && comfy.lastOutput(node);
        if (output) showOutput(node, output);
      }
    });
  },
});
