"""Clips for the tests of likeness: drawn people as files, and where the real ones lie."""

from pathlib import Path

import av
import numpy as np

from slotid_core.toy_world.person import sample_person
from slotid_core.toy_world.render import render_reference

REAL = Path(__file__).resolve().parents[3] / "shared" / "data"
ANN, BOB = 1_000_015, 1_000_021


def drawn(seed: int, scene: int, frames: int = 33, size: int = 128) -> np.ndarray:
    """(T, H, W, 3) uint8 of a drawn person."""
    clip = render_reference(sample_person(seed), scene, num_frames=frames, size=size)
    return (clip.numpy() * 255).round().astype(np.uint8)


def write_frames(path: Path, frames: np.ndarray, rate: int = 16) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate, options={"crf": "12"})
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")))
        container.mux(stream.encode(None))
    return path
