"""A drawn reference clip, so that everything runs on a machine where nobody has put a video yet."""

import os
from fractions import Fraction
from pathlib import Path

from .person import sample_person
from .render import render_reference

PERSON, SEED, FRAMES, SIZE, RATE = 1_000_015, 22, 65, 256, 16


def write_example(path: str | os.PathLike) -> Path:
    """A held-out person, four actions long, as an mp4; the file appears whole or not at all."""
    import av

    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    frames = (render_reference(sample_person(PERSON), SEED, FRAMES, SIZE) * 255).byte().numpy()
    unfinished = path.with_suffix(".part.mp4")
    with av.open(str(unfinished), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(RATE))
        stream.width, stream.height, stream.pix_fmt = SIZE, SIZE, "yuv420p"
        stream.options = {"crf": "14"}
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    os.replace(unfinished, path)
    return path
