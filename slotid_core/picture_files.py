"""The door for pictures: told by content, of a few formats, and measured by their header before they are decoded."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from .errors import SlotIDError
from .video_files import check_pixels

ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF")  # Pillow has others that run programs, such as EPS


@contextmanager
def open_picture(file: Path) -> Iterator:
    """Pillow's picture, of which nothing is decoded yet but the header; closed at the end.

    Raises:
        SlotIDError: it is too large, damaged, of another format, or no file; also while it is decoded in the block.
    """
    from PIL import Image

    if not file.is_file():  # a pipe or a device would be waited for
        raise SlotIDError(f"There is no picture {file.name!r} in {file.parent}. Check the name.")
    try:
        with Image.open(file, formats=FORMATS) as picture:
            check_pixels(file.name, *picture.size)
            yield picture
    except SlotIDError:
        raise
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise SlotIDError(f"{file.name} cannot be read as a picture ({error}). Remove or replace it.") from error


def read_rgb(file: Path) -> np.ndarray:
    """(H, W, 3) uint8, as stored: not turned, and without transparency.

    Raises:
        SlotIDError: as for `open_picture`.
    """
    with open_picture(file) as picture:
        return np.array(picture.convert("RGB"))
