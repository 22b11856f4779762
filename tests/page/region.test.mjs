import assert from "node:assert/strict";
import { test } from "node:test";

import { boxOf, moved, PARTS, resized } from "../../web/logic/region.js";

const settings = { where: "box", x: 0.6, y: 0.2, width: 0.9, height: 0.5 };

test("a box ends where the frame does, and a mask has none", () => {
  assert.deepEqual(boxOf(settings).map((side) => Number(side.toFixed(6))), [0.6, 0.2, 0.4, 0.5]);
  assert.deepEqual(boxOf({ ...settings, where: "right half" }), PARTS["right half"]);
  assert.equal(boxOf({ ...settings, where: "mask" }), null);
});

test("whatever is dragged lies in the frame and shows somebody", () => {
  let seed = 3;
  const random = () => (seed = (seed * 16807) % 2147483647) / 2147483647;
  let box = PARTS["middle third"];
  for (let i = 0; i < 1000; i++) {
    box = (random() < 0.5 ? moved : resized)(box, 2 * random() - 1, 2 * random() - 1);
    const [x, y, width, height] = box;
    assert.ok(x >= 0 && y >= 0 && width > 0 && height > 0, String(box));
    assert.ok(x + width <= 1.011 && y + height <= 1.011, String(box));
  }
});
