"""Tokens appended to the video's of packed samples, behind each sample's own; see `tokens`."""

from collections.abc import Sequence

import torch
from einops import rearrange
from torch import Tensor, nn

from ..packing import Packing, noting, packing_of
from .attention import Attention, change_attention
from .blocks import BlockWrapper, RunBlock, Transformer, wrap_blocks
from .tokens import AppendedTokens, lora_on, text_without, video_attention


def append_packed(options: dict, transformer: Transformer, appended: Sequence[AppendedTokens | None]) -> dict:
    """A copy of `options` under which every block of `transformer` runs with the tokens behind each sample's video.

    Args:
        appended: (B) of tokens (1, M, D), of one kind; None for a sample that gets none. `rows` and `region` are not
            read.
    """
    some = [one for one in appended if one is not None and one.weight]
    if not some:
        return options
    indices = range(len(transformer.blocks))
    wrappers = {index: _wrapper(block, appended, index, indices) for index, block in enumerate(transformer.blocks)}
    if any(one.attends == "itself" or one.weight != 1 for one in some):
        options = wrap_blocks(options, {index: _attend(appended) for index in indices}, inside=True)
    return wrap_blocks(options, wrappers)


def _wrapper(block: nn.Module, appended: Sequence[AppendedTokens | None], index: int, indices: range) -> BlockWrapper:
    counts = [0 if one is None else one.tokens.shape[1] for one in appended]
    first = next(one for one in appended if one is not None)

    def run_with_tokens(args: dict, run: RunBlock) -> Tensor:
        hidden, options = args["img"], args["transformer_options"]
        before = packing_of(options)
        assert before is not None  # the model notes it
        lengths = tuple(video + count for video, count in zip(before.lengths, counts, strict=True))
        if index == indices[0]:
            hidden = _behind(before, hidden, [None if one is None else one.tokens for one in appended])
        positions = _behind(before, args["pe"], [None if one is None else one.rotary for one in appended])
        modulation, modulated = args["vec"], lengths
        if first.modulation is not None:  # a part of the video and one of the tokens, in turn
            modulation = torch.stack([modulation[0], first.modulation[0].to(modulation).expand_as(modulation[0])], 1)
            modulation = rearrange(modulation, "b two six d -> 1 (b two) six d")
            modulated = tuple(number for pair in zip(before.lengths, counts, strict=True) for number in pair)
        after = Packing(lengths, modulated)
        last = _places_of_last(before.lengths, counts, hidden.device)
        with lora_on(block, first.lora.get(index, {}), last), text_without(block, last, first.reads_text):
            hidden = run(
                {
                    **args,
                    "img": hidden,
                    "pe": positions,
                    "vec": modulation,
                    "transformer_options": noting(options, after),
                }
            )
        if index != indices[-1]:
            return hidden
        videos = zip(after.split(hidden), before.lengths, strict=True)
        return torch.cat([sample[:, :video] for sample, video in videos], dim=1)

    return run_with_tokens


def _attend(appended: Sequence[AppendedTokens | None]) -> BlockWrapper:
    """Self-attention of a block in which not everything of a sample attends to everything."""

    def run_block(args: dict, run: RunBlock) -> Tensor:
        def change(attention: Attention, q: Tensor, k: Tensor, v: Tensor, sample: int | None) -> Tensor:
            one = None if sample is None else appended[sample]
            if one is None:
                return attention(q, k, v)
            count = one.tokens.shape[1]
            (video_q, video_k, video_v), (last_q, last_k, last_v) = (
                [t[:, part] for t in (q, k, v)] for part in (slice(-count), slice(-count, None))
            )
            out = video_attention(attention, video_q, video_k, video_v, [(one, last_k, last_v)])
            own = one.attends == "itself"
            last = attention(last_q, last_k, last_v) if own else attention(last_q, k, v)
            return torch.cat([out, last], dim=1)

        return run(change_attention(args, change))

    return run_block


def _behind(packing: Packing, tokens: Tensor, more: Sequence[Tensor | None]) -> Tensor:
    """(1, N, ...) of a packing -> each sample followed by its (1, M, ...)."""
    pairs = zip(packing.split(tokens), more, strict=True)
    return torch.cat([part if add is None else torch.cat([part, add.to(part)], dim=1) for part, add in pairs], dim=1)


def _places_of_last(lengths: Sequence[int], counts: Sequence[int], device: torch.device) -> Tensor:
    """Indices of the appended tokens in the sequence."""
    places, start = [], 0
    for length, count in zip(lengths, counts, strict=True):
        places.append(torch.arange(start + length, start + length + count))
        start += length + count
    return torch.cat(places).to(device)
