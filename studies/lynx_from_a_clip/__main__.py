"""Measure how much better a person is known by a clip than by one picture, and write the page.

    python -m studies.lynx_from_a_clip --parts toy
    python -m studies.lynx_from_a_clip --parts real --data FOLDER      # holds faces/ and faces_more/

Parts that are not run keep the figures that they have.
"""

import argparse
import sys
from pathlib import Path

from slotid_core.errors import SlotIDError
from slotid_core.files import read_json, write_json, write_text
from slotid_core.recognisers.recognisers import find_recogniser
from slotid_core.reference.faces.detector import find_detector
from slotid_core.reference.faces.drawn_faces import find_drawn_faces
from studies.lynx_from_a_clip.measure import drawn_pairs, halves, measure
from studies.lynx_from_a_clip.page import page

DOCS = Path(__file__).parents[2] / "docs"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m studies.lynx_from_a_clip", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--parts", default="toy", help="real,toy or one of them; default toy")
    parser.add_argument("--data", type=Path, help="folder with faces/ and faces_more/, for the part real")
    parser.add_argument("--recogniser", default="dlib", help="of real faces, default dlib")
    parser.add_argument("--models", type=Path, action="append", default=[], help="folder of network files")
    parser.add_argument("--people", type=int, default=64, help="drawn people, default 64")
    parser.add_argument("--output", type=Path, default=DOCS, help="gets lynx_from_a_clip.md and its folder")
    options = parser.parse_args(arguments)
    file = options.output / "lynx_from_a_clip" / "figures.json"
    figures = read_json(file, "Delete it, and measure again.") if file.is_file() else {}
    for part in [name for name in options.parts.split(",") if name]:
        figures |= measured(part, options)
        file.parent.mkdir(parents=True, exist_ok=True)
        write_json(file, figures)
    write_text(options.output / "lynx_from_a_clip.md", page(figures))
    return 0


def measured(part: str, options: argparse.Namespace) -> dict:
    if part == "toy":
        recogniser = find_recogniser("toy")
        found = measure(part, drawn_pairs(options.people), recogniser, find_drawn_faces())
    elif part == "real":
        if options.data is None:
            raise SlotIDError(
                "Real clips are asked for, and --data is not given. Name a folder of faces/, faces_more/."
            )
        recogniser = find_recogniser(options.recogniser, options.models)
        clips = halves([options.data / "faces", options.data / "faces_more"])
        found = measure(part, clips, recogniser, find_detector(options.models))
    else:
        raise SlotIDError(f"There is no part {part!r}; there are real and toy.")
    return found | {f"{part}.recogniser": recogniser.name}


if __name__ == "__main__":
    try:
        sys.exit(main())
    except SlotIDError as error:
        sys.exit(f"studies.lynx_from_a_clip: {error}")
