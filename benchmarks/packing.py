"""Tokens a second of a training step on samples of several sizes: packed into one sequence, or padded to the largest.

A frozen block of Wan 1.3B's width, forward and backward to its input. Samples are a picture and clips of several
lengths and shapes. Padding computes on tokens that nobody learns from, which is what packing saves; attention within
each sample costs less than attention over the padded length besides.
"""

import torch
from torch import Tensor

from benchmarks.paired import Ratio, compare
from slotid_core.systems.contract import token_count
from slotid_core.wan import WanConfig, WanModel
from slotid_core.wan.packing import predict

# Latent frames, height and width; small ones without a GPU, so that a pair takes seconds.
SIZES = [(3, 8, 12), (1, 12, 8), (2, 12, 8), (3, 8, 8), (1, 8, 12), (2, 8, 12)]
GPU_SIZES = [(21, 60, 104), (1, 104, 60), (9, 104, 60), (17, 60, 60), (1, 60, 104), (13, 60, 104)]
TEXT_ROWS = 64


def run() -> list[Ratio]:
    torch.manual_seed(0)
    on_gpu = torch.cuda.is_available()
    sizes = GPU_SIZES if on_gpu else SIZES
    device, dtype = ("cuda", torch.bfloat16) if on_gpu else ("cpu", torch.float32)
    with torch.device(device):
        model = WanModel(WanConfig(num_layers=1)).to(dtype).requires_grad_(False)  # what learns lies before or in it
        samples = [torch.randn(1, 16, *size, requires_grad=True) for size in sizes]
        level, context = torch.rand(len(sizes)), torch.randn(len(sizes), TEXT_ROWS, 4096)
    context[:, -1] = 0
    largest = [max(size[axis] for size in sizes) for axis in range(3)]
    padded = torch.cat([pad(sample.detach(), largest) for sample in samples]).requires_grad_()
    real, whole = sum(map(token_count, samples)), len(sizes) * token_count(padded)

    def step(latents: list[Tensor]) -> None:
        velocities = predict(model, latents, level, context, {})
        torch.stack([velocity.square().sum() for velocity in velocities]).sum().backward()
        if on_gpu:
            torch.cuda.synchronize()

    claim = f"Wan 1.3B block, {len(sizes)} sizes, tokens a second: packed / padded (by tokens {whole / real:.2f})"
    # As often as the padded step takes longer, so many more tokens that count the packed one does in a second.
    return [compare(claim, lambda: step([padded]), lambda: step(samples), pairs=9 if on_gpu else 5)]


def pad(sample: Tensor, size: list[int]) -> Tensor:
    """(1, C, T, H, W) with zeros behind, up to `size`."""
    missing = [wanted - has for wanted, has in zip(size, sample.shape[2:], strict=True)]
    return torch.nn.functional.pad(sample, [number for side in reversed(missing) for number in (0, side)])


if __name__ == "__main__":
    for ratio in run():
        print(ratio, flush=True)
