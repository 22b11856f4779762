"""What is said of an adapter file with which a training cannot start."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import SlotIDError


@contextmanager
def starting_from(path: str | os.PathLike) -> Iterator[None]:
    """For the lines that put a file's weights in place of fresh ones.

    Raises:
        SlotIDError: they are of other sizes than the settings.
    """
    try:
        yield
    except (RuntimeError, SlotIDError) as error:
        what = "; ".join(line.strip() for line in str(error).splitlines()[:3]).rstrip(".")
        raise SlotIDError(
            f"run.start_from is {path}, which is not of the sizes in `adapter`: {what}. Take over its settings, which "
            "are in its file, or leave run.start_from out."
        ) from error
