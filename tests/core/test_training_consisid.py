"""The published training data's layout, end to end: a real clip through a VAE of the real width, cached, trained on."""

import os
from pathlib import Path

import pytest
import torch
from dataset_settings import models
from training_settings import losses, settings

from slotid_core.config import config_from_dict
from slotid_core.dataset.cached import CachedDataset
from slotid_core.dataset.config import ConsisIDSource, PrepareConfig
from slotid_core.dataset.runner import prepare_dataset
from slotid_core.training.config import TrainingConfig
from slotid_core.training.loop import train
from slotid_core.wan import WanConfig, WanModel
from slotid_core.wan.vae import WanVAE, WanVAEConfig
from slotid_core.weights import save_weights

SAMPLE = Path(
    os.environ.get("SLOTID_CONSISID_SAMPLE", Path(__file__).parents[3] / "shared" / "data" / "consisid_sample")
)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.skipif(not SAMPLE.is_dir(), reason="the ConsisID sample is not beside this checkout")
def test_ten_steps_on_the_consisid_sample(tmp_path):
    torch.manual_seed(0)
    vae = WanVAE(WanVAEConfig(width=96))
    save_weights(tmp_path / "vae.safetensors", vae.state_dict(), {"kind": "vae", "version": 1})
    config = PrepareConfig(
        vae=str(tmp_path / "vae.safetensors"), text_encoder=models(tmp_path / "models")["text_encoder"],
        consisid=ConsisIDSource(str(SAMPLE)), frames=17, height=240, width=360, reference_size=128, portrait_size=256,
        device="cpu",
    )  # fmt: skip
    manifest = prepare_dataset(config, tmp_path / "data")
    assert manifest["samples"] == 1 and manifest["failed"] == 0
    sample = CachedDataset(tmp_path / "data").read(0)
    assert sample["video"].shape == (16, 5, 30, 45) and sample["reference"].shape == (16, 5, 16, 16)

    backbone = WanModel(WanConfig(num_layers=2))  # 1536 wide, as Wan 2.1 1.3B
    save_weights(tmp_path / "backbone.safetensors", backbone.state_dict(), {"kind": "backbone", "version": 1})
    values = settings(tmp_path, run={"steps": 10, "batch": 1, "micro_batch": 1})
    values["data"] = {"train": str(tmp_path / "data")}
    values["model"] |= {"dtype": "bfloat16", "compute_dtype": "bfloat16"}
    values["adapter"] |= {"reference_size": 128, "reference_frames": 17, "portrait_size": 256}
    train(config_from_dict(TrainingConfig, values), tmp_path / "run")
    assert sorted(losses(tmp_path / "run")) == list(range(10))
    assert all(0 < loss < 10 for loss in losses(tmp_path / "run").values())
