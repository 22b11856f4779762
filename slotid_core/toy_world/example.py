"""Drawn reference clips as a user's files, so that everything runs on a machine where nobody has put a video yet."""

import os
from fractions import Fraction
from pathlib import Path

from .person import Person, sample_person
from .render import render_reference

PERSON, SEED = 1_000_015, 22


def write_example(path: str | os.PathLike) -> Path:
    """A held-out person, four actions long, as an mp4; the file appears whole or not at all."""
    return write_clip(path, sample_person(PERSON), SEED)


def write_clip(
    path: str | os.PathLike, person: Person, reference_seed: int, frames: int = 65, size: int = 256, rate: int = 16
) -> Path:
    """The person's reference clip of that seed as an mp4 of size x size pixels; the file appears whole or not at
    all.
    """
    import av

    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    drawn = (render_reference(person, reference_seed, frames, size) * 255).byte().numpy()
    unfinished = path.with_suffix(".part.mp4")
    with av.open(str(unfinished), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(rate))
        stream.width, stream.height, stream.pix_fmt = size, size, "yuv420p"
        stream.options = {"crf": "14"}
        for frame in drawn:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    os.replace(unfinished, path)
    return path
