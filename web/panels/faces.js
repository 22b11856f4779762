// The people in a clip, each a button on the picture: a click follows that face at the next run.

import { boxAt, placeOf } from "../logic/people.js";
import { element } from "./dom.js";
import { clipPlayer } from "./player.js";

export function faces({ node, comfy }) {
  const player = clipPlayer(comfy, "tracked faces");
  const crop = element("div", { class: "slotid-crop", "aria-hidden": true });
  const note = element("p", { class: "slotid-note", role: "status" });
  let facts;
  let buttons = [];

  function place(part, box) {
    part.hidden = !box;
    if (box) Object.assign(part.style, placeOf(box, facts.clip.width, facts.clip.height));
  }

  function draw(frame) {
    place(crop, facts.crop[frame]);
    buttons.forEach((button, number) => {
      place(button, boxAt(facts.people[number], frame));
      button.classList.toggle("slotid-guess", !facts.people[number].detected.includes(frame));
    });
  }

  function follow(number) {
    comfy.setValue(node, "subject", number);
    comfy.commit();
    refresh();
  }

  function refresh() {
    const chosen = facts.by_picture ? facts.subject : comfy.value(node, "subject");
    buttons.forEach((button, number) => button.setAttribute("aria-pressed", String(number === chosen)));
    crop.style.opacity = chosen === facts.subject ? 1 : 0.25;
    const people = facts.people.length;
    if (!people) note.textContent = "No face was found.";
    else if (facts.by_picture) note.textContent = "The connected picture says who is followed.";
    else if (chosen !== facts.subject) note.textContent = `Person ${chosen} is followed from the next run on.`;
    else if (people > 1) note.textContent = "Click a face to follow it.";
    else note.textContent = "";
    note.hidden = !note.textContent;
  }

  comfy.watch(node, ["subject"], () => facts && refresh());

  return {
    element: element("div", {}, player.element, note),
    refresh: () => facts && refresh(),
    update(given) {
      facts = given;
      buttons = facts.people.map((_, number) =>
        element(
          "button",
          {
            type: "button", class: "slotid-person", disabled: facts.by_picture, "aria-label": `Follow person ${number}`,
            onclick: () => follow(number),
          },
          element("span", { text: number }),
        ));
      for (const old of player.stage.querySelectorAll(".slotid-person, .slotid-crop")) old.remove();
      player.stage.append(crop, ...buttons);
      player.update(facts.clip, draw);
      draw(player.frame());
      refresh();
    },
  };
}
