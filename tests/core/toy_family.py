"""A toy family with random weights, as good as a trained one for everything but its pictures."""

from pathlib import Path

import torch

from slotid_core.toy_world.family import ship
from slotid_core.toy_world.judges import ClipJudge, FaceJudge, MarkJudge
from slotid_core.toy_world.train_text_encoder import TextEncoderSettings, make_text_encoder
from slotid_core.wan import WanConfig, WanModel
from slotid_core.wan.vae import WanVAE, WanVAEConfig


def ship_random_family(folder: Path) -> None:
    """A transformer of two blocks and everything around it."""
    torch.manual_seed(0)
    parts = {
        "dit": WanModel(WanConfig(dim=128, ffn_dim=128, num_layers=2, num_heads=1)).state_dict(),
        "vae": WanVAE(WanVAEConfig(width=8)).state_dict(),
        "text_encoder": make_text_encoder(TextEncoderSettings(captions=200)),
        "face_judge": FaceJudge().state_dict(),
        "clip_judge": ClipJudge().state_dict(),
        "mark_judge": MarkJudge().state_dict(),
    }
    for name, tensors in parts.items():
        ship(name, tensors, {}, folder)
