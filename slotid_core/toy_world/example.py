"""Drawn reference clips as files, so that everything runs on a machine where nobody has put a video yet."""

import math
import os
from dataclasses import fields
from fractions import Fraction
from pathlib import Path

import numpy as np

from ..files import whole_file
from .motion import Motion
from .person import Person, sample_person
from .render import draw, reference_motion

RATE = 16  # frames per second at which people of the toy world move
# Person -> reference seed. The first has always been the example; the others are the last seeds but four of an
# evaluation's 10,000, which no evaluation reaches.
EXAMPLES = {1_000_015: 22, 1_009_991: 23, 1_009_992: 24, 1_009_993: 25, 1_009_994: 26, 1_009_995: 27}


def write_clip(
    path: str | os.PathLike, person: Person, reference_seed: int, frames: int = 65, size: int = 256, rate: float = RATE
) -> Path:
    """A reference clip (`render.reference_motion`) as an mp4; the file appears whole or not at all.

    Args:
        frames: how many; the five actions share the time that they last.
        size: side of the square picture in pixels, even.
        rate: frames per second of the file. Somebody moves as fast at any rate: between the frames of the toy world's
            own rate, poses are interpolated.
    """
    import av

    path = Path(path)
    drawn_frames = math.ceil(round((frames - 1) * RATE / rate, 6)) + 1
    scene, motion = reference_motion(person, reference_seed, drawn_frames)
    pictures = draw([person], [scene], [at_times(motion, np.arange(frames) * RATE / rate)], size)[0]
    with whole_file(path, ending=".mp4") as unfinished, av.open(str(unfinished), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(rate).limit_denominator(1001))
        stream.width, stream.height, stream.pix_fmt = size, size, "yuv420p"
        stream.options = {"crf": "14"}
        for picture in (pictures * 255).byte().numpy():
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path


def at_times(motion: Motion, times: np.ndarray) -> Motion:
    """The pose at `times`, in frames of `motion`, between two of which it is interpolated linearly."""
    known = np.arange(len(motion.yaw))
    return Motion(*(np.interp(times, known, getattr(motion, field.name)) for field in fields(motion)))


def clip_name(person_seed: int) -> str:
    return f"person_{person_seed}.mp4"


def write_clips(folder: Path, first: int | None, people: int) -> list[Path]:
    """Clips of `people` people from seed `first` on, or of the first `people` examples."""
    seeds = dict(list(EXAMPLES.items())[:people]) if first is None else {first + i: first + i for i in range(people)}
    return [write_clip(folder / clip_name(seed), sample_person(seed), reference) for seed, reference in seeds.items()]
