// Where people are in a clip, as Track Face tells it.

/** The box of a person on a frame, [left, top, right, bottom] in pixels of the clip; null where it was not seen. */
export function boxAt(person, frame) {
  return person.boxes[frame - person.first] ?? null;
}

/** A box as shares of the picture, for CSS. */
export function placeOf([left, top, right, bottom], width, height) {
  const percent = (value, whole) => `${((100 * value) / whole).toFixed(2)}%`;
  return {
    left: percent(left, width),
    top: percent(top, height),
    width: percent(right - left, width),
    height: percent(bottom - top, height),
  };
}

export function frameAt(seconds, rate, frames) {
  return Math.min(frames - 1, Math.max(0, Math.floor(seconds * rate + 0.01)));
}
