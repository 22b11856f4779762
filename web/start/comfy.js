// All that the page's modules need of ComfyUI's frontend, in one place, because it changes from release to release.

import { isOlder } from "./version.js";

const REDRAWN_EVERY = 400; // milliseconds
const FORMS_SINCE = "1.41.13"; // the page's version; before it `linearMode` opened an unfinished view

/** Whether nodes of this class come with the pack. */
export const isOurClass = (name) => /^(SlotID|Lynx|STDRC|LaVieID)/.test(name ?? "");

/** Whether a workflow has nodes of the pack; those of subgraphs lie in definitions of their own. */
function hasOurNodes(graphData) {
  const graphs = [graphData, ...(graphData?.definitions?.subgraphs ?? [])];
  return graphs.some((graph) => graph?.nodes?.some((node) => isOurClass(node.type)));
}

export function comfyPage(app, api) {
  const tracker = () => app.extensionManager?.workflow?.activeWorkflow?.changeTracker;
  const widgetOf = (node, name) => node.widgets?.find((widget) => widget.name === name);
  const isLinked = (node, name) => (node.inputs ?? []).some((input) => input.name === name && input.link != null);
  let waiting = null;
  /** The canvas draws all nodes anew to show one number, which takes many frames of a drag; the panel itself is at once. */
  const redrawSoon = () => {
    waiting ??= setTimeout(() => {
      waiting = null;
      app.canvas?.setDirty(true, false); // nodes alone: links and grid stay
    }, REDRAWN_EVERY);
  };
  const watched = new WeakMap(); // node -> names of the widgets that its panel sets
  const say = (detail) => app.extensionManager?.toast?.add({ severity: "error", summary: "Slot-ID", detail, life: 8000 });

  return {
    api,

    /** A sentence of what went wrong, in a corner of the page. */
    say,

    hasOurNodes,

    /** Nodes 2.0 draws nodes as elements; the canvas has to be told how much room they need. */
    isCanvas: () => !globalThis.LiteGraph?.vueNodesMode,

    value: (node, name) => widgetOf(node, name)?.value,

    /** {name, category} of the widget that chooses a saved person; undefined where a node has none. */
    peopleInput(node) {
      const inputs = Object.entries({ ...node.constructor.nodeData?.input?.required, ...node.constructor.nodeData?.input?.optional });
      const found = inputs.find(([, spec]) => spec?.[1]?.slotid_people);
      return found && { name: found[0], category: found[1][1].slotid_people };
    },

    /** Open a template of this pack, whatever its folder is called; as a graph, or as the form that the file may ask for. */
    async openTemplate(name, { asGraph = false } = {}) {
      try {
        const packs = await (await api.fetchApi("/workflow_templates")).json();
        const pack = Object.keys(packs).find((one) => packs[one].includes(name));
        if (!pack) return say(`The server has no template ${name}. Install the pack again, and restart ComfyUI.`);
        const file = await api.fetchApi(`/workflow_templates/${encodeURIComponent(pack)}/${name}.json`);
        const workflow = await file.json();
        if (asGraph && workflow.extra) workflow.extra.linearMode = false;
        await app.loadGraphData(workflow, true, true, name);
      } catch (error) {
        say(`The template ${name} could not be opened (${error.message}). Is the server running?`);
      }
    },

    /** Ask the server again which files there are, as the key R does. */
    refreshChoices: () => app.refreshComboInNodes?.(),

    /** Templates say that they open as a form; where the page has none, they open as a graph. */
    keepFromOldForms(graphData) {
      const extra = graphData?.extra;
      if (!extra?.linearMode || !hasOurNodes(graphData)) return;
      if (isOlder(globalThis.__COMFYUI_FRONTEND_VERSION__ ?? "0", FORMS_SINCE)) delete extra.linearMode;
    },

    isLinked,

    /** Those of a panel's widgets that other nodes set, whatever is touched in it. */
    linkedWidgets: (node) => [...(watched.get(node) ?? [])].filter((name) => isLinked(node, name)),

    /** Change a widget as if it were typed; `commit` then makes one step of undo of all that was changed. */
    setValue(node, name, value) {
      const widget = widgetOf(node, name);
      if (!widget || widget.value === value) return;
      widget.value = value;
      widget.callback?.(value, app.canvas, node);
      redrawSoon();
    },

    commit() {
      const changes = tracker();
      (changes?.captureCanvasState ?? changes?.checkState)?.call(changes);
    },

    /** Call `changed` whenever one of these widgets changes, whoever changes it. */
    watch(node, names, changed) {
      watched.set(node, new Set([...(watched.get(node) ?? []), ...names]));
      for (const name of names) {
        const widget = widgetOf(node, name);
        if (!widget) continue;
        const { callback } = widget;
        widget.callback = function (...given) {
          const result = callback?.apply(this, given);
          changed();
          return result;
        };
      }
    },

    /** Room for a panel is no change of the workflow that undo should take back. */
    forgetSize(node) {
      const known = tracker()?.activeState?.nodes?.find((other) => String(other.id) === String(node.id));
      if (known?.size) known.size = [node.size[0], node.size[1]];
    },

    /** Whether it is of the graph on the screen, and not of another subgraph. */
    isShown: (node) => node.graph === app.canvas?.graph,

    redraw: () => app.canvas?.setDirty(true, true),

    /** Why the page cannot show a file that it knows: "gone", "silent" where no server answers, "unreadable" otherwise. */
    async whyNotShown(file) {
      try {
        const answer = await api.fetchApi(`/view?${new URLSearchParams(file)}`, { method: "HEAD", cache: "no-store" });
        return answer.status === 404 ? "gone" : "unreadable";
      } catch {
        return "silent";
      }
    },

    /** Call `back` whenever the server answers again after it did not, as long as there is the node. */
    onReturn(node, back) {
      const { onRemoved } = node;
      api.addEventListener("reconnected", back);
      node.onRemoved = function (...given) {
        api.removeEventListener("reconnected", back);
        return onRemoved?.apply(this, given);
      };
    },

    fileUrl: (file) => api.apiURL(`/view?${new URLSearchParams(file)}`),

    everyNode() {
      const graphs = [app.rootGraph ?? app.graph];
      for (const graph of graphs) {
        for (const node of graph?.nodes ?? []) if (node.subgraph && !graphs.includes(node.subgraph)) graphs.push(node.subgraph);
      }
      return graphs.flatMap((graph) => graph?.nodes ?? []);
    },

    /** The node that the server calls by this id; those within subgraphs are called "outer:inner". */
    nodeOf(id) {
      let graph = app.rootGraph ?? app.graph;
      let node;
      for (const part of String(id).split(":")) {
        node = graph?.getNodeById(part) ?? graph?.getNodeById(Number(part));
        graph = node?.subgraph;
      }
      return node;
    },

    lastOutput(node) {
      const inside = node.graph && node.graph !== (app.rootGraph ?? app.graph);
      return app.nodeOutputs?.[inside ? `${node.graph.id}:${node.id}` : String(node.id)];
    },

    /** Nodes that what leaves this node reaches, nearest first. */
    after(node) {
      const found = [node];
      for (const one of found) {
        for (const output of one.outputs ?? []) {
          for (const id of output.links ?? []) {
            const links = one.graph?.links;
            const link = links?.get?.(id) ?? links?.[id];
            const target = link && one.graph.getNodeById(link.target_id);
            if (target && !found.includes(target)) found.push(target);
          }
        }
      }
      return found.slice(1);
    },
  };
}
