"""The same people by `evaluation toy`'s path: cropped and encoded in one process, with rendered portraits."""

from collections.abc import Callable

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from ...files import whole_file
from ...systems.registry import SYSTEMS
from ..studio import BATCH, Studio
from ..subjects import Subject
from ..variants import FULL, Row, chosen_rows
from .records import Records


def lab_row(workflow: str) -> Row | None:
    """The row `full` of the system whose name the workflow's begins with."""
    systems = [name for name in SYSTEMS if workflow.startswith(name)]
    return chosen_rows([FULL], [max(systems, key=len)])[0] if systems else None


def lab_clips(
    studio: Studio, row: Row, subjects: list[Subject], seed: int, records: Records, progress: Callable[[int], object]
) -> Tensor:
    """Clips (people, prompts, T, H, W, 3), a batch of people at a time, each kept."""
    prompts = len(subjects[0].prompts)
    together = max(1, BATCH // prompts)
    for start in range(0, len(subjects), together):
        part = subjects[start : start + together]
        if not all(records.lab(subject).is_file() for subject in part):
            for subject, clips in zip(
                part, studio.clips(row, part, seed + start * prompts, lambda _: None), strict=True
            ):  # fmt: skip
                with whole_file(records.lab(subject), ending="") as unfinished:
                    save_file({"clips": clips.contiguous()}, unfinished)
        progress(len(part) * prompts)
    return torch.stack([load_file(records.lab(subject))["clips"] for subject in subjects])
