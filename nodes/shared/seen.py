"""What a node shows in the page: pictures and clips in ComfyUI's temporary folder, and the facts drawn over them.

A node hands `with_ui(output, show(...))` to ComfyUI, which sends it to the page that queued the run, and again when the
result comes from its cache. `web/panels/` draws it. Everything here is for people to look at: where a picture cannot be
written the node still gives its result, and the page says why there is none.
"""

import logging
import uuid
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import folder_paths
import numpy as np
import torch
from comfy_api.latest import io

from ...slotid_core.errors import SlotIDError
from ...slotid_core.files import whole_file
from ...slotid_core.reference.decode.clip import shrink

KEY = "slotid_seen"  # of a node's `ui`
FOLDER = "slotid"  # in ComfyUI's temporary folder, which it empties when it starts
CLIP_SIDE, PICTURE_SIDE = 320, 384  # pixels of the shorter side
MOST_FRAMES = 2000  # of a clip; of a longer one the page gets the beginning
KEY_EVERY = 8  # frames from which a player can start: it jumps to a frame at once
Told = dict[str, list]


def show(kind: str, **facts) -> Told:
    """One thing to look at; `kind` names the module of the page that draws it."""
    return {KEY: [{"kind": kind, **facts}]}


def with_ui(output: io.NodeOutput, told: Told) -> io.NodeOutput:
    """The same output, that tells the page this as well."""
    ui = output.ui
    known = {} if ui is None else dict(ui) if isinstance(ui, dict) else ui.as_dict()
    output.ui = known | {key: [*known.get(key, ()), *values] for key, values in told.items()}
    return output


def clip_file(frames: torch.Tensor, rate: float, side: int = CLIP_SIDE) -> dict:
    """A clip that the page plays.

    Args:
        frames: (T, H, W, 3) in [0, 1].
        rate: frames per second; where it is not known, Wan's 16.
        side: pixels of the shorter side, at most.

    Returns:
        `file` (what ComfyUI's /view takes), `rate`, `frames`, `width`, `height` of the clip, `scale`, its pixels for
        one of the frames, and `left_out`, how many frames at the end are not in it; or `failure` alone, a sentence.
    """
    import av

    left_out = max(0, len(frames) - MOST_FRAMES)
    frames = frames[:MOST_FRAMES]
    height, width = shrink(_bytes(frames[0]), side).shape[:2]
    name = f"{uuid.uuid4().hex}.mp4"
    try:
        with whole_file(_folder() / name) as unfinished, av.open(str(unfinished), "w") as container:
            stream = container.add_stream("libx264", rate=Fraction(rate or 16.0).limit_denominator(1001))
            stream.width, stream.height, stream.pix_fmt = width - width % 2, height - height % 2, "yuv420p"
            stream.options = {"crf": "20", "preset": "veryfast", "g": str(KEY_EVERY)}
            for frame in frames:  # one at a time: those of a long clip together take a gigabyte
                even = np.ascontiguousarray(shrink(_bytes(frame), side)[: stream.height, : stream.width])
                container.mux(stream.encode(av.VideoFrame.from_ndarray(even, format="rgb24")))
            container.mux(stream.encode())
    except (OSError, SlotIDError, ValueError) as error:  # PyAV's errors are OSError or ValueError
        return _failure("clip", error)
    return {
        "file": _entry(name), "rate": float(rate or 16.0), "frames": len(frames), "width": width, "height": height,
        "scale": height / frames.shape[1], "left_out": left_out,
    }  # fmt: skip


def picture_files(images: torch.Tensor, side: int = PICTURE_SIDE) -> dict:
    """(N, H, W, 3) in [0, 1] -> `files`, a PNG each; or `failure`, a sentence."""
    from PIL import Image

    files = []
    try:
        for image in images:
            name = f"{uuid.uuid4().hex}.png"
            with whole_file(_folder() / name) as unfinished:
                Image.fromarray(shrink(_bytes(image), side)).save(unfinished, compress_level=1)
            files.append(_entry(name))
    except (OSError, SlotIDError) as error:
        return _failure("picture", error)
    return {"files": files}


def hex_colour(colour: Sequence[float]) -> str:
    """(r, g, b) in [0, 1] -> "#rrggbb"."""
    return "#" + "".join(f"{round(255 * part):02x}" for part in colour)


def _folder() -> Path:
    return Path(folder_paths.get_temp_directory()) / FOLDER


def _entry(name: str) -> dict:
    return {"filename": name, "subfolder": FOLDER, "type": "temp"}


def _failure(what: str, error: Exception) -> dict:
    logging.warning("Slot-ID: a %s for the page could not be written: %s", what, error)
    return {"failure": f"The {what} could not be written for the page: {error}"}


def _bytes(frame: torch.Tensor) -> np.ndarray:
    return frame[..., :3].detach().float().nan_to_num().clamp(0, 1).mul(255).round().byte().cpu().numpy()
