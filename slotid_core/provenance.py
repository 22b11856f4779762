"""Where a person comes from: hashes of what it was made of, when, and who agreed. Kept in the `source` of its file."""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

KEY = "provenance"
LONGEST_NOTE = 4000  # characters


def sha256(path: Path) -> str:
    """Of a file's bytes; the same as `sha256sum`."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(2**20):
            digest.update(part)
    return digest.hexdigest()


def sources_of(known: Mapping[str, Any]) -> list[dict]:
    """The entries of a provenance that are as they should be; anybody may have written the file."""
    sources = known.get("sources")
    return [entry for entry in sources if isinstance(entry, dict)] if isinstance(sources, list) else []


def joined(people: Sequence[Mapping[str, Any]]) -> dict:
    """What the `source` of a person made of several people says of where they come from; {} where none says anything.

    It does not say when the others were made: the new person is made now.
    """
    known = [facts for source in people if isinstance(facts := source.get(KEY), dict)]
    if not known:
        return {}
    sources = {str(entry.get("sha256") or entry): entry for facts in known for entry in sources_of(facts)}
    consents = dict.fromkeys(str(facts.get("consent") or "") for facts in known)
    return {KEY: {"sources": list(sources.values()), "consent": "\n".join(filter(None, consents))}}


def provenance(source: Mapping[str, Any], files: Mapping[str, Path], consent: str = "") -> dict:
    """A person's provenance, as far as it is known.

    Args:
        source: facts that the person carries already; what they say of its making stays.
        files: clips and pictures that it was made of, by the name that people know.
        consent: who agreed to what, in their words; "" keeps the note that is there.

    Returns:
        `made` (ISO time, UTC), `sources` ({name, sha256} each), `consent`; JSON-ready.
    """
    known = source.get(KEY)
    known = known if isinstance(known, dict) else {}
    sources = sources_of(known)
    hashes = {str(entry.get("sha256")) for entry in sources}
    found = [{"name": name, "sha256": sha256(path)} for name, path in files.items()]
    return {
        "made": known.get("made") or datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "sources": sources + [entry for entry in found if entry["sha256"] not in hashes],
        "consent": consent.strip()[:LONGEST_NOTE] or known.get("consent", ""),
    }


def with_provenance(source: Mapping[str, Any], files: Mapping[str, Path], consent: str = "") -> dict:
    """The same facts, that say where the person comes from."""
    return {**source, KEY: provenance(source, files, consent)}
