"""A small Wan and a small Stand-In, under the names of the published file, the same everywhere without a generator.

Their numbers are scattered: with weights of few directions, such as sine waves, whole parts of a block would not show.
"""

import torch

from slotid_core.wan import WanConfig, WanModel

WIDTH, DEPTH, TEXT_WIDTH, RANK = 256, 4, 64, 8


def scattered(*shape: int, phase: float, size: float = 1.0) -> torch.Tensor:
    """Numbers of mean 0 and deviation `size`: the digits behind the point of a large sine."""
    count = torch.arange(torch.Size(shape).numel(), dtype=torch.float64)
    digits = (torch.sin(count * 12.9898 + phase) * 43758.5453) % 1
    return (size * 3**0.5 * (2 * digits - 1)).float().reshape(shape)


def small_wan() -> WanModel:
    model = WanModel(WanConfig(WIDTH, 512, DEPTH, WIDTH // 128, text_dim=TEXT_WIDTH))
    with torch.no_grad():
        for number, (name, parameter) in enumerate(sorted(model.named_parameters())):
            is_norm = parameter.dim() == 1 and name.endswith("weight")
            is_matrix = parameter.dim() > 1 and not name.endswith("modulation")
            size = 0.7 / parameter[0].numel() ** 0.5 if is_matrix else 0.2
            values = scattered(*parameter.shape, phase=0.1 + number, size=size)
            parameter.copy_(1 + values if is_norm else values)
    return model.eval().requires_grad_(False)


def published_lora() -> dict[str, torch.Tensor]:
    tensors = {}
    for block in range(DEPTH):
        for number, layer in enumerate("qkv"):
            name = f"blocks.{block}.self_attn.{layer}_loras"
            phase = 0.3 * block + number
            tensors[f"{name}.down.weight"] = scattered(RANK, WIDTH, phase=phase, size=1 / WIDTH**0.5)
            tensors[f"{name}.up.weight"] = scattered(WIDTH, RANK, phase=phase + 0.15, size=1 / RANK**0.5)
    return tensors


def picture() -> torch.Tensor:
    """Latents of a picture, neither of the video's size nor square: 5 x 4 tokens beside 3 x 4 of a frame."""
    return scattered(1, 16, 1, 10, 8, phase=1.1)


def first_inputs() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Noisy latents, timestep, prompt."""
    return scattered(1, 16, 3, 6, 8, phase=0.5), torch.tensor([700.0]), scattered(1, 12, TEXT_WIDTH, phase=0.6)


def later_inputs() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Another step under another prompt, such as the negative one."""
    return scattered(1, 16, 3, 6, 8, phase=1.2), torch.tensor([300.0]), scattered(1, 9, TEXT_WIDTH, phase=1.3)
