// Releases of ComfyUI's page, such as "1.41.13" or "1.42.0-beta.1".

const parts = (version) => version.split(/[.-]/).slice(0, 3).map((part) => Number.parseInt(part, 10) || 0);

/** Whether the first release is before the second; what is no version is older than any. */
export function isOlder(version, than) {
  const [ours, theirs] = [parts(version), parts(than)];
  const at = theirs.findIndex((part, place) => part !== (ours[place] ?? 0));
  return at >= 0 && (ours[at] ?? 0) < theirs[at];
}
