// The clip from left to right, and the window that is read: dragged, lengthened, looped. It sets start_seconds,
// num_frames and window, as they would be typed. What a search found is marked once the graph has run.

import * as logic from "../logic/window.js";
import { draggable, element, shareIn } from "./dom.js";
import { paintStrip, Thumbnails } from "./strip.js";

const NAMES = ["file", "num_frames", "start_seconds", "sample_rate", "window"];
const LEAST_PIXELS = 8; // of a window, as in style.js
const [CHOSEN, SEARCHED] = ["at start_seconds", "best"];

export function timeline({ node, comfy }) {
  const video = element("video", { playsinline: true, preload: "auto", "aria-label": "The window, in a loop" });
  video.muted = true;
  const stage = element("div", { class: "slotid-stage slotid-loop", hidden: true }, video);
  const canvas = element("canvas");
  const now = element("div", { class: "slotid-now", hidden: true });
  const end = element("div", { class: "slotid-end", tabindex: 0, role: "slider", "aria-label": "Length of the window in frames" });
  const pane = element("div", { class: "slotid-window", tabindex: 0, role: "slider", "aria-label": "Start of the window in seconds" });
  const strip = element("div", { class: "slotid-strip" }, canvas, pane, end, now);
  const play = element("button", { type: "button", onclick: () => (video.paused ? loop() : video.pause()) });
  const best = element("button", { type: "button", text: "Best window", onclick: search });
  const note = element("p", { class: "slotid-note", role: "status" });
  const root = element("div", {}, strip, stage, element("div", { class: "slotid-bar" }, play, best), note);
  const thumbnails = new Thumbnails(() => paint());
  let survey = null; // what the last run told of this file
  let shownFile = null;
  let failed = null; // why the page shows no clip, as comfy.whyNotShown tells it

  const value = (name) => comfy.value(node, name);
  const told = () => (survey && (survey.from_socket || survey.file === value("file")) ? survey : null);
  // A window that was not searched tells nothing of what lies after it, so what the browser sees of the clip counts.
  const duration = () => (Number.isFinite(video.duration) ? video.duration : told()?.duration ?? 0);
  const rate = () => value("sample_rate") || told()?.rate || 16;
  const searched = () => value("window") === SEARCHED;

  function frame() {
    const found = told();
    if (searched() && found?.searched) return [found.start, found.frames];
    return [value("start_seconds"), logic.largestWindow(value("num_frames"))];
  }

  function setStart(seconds) {
    const whole = duration();
    if (!whole) return;
    comfy.setValue(node, "window", CHOSEN);
    comfy.setValue(node, "start_seconds", logic.startFor(seconds, frame()[1], rate(), whole));
    refresh();
  }

  function setFrames(frames) {
    const [start] = frame();
    if (searched()) setStart(start);
    comfy.setValue(node, "num_frames", frames);
    refresh();
  }

  function search() {
    comfy.setValue(node, "window", searched() ? CHOSEN : SEARCHED);
    comfy.commit();
    refresh();
  }

  function loop() {
    const [start] = frame();
    video.currentTime = start;
    video.play().then(follow).catch(() => {});
  }

  function follow() {
    if (!root.isConnected || video.paused) return video.pause();
    const [start, frames] = frame();
    // A player that reaches the end stops by itself, so a window up to the end begins again just before.
    const last = Math.min(start + logic.spanOf(frames, rate()), duration() - 0.05);
    if (video.currentTime >= last || video.currentTime < start - 0.2) video.currentTime = start;
    now.style.left = `${(100 * video.currentTime) / (duration() || 1)}%`;
    requestAnimationFrame(follow);
  }

  function openFile() {
    const file = comfy.isLinked(node, "video") ? "" : value("file") ?? "";
    if (file === shownFile) return;
    shownFile = file;
    failed = null;
    const entry = logic.inputFile(file);
    thumbnails.clear();
    stage.hidden = now.hidden = true; // another file does not go on playing, and says no "pause"
    if (entry) {
      const url = comfy.fileUrl(entry);
      video.src = url;
      thumbnails.read(url);
    } else {
      video.removeAttribute("src");
      video.load(); // or it still plays, and its length counts for the file that is chosen now
    }
    paint();
  }

  function openAgain() {
    shownFile = null;
    refresh();
  }

  function paint() {
    const whole = duration();
    paintStrip(canvas, thumbnails.pictures, told(), whole);
  }

  /** Only what a drag moves; pictures and marks are painted when they change. */
  function refresh() {
    openFile();
    const whole = duration();
    const [start, frames] = frame();
    const span = logic.spanOf(frames, rate());
    const shares = [start / whole, Math.min(1, (start + span) / whole)].map((share) => `${100 * share}%`);
    for (const part of [pane, end]) part.hidden = !whole;
    if (whole) {
      pane.style.left = shares[0];
      pane.style.right = `calc(100% - ${shares[1]})`;
      end.style.left = `max(${shares[1]}, calc(${shares[0]} + ${LEAST_PIXELS}px))`; // beside the window, not over it
    }
    pane.classList.toggle("slotid-searched", searched());
    tellSlider(pane, start, 0, Math.max(0, whole - span), `${logic.clock(start)} to ${logic.clock(start + span)}`);
    tellSlider(end, frames, 1, logic.MOST_FRAMES, `${frames} frames`);
    best.setAttribute("aria-pressed", String(searched()));
    play.textContent = video.paused ? "▶ Loop" : "❚❚ Loop";
    play.disabled = !video.getAttribute("src") || failed;
    note.textContent = sentence(whole, start, span, frames);
  }

  function sentence(whole, start, span, frames) {
    if (comfy.isLinked(node, "video") && !told()) return "The connected video is read; its timeline appears after a run.";
    if (failed === "gone" || (failed && !told())) return logic.whyNoClip(failed, value("file"));
    if (!whole) return logic.inputFile(value("file") ?? "") ? "Reading the clip…" : "The timeline of a folder of pictures appears after a run.";
    if (searched() && !told()?.searched) return "The best window is searched at the next run.";
    const taken = `${logic.clock(start)} to ${logic.clock(start + span)} of ${logic.clock(whole)}, ${frames} frames`;
    const short = start + span > whole + 0.05 ? " The clip ends before the window does; fewer frames are taken." : "";
    return `${taken}${searched() ? ", the best found" : ""}.${short}`;
  }

  const tellSlider = (part, value, least, most, text) => {
    const told = { "aria-valuenow": value, "aria-valuemin": least, "aria-valuemax": most, "aria-valuetext": text };
    for (const [name, one] of Object.entries(told)) part.setAttribute(name, one);
  };

  let grip = 0;
  const secondsAt = (event) => shareIn(strip, event)[0] * duration();
  const span = () => logic.spanOf(frame()[1], rate());
  const dragStart = { move: (event) => setStart(secondsAt(event) - grip), end: () => comfy.commit() };
  draggable(pane, { start: (event) => void (grip = secondsAt(event) - frame()[0]), ...dragStart });
  // In a long clip the window is too thin to be met, so anywhere else it jumps to the pointer, and follows it.
  draggable(canvas, {
    start(event) {
      grip = span() / 2;
      dragStart.move(event);
      pane.focus();
    },
    ...dragStart,
  });
  draggable(end, {
    start: (event) => void (grip = secondsAt(event) - frame()[0] - span()),
    move: (event) => setFrames(logic.framesFor(frame()[0], secondsAt(event) - grip, rate(), duration())),
    end: () => comfy.commit(),
  });
  const onKey = (part, change) =>
    part.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || !change(event.key)) return;
      event.preventDefault();
      comfy.commit();
    });
  onKey(pane, (key) => {
    const seconds = logic.startAfterKey(key, frame()[0], duration());
    if (seconds !== null) setStart(seconds);
    return seconds !== null;
  });
  onKey(end, (key) => {
    const frames = logic.framesAfterKey(key, frame()[1]);
    if (frames !== null) setFrames(frames);
    return frames !== null;
  });

  video.addEventListener("loadedmetadata", () => (refresh(), paint()));
  video.addEventListener("error", async () => {
    const asked = shownFile;
    if (!video.getAttribute("src")) return;
    failed = "unreadable";
    refresh();
    const why = await comfy.whyNotShown(logic.inputFile(asked));
    if (asked !== shownFile || !failed) return;
    failed = why;
    refresh();
  });
  comfy.onReturn(node, () => failed && openAgain());
  video.addEventListener("ended", loop); // a slow page draws too rarely to turn back just before the end
  for (const kind of ["play", "pause"]) {
    video.addEventListener(kind, () => {
      stage.hidden = now.hidden = video.paused;
      refresh();
    });
  }
  new ResizeObserver(paint).observe(canvas);
  comfy.watch(node, NAMES, refresh);
  refresh();

  return {
    element: root,
    takes: "timeline",
    refresh,
    update(facts) {
      survey = facts;
      if (failed) openAgain(); // the run may have found what was gone before
      refresh();
      paint();
    },
  };
}
