// The part of a frame that shows one person: [left, top, width, height], shares of the frame.

export const PARTS = {
  "left half": [0, 0, 0.5, 1],
  "right half": [0.5, 0, 0.5, 1],
  "left third": [0, 0, 1 / 3, 1],
  "middle third": [1 / 3, 0, 1 / 3, 1],
  "right third": [2 / 3, 0, 1 / 3, 1],
};
export const LEAST = 0.05; // of a side that is dragged; less shows nobody

const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
const rounded = (box) => box.map((value) => Number(value.toFixed(2)));

/** The box of a node's widgets; null for a mask. */
export function boxOf({ where, x, y, width, height }) {
  if (where === "mask") return null;
  return PARTS[where] ?? [x, y, Math.min(width, 1 - x), Math.min(height, 1 - y)];
}

/** Moved, whole within the frame. */
export function moved([x, y, width, height], dx, dy) {
  return rounded([clamp(x + dx, 0, 1 - width), clamp(y + dy, 0, 1 - height), width, height]);
}

/** Its right and lower edge dragged, at most to the frame's. */
export function resized([x, y, width, height], dx, dy) {
  return rounded([x, y, clamp(width + dx, LEAST, 1 - x), clamp(height + dy, LEAST, 1 - y)]);
}
