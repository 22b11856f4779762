// The saved people of a load node: seen with their pictures, chosen, renamed, copied, set aside, dropped in.

import { factsOf, initials, matching, shortName, whoIsMissing } from "../logic/library.js";
import { element, keepFocus } from "./dom.js";

const open = new Set(); // undo makes the node anew, and what was open stays open

export function people({ node, comfy }) {
  const { name: widget, category } = comfy.peopleInput(node);
  const address = `/slotid/people/${category}`;
  const button = element("button", { type: "button", text: "People…", "aria-expanded": "false", onclick: toggle });
  const search = element("input", { type: "search", placeholder: "Search", "aria-label": "Search people", oninput: draw });
  const grid = element("div", { class: "slotid-people", role: "radiogroup", "aria-label": "People", "data-capture-wheel": "true" });
  const count = element("p", { class: "slotid-note", role: "status", hidden: true });
  const facts = element("div");
  const to = element("input", { type: "text", "aria-label": "New name", hidden: true });
  const actions = element("div", { class: "slotid-bar" });
  const note = element("p", { class: "slotid-note", role: "status", hidden: true });
  const body = element("div", { hidden: true }, search, count, grid, facts, to, actions, note);
  const root = element("div", {}, button, body);
  let known = [];
  let listed = false;
  let asked = null; // an action that waits for a name, or for a second click

  const chosen = () => known.find((person) => person.name === comfy.value(node, widget));

  const key = () => `${node.graph?.id} ${node.id}`;

  async function toggle() {
    body.hidden = !body.hidden;
    if (body.hidden) open.delete(key());
    else open.add(key());
    button.setAttribute("aria-expanded", String(!body.hidden));
    if (!body.hidden) await load();
  }

  function refresh() {
    if (body.hidden && open.has(key())) toggle();
    else if (!body.hidden) draw();
  }

  async function ask(path, options) {
    try {
      const response = await comfy.api.fetchApi(path, options);
      if (response.ok) return await response.json();
      const answer = await response.json().catch(() => ({})); // what the route does not answer itself is no JSON
      throw new Error(answer.error ?? `${response.status} ${response.statusText}`);
    } catch (error) {
      const silent = error instanceof TypeError; // what fetch throws where nobody answers
      say(silent ? "ComfyUI does not answer. Is it running? The graph keeps who is chosen." : `ComfyUI answered: ${error.message}`);
      return null;
    }
  }

  function say(text) {
    note.textContent = text;
    note.hidden = !text;
  }

  async function load() {
    const answer = await ask(address);
    if (answer) {
      [known, listed] = [answer.people, true];
      say(""); // what it did not answer before
    }
    draw();
  }

  async function change(action, name, newName = "") {
    const answer = await ask(`${address}/${action}`, {
      method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ name, to: newName }),
    });
    if (answer) await changed(action === "delete" ? null : answer.name, action === "delete" ? `It is kept as ${answer.name}.` : "");
  }

  /** The lists are read again, and the one that is meant is chosen. */
  async function changed(name, text) {
    asked = null;
    await comfy.refreshChoices();
    await load();
    if (name) choose(name);
    say(text);
    // What had the focus is gone or disabled, and without focus keys go to the graph.
    if (document.activeElement === document.body) (grid.querySelector("[aria-checked=true]") ?? search).focus({ preventScroll: true });
  }

  function choose(name) {
    asked = null;
    comfy.setValue(node, widget, name);
    comfy.commit();
    say("");
    draw();
  }

  async function add(files) {
    for (const file of files) {
      const form = new FormData();
      form.append("file", file, file.name);
      const answer = await ask(address, { method: "POST", headers: { "X-SlotID": "add" }, body: form });
      if (answer) await changed(answer.name, `${file.name} was added.`);
    }
  }

  function card(person) {
    const { letters, color } = initials(person.name);
    const isChosen = person.name === comfy.value(node, widget);
    const face = person.picture
      ? element("img", { src: person.picture, alt: "" })
      : element("span", { class: "slotid-letters", style: `background: ${color}`, text: person.problem ? "⚠" : letters });
    return element(
      "button",
      {
        type: "button", role: "radio", class: "slotid-candidate", "aria-checked": String(isChosen), title: person.name,
        onclick: () => choose(person.name),
      },
      face, element("span", { class: "slotid-name", text: shortName(person.name) }),
    );
  }

  function action(name, label, disabled, act) {
    return element("button", { type: "button", text: label, disabled, onclick: act, "data-action": name });
  }

  function draw() {
    const at = grid.scrollTop;
    const found = matching(known, search.value);
    keepFocus(grid, "title", () => grid.replaceChildren(...found.map(card)));
    count.hidden = !search.value.trim();
    count.textContent = `${found.length || "None"} of ${known.length} people.`;
    grid.scrollTop = at;
    const person = chosen();
    const lines = person ? factsOf(person) : [whoIsMissing(comfy.value(node, widget), known, listed)];
    facts.replaceChildren(...lines.map((text) => element("p", { class: "slotid-note", text })));
    to.hidden = !["rename", "duplicate"].includes(asked);
    const fixed = !person?.ours;
    const naming = (name) => () => {
      if (asked === name) return change(name, person.name, to.value);
      asked = name;
      to.value = shortName(person.name).split(/[\\/]/).at(-1);
      draw();
      to.focus();
      to.select();
    };
    const remove = () => {
      if (asked === "delete") return change("delete", person.name);
      asked = "delete";
      draw();
    };
    const buttons = [
      action("rename", asked === "rename" ? "Rename now" : "Rename", fixed, naming("rename")),
      action("duplicate", asked === "duplicate" ? "Duplicate now" : "Duplicate", !person, naming("duplicate")),
      action("delete", asked === "delete" ? "Delete?" : "Delete", fixed, remove),
    ];
    keepFocus(actions, "data-action", () => actions.replaceChildren(...buttons));
  }

  to.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && chosen()) change(asked, chosen().name, to.value);
    if (event.key === "Escape") {
      const button = `[data-action="${asked}"]`;
      asked = null;
      draw();
      actions.querySelector(button)?.focus();
    }
  });
  grid.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    const cards = [...grid.children];
    if (!step || !cards.length) return;
    event.preventDefault();
    cards[(cards.indexOf(document.activeElement) + step + cards.length) % cards.length].focus();
  });
  for (const kind of ["dragover", "drop"]) {
    root.addEventListener(kind, (event) => {
      if (!event.dataTransfer?.types.includes("Files")) return;
      event.preventDefault();
      event.stopPropagation();
      if (kind === "drop") add(event.dataTransfer.files);
    });
  }
  comfy.watch(node, [widget], () => {
    asked = null; // it was asked of the one who was chosen before
    if (!body.hidden) draw();
  });

  return { element: root, refresh, update() {} };
}
