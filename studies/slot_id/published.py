"""Figures that were published before: a row whose file is not here keeps them, and so do verdicts that rest on it."""

import json
from pathlib import Path

from studies.slot_id.plan import CLAIMS, MAIN_ROWS
from studies.slot_id.runner import slug

PROTOCOL = "protocol."


def published(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def with_published(figures: dict, before: dict) -> dict:
    """`figures`, and of `before` the main rows that are not in them, with claims about these alone; nothing if the
    protocol has changed.

    Each main row says itself on how many people it was trained; all else must be the same. Trials are of an adapter
    that may have been another one.
    """
    protocol = {key for key in figures if key.startswith(PROTOCOL)} - {f"{PROTOCOL}trained_on"}
    if any(before.get(key) != figures[key] for key in protocol):
        return figures
    missing = [f"{part}.{slug(row.name)}." for row in MAIN_ROWS for part in ("main", "slots")]
    missing = [prefix for prefix in missing if not any(key.startswith(prefix) for key in figures)]
    main = {row.name for row in MAIN_ROWS}
    open_claims = [f"claim.{slug(claim.says)}" for claim in CLAIMS if {claim.better, claim.worse} <= main]
    open_claims = [
        key for key in open_claims if figures[key] == "not run" and figures[f"{key}.rows"] == before.get(f"{key}.rows")
    ]
    starts = (*missing, *(f"{key}." for key in open_claims))
    return figures | {key: value for key, value in before.items() if key in open_claims or key.startswith(starts)}
