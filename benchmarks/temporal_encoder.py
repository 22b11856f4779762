"""Slot-ID's temporal encoder against the VAE that makes its input: operations of 65 frames of 256 x 256.

Both are counted at the sizes for Wan 14B, the VAE's on the meta device: products and convolutions.
"""

from collections.abc import Callable

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.paired import Ratio
from slotid_core.systems.slot_id import AdapterConfig
from slotid_core.systems.slot_id.temporal_encoder import TemporalIdentityEncoder
from slotid_core.wan.vae import WanVAE, WanVAEConfig

FRAMES, SIDE = 65, 256


def operations(function: Callable[[], object]) -> int:
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter, sdpa_kernel(SDPBackend.MATH):  # the one that the counter knows on a CPU
        function()
    return counter.get_total_flops()


def run() -> list[Ratio]:
    with torch.device("meta"):
        vae, clip = WanVAE(WanVAEConfig()).requires_grad_(False), torch.zeros(1, 3, FRAMES, SIDE, SIDE)
        encoding = operations(lambda: vae.encode(clip))
    config = AdapterConfig.for_model(5120, 40).encoder
    assert config is not None
    encoder, latents = (
        TemporalIdentityEncoder(config).requires_grad_(False),
        torch.zeros(1, 16, FRAMES // 4 + 1, SIDE // 8, SIDE // 8),
    )
    share = operations(lambda: encoder(latents)) / encoding
    return [Ratio(f"operations: temporal encoder of {FRAMES} x {SIDE} x {SIDE} / VAE encoding it", share, share, share)]


if __name__ == "__main__":
    for ratio in run():
        print(ratio)
