"""What lies outside and must be neither opened nor written: files of our own beside the folder that is attacked.

Three things are looked at: what Python opened (`site/sitecustomize`), the times at which our files were read, which the
system keeps whoever reads them, and the names, sizes and times of everything there.
"""

import os
import time
from pathlib import Path

from safetensors.torch import save_file

from slotid_core.errors import SlotIDError

from . import ROOT

SITE = Path(__file__).with_name("site")
# Files of the system that attacks name; nothing in the pack or in ComfyUI opens them from Python.
OF_THE_SYSTEM = (
    "/", "/etc", "/etc/passwd", "/etc/shadow", "/etc/hostname", "/dev/zero", "/dev/stdin", "/dev/random",
    "/proc/self/environ", "/proc/self/mem",
)  # fmt: skip
LONG_AGO = 10**9  # seconds of the clock: a time of reading before any writing is renewed by the next reading
LEFT_OUT = {".git", ".venv", ".comfyui", ".cache", "__pycache__", "output", ".pytest_cache", ".ruff_cache"}


class Outside:
    """`folder/outside` and `folder/home`, with files of every kind that the pack reads."""

    def __init__(self, folder: Path):
        import torch
        from PIL import Image

        from ..core.reference_clips import numbered_frame, write_video

        self.folder, self.home = folder / "outside", folder / "home"
        self._opened, self._seen = folder / "opened.txt", 0
        for place in (self.folder, self.home, self.folder / "pictures"):
            place.mkdir(parents=True, exist_ok=True)
        picture = Image.fromarray(numbered_frame(3))
        for number in range(6):
            picture.save(self.folder / "pictures" / f"{number}.png")
        for place in (self.folder, self.home):
            (place / "secret.txt").write_text("A secret.")
            (place / "secret.yaml").write_text("system: slot_id\n")
            (place / "secret.jsonl").write_text('{"video_path": "secret.mp4", "caption": "A secret."}\n')
            picture.save(place / "secret.png")
            write_video(place / "secret.mp4", frames=9)
            save_file({"weights.a": torch.zeros(3)}, place / "secret.safetensors")
        self._state = state_of([self.folder, self.home])
        self._pack = state_of([ROOT])
        self._check_clock()
        self._reset()

    def environment(self) -> dict[str, str]:
        """Variables for a Python that shall be watched; its home is one of ours."""
        # Libraries look for fonts and settings in a home, so of that one only the files count.
        at_home = [str(path) for path in self.home.iterdir()]
        watched = "\n".join((str(self.folder), *at_home, *OF_THE_SYSTEM))
        return {
            "PYTHONPATH": str(SITE),
            "HOME": str(self.home),
            "SLOTID_ATTACK_OUTSIDE": watched,
            "SLOTID_ATTACK_OPENED": str(self._opened),
        }

    def touched(self) -> list[str]:
        """What has been opened, read or written since the last call."""
        found = []
        if self._opened.exists():
            with self._opened.open() as log:
                log.seek(self._seen)
                found += log.read().splitlines()
                self._seen = log.tell()
        found += [f"read {path}" for path in self._files() if path.stat().st_atime_ns != LONG_AGO * 10**9]
        state = state_of([self.folder, self.home])
        found += [f"written {path}" for path in changed(self._state, state)]
        self._state = state
        self._reset()
        return found

    def pack_changes(self) -> list[str]:
        """Files of the pack itself that were added, removed or written."""
        return [f"written {path}" for path in changed(self._pack, state_of([ROOT]))]

    def _files(self) -> list[Path]:
        return [path for place in (self.folder, self.home) for path in place.rglob("*") if path.is_file()]

    def _reset(self) -> None:
        for path in self._files():
            os.utime(path, ns=(LONG_AGO * 10**9, path.stat().st_mtime_ns))

    def _check_clock(self) -> None:
        """
        Raises:
            SlotIDError: the disk does not keep times of reading, so readings by C libraries would not be seen.
        """
        self._reset()
        probe = self.folder / "secret.txt"
        probe.read_bytes()
        if probe.stat().st_atime_ns == LONG_AGO * 10**9:
            raise SlotIDError(f"The disk of {self.folder} keeps no times of reading (noatime). Set TMPDIR to another.")


def state_of(folders: list[Path]) -> dict[str, tuple[int, int]]:
    """Size and time of writing of every file, link and folder below, by path; folders have no size or time."""
    state: dict[str, tuple[int, int]] = {}
    for top in folders:
        for folder, below, names in os.walk(top):
            below[:] = [name for name in below if name not in LEFT_OUT]
            state |= {f"{folder}/{name}": (0, 0) for name in below}
            for name in names:
                path = f"{folder}/{name}"
                try:
                    found = os.lstat(path)
                except FileNotFoundError:  # gone since the folder was listed
                    continue
                state[path] = (found.st_size, found.st_mtime_ns)
    return state


def changed(before: dict, after: dict) -> list[str]:
    """Paths that were added, removed or written."""
    return sorted(path for path in before.keys() | after.keys() if before.get(path) != after.get(path))


def wait_for(condition, seconds: float, every: float = 0.05) -> bool:
    """Whether `condition()` became true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(every)
    return True
