// The frames that could be the portrait, best first: a click chooses the one of the next run.

import { element } from "./dom.js";

const GONE = "The pictures are gone: ComfyUI empties its temporary folder when it starts. Run the graph again; the choice is kept.";

export function candidates({ node, comfy }) {
  const grid = element("div", { class: "slotid-grid", role: "radiogroup", "aria-label": "Portrait" });
  const note = element("p", { class: "slotid-note", role: "status" });
  let facts = { files: [] };
  let gone = false;

  function choose(rank) {
    comfy.setValue(node, "rank", rank);
    comfy.commit();
    refresh();
    grid.children[rank]?.focus();
  }

  function key(event) {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!step || !facts.files.length) return;
    event.preventDefault();
    choose((comfy.value(node, "rank") + step + facts.files.length) % facts.files.length);
  }

  function refresh() {
    const chosen = comfy.value(node, "rank");
    [...grid.children].forEach((button, rank) => {
      button.setAttribute("aria-checked", String(rank === chosen));
      button.tabIndex = rank === Math.min(chosen, facts.files.length - 1) ? 0 : -1;
    });
    if (gone) note.textContent = GONE;
    else if (facts.failure) note.textContent = facts.failure;
    else if (chosen >= facts.files.length) note.textContent = `There are ${facts.files.length} candidates; choose one.`;
    else if (chosen !== facts.rank) note.textContent = "This becomes the portrait at the next run.";
    else note.textContent = facts.words[chosen] || "Best first. Click the one to use.";
  }

  grid.addEventListener("keydown", key);
  comfy.watch(node, ["rank"], refresh);

  return {
    element: element("div", {}, grid, note),
    refresh,
    update(given) {
      facts = { words: [], files: [], ...given };
      gone = false;
      grid.replaceChildren(
        ...facts.files.map((file, rank) =>
          element(
            "button",
            {
              type: "button", role: "radio", class: "slotid-candidate", title: facts.words[rank],
              "aria-label": `Candidate ${rank}, frame ${facts.frames[rank]}`, onclick: () => choose(rank),
            },
            element("img", {
              src: comfy.fileUrl(file), alt: "", onload: () => comfy.redraw(), onerror: () => ((gone = true), refresh()),
            }),
          )),
      );
      refresh();
    },
  };
}
