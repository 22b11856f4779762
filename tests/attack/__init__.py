"""Attacks the pack as a whole and counts what came of it: `python -m tests.attack`, a part of `make prove`.

Files in reading order: `table` (what is counted), `outside` and `site/sitecustomize` (what must not be opened or
written), `watched` and `worker` (a child that may die), then one file for each kind of attack.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# Helpers of the tests import each other by their bare names. ComfyUI's folders must not come before them.
sys.path[:0] = [str(ROOT / "tests" / folder) for folder in ("core", "comfy")]
