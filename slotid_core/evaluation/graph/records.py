"""A folder with what came out for each person, so that a stopped run goes on where it was.

settings.json                      whose results these are
person_1042420000/
    person_1042420000.mp4          the reference clip, as it is uploaded
    portrait.png                   as the graph made it
    0.mp4, 0_frames/*.png          the first prompt: the saved video, and its frames before the codec
    0.json                         the error, if there was one, and the seconds; written last
    lab.safetensors                the same person by `evaluation toy`'s path
"""

import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from ...comfy_runtime import PACK
from ...config import config_from_dict
from ...errors import SlotIDError
from ...files import read_json, write_json
from ...picture_files import read_rgb
from ..subjects import Subject
from ..videos import read_frames

SETTINGS = "settings.json"
COUNTED = (".py", ".safetensors", ".json", ".yaml")  # files of the pack that can change a result


@dataclass(frozen=True)
class Record:
    """The end of one prompt. `error`: what the server said, or "" if there is a video. `seconds`: from queue to end."""

    error: str
    seconds: float


class Records:
    """Raises SlotIDError if the folder holds results of other settings, which must not be mixed with these."""

    def __init__(self, folder: Path, settings: dict):
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / SETTINGS
        before = read_json(path, "Give another --folder, or empty that one.") if path.is_file() else settings
        changed = sorted(name for name in {*before, *settings} if before.get(name) != settings.get(name))
        if changed:
            raise SlotIDError(
                f"{folder} holds results of another {', '.join(changed)}. Give another --folder, or empty that one."
            )
        write_json(path, settings)

    def person(self, subject: Subject) -> Path:
        return self.folder / f"person_{subject.seed}"

    def reference(self, subject: Subject) -> Path:
        return self.person(subject) / f"person_{subject.seed}.mp4"

    def portrait(self, subject: Subject) -> Path:
        return self.person(subject) / "portrait.png"

    def lab(self, subject: Subject) -> Path:
        return self.person(subject) / "lab.safetensors"

    def video(self, subject: Subject, place: int) -> Path:
        return self.person(subject) / f"{place}.mp4"

    def frames(self, subject: Subject, place: int) -> Path:
        return self.person(subject) / f"{place}_frames"

    def read(self, subject: Subject, place: int) -> Record | None:
        """How a prompt ended, None if it has not yet."""
        path = self.person(subject) / f"{place}.json"
        if not path.is_file():
            return None
        return config_from_dict(Record, read_json(path, "Delete it, and the prompt is run again."))

    def write(self, subject: Subject, place: int, record: Record) -> None:
        write_json(self.person(subject) / f"{place}.json", asdict(record))

    def saved_frames(self, subject: Subject, place: int) -> np.ndarray:
        """The video as it was saved, decoded. (T, H, W, 3) uint8."""
        return read_frames(self.video(subject, place))[0]

    def sampled_frames(self, subject: Subject, place: int) -> np.ndarray | None:
        """The same before the codec, if the workflow let them be had."""
        paths = sorted(self.frames(subject, place).glob("*.png"))
        return np.stack([read_rgb(path) for path in paths]) if paths else None


def pack_fingerprint(pack: Path = PACK) -> str:
    """Of the code and weights that a server of our own would run."""
    digest = hashlib.sha256()
    for folder in ("nodes", "slotid_core"):
        for path in sorted(file for file in (pack / folder).rglob("*") if file.suffix in COUNTED):
            digest.update(str(path.relative_to(pack)).encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]
