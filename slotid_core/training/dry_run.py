"""What a run would take, before it is started: parameters, memory per GPU, the size of the data, time."""

import math
import statistics
import time
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from ..dataset.cached import CachedDataset
from ..errors import SlotIDError
from ..systems.registry import strategy_of
from ..wan import WanModel
from .backbone import meta_backbone
from .block_swap import BUFFERS, check_count, spread
from .config import TrainingConfig
from .cost import GPU, TEXT_ROWS, UTILIZATION, Work, activation_bytes, gpu_named, operations, seconds_of_a_step
from .loop import Trainer, noise_levels
from .optimizer import trainable
from .optimizer_kinds import EIGHT_BIT, STATE_BYTES
from .processes import Processes, check_heads, joined_processes, with_teams

GIB = 2**30
TIMED_STEPS = 4
TEXT_WIDTH = 4096
LATENTS_OF_A_TOKEN = 4  # places
# Of a place, in float32: its share, and the squared error, which is kept for its gradient. The error's own squares, of
# 16 channels, are kept in any case.
FACE_COPIES = 3


def estimate(config: TrainingConfig, gpus: int, gpu: str = "", utilization: float = UTILIZATION) -> dict[str, float]:
    """Counts and bytes; exact for parameters and optimiser, by `cost`'s arithmetic for activations and time.

    Args:
        gpus: processes; "fsdp" divides everything but the activations by it.
        gpu: name of one in `cost.GPUS`, whose seconds are told; "" for none.
        utilization: share of its operations that training reaches.
    """
    with torch.device("meta"):
        strategy = strategy_of(config.system)(config.strategy_settings(), meta_backbone(config.model))
    assert isinstance(strategy, nn.Module)  # as `contract.Strategy` says, which a Protocol cannot express
    sharing = with_teams(Processes(0, gpus, torch.device("meta")), config.run).sharing
    check_heads(strategy.model, sharing)
    trained = sum(p.numel() for p in trainable(strategy).values())
    frozen = [p for p in strategy.parameters() if not p.requires_grad]
    frozen_bytes = sum(p.numel() * p.element_size() for p in frozen)
    # Weight, gradient and average in float32, and what the optimiser keeps.
    bytes_each = 4 * (2 + bool(config.run.ema_decay)) + STATE_BYTES[config.optimizer.kind]
    share = gpus if config.run.distribution == "fsdp" else 1
    swapped = swapped_blocks(strategy.model, config)
    # FSDP gathers one block while it computes with it, and the next one ahead of it; swapped blocks have two buffers.
    held = sum(sorted(swapped)[-BUFFERS:])
    if share > 1:
        all_swapped = len(swapped) == len(strategy.model.blocks)
        held += 2 * (bytes_of(strategy.model.blocks[0]) - (swapped[0] if all_swapped else 0))
    shape = latent_shape(config)
    one = tokens_of_a_sample(shape, getattr(strategy, "appended_frames", 0))
    tokens = config.run.pack_tokens or math.ceil(one / sharing) * config.run.micro_batch
    size, recomputes = size_of_a_number(config), config.model.activation_checkpointing
    figures = {
        "trainable_parameters": trained,
        "frozen_parameters": sum(p.numel() for p in frozen),
        "frozen_gib_a_gpu": ((frozen_bytes - sum(swapped)) / share + held) / GIB,
        "trained_gib_a_gpu": trained * bytes_each / share / GIB,
        "activations_gib_a_gpu": activation_bytes(strategy.model.config, tokens, size, recomputes) / GIB,
        "other_networks_gib_a_gpu": held_by_others(strategy, config, shape) / GIB,
    }
    if config.objective.face_area_weight:
        figures["face_area_gib_a_gpu"] = FACE_COPIES * 4 * (tokens * LATENTS_OF_A_TOKEN) / GIB
        figures["face_area_gib_a_thousand_samples"] = 1000 * 2 * math.prod(shape) / GIB
    figures["memory_gib_a_gpu"] = sum(value for name, value in figures.items() if name.endswith("gib_a_gpu"))
    figures |= {
        "host_gib_a_gpu": host_bytes(config, sum(swapped), frozen_bytes) / share / GIB,
        "video_tokens_a_gpu": tokens,
        "steps": config.run.steps,
        "samples_seen": config.run.steps * config.run.batch,
        "latents_gib_a_thousand_samples": 1000 * sample_bytes(shape) / GIB,
    }
    if gpu:
        figures |= seconds_and_days(config, strategy, one, swapped, gpus, gpu_named(gpu), utilization)
    return figures | size_of_data(config)


def host_bytes(config: TrainingConfig, swapped: float, frozen: float) -> float:
    """Frozen weights in the host's memory: swapped blocks, and with two experts all of both."""
    return 2 * frozen if config.model.low_noise_path else swapped


def exchanged_bytes(config: TrainingConfig, resident: float) -> float:
    """Of weights that are exchanged between experts, in a step on average."""
    if not config.model.low_noise_path:
        return 0.0
    high = noise_levels(config).share_of_high
    return 2 * high * (1 - high) / config.model.expert_steps * resident


def swapped_blocks(model: WanModel, config: TrainingConfig) -> list[float]:
    """Bytes of the frozen weights of each swapped block."""
    count = config.model.swapped_blocks
    check_count(count, len(model.blocks), config.model.activation_checkpointing)
    return [bytes_of(model.blocks[index], frozen=True) for index in spread(count, len(model.blocks))]


def seconds_and_days(
    config: TrainingConfig, strategy: nn.Module, tokens: int, swapped: list[float], gpus: int, gpu: GPU,
    utilization: float,
) -> dict[str, float]:  # fmt: skip
    """
    Args:
        tokens: of one sample.
    """
    model = strategy.get_submodule("model")
    assert isinstance(model, WanModel)
    in_blocks = sum(p.numel() for p in model.blocks.parameters() if p.requires_grad)
    forward, backward = getattr(strategy, "backbone_passes", (1.0, 1.0))
    if config.objective.described_weight:  # the frozen model says what it makes of a description
        forward += config.objective.described_steps
    work = Work(tokens, in_blocks, (forward, backward), config.model.activation_checkpointing)
    samples = config.run.batch / gpus  # GPUs that share samples have as many times more, and a part of each
    held_at_once = max(1.0, config.run.pack_tokens / tokens) if config.run.pack_tokens else config.run.micro_batch
    total = samples * operations(model.config, work)
    share = gpus if config.run.distribution == "fsdp" else 1
    exchanged = exchanged_bytes(config, (bytes_of(model, frozen=True) - sum(swapped)) / share)
    copied = [size / share for size in swapped]
    micro_batches = math.ceil(samples * config.run.context_parallel / held_at_once)
    figures = seconds_of_a_step(gpu, total, copied, micro_batches, utilization, exchanged, work.passes)
    return {
        "teraflops_a_step_and_gpu": total / 1e12,
        **figures,
        "days_by_arithmetic": figures["seconds_by_arithmetic"] * config.run.steps / 86400,
    }


def cost_of_options(
    config: TrainingConfig, gpus: int, gpu: str, utilization: float = UTILIZATION
) -> dict[str, dict[str, float]]:
    """Memory and seconds a step with one setting changed at a time, by what is changed."""
    blocks = len(meta_backbone(config.model).blocks)
    recomputing = replace(config.model, activation_checkpointing=True)
    swaps = (0, blocks // 2, blocks)
    shared_out = gpus > 1 and config.run.distribution == "fsdp"
    options = {
        "as it is": config.model,
        "model.activation_checkpointing: false": replace(
            config.model, activation_checkpointing=False, swapped_blocks=0
        ),
        "model.dtype: float8_e4m3fn": replace(config.model, dtype="float8_e4m3fn"),
        **{f"model.swapped_blocks: {count}": replace(recomputing, swapped_blocks=count) for count in swaps},
    }
    changed = {name: replace(config, model=model) for name, model in options.items()}
    if not shared_out:
        changed[f"optimizer.kind: {EIGHT_BIT}"] = replace(config, optimizer=replace(config.optimizer, kind=EIGHT_BIT))
    told = {}
    for name, option in changed.items():
        try:
            figures = estimate(option, gpus, gpu, utilization)
        except SlotIDError:  # a system refuses recomputation with some of its settings
            continue
        told[name] = {key: figures[key] for key in ("memory_gib_a_gpu", "seconds_by_arithmetic")}
    return told


def bytes_of(module: nn.Module, frozen: bool = False) -> int:
    """Bytes of a module's parameters; of those that do not train alone, if asked."""
    return sum(p.numel() * p.element_size() for p in module.parameters() if not (frozen and p.requires_grad))


def size_of_a_number(config: TrainingConfig) -> int:
    return 4 if config.model.compute_dtype == "float32" else 2


def sample_bytes(shape: tuple[int, int, int]) -> float:
    """Of a sample's video and text on disk, in half precision; references come on top."""
    frames, height, width = shape
    return 2 * (16 * frames * height * width + TEXT_ROWS * TEXT_WIDTH)


def held_by_others(strategy: nn.Module, config: TrainingConfig, shape: tuple[int, int, int]) -> float:
    """Bytes of networks that a step runs beside the video model."""
    held_bytes = getattr(strategy, "held_bytes", None)
    return held_bytes(*shape[1:], config.run.micro_batch, size_of_a_number(config)) if held_bytes else 0.0


def latent_shape(config: TrainingConfig) -> tuple[int, int, int]:
    """Latent frames, height and width of a prepared sample; without data, of the size that is expected."""
    try:
        data = CachedDataset(Path(config.data.train))
    except SlotIDError:
        frames, height, width = config.data.expected_size
        return (frames - 1) // 4 + 1, height // 8, width // 8
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
    seconds = []
    with joined_processes() as processes:
        trainer = Trainer(config, folder, processes)
        rows = trainer.processes.share(config.run.batch)
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
