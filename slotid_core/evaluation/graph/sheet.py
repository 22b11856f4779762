"""Reference, portrait and result of each person side by side, for eyes; the first people, chosen by nobody."""

import textwrap
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from ...errors import SlotIDError
from ...files import whole_file
from ...picture_files import read_rgb
from ..subjects import Subject
from ..videos import read_frames
from .records import Record, Records

CELL, LABEL, MARGIN = 128, 20, 8
COLUMNS = (("reference", 3), ("portrait", 1), ("result", 3), ("lab", 3))  # how many pictures of each


def save_sheet(
    records: Records, subjects: list[Subject], similarities: np.ndarray, lab: Tensor | None, path: Path
) -> None:  # fmt: skip
    """A row a person, of their first prompt.

    Args:
        similarities: (people, prompts), written beside the prompt.
        lab: clips (people, prompts, T, H, W, 3), if there are any.
    """
    columns = [(name, count) for name, count in COLUMNS if name != "lab" or lab is not None]
    width = 2 * MARGIN + CELL * sum(count for _, count in columns) + MARGIN * (len(columns) - 1)
    sheet = Image.new("RGB", (width, 2 * MARGIN + LABEL + len(subjects) * (LABEL + CELL + MARGIN)), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    for name, _, x in placed(columns):
        draw.text((x, MARGIN), name, fill="black", font=font)
    y = MARGIN + LABEL
    for number, subject in enumerate(subjects):
        record = records.read(subject, 0)
        label = f"person {subject.seed}, similarity {similarities[number, 0]:.2f}: {subject.prompts[0]}"
        draw.text((MARGIN, y), label, fill="black", font=font)
        pictures = pictures_of(records, subject, record, None if lab is None else lab[number, 0])
        for name, count, x in placed(columns):
            for place, picture in enumerate(_evenly(pictures[name], count)):
                cell = Image.fromarray(picture).resize((CELL, CELL), Image.Resampling.BICUBIC)
                sheet.paste(cell, (x + place * CELL, y + LABEL))
            if name == "result" and record is not None and record.error:
                text = "\n".join(textwrap.wrap(record.error, count * CELL // 7)[:6])
                draw.text((x + 4, y + LABEL + 4), text, fill="#a00000", font=font)
        y += LABEL + CELL + MARGIN
    with whole_file(path) as unfinished:
        sheet.save(unfinished, quality=90)


def placed(columns: list[tuple[str, int]]) -> list[tuple[str, int, int]]:
    """Name, number of pictures and left edge of each column."""
    found, x = [], MARGIN
    for name, count in columns:
        found.append((name, count, x))
        x += count * CELL + MARGIN
    return found


def pictures_of(
    records: Records, subject: Subject, record: Record | None, lab: Tensor | None
) -> dict[str, np.ndarray]:  # fmt: skip
    """Of each column, pictures (T, H, W, 3) uint8; none where there is nothing to show."""
    nothing = np.zeros((0, CELL, CELL, 3), np.uint8)
    portrait = records.portrait(subject)
    came_out = record is not None and not record.error
    return {
        "reference": read_or(nothing, records.reference(subject)),
        "portrait": read_rgb(portrait)[None] if portrait.is_file() else nothing,
        "result": records.saved_frames(subject, 0) if came_out else nothing,
        "lab": nothing if lab is None else (lab * 255).round().byte().numpy(),
    }


def read_or(nothing: np.ndarray, path: Path) -> np.ndarray:
    """The frames of a video; none where it cannot be read, which the sheet then shows."""
    from av.error import FFmpegError

    try:
        return read_frames(path)[0]
    except (OSError, FFmpegError, SlotIDError):
        return nothing


def _evenly(pictures: np.ndarray, count: int) -> np.ndarray:
    if len(pictures) <= count:
        return pictures
    return pictures[np.linspace(0, len(pictures) - 1, count).round().astype(int)]
