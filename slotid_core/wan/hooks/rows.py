"""Rows of the batch that run apart, and how everybody else who acts in the block learns which rows these are."""

import torch
from torch import Tensor

from ..packing import SHARED_KEY, packing_of
from .blocks import RunBlock

ROWS_RUNNING = "rows"


def rows_running(options: dict, values: Tensor) -> Tensor:
    """Those of per-row `values` (B, ...) whose rows of the batch this block call runs."""
    rows = options.get(SHARED_KEY, {}).get(ROWS_RUNNING)
    return values if rows is None else values[rows.to(values.device)]


def over_tokens(options: dict, values: Tensor) -> Tensor:
    """Those of per-row `values` (B, ..., D) that this block call runs -> (B, 1, ..., D), or (1, N, ..., D) of packed
    samples, to go with hidden (B, N, D)."""
    packing = packing_of(options)
    return rows_running(options, values).unsqueeze(1) if packing is None else packing.of_samples(values)


def run_rows_apart(run: RunBlock, args: dict, context: Tensor, chosen: Tensor) -> Tensor:
    """Run the rows in `chosen` with `context`, the others with the context that they have.

    Args:
        context: (B, M', D), for the chosen rows; M' may differ from that of `args["txt"]`.
        chosen: (B,) boolean.

    Returns:
        hidden (B, N, D), rows in their order.
    """
    hidden = None
    options = args["transformer_options"]
    numbers = options.get(SHARED_KEY, {}).get(ROWS_RUNNING)
    if numbers is None:
        numbers = torch.arange(len(chosen), device=chosen.device)
    for rows, text in ((chosen, context), (~chosen, args["txt"])):
        if rows.any():
            part = {
                name: value[rows] if torch.is_tensor(value) and value.shape[0] == len(rows) > 1 else value
                for name, value in args.items()
            }
            part["transformer_options"] = {
                **options,
                SHARED_KEY: {**options.get(SHARED_KEY, {}), ROWS_RUNNING: numbers[rows]},
            }
            part_hidden = run({**part, "img": args["img"][rows], "txt": text[rows]})
            if hidden is None:  # the block may append tokens or strip them, so its result says how many there are
                hidden = part_hidden.new_empty(len(rows), *part_hidden.shape[1:])
            hidden[rows] = part_hidden
    assert hidden is not None  # one of the two parts has rows
    return hidden
