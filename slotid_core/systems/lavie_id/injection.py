"""How the local router gets into a Wan transformer: before its first block or after it, on the video's tokens alone.

One code for ComfyUI's model and ours, in training and in use.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ...wan.hooks.blocks import RunBlock, Transformer, wrap_blocks
from ...wan.hooks.regions import TokenRegion, change_tokens
from ...wan.hooks.rows import rows_running
from ...wan.packing import packing_of
from .router import LocalRouter, Routes

FIRST_BLOCK = 0
# Logits (R, N, M) of the rows that were routed, and the indices (R,) of these rows in the batch.
Note = Callable[[Tensor, Tensor], None]


@dataclass(frozen=True)
class RouterCondition:
    """The router for one forward pass.

    Attributes:
        routes: of one person for all rows of the batch, or of one for each row.
        rows: (B,) 0 or 1, the rows that show the person; None for all.
        scale: times the adapter's α; 0 installs nothing.
        note: gets the logits of the weights, for the route loss and for pictures.
        region: the tokens of the video that are routed; None for all. The note then has those of the region alone.
    """

    router: LocalRouter
    routes: Routes
    rows: Tensor | None = None
    scale: float = 1.0
    note: Note | None = None
    region: TokenRegion | None = None


def install_router(
    options: dict, transformer: Transformer, condition: RouterCondition, num_tokens: int | Sequence[int]
) -> dict:
    """A copy of `transformer_options` under which the rows of the condition are routed.

    Args:
        num_tokens: of the video, which are the first of those that enter a block; of each sample, where they are
            packed. A context window has a number of its own.
    """
    counts = [num_tokens] if isinstance(num_tokens, int) else num_tokens
    weight = condition.scale * condition.router.config.alpha
    if not weight or (condition.rows is not None and not condition.rows.any()):
        return options

    def run_block(args: dict, run: RunBlock) -> Tensor:
        inside = args["transformer_options"]
        if condition.router.config.place == "before":
            return run({**args, "img": routed(args["img"], inside, condition, weight, counts)})
        hidden = run(args)
        return routed(hidden, inside, condition, weight, counts) if run.reached else hidden

    return wrap_blocks(options, {FIRST_BLOCK: run_block})


def routed(
    hidden: Tensor, options: dict, condition: RouterCondition, weight: float, num_tokens: Sequence[int]
) -> Tensor:
    """Equation 3 on the video's tokens, the first of hidden (B, N, D') or of each packed sample, in the rows meant; the
    others are as they came."""
    packing = packing_of(options)
    if packing is None:
        return routed_rows(hidden, options, condition, weight, num_tokens[0])
    samples, rows = [], torch.ones(len(num_tokens)) if condition.rows is None else condition.rows
    for number, (sample, count) in enumerate(zip(packing.split(hidden), num_tokens, strict=True)):
        person = 0 if len(condition.routes.shown) == 1 else number
        index = torch.tensor([number], device=hidden.device)
        samples.append(routed_sample(sample, index, person, condition, weight, count) if rows[number] else sample)
    return torch.cat(samples, dim=1)


def routed_sample(
    hidden: Tensor, index: Tensor, person: int, condition: RouterCondition, weight: float, num_tokens: int
) -> Tensor:
    """One packed sample (1, N, D') that shows a person of the routes; `index` (1,) is its number in the batch."""
    routes = condition.routes.of_rows(torch.tensor([person]))
    refined = refine(hidden[:, :num_tokens], index, routes, condition, weight)
    return torch.cat([refined, hidden[:, num_tokens:]], dim=1)


def routed_rows(hidden: Tensor, options: dict, condition: RouterCondition, weight: float, num_tokens: int) -> Tensor:
    everybody = torch.ones(len(hidden)) if condition.rows is None else rows_running(options, condition.rows)
    index = everybody.bool().nonzero().flatten().to(hidden.device)  # (R,)
    if not len(index):
        return hidden
    routes = condition.routes
    if len(routes.shown) == 1:
        routes = routes.of_rows(torch.zeros_like(index))
    else:
        running = rows_running(options, torch.arange(len(routes.shown), device=index.device))
        routes = routes.of_rows(running[index])
    region = condition.region
    if region is not None:
        if not len(region.index):
            return hidden
        of_rows = hidden[index]
        out = hidden.clone()
        out[index] = change_tokens(of_rows, region, lambda tokens: refine(tokens, index, routes, condition, weight))
        return out
    refined = refine(hidden[index, :num_tokens], index, routes, condition, weight)
    if refined.shape == hidden.shape:
        return refined
    out = hidden.clone()
    out[index, :num_tokens] = refined
    return out


def refine(video: Tensor, index: Tensor, routes: Routes, condition: RouterCondition, weight: float) -> Tensor:
    """Equation 3 on video (R, N, D') of the rows `index` (R,), whose people are `routes`."""
    change, logits = condition.router(video.to(condition.router.attention.to_q.weight.dtype), routes)
    if condition.note is not None:
        condition.note(logits, index)
    return video + weight * change.to(video.dtype)
