// The pack's page: what its nodes show, and what is touched in them instead of typed. See ../README.md.
// ComfyUI loads every .js file of this folder when its page opens. Panels are asked for by the first node that needs one.

import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";
import { comfyPage, isOurClass } from "./comfy.js";
import { menu } from "./menu.js";

const PANELS = "../../slotid/scripts/panels/all.js"; // nodes/library/routes.py serves them
const TRAINING = "SlotIDTrainEncoder";
const comfy = comfyPage(app, api);
const isOurs = (node) => isOurClass(node.comfyClass);
const gone = new WeakSet(); // nodes that were removed, perhaps before their panel came
let panels = null;
let coming = null;

function fetchPanels() {
  coming ??= import(PANELS).then(
    (found) => {
      found.addStyle();
      panels = found;
    },
    (error) => {
      coming = null;
      comfy.say(`Panels of nodes could not be loaded (${error.message}). Is the server running? Then reload the page.`);
    },
  );
  return coming;
}

/** At once where panels are there, so that a graph that is being loaded finds them in its nodes. */
function withPanels(node, act) {
  if (panels) act(panels);
  else fetchPanels().then(() => panels && !gone.has(node) && act(panels));
}

/** Show what a run told of a node: its warnings, then what is to be seen. */
function showOutput(node, output) {
  const warnings = output?.slotid_warnings ?? [];
  const seen = output?.slotid_seen ?? [];
  withPanels(node, ({ panelOf, views }) => {
    const panel = panelOf(node, comfy, { make: warnings.length + seen.length > 0 });
    if (!panel) return;
    panel.warn(warnings);
    panel.show(seen, views);
  });
}

app.registerExtension({
  name: "SlotID.Page",
  ...menu(comfy),

  setup() {
    // A training tells how it goes while its node runs; the last of it comes again as the node's output.
    api.addEventListener("slotid_training", ({ detail }) => {
      const node = comfy.nodeOf(detail.node);
      // Another workflow may be on the screen, whose node of this id is of another kind.
      if (node?.comfyClass !== TRAINING) return;
      withPanels(node, ({ panelOf, views }) => panelOf(node, comfy, { make: true }).show([detail.seen], views));
    });
  },

  async beforeConfigureGraph(graphData) {
    if (!comfy.hasOurNodes(graphData)) return;
    comfy.keepFromOldForms(graphData);
    await fetchPanels();
  },

  nodeCreated(node) {
    if (!isOurs(node)) return;
    withPanels(node, ({ editors, panelOf, people }) => {
      const editor = editors[node.comfyClass] ?? (comfy.peopleInput(node) && people);
      if (editor) panelOf(node, comfy, { make: true }).edit(editor);
    });
    const { onExecuted, onConfigure, onRemoved } = node;
    node.onExecuted = function (output, ...rest) {
      onExecuted?.call(this, output, ...rest);
      showOutput(node, output);
    };
    node.onConfigure = function (...given) {
      onConfigure?.apply(this, given);
      panels?.panelOf(node, comfy)?.refresh();
    };
    node.onRemoved = function (...given) {
      gone.add(node);
      return onRemoved?.apply(this, given);
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
