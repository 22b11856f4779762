"""Rows of the text context: over its padding, or added to the prompt where there is too little padding.

Wan pads each prompt with zero rows. After `text_embedding` they are all the same vector, and cross-attention has no
positions. So tokens overwrite the last padding rows: the same function as a prefix, but the context keeps its length,
and an amount of 0 means exactly the incoming model.
"""

from collections.abc import Callable, Sequence
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
    """Where the rows go in one forward pass. `run` runs a block with them.

    Args:
        taken: (B,) how many rows at the end of each context are somebody else's.
        is_full: (B,) where there is too little padding, so that the rows are added.
        padding: (1, 1, D) embedded padding, if any row of the batch is full.
        padding_row: as for `place_rows`.
    """

    def __init__(
        self, rows: TextRows, taken: Tensor, is_full: Tensor, padding: Tensor | None, padding_row: int | None = None
    ):
        self.rows, self.taken, self.is_full, self.padding, self.padding_row = rows, taken, is_full, padding, padding_row
        self._last: list[tuple[Tensor, Tensor]] = []

    def run(self, args: dict, run: RunBlock) -> Tensor:
        """Hidden (B, N, D) of a block whose prompt has the rows."""
        options, context = args["transformer_options"], args["txt"]
        running = self.rows.running(options)
        if self.padding_row is not None:
            return run({**args, "txt": self.write(context, options, running)})
        full = rows_running(options, self.is_full)
        if not full.any():
            return run({**args, "txt": self.write(context, options, running)})
        # Added rows would change the other rows of the batch even as padding.
        over = TextRows(running.tokens, running.amount * ~full.to(running.amount.device).unsqueeze(1))
        longer = self.write(context, options, running, self.padding)
        shorter = overwritten(context, over, rows_running(options, self.taken))
        return run_rows_apart(run, {**args, "txt": shorter}, longer, full.to(context.device))

    def write(self, context: Tensor, options: dict, running: TextRows, padding: Tensor | None = None) -> Tensor:
        """Every block gets the same context, so it is written once a pass."""
        if not self._last or self._last[0][0] is not context:
            if self.padding_row is not None:
                written = inserted(context, running, torch.zeros(len(context)), context[:, self.padding_row, None])
            elif padding is not None:
                written = inserted(context, running, rows_running(options, self.taken), padding)
            else:
                written = overwritten(context, running, rows_running(options, self.taken))
            self._last[:] = [(context, written)]
        return self._last[0][1]


def place_rows(
    options: dict,
    rows: TextRows,
    num_padding: Sequence[int] = (),
    padding_vector: Callable[[], Tensor] | None = None,
    padding_row: int | None = None,
) -> tuple[dict, PlacedRows]:
    """Find room for the rows, beside those that others have placed, in each row of the batch for itself.

    What a prompt becomes must not depend on the others in its batch, which is cut by free memory.

    Args:
        num_padding: (B) trailing padding rows of each context, `count_padding`; the last of them are overwritten.
        padding_vector: gives the (1, 1, D) embedded padding row; called only if there is too little padding somewhere,
            in which case the rows are added to the context there.
        padding_row: index in the embedded context, image tokens counted, of the one row that stands for all padding
            (see `WanModel.forward`); the rows are then added, and each takes one row's weight off it.

    Returns:
        a copy of `options` that notes the room taken, and the placement.
    """
    batch, num_rows = rows.amount.shape
    nothing = torch.zeros(batch, dtype=torch.long)
    if padding_row is not None:
        return options, PlacedRows(rows, nothing, nothing.bool(), None, padding_row)
    shared = options.get(SHARED_KEY, {})
    taken, was_full = shared.get(TAKEN, nothing), shared.get(FULL, nothing.bool())
    is_shown = rows.amount.detach().any(dim=1).cpu()
    has_room = ~was_full & (torch.as_tensor(num_padding) - taken >= num_rows)
    is_full = is_shown & ~has_room
    noted = {**shared, TAKEN: taken + num_rows * (is_shown & has_room), FULL: was_full | is_full}
    padding = padding_vector() if is_full.any() and padding_vector is not None else None
    return {**options, SHARED_KEY: noted}, PlacedRows(rows, taken, is_full, padding)


def count_padding(context: Tensor) -> list[int]:
    """How many trailing all-zero rows each prompt of a context (B, M, text width) has, before `text_embedding`."""
    is_padding = (context == 0).all(dim=2)  # (B, M)
    return is_padding.flip(1).long().cumprod(dim=1).sum(dim=1).tolist()


def overwritten(context: Tensor, rows: TextRows, taken: Tensor) -> Tensor:
    """An embedded context (B, M, D) with N rows over those in front of the last `taken` (B,) of each.

    Where a row's amount is 0 nothing changes, be there room or not.
    """
    num_rows = rows.amount.shape[1]
    end = (context.shape[1] - taken).clamp(min=num_rows)
    place = (end[:, None] - num_rows + torch.arange(num_rows)).to(context.device)  # (B, N)
    place = place.unsqueeze(2).expand(-1, -1, context.shape[2])
    return context.scatter(1, place, mixed(context.gather(1, place), rows, context.dtype))


def inserted(context: Tensor, rows: TextRows, taken: Tensor, padding: Tensor) -> Tensor:
    """An embedded context with N rows more, in front of the last `taken` (B,) of each; an amount of 0 gives `padding`
    (B or 1, 1, D)."""
    written = mixed(padding.to(context.dtype), rows, context.dtype).expand(len(context), -1, -1)
    ends = [context.shape[1] - int(number) for number in taken]
    parts = [torch.cat([text[:end], new, text[end:]]) for text, new, end in zip(context, written, ends, strict=True)]
    return torch.stack(parts)


def mixed(before: Tensor, rows: TextRows, dtype: torch.dtype) -> Tensor:
    """From what stands there (B or 1, N or 1, D) to the tokens, as far as the amount says."""
    return torch.lerp(before, rows.tokens.to(dtype), rows.amount.to(dtype).unsqueeze(2))
