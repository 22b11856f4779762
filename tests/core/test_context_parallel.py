"""Processes that compute each sample together: the losses and the adapter of one process."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from every_system import BLOCKS, make_people, settings_of
from safetensors.torch import load_file, save_file
from training_settings import command, losses, run, write_settings
from typed import present

from slotid_core.errors import SlotIDError
from slotid_core.training.config import TrainingConfig, config_from_settings, read_config
from slotid_core.training.dry_run import estimate
from slotid_core.training.loop import train
from slotid_core.training.processes import Processes, with_teams
from slotid_core.wan import WAN_1_3B, WanConfig, WanModel
from slotid_core.weights import save_weights

CONFIGS = Path(__file__).parents[2] / "slotid_core" / "training" / "configs"
SHAPE = WanConfig(dim=256, ffn_dim=128, num_layers=2, num_heads=2)
# Every parameter's gradient, averaged over processes as training averages it.
SHARED_PASS = """
import sys
import torch.distributed as dist
from safetensors.torch import load_file, save_file
from slotid_core.training.processes import Processes, joined_processes, share_sequences
sys.path.append(sys.argv[3])
from test_context_parallel import pass_of
with joined_processes() as processes:
    process = Processes(processes.rank, processes.count, processes.device, sharing=processes.count)
    given = load_file(sys.argv[1])
    found = pass_of(given, lambda model: share_sequences(model, process))
    for value in found.values():
        dist.all_reduce(value)
        value /= processes.count
    if processes.is_first:
        save_file(found, sys.argv[2])
"""


def pass_of(given: dict[str, torch.Tensor], prepare=lambda model: None) -> dict[str, torch.Tensor]:
    """Prediction and gradients of a model with a hook on its blocks, as FiLM is one."""
    torch.manual_seed(0)
    model = WanModel(SHAPE).double()
    prepare(model)
    film = given["film"].clone().requires_grad_()

    def modulated(args: dict, extra: dict) -> dict:
        return {"img": extra["original_block"](args)["img"] * (1 + film)}

    options = {"patches_replace": {"dit": {("double_block", 1): modulated}}}
    out = model(given["x"], given["time"], given["context"], transformer_options=options)
    (out - given["target"]).square().mean().backward()
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    return {"out": out.detach().contiguous(), "film": present(film.grad), **gradients}


@pytest.mark.parametrize("width", [10, 6])
def test_a_pass_and_its_gradients_are_those_of_one_process(tmp_path, width):
    """3 x 3 x 5 tokens over two processes cannot be shared evenly; 3 x 3 x 3 neither."""
    generator = torch.Generator().manual_seed(1)
    draw = lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64)  # noqa: E731
    given = {
        "x": draw(2, 16, 3, 6, width), "target": draw(2, 16, 3, 6, width), "context": draw(2, 7, 4096),
        "film": draw(1, 1, SHAPE.dim), "time": torch.tensor([300.0, 800.0], dtype=torch.float64),
    }  # fmt: skip
    save_file(given, tmp_path / "given.safetensors")
    (tmp_path / "shared.py").write_text(SHARED_PASS)
    files = [str(tmp_path / name) for name in ("shared.py", "given.safetensors", "found.safetensors")]
    finished = run([*command(tmp_path, tmp_path, processes=2)[:6], *files, str(Path(__file__).parent)])
    assert finished.returncode == 0, finished.stderr[-3000:]
    found, expected = load_file(tmp_path / "found.safetensors"), pass_of(given)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-9, atol=1e-12, msg=name)


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    """People for every system, and a model of two heads."""
    folder = make_people(tmp_path_factory.mktemp("people"))
    torch.manual_seed(0)
    backbone = WanModel(WanConfig(dim=256, ffn_dim=256, num_layers=BLOCKS, num_heads=2))
    save_weights(folder / "backbone.safetensors", backbone.state_dict(), {"kind": "backbone", "version": 1})
    return folder


def shared(system: str, folder: Path, **changes) -> dict:
    run = {"steps": 6, "batch": 2, "micro_batch": 1, "validate_every": 3, "sample_every": 6} | changes.pop("run", {})
    return settings_of(system, folder, run=run, **changes)


@pytest.mark.parametrize(
    ("system", "how", "processes"),
    [
        ("slot_id", "ddp", 2),
        pytest.param("lynx", "ddp", 2, marks=pytest.mark.slow),
        pytest.param("slot_id", "fsdp", 2, marks=pytest.mark.slow),
        pytest.param("slot_id", "fsdp", 4, marks=pytest.mark.slow),
        pytest.param("lynx", "ddp", 4, marks=pytest.mark.slow),
    ],
)
def test_a_run_is_that_of_one_process(people, tmp_path, system, how, processes):
    """Also its validations, and its samples come to an end; four processes are two teams."""
    values = shared(system, people, run={"distribution": how})
    train(config_from_settings(values), tmp_path / "one")
    values["run"]["context_parallel"] = 2
    config = write_settings(tmp_path / "run.json", values)
    done = run(command(config, tmp_path / "team", processes=processes))
    assert done.returncode == 0, done.stderr[-3000:]
    one, team = losses(tmp_path / "one"), losses(tmp_path / "team")
    assert one.keys() == team.keys()
    for step, loss in one.items():
        assert team[step] == pytest.approx(loss, rel=2e-4), step
    assert (tmp_path / "team" / "samples_00000006.png").is_file()
    learnt, of_team = (load_file(tmp_path / name / "adapter.safetensors") for name in ("one", "team"))
    for name, value in learnt.items():
        torch.testing.assert_close(of_team[name], value, rtol=0.02, atol=2e-3, msg=name)


def test_rows_are_shared_by_teams():
    process = Processes(5, 8, torch.device("cpu"), sharing=2)
    assert (process.team, process.teams, process.share(16)) == (2, 4, range(8, 12))
    assert replace(process, rank=4).share(16) == process.share(16)


def test_what_cannot_be_shared_is_refused(people):
    config = config_from_settings(shared("slot_id", people, run={"context_parallel": 2}))
    for count, batch, told in ((3, 2, "no multiple"), (8, 2, "4 teams of 2 processes")):
        with pytest.raises(SlotIDError, match=told):
            with_teams(Processes(0, count, torch.device("cpu")), replace(config.run, batch=batch))
    for system in ("st_drc", "lavie_id"):
        with pytest.raises(SlotIDError, match=f"{system} looks at all tokens"):
            config_from_settings(shared(system, people, run={"context_parallel": 2}))
    with pytest.raises(SlotIDError, match="Set one of them"):
        config_from_settings(shared("slot_id", people, run={"context_parallel": 2, "pack_tokens": 100}))
    with pytest.raises(SlotIDError, match="12 attention heads"):
        estimate(of_1_3b(context_parallel=5, batch=8), gpus=5)


def of_1_3b(**run) -> TrainingConfig:
    config = read_config(CONFIGS / "wan_1_3b_24gb.yaml")
    return replace(config, run=replace(config.run, **run))


def test_a_dry_run_divides_activations_and_time():
    alone, team = (estimate(of_1_3b(context_parallel=count), gpus=4, gpu="a100") for count in (1, 4))
    tokens = 17 * 30 * 45
    assert alone["video_tokens_a_gpu"] % tokens == 0
    assert team["video_tokens_a_gpu"] == -(-tokens // 4) * (alone["video_tokens_a_gpu"] // tokens)
    assert team["activations_gib_a_gpu"] == pytest.approx(alone["activations_gib_a_gpu"] / 4, rel=1e-3)
    assert team["teraflops_a_step_and_gpu"] == alone["teraflops_a_step_and_gpu"]
    assert WAN_1_3B.num_heads % 4 == 0
