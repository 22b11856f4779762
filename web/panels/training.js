// The curves of a training, and its last sheet of samples, while it goes and afterwards.

import { pathOf, rangeOf } from "../logic/curve.js";
import { element, svg } from "./dom.js";

const [WIDTH, HEIGHT] = [300, 150];
const [LEFT, TOP, RIGHT, BOTTOM] = [34, 8, 292, 130];
const COLOURS = ["#4a90d9", "#3cc864", "#e8d44d", "#f05454"];
const short = (value) => String(Number(value.toPrecision(3)));

export function training({ comfy }) {
  const plot = svg("svg", { class: "slotid-plot", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": "Loss over steps" });
  const legend = element("div", { class: "slotid-legend" });
  const sheet = element("img", { alt: "Samples", hidden: true });
  const note = element("p", { class: "slotid-note", role: "status" });
  sheet.style.width = "100%";
  sheet.addEventListener("error", () => {
    sheet.hidden = true;
    note.textContent += " The sheet of samples is gone: ComfyUI empties its temporary folder when it starts.";
  });

  return {
    element: element("div", {}, plot, legend, note, sheet),
    update(facts) {
      const curves = Object.entries(facts.curves);
      const all = curves.flatMap(([, points]) => points);
      const [low, high] = rangeOf(all);
      const last = Math.max(0, ...all.map(([step]) => step));
      const steps = [0, Math.max(facts.steps, last)];
      plot.replaceChildren(
        ...[[low, BOTTOM], [high, TOP]].flatMap(([value, y]) => [
          svg("line", { class: "slotid-line", x1: LEFT, x2: RIGHT, y1: y, y2: y }),
          svg("text", { x: 3, y: y + 3, text: short(value) }),
        ]),
        svg("text", { x: LEFT, y: HEIGHT - 6, text: "step 0" }),
        svg("text", { x: RIGHT, y: HEIGHT - 6, "text-anchor": "end", text: steps[1] }),
        ...curves.map(([, points], i) =>
          svg("path", {
            d: pathOf(points, steps, [low, high], RIGHT - LEFT, BOTTOM - TOP), fill: "none", stroke: COLOURS[i],
            "stroke-width": 1.5, transform: `translate(${LEFT} ${TOP})`,
          })),
      );
      legend.replaceChildren(
        ...curves.map(([name, points], i) =>
          element("span", {}, element("i", { style: `background: ${COLOURS[i]}` }), `${name} ${short(points.at(-1)[1])}`)),
      );
      const place = all.length ? `Step ${last + 1} of ${facts.steps}.` : "The training begins…";
      note.textContent = facts.failure ?? [place, facts.waits].filter(Boolean).join(" ");
      sheet.hidden = !facts.files?.length;
      const url = facts.files?.length ? comfy.fileUrl(facts.files[0]) : "";
      if (url && sheet.getAttribute("src") !== url) sheet.src = url;
    },
  };
}
