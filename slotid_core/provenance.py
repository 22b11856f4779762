"""Where a person comes from: hashes of what it was made of, when, and who agreed. Kept in the `source` of its file."""

import hashlib
from collections.abc import Mapping
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
    sources = [entry for entry in known.get("sources", []) if isinstance(entry, dict)]
    hashes = {entry.get("sha256") for entry in sources}
    found = [{"name": name, "sha256": sha256(path)} for name, path in files.items()]
    return {
        "made": known.get("made") or datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "sources": sources + [entry for entry in found if entry["sha256"] not in hashes],
        "consent": consent.strip()[:LONGEST_NOTE] or known.get("consent", ""),
    }


def with_provenance(source: Mapping[str, Any], files: Mapping[str, Path], consent: str = "") -> dict:
    """The same facts, that say where the person comes from."""
    return {**source, KEY: provenance(source, files, consent)}
