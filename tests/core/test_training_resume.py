"""Resuming: which settings may change, and how those that may not are named."""

import json
import shutil
from dataclasses import fields, replace

import pytest
import torch
from training_settings import command, losses, make_world, run, settings, write_settings
from typed import present

from slotid_core.config import NOT_GIVEN, changed_settings, read_settings, told
from slotid_core.errors import SlotIDError
from slotid_core.systems import registry
from slotid_core.training.__main__ import main
from slotid_core.training.checkpoint import KIND, VERSION, latest_checkpoint, save_checkpoint
from slotid_core.training.config import (
    FILES,
    MAY_CHANGE,
    MAY_GROW,
    TrainingConfig,
    config_from_settings,
    read_config,
)
from slotid_core.training.loop import Trainer
from slotid_core.training.processes import start_processes
from slotid_core.training.resume import changes_since, comparable, fingerprint, fingerprints
from slotid_core.weights import load_weights, read_header, save_weights


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    torch.set_num_threads(1)
    return make_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def begun(world, tmp_path_factory):
    """A run of four steps of which two are done."""
    folder = tmp_path_factory.mktemp("begun")
    trainer = Trainer(config_from_settings(first(world)), folder, start_processes())
    trainer.step(0, trainer.batches.rows(0, range(4)), stopping=False)
    trainer.events = None  # pyright: ignore[reportAttributeAccessIssue]
    trainer.strategy.at_step(0)
    save_checkpoint(folder, 2, trainer.state(), trainer.facts, 3)
    return folder


def first(world, **changes) -> dict:
    changes = {**changes, "run": {"steps": 4, "save_every": 2, "validate_every": 9, **changes.get("run", {})}}
    return settings(world, **changes)


def trainer_of(values: dict, folder) -> Trainer:
    return Trainer(config_from_settings(values), folder, start_processes())


REFUSED = {
    "optimizer.learning_rate was 0.001 and is 0.1 now": {"optimizer": {"learning_rate": 0.1}},
    "adapter.gate.family was not given and is 'linear' now": {"adapter": {"gate": {"family": "linear"}}},
    "objective.timestep_shift was": {"objective": {"timestep_shift": 9.0}},
    "objective.own.portrait_weight was": {"objective": {"own": {"portrait_weight": 1.0}}},
    "optimizer.lr_multipliers.film was not given and is 2.0 now": {"optimizer": {"lr_multipliers": {"film": 2.0}}},
    "run.batch was 4 and is 8 now": {"run": {"batch": 8}},
    "run.seed was 0 and is 1 now": {"run": {"seed": 1}},
    "run.ema_decay was 0.999 and is 0.9 now": {"run": {"ema_decay": 0.9}},
    "run.steps was 4 and is 3 now": {"run": {"steps": 3}},
    "data.pairing was 'other clip' and is 'same clip' now": {"data": {"pairing": "same clip"}},
    "model.compute_dtype was 'float32' and is 'bfloat16' now": {"model": {"compute_dtype": "bfloat16"}},
}


@pytest.mark.parametrize("said", REFUSED)
def test_d4_a_changed_setting_is_named_with_both_values(world, begun, said):
    with pytest.raises(SlotIDError) as refused:
        trainer_of(first(world, **REFUSED[said]), begun).restore()
    assert said in str(refused.value) and "--changed" in str(refused.value)
    assert str(refused.value).count(" was ") == 3  # "was begun" twice, and the one setting


def test_d4_every_changed_setting_is_named(world, begun):
    changes = {"optimizer": {"learning_rate": 0.1, "weight_decay": 0.5}, "run": {"seed": 3}}
    with pytest.raises(SlotIDError, match=r"learning_rate was.*weight_decay was.*run.seed was"):
        trainer_of(first(world, **changes), begun).restore()


def test_d4_what_no_step_depends_on_may_change_and_steps_may_grow(world, begun, tmp_path, caplog):
    shutil.copytree(world / "data", tmp_path / "moved")
    shutil.copyfile(world / "backbone.safetensors", tmp_path / "moved.safetensors")
    values = first(
        world, data={"train": str(tmp_path / "moved"), "validation": ""},
        model={"path": str(tmp_path / "moved.safetensors"), "activation_checkpointing": True},
        run={"steps": 6, "micro_batch": 1, "save_every": 3, "keep_last": 1, "sample_every": 0, "distribution": "fsdp"},
    )  # fmt: skip
    trainer = trainer_of(values, begun)
    assert trainer.restore() == 2
    assert trainer.facts["changes"] == [{"step": 2, "setting": "run.steps", "before": 4, "now": 6}]
    assert "run.steps was 4 and is 6 now" in caplog.text


def test_d4_another_model_under_the_same_name_is_refused(world, begun, tmp_path):
    other = tmp_path / "backbone.safetensors"
    tensors, header = load_weights(world / "backbone.safetensors", "backbone", 1)
    save_weights(other, {name: tensor + 1 for name, tensor in tensors.items()}, header)
    with pytest.raises(SlotIDError, match="the content of model.path was"):
        trainer_of(first(world, model={"path": str(other)}), begun).restore()


def test_d4_a_change_that_is_meant_is_written_into_checkpoint_and_adapter(world, begun, tmp_path):
    shutil.copytree(begun, tmp_path / "run")
    config = write_settings(tmp_path / "config.json", first(world, optimizer={"learning_rate": 5e-4}))
    resumed = ["--config", str(config), "--output", str(tmp_path / "run"), "--resume"]
    with pytest.raises(SlotIDError, match="optimizer.learning_rate was 0.001 and is 0.0005 now"):
        main(resumed)
    assert main([*resumed, "--changed", "optimizer.learning_rate"]) == 0
    change = {"step": 2, "setting": "optimizer.learning_rate", "before": 1e-3, "now": 5e-4}
    found = latest_checkpoint(tmp_path / "run")
    assert found is not None and found[1]["changes"] == [change]
    assert main(resumed) == 0  # from here on it is the run's own
    facts = read_header(tmp_path / "run" / "adapter.safetensors", "slot_id_adapter", 1)["training"]
    assert facts["changes"] == [change]


def test_d4_checkpoints_of_earlier_releases_go_on(world, begun, tmp_path):
    """They say nothing of files' contents and of settings that came later; what they do say is compared."""
    (path,) = begun.glob("step_*.safetensors")
    tensors, header = load_weights(path, KIND, VERSION)
    del header["files"], header["training_config"]["adapter"]["reference_rate"]
    del header["training_config"]["run"]["start_from"]
    save_weights(tmp_path / path.name, tensors, header)
    assert trainer_of(first(world), tmp_path).restore() == 2
    shutil.copyfile(world / "backbone.safetensors", tmp_path / "moved.safetensors")
    with pytest.raises(SlotIDError, match="model.path was"):
        trainer_of(first(world, model={"path": str(tmp_path / "moved.safetensors")}), tmp_path).restore()


def test_d4_what_may_change_are_settings():
    def names(config_class, prefix=""):
        for field in fields(config_class):
            yield f"{prefix}{field.name}"

    sections = {field.name: field.type for field in fields(TrainingConfig)}
    known = {name for section in ("data", "model", "run") for name in names(sections[section], f"{section}.")}
    assert known >= MAY_CHANGE | MAY_GROW | FILES


def test_d4_changes_are_told_flat():
    changes = changed_settings({"a": {"b": 1, "c": (1, 2)}, "d": {}}, {"a": {"b": 2, "c": [1, 2]}, "d": {"e": None}})
    assert changes == {"a.b": (1, 2), "d.e": (NOT_GIVEN, None)}
    assert told(changes) == "a.b was 1 and is 2 now; d.e was not given and is None now"


def test_d4_a_toy_training_with_another_rate_is_refused(tmp_path):
    from slotid_core.toy_world.training_loop import Schedule
    from slotid_core.toy_world.training_loop import train as train_toy

    def go(schedule, **options):
        module = torch.nn.Linear(1, 1)
        draw, loss_of = (lambda step: (torch.ones(1, 1),)), (lambda _, x: (module(x).sum(), {}))
        train_toy("part", module, draw, loss_of, schedule, tmp_path, **options)

    go(Schedule(2, 0.1))
    with pytest.raises(SlotIDError, match=r"learning_rate was 0.1 and is 0.2 now"):
        go(Schedule(2, 0.2))
    with pytest.raises(SlotIDError, match=r"weight_decay was 0.0 and is 0.5 now"):
        go(Schedule(2, 0.1), weight_decay=0.5)
    with pytest.raises(SlotIDError, match=r"steps was 2 and is 1 now"):
        go(Schedule(1, 0.1))
    go(Schedule(3, 0.1))
    assert len((tmp_path / "part.jsonl").read_text().splitlines()) == 3


EMOJI = "🙂 𝒳"


@pytest.mark.parametrize("text", [json.dumps({"x": EMOJI}), f"x: {EMOJI}", f'x: "{EMOJI}"'])
def test_b6_settings_keep_characters_beyond_the_first_65536(text):
    assert read_settings(text) == {"x": EMOJI}


def test_b6_a_run_in_a_folder_with_an_emoji(world, tmp_path, monkeypatch):
    """As the node starts it, settings on the command line as JSON; also where the output can print ASCII alone."""
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    place = tmp_path / EMOJI
    shutil.copytree(world, place)
    values = first(place, run={"steps": 1, "sample_every": 1})
    config = write_settings(place / "config.json", values)
    more = [f"--set=data.train={json.dumps(values['data']['train'])}"]
    finished = run(command(config, place / "run", *more))
    assert finished.returncode == 0, finished.stderr
    assert sorted(losses(place / "run")) == [0] and (place / "run" / "adapter.safetensors").is_file()
    from slotid_core.dataset.config import read_config as read_data_config

    data = write_settings(place / "data.yaml", {"vae": str(place), "text_encoder": "t", "toy_world": {"people": 1}})
    assert read_data_config(data).vae == str(place)


def test_b6_a_setting_that_is_neither_json_nor_yaml_is_named(world, tmp_path):
    config = write_settings(tmp_path / "config.json", first(world))
    with pytest.raises(SlotIDError, match="--set 'run.steps=\\[1'"):
        read_config(config, ["run.steps=[1"])
    (tmp_path / "latin.yaml").write_bytes(b"\xff")
    with pytest.raises(SlotIDError, match="cannot be read as YAML"):
        read_config(tmp_path / "latin.yaml")


def test_d4_the_system_s_own_defaults_are_compared_whether_given_or_not(world):
    config = config_from_settings(first(world))
    own = comparable(config)["objective"]["own"]
    given = replace(config, objective=replace(config.objective, own=own))
    header = {"training_config": comparable(config), "files": fingerprints(config)}
    assert changes_since(header, given, config.adapter, fingerprints(config)) == {}


@pytest.mark.parametrize("system", [*registry.SYSTEMS, *registry.REFINEMENTS])
def test_the_toy_world_gives_each_system_its_own_adapter_to_start_from(system, tmp_path):
    """Each was given Slot-ID's, which the others cannot read."""
    settings = {
        "system": system, "data": {"train": str(tmp_path)}, "model": {"path": "toy_world"},
        "run": {"steps": 1, "start_from": "toy_world"},
    }  # fmt: skip
    config = config_from_settings(settings)
    start = present(config.start_file())
    assert registry.inference_of(system).load(start)
    assert config.strategy_settings().start_from == str(start)
    assert fingerprints(config)["run.start_from"] == fingerprint(start)
