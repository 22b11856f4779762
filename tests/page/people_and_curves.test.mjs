import assert from "node:assert/strict";
import { test } from "node:test";

import { pathOf, rangeOf, smoothed, thinned } from "../../web/logic/curve.js";
import { boxAt, frameAt, placeOf } from "../../web/logic/people.js";

test("a person is where it was seen and nowhere else", () => {
  const person = { first: 3, boxes: [[10, 20, 30, 60], [12, 20, 32, 60]] };
  assert.deepEqual(boxAt(person, 4), [12, 20, 32, 60]);
  assert.equal(boxAt(person, 2), null);
  assert.equal(boxAt(person, 5), null);
  assert.deepEqual(placeOf([10, 20, 30, 60], 100, 200), { left: "10.00%", top: "10.00%", width: "20.00%", height: "20.00%" });
});

test("a moment is a frame of the clip", () => {
  assert.equal(frameAt(0, 16, 65), 0);
  assert.equal(frameAt(1 / 16, 16, 65), 1);
  assert.equal(frameAt(99, 16, 65), 64);
});

test("a thinned line keeps its peaks and its order", () => {
  const points = Array.from({ length: 10000 }, (_, i) => [i, i === 4321 ? 99 : Math.sin(i)]);
  const few = thinned(points, 200);
  assert.ok(few.length <= 400);
  assert.ok(few.some(([, y]) => y === 99));
  assert.ok(few.every(([x], i) => i === 0 || x > few[i - 1][0]));
});

test("no number, and numbers that are none, still give a range and a path", () => {
  assert.deepEqual(rangeOf([]), [0, 1]);
  assert.deepEqual(rangeOf([[0, 2], [1, NaN]]), [1.5, 2.5]);
  assert.equal(pathOf([[0, 0], [1, NaN], [2, 1]], [0, 2], [0, 1], 100, 50), "M0.0 50.0L100.0 0.0");
  assert.deepEqual(smoothed([[0, 1], [1, 1]]), [[0, 1], [1, 1]]);
});
