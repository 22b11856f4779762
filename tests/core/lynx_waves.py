"""A small Wan and a small Lynx whose weights are sine waves: the same everywhere, without a random generator."""

from typing import TypeVar

import torch

from slotid_core.systems.lynx import Resampler, ResamplerConfig
from slotid_core.wan import WanConfig, WanModel

WIDTH, DEPTH, TEXT_WIDTH, TOKENS, REGISTERS, FACE = 256, 4, 64, 16, 16, 32
LITE_TOKEN_WIDTH = 96


def wave(*shape: int, phase: float, size: float = 1.0) -> torch.Tensor:
    count = torch.Size(shape).numel()
    return (size * torch.sin(torch.arange(count, dtype=torch.float64) * 12.9898 + phase)).float().reshape(shape)


AnyModule = TypeVar("AnyModule", bound=torch.nn.Module)


def fill(module: AnyModule, phase: float) -> AnyModule:
    """Linear and convolution weights by fan-in, norm weights near 1, the rest small."""
    with torch.no_grad():
        for number, (name, parameter) in enumerate(sorted(module.named_parameters())):
            is_norm = parameter.dim() == 1 and name.endswith("weight")
            fan_in = parameter[0].numel() if parameter.dim() > 1 else 25
            values = wave(*parameter.shape, phase=phase + number, size=1.4 / fan_in**0.5)
            parameter.copy_(1 + 0.3 * values if is_norm else values)
    return module.eval().requires_grad_(False)


def wave_wan() -> WanModel:
    return fill(WanModel(WanConfig(WIDTH, 512, DEPTH, WIDTH // 128, text_dim=TEXT_WIDTH)), phase=0.1)


def wave_resampler(output_width: int) -> Resampler:
    config = ResamplerConfig(128, 2, 2, TOKENS, FACE, output_width, 256)
    return fill(Resampler(config), phase=0.2)


def key_value_layers(part: str, count: int, token_width: int, bias: bool, registers: int) -> dict[str, torch.Tensor]:
    """Layers in the official layout."""
    tensors = {}
    for index in range(count):
        for number, name in enumerate(("to_k", "to_v")):
            phase = 3 * index + number + (0.3 if part == "ip" else 0.7)
            tensors[f"{index}.{name}_{part}.weight"] = wave(
                WIDTH, token_width, phase=phase, size=1.4 / token_width**0.5
            )
            if bias:
                tensors[f"{index}.{name}_{part}.bias"] = wave(WIDTH, phase=phase, size=0.2)
        if registers:
            tensors[f"{index}.registers"] = wave(1, registers, token_width, phase=index + 0.4)
    return tensors


def full_id_layers() -> dict[str, torch.Tensor]:
    return key_value_layers("ip", DEPTH, WIDTH, bias=True, registers=REGISTERS)


def lite_id_layers() -> dict[str, torch.Tensor]:
    return key_value_layers("ip", DEPTH // 2, LITE_TOKEN_WIDTH, bias=False, registers=0)


def ref_layers() -> dict[str, torch.Tensor]:
    return key_value_layers("ref", DEPTH, WIDTH, bias=True, registers=0)


def video_inputs() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Noisy latents, timestep, prompt."""
    return wave(1, 16, 3, 6, 8, phase=0.5), torch.tensor([700.0]), wave(1, 12, TEXT_WIDTH, phase=0.6)


def reference_inputs() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Latents of a grey picture and of a face, timestep 0, the reference prompt for both."""
    latents = torch.cat([torch.zeros(1, 16, 1, 8, 8), wave(1, 16, 1, 8, 8, phase=0.8)])
    return latents, torch.zeros(2), wave(1, 5, TEXT_WIDTH, phase=0.9).expand(2, -1, -1)


def face_embedding() -> torch.Tensor:
    return torch.nn.functional.normalize(wave(1, FACE, phase=1.0), dim=1)
