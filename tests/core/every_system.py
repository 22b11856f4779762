"""Small runs of every system on one set of drawn people."""

from pathlib import Path
from typing import Any

import torch
from dataset_settings import drawn, models
from training_settings import STREAM, settings

from slotid_core.dataset.augmentation import AugmentationSettings
from slotid_core.dataset.runner import prepare_dataset
from slotid_core.reference.faces.face_encoder import FaceEncoder
from slotid_core.systems import registry
from slotid_core.wan import WanConfig, WanModel
from slotid_core.weights import save_weights

BLOCKS = 5
SIZE = 64  # pixels
ADAPTERS: dict[str, dict[str, Any]] = {
    "slot_id": {
        "encoder": STREAM, "anchor": STREAM, "reference_size": 32, "reference_frames": 5, "portrait_size": SIZE,
        "film_rank": 4, "lora": {"rank": 4, "alpha": 4.0},
    },
    "lynx": {"resampler": {"width": 64, "depth": 1, "num_heads": 1, "num_tokens": 4, "mlp_width": 64}},
    "st_drc": {"lora": {"rank": 8, "alpha": 8.0}},
    "lavie_id": {
        "vision": {"kind": "own", "width": 32, "pooled_width": 16, "levels": [0, 1], "patch": 8, "heads": 2},
        "encoder": {
            "width": 32, "depth": 2, "heads": 2, "head_width": 16, "identity_tokens": 2, "num_tokens": 4,
            "token_width": 32, "mlp_factor": 2, "face_width": 0,
        },
        "router": {"inner_width": 32, "heads": 2, "head_width": 16},
    },
    "lavie_id_temporal": {"width": 32, "heads": 2, "layers": 2},
}  # fmt: skip


def make_people(folder: Path, **data: Any) -> Path:
    """`folder` with data/ that every system reads, prepared with `data` besides, and backbone.safetensors of `BLOCKS`
    blocks."""
    torch.manual_seed(0)
    face_encoder = folder / "face_encoder.safetensors"
    save_weights(face_encoder, FaceEncoder(8).eval().state_dict(), {"kind": "face_encoder", "version": 1})
    config = drawn(
        models(folder / "models"), people=3, clips_per_person=2, systems=tuple(registry.SYSTEMS), height=SIZE,
        width=SIZE, portrait_size=SIZE, face_encoder=str(face_encoder), augmentation=AugmentationSettings(count=1),
        **data,
    )  # fmt: skip
    prepare_dataset(config, folder / "data")
    backbone = WanModel(WanConfig(dim=128, ffn_dim=256, num_layers=BLOCKS, num_heads=1))
    save_weights(folder / "backbone.safetensors", backbone.state_dict(), {"kind": "backbone", "version": 1})
    return folder


def settings_of(system: str, folder: Path, **changes: Any) -> dict[str, Any]:
    """Settings of a short run of a system in `folder`; `changes` as `training_settings.settings` takes them."""
    data = {"train": str(folder / "data"), "validation": str(folder / "data")} | changes.pop("data", {})
    adapter = ADAPTERS[system] | changes.pop("adapter", {})
    return {**settings(folder, system=system, data=data, **changes), "adapter": adapter}
