"""Measure the scores of real videos on real faces and write docs/scores.md, its plot and its figures.

    python -m studies.scores --data DIR --models DIR

--data has portraits/NNN_neutral.jpg and NNN_smiling.jpg, and clips in faces/ and faces_more/. No picture is written.
"""

import argparse
import sys
from pathlib import Path

from slotid_core.errors import SlotIDError
from slotid_core.files import read_json, write_json, write_text
from slotid_core.recognisers.recognisers import find_recognisers

from .drawn_page import with_section
from .measure import measure
from .page import draw, page


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m studies.scores", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of portraits/, faces/ and faces_more/")
    parser.add_argument("--models", type=Path, action="append", default=[], help="folder of network files")
    parser.add_argument("--people", type=int, default=0, help="only so many portraits, for a trial")
    parser.add_argument("--output", type=Path, default=Path("docs"), help="gets scores.md and scores/")
    options = parser.parse_args(arguments)
    recognisers, missing = find_recognisers([], options.models)
    measured = measure(options.data, recognisers, options.people)
    folder = options.output / "scores"
    folder.mkdir(parents=True, exist_ok=True)
    draw(measured, folder / "overlap.png")
    write_json(folder / "figures.json", measured["figures"])
    text = page(measured["figures"], recognisers, missing)
    drawn = folder / "drawn.json"
    if drawn.is_file():
        text = with_section(text, read_json(drawn, "Write it again by python -m studies.scores.drawn."))
    write_text(options.output / "scores.md", text)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except SlotIDError as error:
        sys.exit(f"scores: {error}")
