"""What a system costs beside the model alone: a training step and a sampling step in the toy world, and its file."""

import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from slotid_core.dataset.cached import CachedDataset
from slotid_core.evaluation.studio import bare
from slotid_core.systems.contract import Batch
from slotid_core.systems.registry import strategy_of
from slotid_core.toy_world.family import load_dit
from slotid_core.training.backbone import load_backbone
from slotid_core.training.batches import Batches
from slotid_core.training.config import TrainingConfig
from slotid_core.training.mix import mix_of
from slotid_core.wan.guidance import Predict

SAMPLES, PAIRS = 4, 9


def cost_of(settings: TrainingConfig | None, path: Path | None, data: Path) -> dict[str, np.ndarray]:
    """Of a system; of the model alone without one.

    Keys: `parameters` and `bytes` of the adapter file; `training_bytes` that a training step's forward pass keeps for
    its backward pass, of one sample; `sampling_ratio`: time of a prediction with a person over one without,
    in turn (PAIRS,); `seconds`: of one prediction without, of one sample.
    """
    torch.manual_seed(0)
    model = load_dit()
    batch, seconds = noise(), []
    plain = bare(model)
    if settings is None or path is None:
        for _ in range(PAIRS):
            seconds.append(timed(lambda: call(plain, batch)))
        return {"seconds": np.array(seconds) / SAMPLES}
    # Float32 on both sides; the recipe's precision is that of the training.
    settings = replace(settings, model=replace(settings.model, compute_dtype="float32"))
    system = strategy_of(settings.system)
    prepared = CachedDataset(data)
    adapter = system.settings_for_data(settings.adapter, prepared.manifest["config"], prepared.folder)
    settings = replace(settings, adapter=adapter)
    strategy = system(settings.strategy_settings(prepared.manifest["config"]), load_backbone(settings.model))
    batches = Batches(
        prepared, settings.objective, settings.data.pairing, SAMPLES, 0, strategy.required_tensors, strategy.text_rows,
        strategy.draw, getattr(strategy, "target_tensors", ()), mix_of(settings, strategy),
    )  # fmt: skip
    trained = sum(parameter.numel() for parameter in strategy.parameters() if parameter.requires_grad)
    strategy.train()
    strategy.at_step(0)
    drawn = batches.rows(0, range(SAMPLES))
    assert isinstance(drawn, Batch)  # nothing is packed
    kept = kept_bytes(strategy, lambda: strategy(drawn))
    with_person = strategy.eval().predictor(drawn)
    return {
        "parameters": np.array([trained]), "bytes": np.array([path.stat().st_size]),
        "training_bytes": np.array([kept / SAMPLES]),
        "sampling_ratio": ratios(lambda: call(with_person, drawn), lambda: call(plain, drawn)),
    }  # fmt: skip


def noise() -> Batch:
    """Samples of the toy world's size, with a prompt of zeros."""
    latents = torch.randn(SAMPLES, 16, 5, 8, 8)
    return Batch(latents, torch.zeros(SAMPLES, 16, 4096), torch.randn_like(latents), torch.full((SAMPLES,), 0.5),
                 torch.ones(SAMPLES))  # fmt: skip


@torch.no_grad()
def call(predict: Predict, batch: Batch) -> Tensor:
    return predict(batch.noisy, batch.noise_level, batch.context, batch.has_identity)


def ratios(first: Callable[[], object], second: Callable[[], object]) -> np.ndarray:
    first(), second()
    found = []
    for number in range(PAIRS):  # who runs second finds warmer caches, so they take turns
        order = (first, second) if number % 2 else (second, first)
        taken = {function: timed(function) for function in order}
        found.append(taken[first] / taken[second])
    return np.array(found)


def timed(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def kept_bytes(module: torch.nn.Module, forward: Callable[[], Tensor]) -> int:
    """Bytes of what a forward pass saves, without the weights, which are there anyway."""
    weights = {tensor.untyped_storage().data_ptr() for tensor in (*module.parameters(), *module.buffers())}
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        out = forward()  # held, so that no storage is used twice
    del out
    return sum(kept.values())


def middle(values: np.ndarray) -> float:
    return statistics.median(values.ravel().tolist())
