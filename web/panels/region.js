// Where a person is in the frame: a box that is dragged, and its corner. It sets where, x, y, width and height.

import { boxOf, moved, resized } from "../logic/region.js";
import { draggable, element, shareIn } from "./dom.js";

const NAMES = ["where", "x", "y", "width", "height"];
const USUAL = [832, 480]; // pixels, where the graph does not say how large its video is

export function regionEditor({ node, comfy }) {
  const frame = element("div", { class: "slotid-frame" });
  const box = element("div", { class: "slotid-box", tabindex: 0, role: "group", "aria-label": "Region of the person" });
  const corner = element("div", { class: "slotid-corner", tabindex: 0, role: "group", "aria-label": "Size of the region" });
  const note = element("p", { class: "slotid-note", role: "status" });
  const root = element("div", {}, frame, note);

  const settings = (of) => Object.fromEntries(NAMES.map((name) => [name, comfy.value(of, name)]));

  function set(sides) {
    comfy.setValue(node, "where", "box");
    ["x", "y", "width", "height"].forEach((name, i) => comfy.setValue(node, name, sides[i]));
    refresh();
  }

  function place(part, [x, y, width, height]) {
    const percent = (share) => `${(100 * share).toFixed(2)}%`;
    Object.assign(part.style, { left: percent(x), top: percent(y), width: percent(width), height: percent(height) });
  }

  function refresh() {
    const nodes = node.graph?.nodes ?? [];
    const video = nodes.find((other) => comfy.value(other, "width") && comfy.value(other, "height") && comfy.value(other, "length"));
    const [width, height] = video ? ["width", "height"].map((name) => comfy.value(video, name)) : USUAL;
    frame.style.aspectRatio = `${width} / ${height}`;
    const own = boxOf(settings(node));
    const others = nodes.filter((other) => other !== node && other.comfyClass === node.comfyClass);
    const shown = others.map((other) => boxOf(settings(other))).filter(Boolean);
    const faint = shown.map((sides) => {
      const part = element("div", { class: "slotid-box slotid-other", "aria-hidden": true });
      place(part, sides);
      return part;
    });
    for (const old of frame.querySelectorAll(".slotid-other")) old.remove();
    frame.prepend(...faint);
    box.hidden = corner.hidden = !own;
    if (own) {
      place(box, own);
      Object.assign(corner.style, { left: `${100 * (own[0] + own[2])}%`, top: `${100 * (own[1] + own[3])}%` });
    }
    note.textContent = own ? "Drag the box, or its corner. Arrow keys move it." : "The connected mask says where the person is.";
  }

  const drags = (part, change) => {
    let from;
    let before;
    draggable(part, {
      start: (event) => void ([from, before] = [shareIn(frame, event), boxOf(settings(node))]),
      move: (event) => {
        const [x, y] = shareIn(frame, event);
        set(change(before, x - from[0], y - from[1]));
      },
      end: () => comfy.commit(),
    });
    part.addEventListener("keydown", (event) => {
      const step = event.shiftKey ? 0.1 : 0.01;
      const by = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] }[event.key];
      if (!by) return;
      event.preventDefault();
      set(change(boxOf(settings(node)), ...by));
      comfy.commit();
    });
  };
  drags(box, moved);
  drags(corner, resized);
  frame.append(box, corner);
  comfy.watch(node, NAMES, refresh);
  frame.addEventListener("pointerenter", refresh); // what other nodes say may have changed
  refresh();

  return { element: root, refresh, update() {} };
}
