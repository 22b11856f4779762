import assert from "node:assert/strict";
import { test } from "node:test";

import * as gate from "../../web/logic/gate.js";

const settings = { family: "points", low: 0, high: 1, midpoint: 0.5, steepness: 10, shift: 1, points: [[0, 0], [0.5, 0.3], [1, 1]] };

test("points are read and written as the widget has them", () => {
  assert.deepEqual(gate.parsePoints("0:0, 0.5:0.3, 1:1"), settings.points);
  assert.equal(gate.formatPoints(settings.points), "0:0, 0.5:0.3, 1:1");
});

test("what Python's float refuses is refused", () => {
  for (const text of ["", "0", "0:0:0", "a:b", "0x1:1", "0:", "0 0:1", ":", "1..2:1"]) {
    assert.equal(gate.parsePoints(text), null, text);
  }
});

test("a problem is said before the server refuses it", () => {
  assert.equal(gate.problemOf(settings), "");
  assert.match(gate.problemOf({ ...settings, points: [[0, 0.5], [1, 0.4]] }), /must not fall/);
  assert.match(gate.problemOf({ ...settings, points: [[0.5, 0.5], [0.5, 0.6]] }), /must rise/);
  assert.match(gate.problemOf({ ...settings, points: [[0, -1], [1, 1]] }), /between 0 and 1/);
  assert.match(gate.problemOf({ ...settings, points: null }), /cannot be read/);
  assert.match(gate.problemOf({ ...settings, family: "linear", low: 0.6, high: 0.5 }), /above high/);
});

test("whatever is dragged, added or removed leaves a gate", () => {
  let seed = 1;
  const random = () => (seed = (seed * 16807) % 2147483647) / 2147483647;
  let points = settings.points;
  for (let i = 0; i < 2000; i++) {
    const [t, w] = [3 * random() - 1, 3 * random() - 1];
    const index = Math.floor(random() * points.length);
    const choice = random();
    if (choice < 0.6) points = gate.movePoint(points, index, t, w);
    else if (choice < 0.8) [points] = gate.addPoint(points, Math.min(1, Math.max(0, t)), w);
    else points = gate.removePoint(points, index);
    assert.equal(gate.problemOf({ ...settings, points }), "", JSON.stringify(points));
    assert.deepEqual(gate.parsePoints(gate.formatPoints(points)), points);
  }
});

test("the last point stays, and there is no room for two at one level", () => {
  assert.deepEqual(gate.removePoint([[0.5, 0.5]], 0), [[0.5, 0.5]]);
  assert.equal(gate.addPoint(settings.points, 0.5, 0.4)[1], -1);
});

test("a family becomes points that lie on it", () => {
  for (const family of ["constant", "linear", "cosine", "sigmoid"]) {
    for (const [t, w] of gate.asPoints({ ...settings, family, low: 0.1, high: 0.9 })) {
      assert.ok(Math.abs(gate.gateAt({ ...settings, family, low: 0.1, high: 0.9 }, t) - w) <= 0.005);
    }
  }
});

test("steps go down from pure noise, most of them at high noise under a shift", () => {
  const levels = gate.stepLevels(20, 8);
  assert.equal(levels[0], 1);
  assert.ok(levels.every((level, i) => i === 0 || level < levels[i - 1]));
  assert.ok(levels.filter((level) => level > 0.5).length > 15);
});
