"""Swapped blocks: the same losses to the bit, no more bytes than must move, no more memory than was said."""

import pytest
import torch
from every_system import ADAPTERS, BLOCKS, make_people, settings_of
from training_settings import losses
from typed import present

from slotid_core.errors import SlotIDError
from slotid_core.training.block_swap import BUFFERS, BlockSwap, bytes_of_a_step, spread
from slotid_core.training.config import config_from_settings
from slotid_core.training.host_memory import HostMemory
from slotid_core.training.loop import Trainer, train
from slotid_core.training.processes import start_processes
from slotid_core.wan import WanConfig, WanModel
from slotid_core.weights import read_tensors

RECOMPUTED = {"activation_checkpointing": True}


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    torch.set_num_threads(1)
    return make_people(tmp_path_factory.mktemp("people"))


def trainer_of(system, people, folder, **model) -> Trainer:
    values = settings_of(system, people, model=RECOMPUTED | model, run={"steps": 3, "batch": 2, "micro_batch": 1})
    return Trainer(config_from_settings(values), folder, start_processes())


@pytest.mark.parametrize("dtype", ["float32", "float8_e4m3fn"])
@pytest.mark.parametrize("system", ADAPTERS)
def test_a_swapped_run_is_the_same_to_the_bit(people, tmp_path, system, dtype):
    """Losses, gradients and validation, whatever a system hooks into blocks."""
    kinds = {"dtype": dtype, "compute_dtype": "float32" if dtype == "float32" else "bfloat16"}
    plain, swapped = (trainer_of(system, people, tmp_path, swapped_blocks=n, **kinds) for n in (0, BLOCKS))
    for step in range(2):
        figures = []
        for trainer in (plain, swapped):
            figures.append(trainer.step(step, trainer.batches.rows(step, range(2)), stopping=False)[0])
        assert figures[0] == figures[1]
    for name, parameter in plain.trainable.items():
        assert torch.equal(present(parameter.grad), present(swapped.trainable[name].grad)), name
        assert torch.equal(parameter, swapped.trainable[name]), name


@pytest.mark.parametrize("count", [1, 3, BLOCKS])
def test_as_many_bytes_move_as_must(people, tmp_path, count):
    """Each swapped block once each way in every pass, but for those that the buffers hold at its turns."""
    trainer = trainer_of("slot_id", people, tmp_path, swapped_blocks=count)
    swap, moved = present(trainer.block_swap), []
    for step in range(3):
        before = swap.bytes_moved
        trainer.step(step, trainer.batches.rows(step, range(2)), stopping=False)
        moved.append(swap.bytes_moved - before)
    each = set(swap.block_bytes.values())
    assert len(each) == 1 and len(swap.block_bytes) == count
    limit = 2 * 2 * max(0, count - BUFFERS) * each.pop()  # two passes of one sample, both ways
    assert moved[1:] == [limit, limit] == [bytes_of_a_step(list(swap.block_bytes.values()), passes=2)] * 2


def test_a_run_goes_on_with_other_blocks_swapped(people, tmp_path):
    """The setting may change, and the file is the same to the bit."""
    run = {"steps": 4, "batch": 2, "micro_batch": 1, "save_every": 2, "validate_every": 2}
    values = [settings_of("st_drc", people, model=RECOMPUTED | {"swapped_blocks": n}, run=run) for n in (0, 3, 5)]
    train(config_from_settings(values[0]), tmp_path / "plain")
    train(config_from_settings(values[1]), tmp_path / "swapped")
    (tmp_path / "swapped" / "step_00000004.safetensors").unlink()
    train(config_from_settings(values[2]), tmp_path / "swapped", resume=True)
    assert losses(tmp_path / "plain") == losses(tmp_path / "swapped")
    first, second = (read_tensors(tmp_path / name / "adapter.safetensors")[0] for name in ("plain", "swapped"))
    assert first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_swapped_weights_are_nowhere_between_passes():
    torch.manual_seed(0)
    model = WanModel(WanConfig(dim=128, ffn_dim=256, num_layers=4, num_heads=1)).requires_grad_(False)
    model.activation_checkpointing = True
    whole = sum(p.numel() * p.element_size() for p in model.blocks.parameters())
    inputs = torch.randn(1, 16, 2, 4, 4), torch.tensor([500.0]), torch.randn(1, 3, 4096)
    expected = model(*inputs)
    swap = BlockSwap(model, 4, torch.device("cpu"))
    left = sum(p.numel() * p.element_size() for p in model.blocks.parameters())
    assert left == 0 and sum(map(len, swap.buffers)) < 0.51 * whole
    assert torch.equal(model(*inputs), expected)
    assert sum(p.numel() for p in model.blocks.parameters()) == 0


@pytest.mark.parametrize("forward", [2, 3])
def test_passes_that_do_not_turn_bring_every_block(forward):
    """As where the frozen model also says what it makes of a description."""
    model = WanModel(WanConfig(dim=128, ffn_dim=256, num_layers=5, num_heads=1)).requires_grad_(False)
    model.activation_checkpointing = True
    swap, moved = BlockSwap(model, 5, torch.device("cpu")), []
    noisy, time, text = torch.randn(1, 16, 2, 4, 4, requires_grad=True), torch.tensor([500.0]), torch.randn(1, 3, 4096)
    for _ in range(2):
        before = swap.bytes_moved
        out = model(noisy, time, text)
        for _ in range(forward - 1):
            with torch.no_grad():
                model(noisy, time, text)
        out.sum().backward()
        moved.append(swap.bytes_moved - before)
    assert moved[1] == bytes_of_a_step(list(swap.block_bytes.values()), ways=(forward, 1))


def test_what_trains_in_a_swapped_block_stays_on_the_device(people, tmp_path):
    trainer = trainer_of("st_drc", people, tmp_path, swapped_blocks=BLOCKS)
    assert all(parameter.numel() for parameter in trainer.trainable.values())
    assert any("blocks.0." in name for name in trainer.trainable)


@pytest.mark.parametrize("length", [0, 1, 15, 16, 17, 670, 1024])
def test_host_memory_lies_in_pieces_that_pinning_does_not_enlarge(length):
    values = torch.randint(256, (length,), dtype=torch.uint8)
    memory, copied = HostMemory(values, pinned=False, least=16), torch.zeros(length, dtype=torch.uint8)
    memory.copy_to(copied)
    assert torch.equal(copied, values) and len(memory) == length
    taken = sum(1 << (len(piece) - 1).bit_length() for piece in memory.pieces)
    assert taken < length + 16


def test_swapped_blocks_are_spread():
    assert spread(2, 4) == [0, 2] and spread(3, 3) == [0, 1, 2] and spread(0, 4) == []
    assert all(len(set(spread(count, 40))) == count for count in range(41))


def test_impossible_swaps_are_refused(people, tmp_path):
    with pytest.raises(SlotIDError, match="has 5 blocks"):
        trainer_of("slot_id", people, tmp_path, swapped_blocks=6)
    with pytest.raises(SlotIDError, match="activation_checkpointing to true"):
        trainer_of("slot_id", people, tmp_path, swapped_blocks=2, activation_checkpointing=False)
