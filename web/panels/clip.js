// A clip with a title and the meaning of its colours: heat maps, router maps.

import { element } from "./dom.js";
import { clipPlayer } from "./player.js";

export function clip({ comfy }) {
  const title = element("p", { class: "slotid-note" });
  const legend = element("div", { class: "slotid-legend" });
  const player = clipPlayer(comfy, "clip");

  return {
    element: element("div", {}, title, player.element, legend),
    update(facts) {
      title.textContent = facts.title ?? "";
      player.update(facts.clip);
      legend.replaceChildren(
        ...(facts.legend ?? []).map(([name, color]) =>
          element("span", {}, element("i", { style: `background: ${color}` }), name)),
      );
    },
  };
}
