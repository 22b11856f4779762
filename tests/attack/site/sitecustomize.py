"""Python imports this by itself where the folder is on its path: it writes down when what is outside is opened.

Only what Python opens is seen. Libraries in C open files by themselves, for which `outside` looks at times of reading.
SLOTID_ATTACK_OUTSIDE lists folders and files, one a line; SLOTID_ATTACK_OPENED is the file to write to.
"""

import os
import sys

EVENTS = {
    "open", "os.listdir", "os.scandir", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink",
    "os.truncate",
}  # fmt: skip


def watch(outside: list[str], log: str) -> None:
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    folders = tuple(f"{path}/" for path in outside if path != "/")

    def note(event: str, values: tuple) -> None:
        if event not in EVENTS:
            return
        for value in values[:2]:
            if not isinstance(value, str | bytes | os.PathLike):
                continue
            try:
                written = os.path.abspath(os.fsdecode(value))  # noqa: PTH100  links are followed below
                found = {written, os.path.realpath(written)}
            except (OSError, ValueError):  # cannot be a path
                continue
            if any(path in outside or path.startswith(folders) for path in found):
                os.write(descriptor, f"{event} {written!r}\n".encode("ascii", "backslashreplace"))

    sys.addaudithook(note)


if os.environ.get("SLOTID_ATTACK_OUTSIDE") and os.environ.get("SLOTID_ATTACK_OPENED"):
    watch(os.environ["SLOTID_ATTACK_OUTSIDE"].split("\n"), os.environ["SLOTID_ATTACK_OPENED"])
