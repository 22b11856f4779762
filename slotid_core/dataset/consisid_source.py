"""Clips of ConsisID-preview-Data, whose annotations hold the boxes of faces and heads through every clip.

The list has lines `video folder,caption file,annotation folder`. A caption file is a list of `{path, cap, ...}`; the
boxes of `name.mp4` are in `refine_bbox_jsons/name.json` of the annotation folder, by number of the frame.
"""

import json
from pathlib import Path

from ..errors import SlotIDError
from ..paths import inside
from .clip import Clip, key_of
from .config import ConsisIDSource

LIST = "total_train_data.txt"
REMEDY = "Copy it there, or set root to a folder that holds the whole data set."


def consisid_clips(source: ConsisIDSource) -> list[Clip]:
    """Every captioned video of the list; those that cannot be used say why.

    Raises:
        SlotIDError: the list is not there, or a line or caption file of it cannot be read.
    """
    path = Path(source.path)
    path = inside(path.absolute(), LIST, "The list of the data set", REMEDY) if path.is_dir() else path
    if not path.is_file():
        raise SlotIDError(f"There is no {path}. Give the {LIST} of the data set, or the folder that holds it.")
    root = (Path(source.root) if source.root else path.parent).absolute()
    clips = []
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), start=1):
        if not line.strip():
            continue
        columns = [column.strip() for column in line.split(",")]
        if len(columns) != 3:
            raise SlotIDError(
                f"Line {number} of {path.name} has {len(columns)} columns; it must be "
                "`video folder,caption file,annotation folder`."
            )
        videos, captions, annotations = (_locate(root, column) for column in columns)
        clips += _clips_of(root, videos, captions, annotations, source.group_by == "video")
    return clips


def _locate(root: Path, listed: str) -> Path:
    """The listed path below `root`; where its prefix belongs to another machine, as much of its end as exists."""
    parts = Path(listed).parts
    for start in range(len(parts)):
        candidate = root.joinpath(*parts[start:])
        # The list's own prefix may exist on this machine as well, and is not meant.
        if _lies_in(root, candidate) and candidate.exists():
            return candidate
    raise SlotIDError(
        f"Neither {listed} nor an end of that path lies in {root}. Set root to the folder that the list's paths are "
        "relative to."
    )


def _lies_in(root: Path, path: Path) -> bool:
    try:
        inside(root, path, path.name, REMEDY)
    except SlotIDError:
        return False
    return True


def _clips_of(root: Path, videos: Path, captions: Path, annotations: Path, by_video: bool) -> list[Clip]:
    try:
        entries = json.loads(captions.read_text(encoding="utf-8"))
        named = [(str(entry["path"]), entry["cap"]) for entry in entries]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SlotIDError(
            f"{captions} is not a list of objects with path and cap ({error!r}). Unpack the data set again."
        ) from error
    clips = []
    for name, caption in named:
        video, stem = videos / name, Path(name).stem
        key = key_of(stem, f"{videos.name}/{videos.parent.name}/{name}")
        boxes = annotations / "refine_bbox_jsons" / f"{stem}.json"
        caption = " ".join(str(caption[0] if isinstance(caption, list) and caption else caption or "").split())
        if not _lies_in(root, video) or not _lies_in(root, boxes):
            failed = f"{name!r} of {captions.name}, or its boxes, lie outside {root}. {REMEDY}"
        else:
            failed = "" if video.is_file() else f"there is no video {video}"
        person = stem.split("_segment_")[0] if by_video else key
        found = str(boxes) if not failed and boxes.is_file() else ""
        clips.append(Clip(key, caption, person, str(video), found, failed=failed or ("" if caption else "no caption")))
    return clips
