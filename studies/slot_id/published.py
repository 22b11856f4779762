"""Figures that were published before. A row without a file here keeps them, and so do the claims that rest on it."""

import json
from pathlib import Path

from studies.slot_id.plan import CLAIMS, MAIN_ROWS
from studies.slot_id.runner import slug

PROTOCOL = "protocol."


def published(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def with_published(figures: dict, before: dict) -> dict:
    """`figures`, and from `before` the main rows that are not in them, with the claims about main rows alone. If the
    protocol has changed, nothing is taken from `before`.

    The number of people that a row was trained on may differ, as each main row states its own. Trials are not taken,
    as they may be of another shipped adapter.
    """
    protocol = {key for key in figures if key.startswith(PROTOCOL)} - {f"{PROTOCOL}trained_on"}
    if any(before.get(key) != figures[key] for key in protocol):
        return figures
    missing = [f"{part}.{slug(row.name)}." for row in MAIN_ROWS for part in ("main", "slots")]
    missing = [prefix for prefix in missing if not any(key.startswith(prefix) for key in figures)]
    main = {row.name for row in MAIN_ROWS}
    open_claims = [f"claim.{slug(claim.statement)}" for claim in CLAIMS if {claim.better, claim.worse} <= main]
    open_claims = [
        key for key in open_claims if figures[key] == "not run" and figures[f"{key}.rows"] == before.get(f"{key}.rows")
    ]
    starts = (*missing, *(f"{key}." for key in open_claims))
    return figures | {key: value for key, value in before.items() if key in open_claims or key.startswith(starts)}
