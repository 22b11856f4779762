"""Small models and identities that several tests share."""

import hypothesis
import torch

from slotid_core.systems.slot_id import GateSchedule, Identity
from slotid_core.wan import WanConfig, WanModel

# How long an example takes on a busy machine says nothing of the code; the tests' own timeout ends what hangs.
hypothesis.settings.register_profile("patient", deadline=None)
hypothesis.settings.load_profile("patient")

TINY_WIDTH, TINY_DEPTH = 128, 4


def tiny_wan(seed: int = 0, **settings) -> WanModel:
    torch.manual_seed(seed)
    config = WanConfig(dim=TINY_WIDTH, ffn_dim=256, num_layers=TINY_DEPTH, num_heads=1, **settings)
    return WanModel(config).eval().requires_grad_(False)


def random_identity(seed: int = 0, film_blocks: int = 2, gate: GateSchedule | None = None, **settings) -> Identity:
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=generator)

    return Identity(
        image_tokens=normal(1, 2, TINY_WIDTH),
        video_tokens=normal(1, 6, TINY_WIDTH),
        image_film=0.3 * normal(1, film_blocks, 2, TINY_WIDTH),
        video_film=0.3 * normal(1, film_blocks, 2, TINY_WIDTH),
        model_width=TINY_WIDTH,
        model_depth=TINY_DEPTH,
        gate=gate or GateSchedule("linear", low=0.2, high=0.8),
        **settings,
    )
