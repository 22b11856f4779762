// The gate drawn: points are dragged, added and taken away; the other families show their curve and its two ends.
// What is drawn is the text of the widget `points`, as it would be typed.

import * as gate from "../logic/gate.js";
import { pathOf } from "../logic/curve.js";
import { draggable, element, shareIn, svg } from "./dom.js";

const [WIDTH, HEIGHT] = [300, 150];
const [LEFT, TOP, RIGHT, BOTTOM] = [26, 8, 292, 130];
const NAMES = ["family", "low", "high", "midpoint", "steepness", "points", "shift"];
const MANY_STEPS = 200;
const [WAN_SHIFT, TOY_SHIFT] = [8, 3]; // flow shift where no node of the graph sets one

export function gateEditor({ node, comfy }) {
  const grid = svg("g");
  const ticks = svg("g");
  const w = svg("path", { class: "slotid-w" });
  const rest = svg("path", { class: "slotid-rest" });
  const handles = svg("g");
  const plot = svg("svg", { class: "slotid-plot", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "group", "aria-label": "Gate" }, grid, ticks, w, rest, handles);
  const convert = element("button", { type: "button", text: "Draw with points", onclick: draw });
  const families = element("div", { class: "slotid-bar" }, convert);
  const note = element("p", { class: "slotid-note", role: "status" });
  const root = element("div", {}, plot, families, note);

  // The axis is the noise level; points lie on it as far as the node's shift moves them.
  const across = (level) => LEFT + (RIGHT - LEFT) * (1 - level);
  const up = (value) => BOTTOM - (BOTTOM - TOP) * value;
  const levelAt = (x) => 1 - (x - LEFT) / (RIGHT - LEFT);

  for (const value of [0, 0.5, 1]) {
    grid.append(
      svg("line", { class: "slotid-line", x1: LEFT, x2: RIGHT, y1: up(value), y2: up(value) }),
      svg("text", { x: 4, y: up(value) + 3, text: value }),
    );
  }
  grid.append(
    svg("text", { x: LEFT, y: HEIGHT - 3, text: "pure noise" }),
    svg("text", { x: RIGHT, y: HEIGHT - 3, "text-anchor": "end", text: "finished" }),
  );

  const settings = () => {
    const values = Object.fromEntries(NAMES.map((name) => [name, comfy.value(node, name)]));
    return { ...values, points: gate.parsePoints(String(values.points ?? "")) };
  };

  function setPoints(points) {
    comfy.setValue(node, "points", gate.formatPoints(points));
    refresh();
  }

  /** Begin to draw: the curve that is there becomes points. */
  function draw() {
    const now = settings();
    if (!gate.problemOf(now)) comfy.setValue(node, "points", gate.formatPoints(gate.asPoints(now)));
    comfy.setValue(node, "family", "points");
    comfy.commit();
    refresh();
  }

  /** [noise level before the shift, w] of a place on the plot. */
  function placeOf(event) {
    const [x, y] = shareIn(plot, event);
    const level = Math.min(1, Math.max(0, levelAt(x * WIDTH)));
    return [gate.shifted(level, 1 / settings().shift), (BOTTOM - y * HEIGHT) / (BOTTOM - TOP)];
  }

  function sampling() {
    const sampler = comfy.after(node).find((other) => comfy.value(other, "steps") > 0);
    if (!sampler) return null;
    const nodes = (node.graph?.nodes ?? []).filter((other) => other.comfyClass !== node.comfyClass);
    const shift = nodes.map((other) => comfy.value(other, "shift")).find((value) => value > 0);
    const usual = nodes.some((other) => other.comfyClass === "SlotIDLoadToyWorld") ? TOY_SHIFT : WAN_SHIFT;
    return { steps: comfy.value(sampler, "steps"), shift: shift ?? usual, title: sampler.title };
  }

  function handle({ level, value, label, drag, key, remove }) {
    const [cx, cy] = [across(level), up(value)];
    const circle = svg("circle", {
      class: "slotid-point", cx, cy, r: 5, tabindex: 0, role: "slider", "aria-label": label,
      "aria-valuemin": 0, "aria-valuemax": 1, "aria-valuenow": value,
      "aria-valuetext": `w ${value} at noise level ${Number(level.toFixed(2))}`,
    });
    const reach = svg("circle", { class: "slotid-reach", cx, cy, r: 11 }); // a finger is wider than the point
    const group = svg("g", {}, reach, circle);
    group.addEventListener("pointerdown", () => circle.focus());
    draggable(group, { move: (event) => drag(...placeOf(event)), end: () => comfy.commit() });
    circle.addEventListener("keydown", (event) => {
      const step = event.shiftKey ? 0.1 : 0.01;
      const move = { ArrowUp: [0, step], ArrowDown: [0, -step], ArrowLeft: [step, 0], ArrowRight: [-step, 0] }[event.key];
      if (move) key(...move);
      else if (remove && ["Delete", "Backspace"].includes(event.key)) remove();
      else return;
      event.preventDefault();
      comfy.commit();
    });
    if (remove) group.addEventListener("dblclick", () => (remove(), comfy.commit()));
    return group;
  }

  function pointHandles(now) {
    return now.points.map(([t, value], index) => {
      const change = (level, weight) => setPoints(gate.movePoint(settings().points, index, level, weight));
      return handle({
        level: gate.shifted(t, now.shift), value, label: `Point ${index + 1} of ${now.points.length}`, drag: change,
        key: (dx, dy) => change(settings().points[index][0] + dx, settings().points[index][1] + dy),
        remove: () => setPoints(gate.removePoint(settings().points, index)),
      });
    });
  }

  function endHandles(now) {
    const ends = now.family === "constant" ? [["high", 1]] : [["high", 1], ["low", 0]];
    return ends.map(([name, level]) => {
      const change = (value) => {
        const { low, high, family } = settings();
        const [least, most] = name === "high" ? [family === "constant" ? 0 : low, 1] : [0, high];
        comfy.setValue(node, name, Number(Math.min(most, Math.max(least, value)).toFixed(2)));
        refresh();
      };
      return handle({
        level, value: now[name], label: name, drag: (_, value) => change(value),
        key: (_, dy) => change(settings()[name] + dy),
      });
    });
  }

  function refresh() {
    const now = settings();
    const problem = gate.problemOf(now);
    const shown = problem ? [] : Array.from({ length: 121 }, (_, i) => [i / 120, gate.gateAt(now, 1 - i / 120)]);
    const path = (points) => pathOf(points, [0, 1], [0, 1], RIGHT - LEFT, BOTTOM - TOP);
    w.setAttribute("d", path(shown));
    rest.setAttribute("d", path(shown.map(([x, value]) => [x, 1 - value])));
    for (const line of [w, rest]) line.setAttribute("transform", `translate(${LEFT} ${TOP})`);
    const drawing = now.family === "points";
    const focused = [...handles.children].findIndex((group) => group.contains(document.activeElement));
    renew(problem && !(drawing && now.points) ? [] : drawing ? pointHandles(now) : endHandles(now), focused);
    const run = sampling();
    const levels = run ? gate.stepLevels(Math.min(run.steps, MANY_STEPS), run.shift) : [];
    ticks.replaceChildren(
      ...levels.map((level) =>
        svg("line", { class: "slotid-tick", x1: across(level), x2: across(level), y1: BOTTOM, y2: BOTTOM + 5 })),
    );
    convert.hidden = drawing;
    note.className = problem ? "slotid-note slotid-problem" : "slotid-note";
    const use = drawing ? "Click to add a point, drag it, double-click or Delete takes it away." : "Drag the ends.";
    const steps = run ? ` Yellow: the ${run.steps} steps of ${run.title}.` : "";
    note.textContent = problem || `Orange: portrait w. Blue: clip 1 - w. ${use}${steps}`;
  }

  /** While a point is dragged its element stays: another would lose the pointer and the focus. */
  function renew(groups, focused) {
    const old = [...handles.children];
    if (old.length === groups.length && focused >= 0) {
      groups.forEach((group, i) => {
        [...group.children].forEach((child, j) => {
          for (const { name, value } of child.attributes) old[i].children[j].setAttribute(name, value);
        });
      });
      return;
    }
    handles.replaceChildren(...groups);
    const next = groups[Math.min(focused, groups.length - 1)];
    if (focused >= 0) next?.querySelector(".slotid-point").focus();
  }

  plot.addEventListener("pointerdown", (event) => {
    const now = settings();
    if (event.button || now.family !== "points" || !now.points || event.target.closest(".slotid-point, .slotid-reach")) return;
    const [points, index] = gate.addPoint(now.points, ...placeOf(event));
    if (index < 0) return;
    setPoints(points);
    handles.children[index].querySelector(".slotid-point").focus();
    comfy.commit();
  });
  comfy.watch(node, NAMES, refresh);
  refresh();

  return { element: root, refresh, update: refresh };
}
