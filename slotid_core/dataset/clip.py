"""One clip of a source, and the key under which its samples are stored."""

import hashlib
import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Clip:
    """What a source knows of a clip before anything is decoded.

    key: unique in the source, of letters, digits, `_` and `-`. person: clips of one person share it.
    video, boxes: paths; `boxes` is a file of face boxes by frame, where the data has one.
    described: the caption with a description of the person in it, where there is one.
    person_seed, number: for drawn clips, who and which of that person's clips.
    failed: why the clip cannot be used, when the source already knows.
    """

    key: str
    caption: str
    person: str
    video: str = ""
    boxes: str = ""
    described: str = ""
    person_seed: int = -1
    number: int = 0
    failed: str = ""


def key_of(name: str, identifier: str) -> str:
    """A key that shows the name and is as unique as the identifier, short enough for a tar header."""
    readable = re.sub(r"[^A-Za-z0-9_-]+", "_", name).strip("_")[:60] or "clip"
    return f"{readable}-{hashlib.sha256(identifier.encode(errors='surrogatepass')).hexdigest()[:8]}"
