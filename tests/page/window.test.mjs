import assert from "node:assert/strict";
import { test } from "node:test";

import * as window from "../../web/logic/window.js";

test("frames come in 4n+1", () => {
  for (const [asked, taken] of [[-3, 1], [0, 1], [1, 1], [4, 1], [5, 5], [66, 65], [65, 65]]) {
    assert.equal(window.largestWindow(asked), taken);
  }
});

test("the window stays within the clip, on tenths of a second", () => {
  assert.equal(window.startFor(2.04, 65, 16, 10), 2);
  assert.equal(window.startFor(-5, 65, 16, 10), 0);
  const last = window.startFor(99, 65, 16, 10);
  assert.equal(last, 5.9);
  assert.ok(last + window.spanOf(65, 16) <= 10);
  assert.equal(window.startFor(3, 65, 16, 2), 0);
});

test("dragging the end changes the frames and never past the clip", () => {
  assert.equal(window.framesFor(2, 6.1, 16, 10), 65);
  assert.equal(window.framesFor(2, 99, 16, 4), 29);
  assert.equal(window.framesFor(2, 1, 16, 10), 1);
  assert.equal(window.framesFor(0, 9999, 16, 9999), window.MOST_FRAMES);
});

test("keys move start and length", () => {
  assert.equal(window.startAfterKey("ArrowRight", 1, 10), 1.1);
  assert.equal(window.startAfterKey("End", 1, 10), 10);
  assert.equal(window.startAfterKey("a", 1, 10), null);
  assert.equal(window.framesAfterKey("ArrowLeft", 65), 61);
  assert.equal(window.framesAfterKey("ArrowLeft", 1), 1);
});

test("a name of the input folder is what /view takes", () => {
  assert.deepEqual(window.inputFile("a/b/c.mp4"), { filename: "c.mp4", subfolder: "a/b", type: "input" });
  assert.deepEqual(window.inputFile("c.mp4 [input]"), { filename: "c.mp4", subfolder: "", type: "input" });
  assert.equal(window.inputFile("pictures/"), null);
});

test("labels are few and readable", () => {
  assert.equal(window.tickEvery(10), 2);
  assert.ok(600 / window.tickEvery(600) <= 8);
  assert.equal(window.clock(90), "1:30");
  assert.equal(window.clock(599.8), "10:00");
  assert.equal(window.clock(4.25), "4.3 s");
});

test("why there is no clip is said with the file's own name, and that nothing that was set is lost", () => {
  const gone = window.whyNoClip("gone", "cast/ann.mp4 [input]");
  assert.match(gone, /^ann\.mp4 is not in ComfyUI's input folder any more\./);
  for (const sentence of [gone, window.whyNoClip("silent", "ann.mp4")]) assert.match(sentence, /what is set here is kept\.$/);
  assert.match(window.whyNoClip("unreadable", "ann.mkv"), /^The page cannot play this file\./);
});
