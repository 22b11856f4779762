// The window of a reference clip: which seconds, how many frames, and what dragging makes of them.

export const MOST_FRAMES = 1025;
const STEP = 0.1; // seconds, as of the widget start_seconds

const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

/** Frames come in 4n+1, as Wan's VAE folds four into one after the first. */
export function largestWindow(frames) {
  return Math.max(1, Math.floor((frames - 1) / 4) * 4 + 1);
}

export function spanOf(frames, rate) {
  return frames / rate;
}

/** A start on the grid of tenths, so far from the end that the window fits; 0 where the clip is shorter. */
export function startFor(seconds, frames, rate, duration) {
  const last = Math.floor(Math.max(0, duration - spanOf(frames, rate)) / STEP + 1e-6);
  return Number((clamp(Math.round(seconds / STEP), 0, last) * STEP).toFixed(1));
}

/** Frames of the window that begins at `start` and is dragged to end at `end`, at most to the end of the clip. */
export function framesFor(start, end, rate, duration) {
  const frames = Math.round((Math.min(end, duration) - start) * rate);
  return clamp(largestWindow(frames), 1, MOST_FRAMES);
}

/** Where keys move the start to, in seconds; null for other keys. */
export function startAfterKey(key, start, duration) {
  const steps = { ArrowLeft: -STEP, ArrowDown: -STEP, ArrowRight: STEP, ArrowUp: STEP, PageDown: -1, PageUp: 1 };
  if (key === "Home") return 0;
  if (key === "End") return duration;
  return key in steps ? start + steps[key] : null;
}

export function framesAfterKey(key, frames) {
  const steps = { ArrowLeft: -4, ArrowDown: -4, ArrowRight: 4, ArrowUp: 4, PageDown: -16, PageUp: 16 };
  return key in steps ? clamp(largestWindow(frames + steps[key]), 1, MOST_FRAMES) : null;
}

/** {filename, subfolder} of a file of the input folder; null for a folder of pictures. */
export function inputFile(name) {
  const clean = name.replace(/\s*\[input\]$/, "");
  if (!clean || clean.endsWith("/")) return null;
  const slash = clean.lastIndexOf("/");
  return { filename: clean.slice(slash + 1), subfolder: slash < 0 ? "" : clean.slice(0, slash), type: "input" };
}

/** What is said where the page shows no clip; `why` as page/comfy.js tells it. */
export function whyNoClip(why, file) {
  const name = file.slice(file.lastIndexOf("/") + 1).replace(/\s*\[input\]$/, "");
  if (why === "gone") return `${name} is not in ComfyUI's input folder any more. Put it back or choose another file; what is set here is kept.`;
  if (why === "silent") return "ComfyUI does not answer, so that the clip cannot be shown. It comes back with the server; what is set here is kept.";
  return "The page cannot play this file. Run the graph to see its timeline; the node may read it all the same.";
}

/** Seconds between two labels, so that there are at most `most` of them. */
export function tickEvery(duration, most = 8) {
  return [0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600, 1800].find((step) => duration / step <= most) ?? 3600;
}

export function clock(seconds) {
  if (seconds < 60) return `${Number(seconds.toFixed(1))} s`;
  const whole = Math.round(seconds);
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}
