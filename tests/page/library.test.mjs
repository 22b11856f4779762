import assert from "node:assert/strict";
import { test } from "node:test";

import { factsOf, initials, matching, size, whoIsMissing } from "../../web/logic/library.js";

const ann = {
  name: "cast/ann_lee.safetensors", kind: "identity", bytes: 310000, model: { model_width: 1536 },
  provenance: { made: "2026-11-29T10:00:00+00:00", sources: [{ name: "ann.mp4", sha256: "0" }], consent: "Ann agreed" },
  verdict: "good",
};

test("people are found by all the words, in their order", () => {
  const people = [ann, { name: "bob.safetensors" }];
  assert.deepEqual(matching(people, ""), people);
  assert.deepEqual(matching(people, "LEE agreed"), [ann]);
  assert.deepEqual(matching(people, "bob agreed"), []);
});

test("two hundred people are searched within a frame", () => {
  const many = Array.from({ length: 200 }, (_, i) => ({ ...ann, name: `person_${i}.safetensors` }));
  const start = performance.now();
  assert.equal(matching(many, "person_7").length, 11);
  assert.ok(performance.now() - start < 50);
});

test("a person without a picture has letters and a colour that stay", () => {
  assert.equal(initials("ann_lee.safetensors").letters, "AL");
  assert.equal(initials("bob.safetensors").letters, "BO");
  assert.equal(initials("_.safetensors").letters, "?");
  assert.equal(initials("ann").color, initials("ann").color);
});

test("somebody who is chosen and not there is named, once the list is known", () => {
  assert.match(whoIsMissing("ann.safetensors", [{ name: "bob.safetensors" }], true), /^ann is not there any more/);
  assert.equal(whoIsMissing("ann.safetensors", [], false), "");
  assert.match(whoIsMissing("ann.safetensors", [], true), /^Nobody has been saved/);
  assert.equal(whoIsMissing("", [{ name: "bob.safetensors" }], true), "Choose somebody.");
});

test("what a file says is told, and what it does not say as well", () => {
  assert.deepEqual(factsOf(ann), [
    "identity, for models of width 1536, 310 kB", "Made 2026-11-29 of ann.mp4.", "Consent: Ann agreed", "Reference: good.",
  ]);
  assert.deepEqual(factsOf({ name: "x", problem: "It is damaged." }), ["It is damaged."]);
  assert.ok(factsOf({ name: "x", kind: "person", bytes: 5 }).includes("No note of consent."));
  assert.equal(size(2_500_000), "2.5 MB");
});
