"""The child that `watched` starts: reads one file for each line of JSON, and answers with what came of it."""

import json
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from slotid_core.errors import SlotIDError
from slotid_core.picture_files import read_rgb
from slotid_core.reference.decode.clip import read_clip
from slotid_core.video_files import VideoFile

from .watched import memory_of

SHORTEST = 20  # characters of an error that says what is wrong and what to do


def load_weights(job: dict) -> None:
    from ..core.weight_files import LOADERS

    LOADERS[job["loader"]](Path(job["path"]))


def read_media(job: dict) -> None:
    clip = read_clip(job["path"], 9, job.get("start", 0.0), backend=job.get("decoder", "auto"))
    frames = clip.frames
    assert len(frames) % 4 == 1 and frames.isfinite().all() and 0 <= frames.min() <= frames.max() <= 1, "a wrong clip"


def read_picture(job: dict) -> None:
    image = read_rgb(Path(job["path"]))
    assert image.ndim == 3 and image.shape[2] == 3 and image.size, "a wrong picture"


def read_through_every_door(job: dict) -> None:
    """As a clip by path and as an open file, and as a picture; refused only where all of these refuse."""
    path = Path(job["path"])
    doors: list[Callable[[], object]] = [lambda: read_media(job), lambda: read_picture(job)]
    if path.is_file():
        doors.append(lambda: read_open_file(path))
    refusals = []
    for door in doors:
        try:
            door()
        except SlotIDError as error:
            refusals.append(error)
    if len(refusals) == len(doors):
        raise refusals[0]


def read_open_file(path: Path) -> None:
    with path.open("rb") as file, VideoFile(file) as video:
        for stream in video.container.streams.video[:1]:
            try:
                next(video.decode(stream), None)
            except video.failure as error:  # by contract, where a file breaks off
                raise SlotIDError(f"{path.name} breaks off ({error}).") from error


def list_clips(job: dict) -> None:
    """The clips of a folder of training data; one that was left out with a reason is a refusal."""
    from slotid_core.dataset.config import ConsisIDSource, FolderSource
    from slotid_core.dataset.consisid_source import consisid_clips
    from slotid_core.dataset.folder_source import folder_clips

    path = job["path"]
    clips = consisid_clips(ConsisIDSource(path)) if job["layout"] == "consisid" else folder_clips(FolderSource(path))
    for clip in clips:
        if clip.failed:
            raise SlotIDError(clip.failed)
        read_media({"path": clip.video})


HANDLERS: dict[str, Callable[[dict], None]] = {
    "weights": load_weights, "media": read_media, "picture": read_picture, "container": read_through_every_door,
    "list": list_clips,
}  # fmt: skip


def outcome(job: dict) -> tuple[str, str]:
    try:
        HANDLERS[job["kind"]](job)
    except SlotIDError as error:
        said = str(error)
        return ("refused", "") if len(said) > SHORTEST else ("crashed", f"an unclear error: {said!r}")
    except Exception as error:  # whatever comes out that is not ours counts against the pack
        return "crashed", f"{type(error).__name__}: {error}"[:300]
    return "accepted", ""


def warm_up() -> None:
    """One good file of each kind, so that imports are not the fault of the first spoilt one."""
    from ..core.reference_clips import write_video
    from ..core.weight_files import LOADERS, good_file

    with tempfile.TemporaryDirectory() as folder:
        for kind, load in LOADERS.items():
            load(good_file(kind, Path(folder)))
        for decoder in ("PyAV", "decord"):
            outcome({"kind": "media", "path": str(write_video(Path(folder, "clip.mp4"))), "decoder": decoder})


def main() -> None:
    import torch

    torch.set_num_threads(1)
    warm_up()
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no reply
    print(json.dumps({"result": "ready"}), file=replies, flush=True)
    for line in sys.stdin:
        result, said = outcome(json.loads(line))
        reply = {"result": result, "said": said, "peak": memory_of(os.getpid(), "VmHWM")}
        print(json.dumps(reply), file=replies, flush=True)


if __name__ == "__main__":
    main()
