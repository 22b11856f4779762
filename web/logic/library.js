// Saved people, as the page lists them.

/** Those whose name or facts hold all the words; the order stays. */
export function matching(people, text) {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  const said = (person) => `${person.name} ${person.verdict ?? ""} ${person.provenance?.consent ?? ""}`.toLowerCase();
  return people.filter((person) => words.every((word) => said(person).includes(word)));
}

export function shortName(name) {
  return name.replace(/\.safetensors$/, "");
}

/** What is said in place of facts where the one who is chosen has none. */
export function whoIsMissing(name, people, listed) {
  if (!listed) return "";
  if (!people.length) return "Nobody has been saved yet. Drop a file here, or save one.";
  if (!name) return "Choose somebody.";
  return `${shortName(name)} is not there any more. Put its file back or choose somebody else; the graph keeps the name.`;
}

/** Up to two letters, and a colour that stays with the name; for people without a picture. */
export function initials(name) {
  const words = shortName(name).split(/[^\p{L}\p{N}]+/u).filter(Boolean);
  const letters = (words.length > 1 ? words[0][0] + words.at(-1)[0] : (words[0] ?? "?").slice(0, 2)).toUpperCase();
  const hue = [...name].reduce((sum, letter) => (31 * sum + letter.codePointAt(0)) % 360, 7);
  return { letters, color: `hsl(${hue} 45% 38%)` };
}

/** What a person's file says, a line each. */
export function factsOf(person) {
  if (person.problem) return [person.problem];
  const { made, sources = [], consent } = person.provenance ?? {};
  const model = person.model?.model_width ? `for models of width ${person.model.model_width}` : "";
  return [
    [person.kind?.replaceAll("_", " "), model, person.bytes ? size(person.bytes) : ""].filter(Boolean).join(", "),
    made ? `Made ${made.slice(0, 10)}${sources.length ? ` of ${sources.map(({ name }) => name).join(", ")}` : ""}.` : "",
    consent ? `Consent: ${consent}` : "No note of consent.",
    person.verdict ? `Reference: ${person.verdict}.` : "",
  ].filter(Boolean);
}

export function size(bytes) {
  if (bytes < 1e6) return `${Math.max(1, Math.round(bytes / 1e3))} kB`;
  return `${(bytes / 1e6).toFixed(1)} MB`;
}
