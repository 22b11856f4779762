"""Clips of a folder: videos with captions beside them, or a JSONL list."""

import json
from collections import Counter
from pathlib import Path

from ..errors import SlotIDError
from ..paths import inside
from ..video_files import ENDINGS
from .clip import Clip, key_of
from .config import FolderSource

REMEDY = "Copy it into that folder, or set root to a folder that holds all clips."


def folder_clips(source: FolderSource) -> list[Clip]:
    """Every video of the source, also those that cannot be used, which say why.

    Raises:
        SlotIDError: there is no such folder or list.
    """
    path = Path(source.path)
    if path.is_dir():
        return _videos_in(path, Path(source.root or path), source.group_by == "folder")
    if path.is_file() and path.suffix == ".jsonl":
        return _listed_in(path, Path(source.root or path.parent), source.group_by == "folder")
    raise SlotIDError(
        f"{source.path} is neither a folder nor a .jsonl file. Give a folder of videos with .txt captions, or a list."
    )


def _videos_in(folder: Path, root: Path, by_folder: bool) -> list[Clip]:
    clips = []
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        hidden = any(part.startswith(".") for part in relative.parts)
        if hidden or path.suffix.lower() not in ENDINGS or not path.is_file():
            continue
        caption, failed = _caption_beside(path, root)
        failed = _outside(root, path, relative.as_posix()) or failed
        described, wrong = _text_beside(path, ".described.txt", root)
        key = key_of(relative.with_suffix("").as_posix(), relative.as_posix())
        who = _person(relative, key, by_folder)
        clips.append(Clip(key, caption, who, str(path), described=described, failed=failed or wrong))
    return clips


def _outside(root: Path, path: Path, what: str) -> str:
    """Why a file may not be read, or nothing."""
    try:
        inside(root.absolute(), path.absolute(), what, REMEDY)
    except SlotIDError as error:
        return str(error)
    return ""


def _caption_beside(video: Path, root: Path) -> tuple[str, str]:
    """A video's caption, and why it has none."""
    caption, failed = _text_beside(video, ".txt", root)
    return caption, failed or ("" if caption else f"it has no caption: there is no {video.stem}.txt beside it")


def _text_beside(video: Path, ending: str, root: Path) -> tuple[str, str]:
    """The text of the file of this ending, "" where there is none; and what is wrong with it."""
    path = video.with_suffix(ending)
    if not path.is_file():
        return "", ""
    if failed := _outside(root, path, path.name):
        return "", failed
    try:
        text = _tidy(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        return "", f"{path.name} cannot be read as UTF-8 text ({error})"
    return text, "" if text else f"{path.name} is empty"


def _listed_in(path: Path, root: Path, by_folder: bool) -> list[Clip]:
    clips: list[Clip] = []
    seen: Counter[str] = Counter()
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise SlotIDError(f"{path} cannot be read as UTF-8 text ({error}). Save it as UTF-8.") from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        clips.append(_listed(path, root, number, line, by_folder, seen))
    return clips


def _listed(path: Path, root: Path, number: int, line: str, by_folder: bool, seen: Counter) -> Clip:
    where = f"line {number} of {path.name}"
    try:
        entry = json.loads(line)
        video, caption = entry["video_path"], entry["caption"]
        described = entry.get("described") or ""
        if not isinstance(video, str) or not video or not isinstance(caption, str) or not isinstance(described, str):
            raise TypeError("video_path, caption and described must be text")
        person = entry.get("person")
        if person is not None and not isinstance(person, str | int):
            raise TypeError("person must be text or a number")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        key = key_of(f"line_{number}", line)
        return Clip(key, "", key, failed=f"{where} is not a JSON object with video_path and caption ({error!r})")
    seen[video] += 1
    relative = Path(video)
    key = key_of((relative.parent / relative.stem).as_posix(), f"{video} {seen[video]}")
    who = _person(relative, key, by_folder) if person in (None, "") else str(person)
    caption = _tidy(caption)
    failed = _outside(root, path.parent / relative, where) if caption else f"{where} has an empty caption"
    return Clip(key, caption, who, str(path.parent / relative), described=_tidy(described), failed=failed)


def _person(relative: Path, key: str, by_folder: bool) -> str:
    parent = relative.parent.as_posix()
    return parent if by_folder and parent not in (".", "") else key


def _tidy(caption: str) -> str:
    return " ".join(caption.split())
