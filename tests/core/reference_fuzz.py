"""Damages small videos of every container and reads them in a process of its own, so that a crash or a hang is seen.

python tests/core/reference_fuzz.py FOLDER FIRST COUNT DECODER   one line of JSON for each damaged file
"""

import json
import random
import subprocess
import sys
import time
from pathlib import Path

KINDS = [
    ("libx264", "mp4"), ("libvpx-vp9", "webm"), ("mjpeg", "mkv"), ("libx264", "mov"), ("mpeg4", "avi"),
    ("libx264", "ts"), ("libx265", "mp4"), ("gif", "gif"), ("libx264", "flv"),
]  # fmt: skip
LONGEST = 10.0  # seconds for one file


def write_originals(folder: Path) -> list[Path]:
    from reference_clips import numbered_frame, write_video

    made = []
    for codec, ending in KINDS:
        path = folder / f"{codec}.{ending}"
        if codec == "gif":
            from PIL import Image

            pictures = [Image.fromarray(numbered_frame(index)) for index in range(12)]
            pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=40)
        else:
            write_video(path, codec, sound=ending in ("mp4", "mkv"))
        made.append(path)
    return made


def damage(content: bytes, other: bytes, rng: random.Random) -> bytes:
    """Flips bytes, cuts the end off, cuts a piece out, repeats one, or splices another file in."""
    data = bytearray(content)
    for _ in range(rng.randint(1, 3)):
        kind = rng.choice(("flip", "flip header", "truncate", "cut out", "repeat", "splice"))
        place, length = rng.randrange(len(data)), rng.randint(1, max(1, len(data) // 4))
        if kind == "flip":
            for _ in range(rng.choice((1, 8, 100))):
                data[rng.randrange(len(data))] = rng.randrange(256)
        elif kind == "flip header":
            for _ in range(8):
                data[rng.randrange(min(len(data), 600))] = rng.randrange(256)
        elif kind == "truncate":
            del data[max(1, place) :]
        elif kind == "cut out":
            del data[max(1, place) : max(1, place) + length]
        elif kind == "repeat":
            data[place:place] = data[place : place + length]
        else:
            start = rng.randrange(len(other))
            data[place : place + length] = other[start : start + length]
    return bytes(data)


def outcomes(folder: Path, first: int, count: int, decoder: str = "auto") -> list[dict]:
    """Runs a child on `count` damaged files; a child that dies or hangs leaves the file's name as its last line."""
    command = [sys.executable, str(Path(__file__)), str(folder), str(first), str(count), decoder]
    limit = 60 + LONGEST * count
    done = subprocess.run(command, capture_output=True, text=True, timeout=limit, cwd=Path(__file__).parents[2])
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert done.returncode == 0, f"the reader died ({done.returncode}) after {lines[-1:]}: {done.stderr[-400:]}"
    return [line for line in lines if "seconds" in line]


def main(folder: str, first: str, count: str, decoder: str) -> None:
    sys.path[:0] = [str(Path(__file__).parents[2])]
    from slotid_core.errors import SlotIDError
    from slotid_core.reference.decode.clip import read_clip

    originals = sorted(path for path in Path(folder).iterdir() if path.stem != "damaged")
    read_clip(originals[0], 9)  # imports are not the damage's fault
    for seed in range(int(first), int(first) + int(count)):
        rng = random.Random(seed)
        original = originals[seed % len(originals)]
        path = Path(folder) / f"damaged{original.suffix}"
        path.write_bytes(damage(original.read_bytes(), rng.choice(originals).read_bytes(), rng))
        print(json.dumps({"starts": seed, "file": original.name}), flush=True)
        began = time.perf_counter()
        try:
            clip = read_clip(path, 9, start_seconds=rng.choice((0.0, 0.4)), backend=decoder)
            valid = len(clip.frames) % 4 == 1 and bool(clip.frames.isfinite().all()) and 0 <= clip.frames.min() <= 1
            result = "valid clip" if valid else "wrong clip"
        except SlotIDError as error:
            result = "clear error" if len(str(error)) > 20 else "unclear error"
        seconds = round(time.perf_counter() - began, 3)
        print(json.dumps({"seed": seed, "file": original.name, "result": result, "seconds": seconds}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
