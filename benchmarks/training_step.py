"""What Slot-ID adds to a training step that trains LoRA alone, and what checkpointing and cached latents save."""

import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.paired import Ratio, compare
from slotid_core.dataset.cached import CachedDataset
from slotid_core.dataset.clip import Clip
from slotid_core.dataset.config import PrepareConfig, ToyWorldSource
from slotid_core.dataset.prepare import Preparer
from slotid_core.dataset.runner import prepare_dataset
from slotid_core.systems.slot_id import AdapterConfig, Identity, LoRAConfig, SlotIDAdapter
from slotid_core.systems.slot_id.inference import predict_velocity
from slotid_core.toy_world.random_checkpoints import random_checkpoints
from slotid_core.wan import WanConfig, WanModel
from slotid_core.wan.lora import add_lora

WIDTH, BLOCKS, ALL_BLOCKS = 1536, 2, 30
LATENT, REAL_LATENT = (5, 30, 26), (17, 60, 104)  # the second is 65 frames of 480 x 832
REFERENCE, PORTRAIT = (17, 32, 32), (1, 64, 64)  # 65 frames of 256², a portrait of 512²


def run() -> list[Ratio]:
    torch.manual_seed(0)
    model = WanModel(WanConfig(num_layers=BLOCKS))
    add_lora(model, LoRAConfig())
    adapter = SlotIDAdapter(AdapterConfig.for_model(WIDTH, BLOCKS))
    return [
        whole_step(model, adapter),
        checkpointing(model),
        cached_against_encoding(),
    ]


def whole_step(model: WanModel, adapter: SlotIDAdapter) -> Ratio:
    """Times of two blocks, with and without identity, paired; the adapter's own time once, over all blocks.

    At the real number of tokens a block takes longer by more than their ratio, as attention is quadratic in it; taking
    just the ratio makes this an upper bound.
    """
    noisy, level, context = inputs()
    identity = adapter(torch.randn(1, 16, *REFERENCE), torch.randn(1, 16, *PORTRAIT))
    identity = detached(identity)
    ones = torch.ones(1)

    def with_identity():
        predict_velocity(model, noisy, level, context, identity, ones).square().mean().backward()

    def lora_alone():
        predict_velocity(model, noisy, level, context).square().mean().backward()

    def encode():
        told = adapter(torch.randn(1, 16, *REFERENCE), torch.randn(1, 16, *PORTRAIT))
        (told.video_tokens.square().mean() + told.image_tokens.square().mean()).backward()

    blocks = compare("", with_identity, lora_alone, pairs=7)
    block_seconds = statistics.median(seconds(lora_alone) for _ in range(3)) / BLOCKS
    more_tokens = volume(REAL_LATENT) / volume(LATENT)
    adapter_share = statistics.median(seconds(encode) for _ in range(3)) / (ALL_BLOCKS * block_seconds * more_tokens)
    claim = "training step, Wan 1.3B, 65 frames of 480 x 832: Slot-ID / LoRA alone (upper bound)"
    return Ratio(claim, *(part + adapter_share for part in (blocks.median, blocks.low, blocks.high)))


def checkpointing(model: WanModel) -> Ratio:
    """Bytes that the forward pass keeps for the backward pass; a count, so there is no spread."""
    kept = []
    for on in (True, False):
        model.activation_checkpointing = on
        kept.append(kept_bytes(model))
    model.activation_checkpointing = False
    ratio = kept[0] / kept[1]
    claim = f"memory kept for the backward pass of {BLOCKS} blocks: checkpointing / none"
    return Ratio(claim, ratio, ratio, ratio)


def cached_against_encoding() -> Ratio:
    """A sample read from its shard against one decoded, drawn and encoded anew (tiny VAE: the gap grows with it)."""
    with tempfile.TemporaryDirectory() as folder:
        files = random_checkpoints(folder)
        source = ToyWorldSource(people=2, clips_per_person=1)
        config = PrepareConfig(vae=str(files.vae), text_encoder=str(files.text_encoder), toy_world=source)
        prepare_dataset(config, Path(folder) / "data")
        data, preparer = CachedDataset(Path(folder) / "data"), Preparer(config)
        clip = Clip(key="clip", caption="A person smiles.", person="person", person_seed=0)
        return compare(
            "a training sample: drawn and encoded anew / read from its shard",
            lambda: preparer(clip),
            lambda: data.read(0),
            5,
        )


def inputs() -> tuple[Tensor, Tensor, Tensor]:
    context = torch.zeros(1, 41, 4096)
    context[:, :40] = torch.randn(1, 40, 4096)
    return torch.randn(1, 16, *LATENT), torch.tensor([0.6]), context


def detached(identity: Identity) -> Identity:
    """The same identity as leaves that want a gradient, so that the adapter's part is not timed twice."""
    names = ("image_tokens", "video_tokens", "image_film", "video_film")
    return replace(identity, **{name: getattr(identity, name).detach().requires_grad_() for name in names})


def kept_bytes(model: WanModel) -> int:
    """Bytes of what a forward pass saves, without the weights, which are there anyway."""
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        out = predict_velocity(model, *inputs())  # held, so that no storage is used twice
    del out
    return sum(kept.values())


def volume(latent: tuple[int, ...]) -> int:
    return latent[0] * latent[1] * latent[2]


def seconds(function) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start
