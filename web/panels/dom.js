// Elements in one line each.

const SVG = "http://www.w3.org/2000/svg";
const WRITTEN = "input, textarea";
const KEPT_FOR_COMFYUI = (event) => event.ctrlKey || event.metaKey;

/** An element with attributes; `on…` are listeners, `text` its text. */
export function element(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

export function svg(tag, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

function filled(made, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name === "text") made.textContent = value;
    else if (value === false || value === undefined) made.removeAttribute(name);
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== undefined && child !== null));
  return made;
}

/** Nobody else acts on what is done in an element: the graph would drag the node, or delete it. */
export function keepToItself(target) {
  for (const kind of ["pointerdown", "pointermove", "pointerup", "mousedown", "dblclick", "contextmenu"]) {
    target.addEventListener(kind, (event) => event.button !== 1 && event.stopPropagation());
  }
  target.addEventListener("keydown", (event) => KEPT_FOR_COMFYUI(event) || event.stopPropagation());
  for (const kind of ["copy", "cut", "paste"]) { // of text; elsewhere in a panel they are meant for nodes
    target.addEventListener(kind, (event) => {
      if (event.target.closest?.(WRITTEN) || (kind === "copy" && String(window.getSelection()))) event.stopPropagation();
    });
  }
  return target;
}

/** Change what an element holds, and leave the focus on the part of the same `name`: without focus keys go to the graph. */
export function keepFocus(target, name, change) {
  const focused = target.contains(document.activeElement) ? document.activeElement.getAttribute(name) : null;
  change();
  if (focused === null) return;
  const same = [...target.querySelectorAll(`[${name}]`)].find((part) => part.getAttribute(name) === focused);
  same?.focus({ preventScroll: true });
}

/** Drag with mouse, pen or finger: `move(event)` while it goes on, `end()` once. */
export function draggable(target, { start, move, end }) {
  target.style.touchAction = "none";
  target.addEventListener("pointerdown", (event) => {
    if (event.button || (start && start(event) === false)) return;
    event.preventDefault();
    target.focus?.({ preventScroll: true });
    const follow = (later) => later.pointerId === event.pointerId && move(later);
    const stop = (later) => {
      if (later.pointerId !== event.pointerId) return;
      for (const kind of ["pointermove", "pointerup", "pointercancel"]) {
        window.removeEventListener(kind, kind === "pointermove" ? follow : stop, true);
      }
      end?.();
    };
    window.addEventListener("pointermove", follow, true);
    window.addEventListener("pointerup", stop, true);
    window.addEventListener("pointercancel", stop, true);
  });
}

/** Where an event lies in an element, each as a share of its sides; zoom of the graph included. */
export function shareIn(target, event) {
  const box = target.getBoundingClientRect();
  return [(event.clientX - box.left) / (box.width || 1), (event.clientY - box.top) / (box.height || 1)];
}
