// The gate w(t) as slotid_core/systems/slot_id/gate.py has it, and what drawing it changes. t = 1 is pure noise.

export const FAMILIES = ["constant", "linear", "cosine", "sigmoid", "points"];
export const LEAST_GAP = 0.01; // of noise level between two points
const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;

const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
const sigmoid = (x) => 1 / (1 + Math.exp(-x));
const rounded = (value) => Number(value.toFixed(2));

export function shifted(level, shift) {
  return (shift * level) / (1 + (shift - 1) * level);
}

/** w at a noise level; `settings` are the node's widgets: family, low, high, midpoint, steepness, points, shift. */
export function gateAt(settings, level) {
  const { family, low, high, midpoint, steepness, points, shift } = settings;
  const t = shifted(clamp(level, 0, 1), 1 / shift);
  if (family === "points") return interpolate(t, points);
  let rise = 1;
  if (family === "linear") rise = t;
  else if (family === "cosine") rise = (1 - Math.cos(Math.PI * t)) / 2;
  else if (family === "sigmoid") {
    const [first, last] = [0, 1].map((end) => sigmoid(steepness * (end - midpoint)));
    rise = (sigmoid(steepness * (t - midpoint)) - first) / (last - first);
  }
  return low + (high - low) * rise;
}

function interpolate(t, points) {
  const right = points.findIndex(([level]) => level >= t);
  if (right === 0) return points[0][1];
  if (right < 0) return points[points.length - 1][1];
  const [[t0, w0], [t1, w1]] = [points[right - 1], points[right]];
  return w0 + ((w1 - w0) * (t - t0)) / (t1 - t0);
}

/** "0:0, 1:0.8" -> [[0, 0], [1, 0.8]]; null where it cannot be read. */
export function parsePoints(text) {
  const pairs = text.split(",").filter((pair) => pair.trim());
  const points = pairs.map((pair) => pair.split(":").map((part) => part.trim()));
  if (!points.length || points.some((point) => point.length !== 2)) return null;
  if (!points.flat().every((part) => NUMBER.test(part))) return null;
  return points.map((point) => point.map(Number));
}

export function formatPoints(points) {
  return points.map(([level, w]) => `${rounded(level)}:${rounded(w)}`).join(", ");
}

/** What the server would refuse, as a sentence; "" where these settings are a gate. */
export function problemOf(settings) {
  const { family, low, high, points } = settings;
  if (low > high) return `low (${low}) is above high (${high}).`;
  if (family !== "points") return "";
  if (!points) return "The points cannot be read. Write pairs such as 0:0, 0.5:0.3, 1:1.";
  if (!points.flat().every((value) => value >= 0 && value <= 1)) return "Points must lie between 0 and 1.";
  for (let i = 1; i < points.length; i++) {
    if (points[i][0] <= points[i - 1][0]) return "The noise levels of the points must rise.";
    if (points[i][1] < points[i - 1][1]) return "w must not fall as noise rises.";
  }
  return "";
}

/** The points after one was dragged: it stays between its neighbours, so that every drawing is a gate. */
export function movePoint(points, index, level, w) {
  const [before, after] = [points[index - 1], points[index + 1]];
  const low = before ? before[0] + LEAST_GAP : 0;
  const high = after ? after[0] - LEAST_GAP : 1;
  const moved = [
    rounded(clamp(level, low, Math.max(low, high))),
    rounded(clamp(w, before ? before[1] : 0, after ? after[1] : 1)),
  ];
  return points.map((point, i) => (i === index ? moved : point));
}

/** [points, index of the new one]; the same points and -1 where there is no room. */
export function addPoint(points, level, w) {
  const index = points.filter(([other]) => other < level).length;
  const room = (other) => !other || Math.abs(other[0] - level) >= 2 * LEAST_GAP;
  if (!room(points[index - 1]) || !room(points[index])) return [points, -1];
  const more = [...points.slice(0, index), [level, w], ...points.slice(index)];
  return [movePoint(more, index, level, w), index];
}

/** Without one of the points; the last one stays. */
export function removePoint(points, index) {
  return points.length > 1 ? points.filter((_, i) => i !== index) : points;
}

/** A curve of any family as points to begin drawing with; the shift stays a setting of its own. */
export function asPoints(settings, count = 5) {
  const levels = Array.from({ length: count }, (_, i) => i / (count - 1));
  return levels.map((level) => [rounded(level), rounded(gateAt({ ...settings, shift: 1 }, level))]);
}

/** The noise levels at which a sampler of `steps` steps calls the model, from 1 down. */
export function stepLevels(steps, shift) {
  return Array.from({ length: steps }, (_, i) => shifted(1 - i / steps, shift));
}
