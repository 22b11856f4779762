"""The arithmetic of a dry run against real steps of small models: operations, bytes that are alive, bytes that move."""

from dataclasses import replace

import pytest
import torch
from every_system import BLOCKS, make_people, settings_of
from torch.utils.flop_counter import FlopCounterMode
from typed import present

from benchmarks.live_bytes import LiveBytes
from slotid_core.errors import SlotIDError
from slotid_core.training.config import config_from_settings
from slotid_core.training.cost import GPUS, Work, activation_bytes, gpu_named, operations, seconds_of_a_step
from slotid_core.training.dry_run import estimate
from slotid_core.training.loop import Trainer
from slotid_core.training.processes import start_processes
from slotid_core.wan import WanConfig, WanModel

TEXT = 16


def step_of(shape: WanConfig, side: int, dtype: torch.dtype, recomputes: bool, mode) -> int:
    """A forward and backward pass of 2 x side x side tokens under `mode`; how many tokens they were."""
    torch.manual_seed(0)
    model = WanModel(shape).requires_grad_(False).to(dtype)
    model.activation_checkpointing = recomputes
    noisy = torch.randn(1, 16, 2, 2 * side, 2 * side, dtype=dtype, requires_grad=True)
    context = torch.randn(1, TEXT, 4096, dtype=dtype, requires_grad=True)
    with mode, torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
        model(noisy, torch.tensor([500.0]).to(dtype), context, padding_row=TEXT - 1).float().square().sum().backward()
    return 2 * side * side


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("recomputes", [False, True])
@pytest.mark.parametrize(("ffn_dim", "layers"), [(704, 5), (1024, 3)])
def test_bytes_alive_are_within_a_tenth(dtype, recomputes, ffn_dim, layers):
    """At ratios of 2.75, as Wan 14B has, and of 4."""
    shape, live = WanConfig(dim=256, ffn_dim=ffn_dim, num_layers=layers, num_heads=2), LiveBytes()
    tokens = step_of(shape, 20, dtype, recomputes, live)
    assert activation_bytes(shape, tokens, dtype.itemsize, recomputes) == pytest.approx(live.peak, rel=0.1)


def flash_operations(q, k, v, *args, out_shape=None, **kwargs) -> int:
    """Two products forward; q (B, H, N, d), k (B, H, M, d)."""
    return 4 * q[0] * q[1] * q[2] * q[3] * k[2]


def flash_operations_backward(gradient, q, k, v, *args, out_shape=None, **kwargs) -> int:
    return 10 * q[0] * q[1] * q[2] * q[3] * k[2]


# PyTorch's counter knows the kernels of GPUs.
OF_CPUS = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: flash_operations,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: flash_operations_backward,
}


@pytest.mark.parametrize("recomputes", [False, True])
def test_operations_are_within_a_tenth(recomputes):
    shape = WanConfig(dim=256, ffn_dim=704, num_layers=3, num_heads=2)
    counter = FlopCounterMode(display=False, custom_mapping=OF_CPUS)
    tokens = step_of(shape, 20, torch.float32, recomputes, counter)
    counted = counter.get_total_flops()
    assert operations(shape, Work(tokens, recomputes=recomputes, text_rows=TEXT)) == pytest.approx(counted, rel=0.1)


def test_a_dry_run_knows_what_swapping_takes(tmp_path):
    """Memory on the device, on the host, and bytes a step, against a run."""
    people = make_people(tmp_path)
    model = {"activation_checkpointing": True, "swapped_blocks": BLOCKS}
    config = config_from_settings(settings_of("st_drc", people, model=model, run={"batch": 4, "micro_batch": 2}))
    trainer = Trainer(config, tmp_path / "run", start_processes())
    swap = present(trainer.block_swap)
    for step in range(2):
        before = swap.bytes_moved
        trainer.step(step, trainer.batches.rows(step, range(4)), stopping=False)
    figures = estimate(config, 1, "rtx_4090")
    assert figures["host_gib_a_gpu"] * 2**30 == pytest.approx(sum(map(len, swap.host.values())), rel=0.01)
    resident = [p for p in trainer.strategy.parameters() if not p.requires_grad]
    on_device = sum(p.numel() * p.element_size() for p in resident) + sum(map(len, swap.buffers))
    assert figures["frozen_gib_a_gpu"] * 2**30 == pytest.approx(on_device, rel=0.01)
    moved = figures["seconds_copying"] * GPUS["rtx_4090"].link * 1e9
    assert moved == pytest.approx(swap.bytes_moved - before, rel=0.01)


def test_a_dry_run_knows_what_two_experts_take(tmp_path):
    """Host memory and bytes a step, against the exchanges of a long run."""
    people = make_people(tmp_path)
    two = {"low_noise_path": str(people / "backbone.safetensors"), "boundary": 0.5, "expert_steps": 2}
    config = config_from_settings(settings_of("slot_id", people, model=two))
    experts = present(Trainer(config, tmp_path / "run", start_processes()).experts)
    steps = 4000
    for step in range(steps):
        expert = experts.levels.expert(step)
        experts.bytes_moved += (expert != experts.active) * sum(map(len, map(torch.flatten, experts.weights[0]))) * 4
        experts.active = expert
    one = estimate(replace(config, model=replace(config.model, low_noise_path="")), 1, "rtx_4090")
    figures = estimate(config, 1, "rtx_4090")
    told = (figures["seconds_by_arithmetic"] - one["seconds_by_arithmetic"]) * GPUS["rtx_4090"].link * 1e9
    assert told == pytest.approx(experts.bytes_moved / steps, rel=0.1)
    kept = sum(tensor.numel() * tensor.element_size() for tensors in experts.weights for tensor in tensors)
    assert figures["host_gib_a_gpu"] * 2**30 == pytest.approx(kept, rel=0.01)


def test_a_step_takes_the_longer_of_computing_and_copying():
    gpu = gpu_named("rtx_4090")
    computing, copying = (seconds_of_a_step(gpu, *work) for work in ((1e15, [1e6] * 9, 1), (1e9, [1e9] * 9, 2)))
    assert computing["seconds_by_arithmetic"] == computing["seconds_computing"] == pytest.approx(1e15 / 165e12 / 0.4)
    assert copying["seconds_by_arithmetic"] == copying["seconds_copying"] == pytest.approx(2 * 2 * 7e9 / 25e9)
    with pytest.raises(SlotIDError, match="rtx_4090"):
        gpu_named("voodoo")
