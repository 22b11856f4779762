"""Damaged clips and pictures, and some whose headers give another size, each read in a child."""

import io
import random
import shutil
import zlib
from pathlib import Path

from ..core.reference_clips import SIZE, numbered_frame
from ..core.reference_fuzz import damage, write_originals
from .outside import Outside
from .table import Row
from .watched import Watched

COUNT = 300
PICTURES = {"png": "PNG", "jpg": "JPEG", "webp": "WEBP", "bmp": "BMP", "tiff": "TIFF"}
RESIZED = 0.25  # of the files give another size in place of being damaged
SIDES = (0, 1, 15, 17, 5000, 13_000, 32_767, 65_535)
IN_FOLDER = 6  # pictures


def attack(count: int, seed: int, folder: Path, outside: Outside) -> Row:
    """Every container and format in turn; pictures also as a folder of several, of which some are damaged."""
    row = Row("clips and pictures")
    folder.mkdir()
    originals = write_originals(folder) + write_pictures(folder)
    contents = {path: path.read_bytes() for path in originals}
    with Watched(outside, folder / "child.log") as child:
        for number in range(count):
            rng = random.Random(f"{seed} media {number}")
            original = originals[number % len(originals)]
            path = folder / f"damaged_{number}{original.suffix}"
            path.write_bytes(spoilt(contents[original], rng.choice(list(contents.values())), rng))
            is_picture = original.suffix[1:] in PICTURES
            job: dict = {"kind": "picture" if is_picture else "media", "path": str(path)}
            if is_picture and rng.random() < 0.5:
                job = {"kind": "media", "path": str(folder_around(path, contents[original], rng))}
            elif not is_picture:
                job |= {"start": rng.choice((0.0, 0.0, 0.4)), "decoder": rng.choice(("auto", "auto", "decord"))}
            kept = row.problems[:]
            child.attack(row, f"{path.name} of seed {seed}, {job}", job)
            if row.problems == kept:
                shutil.rmtree(job["path"], ignore_errors=True)
                path.unlink(missing_ok=True)
    return row


def write_pictures(folder: Path) -> list[Path]:
    from PIL import Image

    paths = []
    for ending, name in PICTURES.items():
        paths.append(folder / f"picture.{ending}")
        Image.fromarray(numbered_frame(2)).save(paths[-1], name)
    with_more = Image.fromarray(numbered_frame(2)).convert("RGBA")
    exif = Image.Exif()
    exif[274] = 6  # turned, so that its reader is asked for more
    buffer = io.BytesIO()
    with_more.save(buffer, "PNG", exif=exif)
    paths.append(folder / "turned.png")
    paths[-1].write_bytes(buffer.getvalue())
    return paths


def spoilt(content: bytes, other: bytes, rng: random.Random) -> bytes:
    if rng.random() < RESIZED:
        resized = with_another_size(content, rng)
        return resized if rng.random() < 0.7 else damage(resized, other, rng)
    return damage(content, other, rng)


def with_another_size(content: bytes, rng: random.Random) -> bytes:
    """Width and height replaced wherever they stand beside each other in the first or last bytes of a header."""
    data = bytearray(content)
    width, height = SIZE
    new = (rng.choice(SIDES), rng.choice(SIDES))
    for length in (4, 2):
        for order in ("big", "little"):
            for first, second in ((0, 1), (1, 0)):
                old = b"".join(number.to_bytes(length, order) for number in (SIZE[first], SIZE[second]))
                place = data.find(old)
                if place >= 0:
                    data[place : place + len(old)] = b"".join(
                        number.to_bytes(length, order) for number in (new[first], new[second])
                    )
    for mark, side in ((b"\xb0\x81", width), (b"\xba\x81", height)):  # Matroska's sizes of one byte
        place = data.find(mark + bytes([side]))
        if place >= 0:
            data[place + 2] = rng.randrange(256)
    if data.startswith(b"\x89PNG"):
        data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    return bytes(data)


def folder_around(path: Path, whole: bytes, rng: random.Random) -> Path:
    """A folder of pictures of which the given one, and perhaps others, are damaged."""
    folder = path.with_name(f"{path.stem}_folder")
    folder.mkdir()
    for number in range(IN_FOLDER):
        (folder / f"{number}{path.suffix}").write_bytes(whole)
    for number in rng.sample(range(IN_FOLDER), rng.choice((1, 2, IN_FOLDER))):
        (folder / f"{number}{path.suffix}").write_bytes(path.read_bytes())
    path.unlink()
    return folder
