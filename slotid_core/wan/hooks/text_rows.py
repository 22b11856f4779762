"""Rows of the text context: over its padding, or added to the prompt where there is too little padding.

Wan pads each prompt with zero rows. After `text_embedding` they are all the same vector, and cross-attention has no
positions. So tokens overwrite the last padding rows: the same function as a prefix, but the context keeps its length,
and an amount of 0 means exactly the incoming model.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from .blocks import RunBlock
from .rows import SHARED_KEY, rows_running, run_rows_apart

TAKEN, FULL = "rows_taken", "is_full"


@dataclass(frozen=True)
class TextRows:
    """Rows for the context of one forward pass.

    Attributes:
        tokens: (B or 1, N, D) what each row becomes.
        amount: (B, N), how far a row goes from padding to token; 0 leaves padding exactly as it is.
    """

    tokens: Tensor
    amount: Tensor

    def running(self, options: dict) -> "TextRows":
        """The part for the rows of the batch that this block call runs."""
        tokens = self.tokens if len(self.tokens) == 1 else rows_running(options, self.tokens)
        return TextRows(tokens, rows_running(options, self.amount))


class PlacedRows:
    """Where the rows go in one forward pass. `run` runs a block with them."""

    def __init__(self, rows: TextRows, rows_taken: int, padding_row: int | None, missing_padding: Tensor | None):
        self.rows, self.rows_taken = rows, rows_taken
        self.padding_row, self.missing_padding = padding_row, missing_padding
        self._last: list[tuple[Tensor, Tensor]] = []

    def run(self, args: dict, run: RunBlock) -> Tensor:
        """Hidden (B, N, D) of a block whose prompt has the rows."""
        running = self.rows.running(args["transformer_options"])
        context = self.write(args["txt"], running)
        if self.missing_padding is not None:
            # Added rows would change the rows of the batch without an identity even as padding.
            return run_rows_apart(run, args, context, running.amount.any(dim=1))
        return run({**args, "txt": context})

    def write(self, context: Tensor, running: TextRows) -> Tensor:
        """Every block gets the same context, so it is written once a pass."""
        if not self._last or self._last[0][0] is not context:
            padding = self.missing_padding
            if self.padding_row is not None:
                padding = context[:, self.padding_row : self.padding_row + 1]
            self._last[:] = [(context, write_rows(context, running, self.rows_taken, padding))]
        return self._last[0][1]


def place_rows(
    options: dict,
    rows: TextRows,
    num_padding: int = 0,
    padding_vector: Callable[[], Tensor] | None = None,
    padding_row: int | None = None,
) -> tuple[dict, PlacedRows]:
    """Find room for the rows, beside those that others have placed.

    Args:
        num_padding: trailing padding rows of the context, `count_padding`; the rows overwrite the last of them.
        padding_vector: gives the (1, 1, D) embedded padding row; called only if there is too little padding, in which
            case the rows are added to the context.
        padding_row: index in the embedded context, image tokens counted, of the one row that stands for all padding
            (see `WanModel.forward`); the rows are then added, and each takes one row's weight off it.

    Returns:
        a copy of `options` that notes the room taken, and the placement.
    """
    shared = dict(options.get(SHARED_KEY, {}))
    rows_taken = shared.get(TAKEN, 0)
    num_rows = rows.amount.shape[1]
    too_little = padding_row is None and (shared.get(FULL, False) or num_padding - rows_taken < num_rows)
    if too_little:
        shared[FULL] = True
    elif padding_row is None:
        shared[TAKEN] = rows_taken + num_rows
    missing = padding_vector() if too_little and padding_vector is not None else None
    return {**options, SHARED_KEY: shared}, PlacedRows(rows, rows_taken, padding_row, missing)


def count_padding(context: Tensor) -> int:
    """How many trailing all-zero rows every prompt of a context (B, M, text width) has, before `text_embedding`."""
    is_padding = (context == 0).all(dim=2)  # (B, M)
    trailing = is_padding.flip(1).long().cumprod(dim=1).sum(dim=1)
    return int(trailing.min())


def write_rows(context: Tensor, rows: TextRows, rows_taken: int, padding: Tensor | None) -> Tensor:
    """Put N rows into an embedded context (B, M, D), in front of the last `rows_taken` of somebody else.

    They overwrite N rows, or, with the embedded padding row `padding` (B or 1, 1, D) given, N are inserted.
    """
    end = context.shape[1] - rows_taken
    start = end if padding is not None else end - rows.amount.shape[1]
    before = context[:, start:end] if padding is None else padding.to(context.dtype)
    amount = rows.amount.to(context.dtype).unsqueeze(2)
    written = torch.lerp(before, rows.tokens.to(context.dtype), amount)
    return torch.cat([context[:, :start], written, context[:, end:]], dim=1)
