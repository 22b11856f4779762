"""How identity enters a Wan transformer: rows of the text context, and FiLM on block outputs.

Wan pads each prompt with zero rows; after `text_embedding` they are all the same vector, and cross-attention has
no positions. So identity tokens overwrite the last padding rows: the same function as a prefix, but the context
keeps its length, and no identity means exactly the incoming model. Everything is installed on a copy of
`transformer_options` for one call, chained onto whatever replacement is there, and serves ComfyUI's Wan and ours.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

SHARED_KEY = "slotid"


@dataclass(frozen=True)
class IdentityCondition:
    """Identity for one forward pass, gate and strength already decided.

    Attributes:
        tokens: (B or 1, N, D) what each identity row becomes.
        amount: (B, N), how far a row goes from padding to token; 0 leaves padding exactly as it is.
        film: (B, F, 2, D) γ and β for blocks from `film_start` on, zero where a row has no identity; F may be 0.
        film_start: index of the first modulated block.
    """

    tokens: Tensor
    amount: Tensor
    film: Tensor
    film_start: int

    def running(self, transformer_options: dict) -> "IdentityCondition":
        """The part of it for the rows of the batch that this block call runs."""
        rows = transformer_options.get(SHARED_KEY, {}).get("rows")
        if rows is None:
            return self
        tokens = self.tokens if len(self.tokens) == 1 else self.tokens[rows]
        return IdentityCondition(tokens, self.amount[rows], self.film[rows], self.film_start)


def count_padding(context: Tensor) -> int:
    """How many trailing all-zero rows every prompt of a context (B, M, text width) has, before `text_embedding`."""
    is_padding = (context == 0).all(dim=2)  # (B, M)
    trailing = is_padding.flip(1).long().cumprod(dim=1).sum(dim=1)
    return int(trailing.min())


def install_identity(
    transformer_options: dict,
    condition: IdentityCondition,
    blocks: Iterable[int],
    num_padding: int = 0,
    padding_vector: Callable[[], Tensor] | None = None,
    padding_row: int | None = None,
) -> dict:
    """A copy of `transformer_options` under which the given blocks see the identity.

    Args:
        num_padding: trailing padding rows of the context, `count_padding`; the identity overwrites the last of them.
        padding_vector: gives the (1, 1, D) embedded padding row; called only if there is too little padding,
            in which case the tokens are added to the context.
        padding_row: index in the embedded context, image tokens counted, of the one row that stands for all padding
            (see `WanModel.forward`); the tokens are then added, and each takes one row's weight off it.
    """
    options = dict(transformer_options)
    shared = dict(options.get(SHARED_KEY, {}))
    rows_taken = shared.get("rows_taken", 0)
    num_tokens = condition.amount.shape[1]
    too_little = padding_row is None and (shared.get("is_full", False) or num_padding - rows_taken < num_tokens)
    if too_little:
        shared["is_full"] = True
    elif padding_row is None:
        shared["rows_taken"] = rows_taken + num_tokens
    options[SHARED_KEY] = shared

    missing_padding = padding_vector() if too_little else None

    def write(context: Tensor, running: IdentityCondition) -> Tensor:
        padding = missing_padding if padding_row is None else context[:, padding_row : padding_row + 1]
        return write_rows(context, running, rows_taken, padding)

    write = _remember_last(write)
    replacements = dict(options.get("patches_replace", {}).get("dit", {}))
    for index in blocks:
        key = ("double_block", index)
        replacements[key] = _replacement(replacements.get(key), write, condition, index, split_rows=too_little)
    options["patches_replace"] = {**options.get("patches_replace", {}), "dit": replacements}
    return options


def write_rows(context: Tensor, condition: IdentityCondition, rows_taken: int, padding: Tensor | None) -> Tensor:
    """Put the identity into an embedded context (B, M, D), in front of the last `rows_taken` of another identity.

    It overwrites N rows, or, with the embedded padding row `padding` (B or 1, 1, D) given, inserts N.
    """
    end = context.shape[1] - rows_taken
    start = end if padding is not None else end - condition.amount.shape[1]
    before = context[:, start:end] if padding is None else padding.to(context.dtype)
    amount = condition.amount.to(context.dtype).unsqueeze(2)
    rows = torch.lerp(before, condition.tokens.to(context.dtype), amount)
    return torch.cat([context[:, :start], rows, context[:, end:]], dim=1)


def modulate(hidden: Tensor, film: Tensor) -> Tensor:
    """h + γ ⊙ h + β for hidden (B, N, D) and film (B, 2, D); exactly h where film is zero."""
    scale, shift = film.to(hidden.dtype).unsqueeze(2).unbind(1)  # each (B, 1, D)
    return torch.addcmul(hidden + shift, hidden, scale)


def _replacement(previous, write, condition: IdentityCondition, index: int, split_rows: bool):
    film_index = index - condition.film_start
    has_film = 0 <= film_index < condition.film.shape[1]

    def run(args: dict, extra: dict) -> Tensor:
        out = extra["original_block"](args) if previous is None else previous(args, extra)
        return out["img"]

    def replace_block(args: dict, extra: dict) -> dict:
        running = condition.running(args["transformer_options"])
        context = write(args["txt"], running)
        if split_rows:
            hidden = _run_by_row(run, args, extra, context, running.amount.any(dim=1))
        else:
            hidden = run({**args, "txt": context}, extra)
        if has_film:
            hidden = modulate(hidden, running.film[:, film_index])
        return {"img": hidden}

    return replace_block


def rows_running(transformer_options: dict, values: Tensor) -> Tensor:
    """Those of per-row `values` (B,) whose rows of the batch this block call runs; see `_run_by_row`."""
    rows = transformer_options.get(SHARED_KEY, {}).get("rows")
    return values if rows is None else values[rows]


def _run_by_row(run, args: dict, extra: dict, context: Tensor, has_identity: Tensor) -> Tensor:
    """Run rows with and without identity apart: added rows would change the latter even as padding.

    Who else takes part in the block learns from the options which rows these are.
    """
    hidden = torch.empty_like(args["img"])
    options = args["transformer_options"]
    numbers = options.get(SHARED_KEY, {}).get("rows")
    if numbers is None:
        numbers = torch.arange(len(has_identity), device=has_identity.device)
    for rows, text in ((has_identity, context), (~has_identity, args["txt"])):
        if rows.any():
            part = {
                name: value[rows] if torch.is_tensor(value) and value.shape[0] == len(rows) > 1 else value
                for name, value in args.items()
            }
            part["transformer_options"] = {
                **options,
                SHARED_KEY: {**options.get(SHARED_KEY, {}), "rows": numbers[rows]},
            }
            hidden[rows] = run({**part, "img": args["img"][rows], "txt": text[rows]}, extra)
    return hidden


def _remember_last(function: Callable[[Tensor, IdentityCondition], Tensor]):
    """Every block gets the same context, so its identity rows are written once per call."""
    last: list[tuple[Tensor, Tensor]] = []

    def remembered(context: Tensor, running: IdentityCondition) -> Tensor:
        if not last or last[0][0] is not context:
            last[:] = [(context, function(context, running))]
        return last[0][1]

    return remembered
