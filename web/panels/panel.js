// The panel of a node: one DOM widget, the last one, that holds warnings, an editor, and what the last run showed.
// It has no value: what an editor sets are the node's own widgets, so that a saved graph and a headless one agree.

import { element, keepToItself } from "./dom.js";

const NAME = "slotid_panel";
const MARGIN = 10;
const LEAST_WIDTH = 320;
const DRAWN_WITHIN = [0, 100, 500]; // milliseconds; Nodes 2.0 draws and measures a node some time after it was made
const panels = new WeakMap();

/** The panel of a node; undefined where it has none yet and none is to be made. */
export function panelOf(node, comfy, { make = false } = {}) {
  if (!panels.has(node) && make) panels.set(node, new Panel(node, comfy));
  return panels.get(node);
}

class Panel {
  constructor(node, comfy) {
    Object.assign(this, { node, comfy, shown: new Map() });
    this.warnings = element("div", { class: "slotid-warnings", role: "status", hidden: true });
    this.linked = element("p", { class: "slotid-note", role: "status", hidden: true });
    this.editing = element("div");
    this.seen = element("div");
    this.inner = element("div", { class: "slotid-inner" }, this.warnings, this.editing, this.seen, this.linked);
    this.root = element("div", { class: "slotid-panel" }, this.inner);
    keepToItself(this.inner);
    const widget = node.addDOMWidget(NAME, "slotid_panel", this.root, {
      serialize: false,
      hideOnZoom: false,
      margin: MARGIN,
      getValue: () => "",
      setValue: () => {},
      getMinHeight: () => this.height + 2 * MARGIN,
    });
    widget.serialize = false;
    this.height = 0;
    for (const later of DRAWN_WITHIN) setTimeout(() => this.mount(), later);
    const observer = new ResizeObserver(() => this.fit());
    observer.observe(this.inner);
    const { onRemoved, onConnectionsChange } = node;
    node.onConnectionsChange = (...given) => {
      setTimeout(() => this.tellLinked());
      return onConnectionsChange?.apply(node, given);
    };
    node.onRemoved = function (...given) {
      observer.disconnect();
      return onRemoved?.apply(this, given);
    };
  }

  /** Nodes 2.0 keeps the elements of a node whose id another gets, as after undo: the panel of the old one makes room. */
  mount() {
    if (this.comfy.isCanvas() || this.root.isConnected) return;
    const stale = [...document.querySelectorAll("[data-node-id] .slotid-panel")].find(
      (panel) => panel.closest("[data-node-id]").dataset.nodeId === String(this.node.id),
    );
    if (stale && this.comfy.isShown(this.node)) stale.replaceWith(this.root);
  }

  /** Make room on the canvas for what the panel holds; never less than the node had before, or than people gave it. */
  fit() {
    if (!this.inner.isConnected) return;
    this.height = this.inner.offsetHeight;
    const { node, comfy } = this;
    if (comfy.isCanvas() && !node.flags?.collapsed) {
      const [width, height] = node.size;
      if (height !== this.given) this.own = height;
      const fitting = [Math.max(width, LEAST_WIDTH), Math.max(this.own, node.computeSize()[1])];
      if (fitting[0] !== width || fitting[1] !== height) node.setSize(fitting);
      this.given = node.size[1];
      comfy.redraw();
    }
    for (const later of DRAWN_WITHIN) setTimeout(() => comfy.forgetSize(node), later);
  }

  warn(lines) {
    this.warnings.hidden = !lines.length;
    const badge = element("span", { class: "slotid-badge", text: `⚠ ${lines.length}`, "aria-label": `${lines.length} warnings` });
    this.warnings.replaceChildren(...(lines.length ? [badge, ...lines.map((text) => element("p", { text }))] : []));
  }

  edit(make) {
    this.editor = make({ node: this.node, comfy: this.comfy });
    this.editing.replaceChildren(this.editor.element);
  }

  /** What a run told; a view that is there already is given the new facts, and keeps its state. */
  show(seen, views) {
    const known = this.shown;
    this.shown = new Map();
    for (const [place, facts] of seen.entries()) {
      if (this.editor?.takes === facts.kind) {
        this.editor.update(facts);
        continue;
      }
      const key = `${place} ${facts.kind}`;
      const view = known.get(key) ?? views[facts.kind]?.({ node: this.node, comfy: this.comfy });
      if (!view) continue;
      view.update(facts);
      this.shown.set(key, view);
    }
    this.seen.replaceChildren(...[...this.shown.values()].map((view) => view.element));
    this.tellLinked();
  }

  tellLinked() {
    const names = this.comfy.linkedWidgets(this.node);
    this.linked.hidden = !names.length;
    this.linked.textContent = names.length ? `Connected, so that what is set here does not count: ${names.join(", ")}.` : "";
  }

  refresh() {
    this.editor?.refresh();
    for (const view of this.shown.values()) view.refresh?.();
    this.tellLinked();
  }
}
