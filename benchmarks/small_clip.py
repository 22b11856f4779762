"""The VAE's encoder on a single small clip on the CPU: oneDNN's convolution by name, against PyTorch's own choice."""

import torch

from benchmarks.paired import Ratio, compare
from slotid_core.toy_world.family import load_vae
from slotid_core.wan import vae as module

FRAMES, SIDE = 17, 64


def run() -> list[Ratio]:
    torch.manual_seed(0)
    vae, clip = load_vae(), torch.rand(1, 3, FRAMES, SIDE, SIDE) * 2 - 1
    by_name = module.by_onednn

    @torch.inference_mode()
    def encode(choice) -> None:
        module.by_onednn = choice
        try:
            vae.encode(clip)
        finally:
            module.by_onednn = by_name

    title = f"encoding one clip of {FRAMES} frames, {SIDE} x {SIDE}: by name / PyTorch's choice"
    return [compare(title, lambda: encode(by_name), lambda: encode(lambda x: False))]
