"""How a Slot-ID identity enters a Wan transformer: rows of the text context, and FiLM on block outputs."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ...wan.hooks.blocks import BlockWrapper, RunBlock, Transformer, wrap_blocks
from ...wan.hooks.regions import TokenRegion, change_tokens
from ...wan.hooks.rows import over_tokens
from ...wan.hooks.text_regions import RegionRows, place_rows_in_region
from ...wan.hooks.text_rows import PlacedRows, TextRows, place_rows


@dataclass(frozen=True)
class IdentityCondition:
    """Identity for one forward pass, gate and strength already decided.

    Attributes:
        rows: what each identity row becomes, and how far; an amount of 0 leaves padding exactly as it is.
        film: (B, F, 2, D) γ and β for blocks from `film_start` on, zero where a row has no identity; F may be 0.
        film_start: index of the first modulated block.
        region: the tokens of the video that both reach; None for all.
    """

    rows: TextRows
    film: Tensor
    film_start: int
    region: TokenRegion | None = None


def install_identity(
    transformer_options: dict,
    condition: IdentityCondition,
    blocks: Iterable[int],
    num_padding: Sequence[int] = (),
    padding_vector: Callable[[], Tensor] | None = None,
    padding_row: int | None = None,
    transformer: Transformer | None = None,
) -> dict:
    """A copy of `transformer_options` under which the given blocks see the identity.

    `num_padding`, `padding_vector` and `padding_row` say where the tokens go; see `wan.hooks.text_rows.place_rows`. A
    region needs the `transformer` as well, whose layers make keys and values of the tokens.
    """
    region = condition.region
    if region is not None:
        assert transformer is not None
        blocks = list(blocks)
        placed = RegionRows(condition.rows, region, frozenset(blocks), num_padding, padding_vector, padding_row)
        options = place_rows_in_region(transformer_options, transformer, placed)
        modulated = [index for index in blocks if 0 <= index - condition.film_start < condition.film.shape[1]]
        return wrap_blocks(options, {index: _modulating(condition, region, index) for index in modulated})
    options, placed = place_rows(transformer_options, condition.rows, num_padding, padding_vector, padding_row)
    return wrap_blocks(options, {index: _wrapper(placed, condition, index) for index in blocks})


def _wrapper(placed: PlacedRows, condition: IdentityCondition, index: int) -> BlockWrapper:
    film_index = index - condition.film_start
    has_film = 0 <= film_index < condition.film.shape[1]

    def run_with_identity(args: dict, run: RunBlock) -> Tensor:
        hidden = placed.run(args, run)
        if has_film and run.reached:
            film = over_tokens(args["transformer_options"], condition.film[:, film_index])
            hidden = modulate(hidden, film)
        return hidden

    return run_with_identity


def _modulating(condition: IdentityCondition, region: TokenRegion, index: int) -> BlockWrapper:
    def run_and_modulate(args: dict, run: RunBlock) -> Tensor:
        hidden = run(args)
        if not run.reached or not len(region.index):
            return hidden
        film = over_tokens(args["transformer_options"], condition.film[:, index - condition.film_start])
        return change_tokens(hidden, region, lambda tokens: modulate(tokens, film))

    return run_and_modulate


def modulate(hidden: Tensor, film: Tensor) -> Tensor:
    """h + γ ⊙ h + β for hidden (B, N, D) and film (B, 1 or N, 2, D); exactly h where film is zero."""
    scale, shift = film.to(hidden.dtype).unbind(2)  # each (B, 1 or N, D)
    return torch.addcmul(hidden + shift, hidden, scale)
