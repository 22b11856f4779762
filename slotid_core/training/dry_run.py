"""What a run would take, before it is started: parameters, memory per GPU, the size of the data, time."""

import statistics
import time
from pathlib import Path

import torch
from torch import nn

from ..dataset.cached import CachedDataset
from ..errors import SlotIDError
from ..systems.registry import strategy_of
from ..wan import WanModel
from .backbone import meta_backbone
from .config import TrainingConfig
from .loop import Trainer
from .optimizer import trainable
from .processes import start_processes

GIB = 2**30
TIMED_STEPS = 4
# One block keeps about this many vectors of the model's width a token for its backward pass: inputs of norms, q, k,
# v, attention and feed-forward, whose hidden layer counts by its own width below.
VECTORS_OF_A_BLOCK = 14


def estimate(config: TrainingConfig, gpus: int) -> dict[str, float]:
    """Counts and bytes; exact for parameters and optimiser, estimated for activations.

    Args:
        gpus: processes; "fsdp" divides everything but the activations by it.
    """
    with torch.device("meta"):
        strategy = strategy_of(config.system)(config.strategy_settings(), meta_backbone(config.model))
    assert isinstance(strategy, nn.Module)  # as `contract.Strategy` says, which a Protocol cannot express
    trained = sum(p.numel() for p in trainable(strategy).values())
    frozen = [p for p in strategy.parameters() if not p.requires_grad]
    frozen_bytes = sum(p.numel() * p.element_size() for p in frozen)
    copies = 4 + (1 if config.run.ema_decay else 0)  # weight, gradient, two moments, average; all float32
    share = gpus if config.run.distribution == "fsdp" else 1
    # FSDP gathers one block while it computes with it, and the next one ahead of it.
    gathered = 2 * bytes_of(strategy.model.blocks[0]) if share > 1 else 0
    shape = latent_shape(config)
    tokens = config.run.pack_tokens or (
        tokens_of_a_sample(shape, getattr(strategy, "appended_frames", 0)) * config.run.micro_batch
    )
    figures = {
        "trainable_parameters": trained,
        "frozen_parameters": sum(p.numel() for p in frozen),
        "frozen_gib_a_gpu": (frozen_bytes / share + gathered) / GIB,
        "trained_gib_a_gpu": 4 * trained * copies / share / GIB,
        "activations_gib_a_gpu": activation_bytes(strategy.model, config, tokens) / GIB,
        "other_networks_gib_a_gpu": held_by_others(strategy, config, shape) / GIB,
        "video_tokens_a_gpu": tokens,
        "steps": config.run.steps,
        "samples_seen": config.run.steps * config.run.batch,
    }
    figures["memory_gib_a_gpu"] = sum(value for name, value in figures.items() if name.endswith("gib_a_gpu"))
    return figures | size_of_data(config)


def bytes_of(module: nn.Module) -> int:
    return sum(p.numel() * p.element_size() for p in module.parameters())


def activation_bytes(model: WanModel, config: TrainingConfig, tokens: int) -> float:
    size = size_of_a_number(config)
    shape = model.config
    a_block = tokens * size * (VECTORS_OF_A_BLOCK * shape.dim + 2 * shape.ffn_dim)
    if config.model.activation_checkpointing:
        return a_block + tokens * size * shape.dim * shape.num_layers
    return a_block * shape.num_layers


def size_of_a_number(config: TrainingConfig) -> int:
    return 4 if config.model.compute_dtype == "float32" else 2


def held_by_others(strategy: nn.Module, config: TrainingConfig, shape: tuple[int, int, int]) -> float:
    """Bytes of networks that a step runs beside the video model."""
    held_bytes = getattr(strategy, "held_bytes", None)
    return held_bytes(*shape[1:], config.run.micro_batch, size_of_a_number(config)) if held_bytes else 0.0


def latent_shape(config: TrainingConfig) -> tuple[int, int, int]:
    """Latent frames, height and width of a prepared sample; without data, of 65 frames of 480 x 720 pixels (Slot-ID,
    section 4.1)."""
    try:
        data = CachedDataset(Path(config.data.train))
    except SlotIDError:
        return 17, 60, 90
    frames, height, width = data.read(0, ("video",))["video"].shape[1:]
    return frames, height, width


def tokens_of_a_sample(shape: tuple[int, int, int], appended_frames: int = 0) -> int:
    """
    Args:
        shape: latent frames, height and width.
        appended_frames: latent frames that the system puts behind the video's.
    """
    frames, height, width = shape
    return (frames + appended_frames) * (height // 2) * (width // 2)


def size_of_data(config: TrainingConfig) -> dict[str, float]:
    folder = Path(config.data.train)
    if not folder.is_dir():
        return {}
    data = CachedDataset(folder)
    return {
        "samples": len(data.samples),
        "people": len(data.by_person),
        "data_gib": sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / GIB,
        "epochs": config.run.steps * config.run.batch / len(data.samples),
    }


def time_steps(config: TrainingConfig, folder: Path) -> dict[str, float]:
    """Seconds of a few real steps on this machine, and what the run would take at that rate; nothing is written."""
    processes = start_processes()
    trainer = Trainer(config, folder, processes)
    rows, seconds = processes.share(config.run.batch), []
    for step in range(TIMED_STEPS):
        batch = trainer.batches.rows(step, rows)
        started = time.perf_counter()
        trainer.step(step, batch, stopping=False)
        seconds.append(time.perf_counter() - started)
    figures = {"seconds_a_step": statistics.median(seconds[1:])}
    figures["hours"] = figures["seconds_a_step"] * config.run.steps / 3600
    if processes.device.type == "cuda":
        figures["measured_peak_gib"] = torch.cuda.max_memory_allocated() / GIB
    return figures
