"""The router's weights over a video as pictures, one colour a component."""

import torch
from einops import rearrange, repeat
from torch import Tensor

from ...reference.portrait.components import NAMES

# Brows, eyes, mouth, nose, skin, hair; and grey for a null component.
COLOURS = ((0.58, 0.40, 0.74), (0.12, 0.47, 0.71), (0.84, 0.15, 0.16), (0.17, 0.63, 0.17), (1.0, 0.73, 0.47),
           (0.35, 0.20, 0.10), (0.5, 0.5, 0.5))  # fmt: skip
TOKEN, EVERY = 16, 4  # pixels of a token along a side; frames of a latent frame, but for the first


def router_maps(weights: Tensor, grid: tuple[int, int, int]) -> Tensor:
    """Pictures (F, 16·h, 16·w, 3) in [0, 1] of a video's F = 4·t - 3 frames.

    Args:
        weights: (N, M) or, with a null component, (N, M + 1), in the order of the tokens; rows sum to 1.
        grid: tokens by time, height and width.
    """
    frames, height, width = grid
    colours = torch.tensor(COLOURS[: weights.shape[1]], dtype=torch.float32)
    mixed = (weights.float().cpu() @ colours).view(frames, height, width, 3)
    large = repeat(mixed, "t h w c -> t (h a) (w b) c", a=TOKEN, b=TOKEN)
    return torch.cat([large[:1], large[1:].repeat_interleave(EVERY, dim=0)]).clamp(0, 1)


def over_frames(maps: Tensor, frames: Tensor, opacity: float) -> Tensor:
    """Maps (F, H, W, 3) over the frames (F', H', W', 3) that they belong to, at their size; the shorter one counts."""
    count = min(len(maps), len(frames))
    sized = torch.nn.functional.interpolate(maps[:count].movedim(-1, 1), tuple(frames.shape[1:3]), mode="nearest")
    return torch.lerp(frames[:count, ..., :3].float(), rearrange(sized, "f c h w -> f h w c"), opacity)


def legend(null: bool) -> list[tuple[str, tuple[float, float, float]]]:
    """Names of the components, and their colours."""
    names = (*NAMES, "none") if null else NAMES
    return list(zip(names, COLOURS[: len(names)], strict=True))
