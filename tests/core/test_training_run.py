"""Whole training runs as a user starts them: what comes out, what survives a kill, what is refused."""

import json
import random
import shutil
import signal
import subprocess
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from training_settings import STREAM, command, losses, make_world, run, settings, write_settings
from typed import instance, one_size, present

from slotid_core.dataset.cached import CachedDataset
from slotid_core.errors import SlotIDError
from slotid_core.systems.slot_id import load_adapter
from slotid_core.systems.slot_id.strategy import Strategy, movement_of
from slotid_core.training.backbone import EightBitLinear
from slotid_core.training.checkpoint import checkpoints, latest_checkpoint
from slotid_core.training.config import TrainingConfig, config_from_settings, read_config
from slotid_core.training.events import Events
from slotid_core.training.loop import Trainer, train
from slotid_core.training.processes import start_processes
from slotid_core.training.samples import sheet_of_pairs
from slotid_core.training.validation import another_person, validate, validation_checks


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    torch.set_num_threads(1)
    return make_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def unbroken(world, tmp_path_factory):
    """A run of 20 steps without interruption."""
    output = tmp_path_factory.mktemp("unbroken")
    train(config_of(settings(world)), output)
    return output


def strategy_of(trainer: Trainer) -> Strategy:
    return instance(trainer.strategy, Strategy)


def config_of(values: dict) -> TrainingConfig:
    return config_from_settings(values)


def test_a_run_leaves_an_adapter_that_inference_loads(world, unbroken):
    adapter = load_adapter(unbroken / "adapter.safetensors")
    objective = config_of(settings(world)).own_objective()
    assert present(adapter.encoder).temperature == pytest.approx(objective.temperature_end)
    assert len(adapter.lora) == 2 * 2 * 3  # blocks x (k, v) x (A, B, alpha)
    assert any(tensor.abs().max() > 0 for name, tensor in adapter.lora.items() if "lora_B" in name)
    assert present(adapter.film).up.weight.abs().max() > 0  # it starts at zero
    assert (unbroken / "loss.png").stat().st_size > 5000
    assert any((unbroken / "tensorboard").iterdir())


def test_the_adapter_says_what_it_was_trained_on(world, unbroken):
    from slotid_core.systems.slot_id.adapter import KIND, VERSION
    from slotid_core.weights import read_header

    facts = read_header(unbroken / "adapter.safetensors", KIND, VERSION)["training"]
    manifest = json.loads((world / "data" / "manifest.json").read_text())
    assert facts["data_manifest"] == manifest["sha256"] and facts["steps"] == 20
    assert facts["training_config"]["run"]["batch"] == 4


def test_only_adapter_and_lora_train(world, tmp_path):
    trainer = Trainer(config_of(settings(world)), tmp_path, start_processes())
    before = {name: p.detach().clone() for name, p in trainer.strategy.named_parameters()}
    for step in range(2):
        trainer.step(step, trainer.batches.rows(step, range(4)), stopping=False)
    changed = {name for name, p in trainer.strategy.named_parameters() if not torch.equal(before[name], p)}
    assert changed and all(name.startswith("adapter.") or ".lora_" in name for name in changed)


@pytest.mark.parametrize("normalize", [False, True])
def test_who_it_is_makes_no_difference_at_the_start(world, tmp_path, normalize):
    adapter = {"normalize_tokens": normalize}
    trainer = Trainer(config_of(settings(world, adapter=adapter)), tmp_path, start_processes())
    batch = trainer.batches.rows(0, range(4))
    rolled = {name: batch.conditions[name].roll(1, 0) for name in ("reference", "portrait")}
    of_others = replace(batch, conditions={**batch.conditions, **rolled})
    assert torch.equal(trainer.strategy(batch), trainer.strategy(of_others))
    trainer.step(0, batch, stopping=False)
    assert not torch.equal(trainer.strategy(batch), trainer.strategy(of_others))


@pytest.mark.parametrize("pairing", ["other clip", "same clip"])
def test_validation_pairs_as_training_does_and_a_mismatched_reference_is_of_another_person(world, tmp_path, pairing):
    data = CachedDataset(world / "data")  # two clips of each of four people
    strategy = Trainer(config_of(settings(world)), tmp_path, start_processes()).strategy
    checks = validation_checks(data, 8, 1, strategy, pairing)
    references = [data.read(i, ("reference",))["reference"] for i in range(len(data))]
    for index, check in enumerate(checks):
        assert torch.equal(check.batch.video[0], data.read(index, ("video",))["video"])
        (own,), (other,) = (
            [i for i in range(len(data)) if torch.equal(references[i], batch.conditions["reference"][0])]
            for batch in (check.batch, check.mismatched)
        )
        assert (own == index) == (pairing == "same clip")
        assert data.samples[own].person == data.samples[index].person != data.samples[other].person
    alone = SimpleNamespace(samples=[SimpleNamespace(person="one")] * 3)
    with pytest.raises(SlotIDError, match="at least two people"):
        another_person(alone, 1)


def test_a_mismatched_reference_has_a_loss_of_its_own_also_in_batches_of_one(world, tmp_path):
    trainer = Trainer(config_of(settings(world, run={"micro_batch": 1})), tmp_path, start_processes())
    trainer.step(0, trainer.batches.rows(0, range(4)), stopping=False)
    figures = validate(trainer.model, trainer.validation_data(), trainer.processes)
    ends = ("", "_without_identity", "_mismatched")
    assert len({figures[f"validation_loss{end}"] for end in ends}) == 3


def test_the_adapter_says_at_which_sizes_its_data_was_prepared(world, unbroken, tmp_path):
    sizes = ("reference_size", "reference_frames", "portrait_size")
    silent = {name: value for name, value in settings(world)["adapter"].items() if name not in sizes}
    trainer = Trainer(config_of({**settings(world), "adapter": silent}), tmp_path, start_processes())
    ours, stored = strategy_of(trainer).adapter.config, load_adapter(unbroken / "adapter.safetensors").config
    assert [getattr(ours, name) for name in sizes] == [getattr(stored, name) for name in sizes]
    with pytest.raises(SlotIDError, match="reference_size is 256.*prepared with 32"):
        Trainer(config_of(settings(world, adapter={"reference_size": 256})), tmp_path, start_processes())


def test_the_adapter_says_at_which_rate_its_data_was_prepared(world, unbroken, tmp_path):
    assert load_adapter(unbroken / "adapter.safetensors").config.reference_rate == 16
    with pytest.raises(SlotIDError, match="reference_rate is 25.*prepared with 16"):
        Trainer(config_of(settings(world, adapter={"reference_rate": 25.0})), tmp_path, start_processes())
    sizes = {"reference_size": 32, "reference_frames": 5, "portrait_size": 16}
    every_frame = sizes | {"frames_per_second": None}
    assert "reference_rate" not in Strategy.settings_for_data({}, every_frame, tmp_path)
    assert Strategy.settings_for_data({"reference_rate": 12.0}, every_frame, tmp_path)["reference_rate"] == 12


def test_without_film_a_run_goes_on_too(world, tmp_path):
    values = settings(world, adapter={"film_fraction": 0.0, "normalize_tokens": True, "anchor": None})
    train(config_of(values | {"run": values["run"] | {"steps": 2}}), tmp_path)
    train(config_of(values | {"run": values["run"] | {"steps": 4}}), tmp_path, resume=True)
    assert sorted(losses(tmp_path)) == [0, 1, 2, 3]
    trainer = Trainer(config_of(values), tmp_path, start_processes())
    trainer.model(trainer.batches.rows(0, range(4))).sum().backward()
    assert all(p.grad is not None for p in trainer.trainable.values())  # DDP waits for every one


@pytest.mark.parametrize("read", ["portrait_weight", "movement_weight"])
def test_without_film_everything_that_trains_gets_a_gradient_from_what_reads_it(world, tmp_path, read):
    values = settings(world, adapter={"film_fraction": 0.0}, objective={"own": {read: 1.0}})
    trainer = Trainer(config_of(values), tmp_path, start_processes())
    trainer.model(trainer.batches.rows(0, range(4))).sum().backward()
    assert all(p.grad is not None for p in trainer.trainable.values())


def test_reading_the_portrait_is_learnt_and_is_no_part_of_validation_or_file(world, tmp_path):
    plain, reading = (
        Trainer(config_of(settings(world, objective={"own": {"portrait_weight": weight}})), tmp_path, start_processes())
        for weight in (0.0, 1.0)
    )
    validations = [validate(t.model, t.validation_data(), t.processes) for t in (plain, reading)]
    assert validations[0] == validations[1]
    batch = reading.batches.rows(0, range(4))
    before = (reading.strategy(batch) - plain.strategy(batch)).mean().item()
    for step in range(8):
        reading.step(step, batch, stopping=False)
    portrait = batch.conditions["portrait"]
    strategy = strategy_of(reading)
    streams = strategy.adapter.streams(batch.conditions["reference"], portrait)
    assert strategy.portrait_loss(streams, portrait).mean().item() < 0.9 * before
    assert not any("portrait" in name for name in load_file(reading.export(8)))


def test_reading_movement_is_learnt_and_is_no_part_of_validation_or_file(world, tmp_path):
    plain, reading = (
        Trainer(config_of(settings(world, objective={"own": {"movement_weight": weight}})), tmp_path, start_processes())
        for weight in (0.0, 1.0)
    )
    validations = [validate(t.model, t.validation_data(), t.processes) for t in (plain, reading)]
    assert validations[0] == validations[1]
    batch = reading.batches.rows(0, range(4))
    before = (reading.strategy(batch) - plain.strategy(batch)).mean().item()
    for step in range(8):
        reading.step(step, batch, stopping=False)
    strategy = strategy_of(reading)
    stream, _ = strategy.adapter.streams(batch.conditions["reference"], batch.conditions["portrait"])
    assert strategy.movement_loss(present(stream), batch).mean().item() < 0.9 * before
    assert not any("movement" in name for name in load_file(reading.export(8)))
    portrait_only = Trainer(
        config_of(settings(world, objective={"own": {"movement_weight": 1.0}}, adapter={"encoder": None})),
        tmp_path / "portrait_only", start_processes(),
    )  # fmt: skip
    portrait_only.step(0, portrait_only.batches.rows(0, range(4)), stopping=False)  # there is no clip to read it off


def test_movement_is_where_latents_change():
    video = torch.randn(1, 16, 1, 16, 16).expand(-1, -1, 5, -1, -1).clone()
    assert movement_of(video).abs().max() == movement_of(video[:, :, :1]).abs().max() == 0
    video[:, :, 1::2, 4:6, 10:12] += 3.0  # there and back in every frame
    movement = movement_of(video).unflatten(1, (8, 8))
    assert movement[0, 2, 5].item() == pytest.approx(3.0) and movement.count_nonzero() == 1


def test_the_change_of_the_error_is_weighed_while_training_only(world, tmp_path):
    """An error that is the same in every frame costs nothing more; one that turns about costs twice its square."""
    weighed = config_of(settings(world, objective={"change_weight": 2.0}))
    weighing, objective = Trainer(weighed, tmp_path, start_processes()).strategy, weighed.objective
    steady = torch.randn(2, 16, 1, 4, 4).expand(-1, -1, 5, -1, -1)
    turning = steady * torch.tensor([1.0, -1, 1, -1, 1]).view(-1, 1, 1)
    batch = one_size(Trainer(config_of(settings(world)), tmp_path, start_processes()).batches.rows(0, range(2)))
    for same in (steady, steady[:, :, :1]):
        assert torch.equal(objective.auxiliary_loss(same, batch), torch.zeros(2))
    torch.testing.assert_close(objective.auxiliary_loss(turning, batch), 2 * 0.5 * 4 * objective.loss(steady))
    training = weighing(batch)
    assert (weighing.eval()(batch) < training).all()


@pytest.mark.parametrize("name", ["portrait_weight", "movement_weight", "change_weight"])
def test_a_negative_weight_is_refused(world, name):
    with pytest.raises(SlotIDError, match=f"{name} must not be negative; got -1"):
        own = name != "change_weight"
        config_of(settings(world, objective={"own": {name: -1.0}} if own else {name: -1.0}))


@pytest.mark.parametrize("name", ["steps", "batch", "micro_batch", "save_every", "keep_last"])
def test_a_count_of_nothing_is_refused_before_anything_is_loaded(world, name):
    with pytest.raises(SlotIDError, match=f"{name} .*0"):
        config_of(settings(world, run={name: 0}))


def test_a_run_without_validations_learns_the_same(world, unbroken, tmp_path):
    train(config_of(settings(world, run={"validate_every": 0})), tmp_path)
    assert losses(tmp_path) == losses(unbroken)


def test_kill_and_resume_gives_the_losses_of_an_unbroken_run(world, unbroken, tmp_path):
    config = write_settings(tmp_path / "config.json", settings(world))
    output = tmp_path / "run"
    process = subprocess.Popen(command(config, output), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    after = random.choice((5, 10))
    deadline = time.monotonic() + 200
    while not (output / f"step_{after:08d}.safetensors").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert checkpoints(output), "the run was killed before its first checkpoint"
    restored_at = present(latest_checkpoint(output))[1]["step"]
    finished = run(command(config, output, "--resume"))
    assert finished.returncode == 0, finished.stderr
    expected = losses(unbroken)
    assert {step: loss for step, loss in losses(output).items() if step >= restored_at} == {
        step: loss for step, loss in expected.items() if step >= restored_at
    }
    assert sorted(losses(output)) == list(range(20))
    ours, theirs = (load_adapter(folder / "adapter.safetensors") for folder in (output, unbroken))
    assert ours.fingerprint == theirs.fingerprint


def test_a_step_is_in_the_log_before_anything_else_happens(tmp_path):
    events = Events(tmp_path, steps=2, as_json=False, is_first=True)
    for step in range(2):
        events.step(step, {"loss": 1.0})
        lines = (tmp_path / "log.jsonl").read_text().splitlines()
        assert [json.loads(line)["step"] for line in lines] == list(range(step + 1))
    events.close()


def test_a_signal_saves_and_stops(world, tmp_path):
    config = write_settings(tmp_path / "config.json", settings(world, run={"steps": 100_000, "save_every": 50_000}))
    process = subprocess.Popen(
        command(config, tmp_path / "run", "--progress", "json"), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    for line in present(process.stdout):
        if json.loads(line)["event"] == "step":
            process.send_signal(signal.SIGTERM)
            break
    events = [json.loads(line) for line in present(process.stdout)]
    assert process.wait(60) == 130
    stopped = events[-1]["step"]
    assert events[-1]["event"] == "stopped" and present(latest_checkpoint(tmp_path / "run"))[1]["step"] == stopped


def test_a_finished_run_that_is_resumed_gives_the_same_adapter(world, unbroken, tmp_path):
    shutil.copytree(unbroken, tmp_path / "run")
    (tmp_path / "run/adapter.safetensors").unlink()
    again = load_adapter(present(train(config_of(settings(world)), tmp_path / "run", resume=True)))
    first = load_adapter(unbroken / "adapter.safetensors")
    assert (
        again.fingerprint == first.fingerprint
        and present(again.encoder).temperature == present(first.encoder).temperature
    )


def test_a_run_starts_from_an_adapter_and_goes_on_from_what_it_knows(world, unbroken, tmp_path):
    """Its first loss is what the adapter's is; a part that the adapter lacks starts fresh."""
    again = {"start_from": str(unbroken / "adapter.safetensors"), "steps": 1, "ema_decay": 0}
    more = {"own": {"movement_weight": 1.0}}
    trainer = Trainer(config_of(settings(world, run=again, objective=more)), tmp_path, start_processes())
    first = load_adapter(unbroken / "adapter.safetensors")
    for name, value in first.state_dict().items():
        assert torch.equal(strategy_of(trainer).adapter.state_dict()[name], value)
    weights = dict(strategy_of(trainer).model.named_parameters())
    for block in range(2):
        for target in "kv":
            here, there = (
                f"blocks.{block}.cross_attn.{target}.lora_",
                f"diffusion_model.blocks.{block}.cross_attn.{target}",
            )
            assert torch.equal(weights[f"{here}B.default.weight"], first.lora[f"{there}.lora_B.weight"].float())
    trainer.run(resume=False, as_json=False)
    moved = load_adapter(tmp_path / "adapter.safetensors")
    assert moved.fingerprint != first.fingerprint
    for name, value in first.state_dict().items():
        assert (moved.state_dict()[name] - value).abs().max() < 0.01  # one step away, not fresh


@pytest.mark.parametrize(
    "adapter", [{"encoder": {**STREAM, "width": 32}}, {"lora": {"rank": 2}}, {"lora": {"rank": 4, "alpha": 8.0}},
                {"lora": {"rank": 4, "alpha": 4.0, "targets": ["k"]}}, {"lora": None}, {"anchor": None}],
)  # fmt: skip
def test_an_adapter_of_other_sizes_is_no_start(world, unbroken, tmp_path, adapter):
    run = {"start_from": str(unbroken / "adapter.safetensors")}
    with pytest.raises(SlotIDError, match="run.start_from"):
        Trainer(config_of(settings(world, run=run, adapter=adapter)), tmp_path, start_processes())


def test_a_truncated_checkpoint_is_passed_over(world, tmp_path, caplog):
    train(config_of(settings(world, run={"steps": 10})), tmp_path)
    newest, older = checkpoints(tmp_path)
    newest.write_bytes(newest.read_bytes()[:-1000])
    assert present(latest_checkpoint(tmp_path))[1]["step"] == 5
    assert newest.name in caplog.text
    trainer = Trainer(config_of(settings(world, run={"steps": 10})), tmp_path, start_processes())
    assert trainer.restore() == 5 and older.exists()


def test_a_loss_that_explodes_stops_at_the_last_good_state(world, tmp_path):
    explosive = settings(world, optimizer={"learning_rate": 1e9, "max_grad_norm": 1e9, "warmup_steps": 1})
    with pytest.raises(SlotIDError, match="learning_rate"):
        train(config_of(explosive), tmp_path)
    for path in checkpoints(tmp_path):
        latest = latest_checkpoint(tmp_path)
        assert latest is not None and path.name >= f"step_{latest[1]['step']:08d}.safetensors"
    assert not (tmp_path / "adapter.safetensors").exists()


def test_what_is_refused(world, tmp_path):
    train(config_of(settings(world, run={"steps": 1})), tmp_path / "run")
    with pytest.raises(SlotIDError, match="--resume"):
        train(config_of(settings(world)), tmp_path / "run")
    with pytest.raises(SlotIDError, match="no setting 'stepz'"):
        config_of(settings(world, run={"stepz": 3}))
    with pytest.raises(SlotIDError, match="no setting 'slots'"):
        Trainer(config_of(settings(world, adapter={"slots": 3})), tmp_path / "new", start_processes())
    with pytest.raises(SlotIDError, match="other data"):
        train(config_of(settings(world, data={"train": str(world / "held_out")})), tmp_path / "run", resume=True)
    (tmp_path / "broken.yaml").write_text("run: [1,")
    with pytest.raises(SlotIDError, match="YAML"):
        read_config(tmp_path / "broken.yaml")
    (tmp_path / "file.yaml").write_text(json.dumps(settings(world)))
    assert read_config(tmp_path / "file.yaml", ["run.steps=7", "objective.own.token_dropout=0.5"]).run.steps == 7


def test_eight_bit_weights_are_kept_for_the_backward_pass_as_they_are():
    plain = torch.nn.Linear(64, 48, dtype=torch.bfloat16).requires_grad_(False)
    small, kept = EightBitLinear(plain), []
    x = torch.randn(5, 64, dtype=torch.bfloat16, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor) or tensor, lambda tensor: tensor):
        small(x).sum().backward()
    wide = small.weight.to(x.dtype) * instance(small.scale, torch.Tensor).to(x.dtype)
    assert torch.allclose(present(x.grad), torch.ones(5, 48, dtype=x.dtype) @ wide)
    assert [tensor.dtype for tensor in kept if tensor.shape == wide.shape] == [torch.float8_e4m3fn]


@pytest.mark.parametrize("dtype", ["bfloat16", "float8_e4m3fn"])
def test_smaller_frozen_weights_and_checkpointing_train_alike(world, unbroken, tmp_path, dtype):
    small = {"dtype": dtype, "compute_dtype": "bfloat16", "activation_checkpointing": True}
    train(config_of(settings(world, model=small)), tmp_path)
    assert losses(tmp_path)[0] == pytest.approx(losses(unbroken)[0], rel=0.02)
    assert losses(tmp_path)[19] == pytest.approx(losses(unbroken)[19], rel=0.02)


def test_a_sheet_of_samples_appears(world, tmp_path):
    train(config_of(settings(world, run={"steps": 2, "sample_every": 2})), tmp_path)
    assert (tmp_path / "samples_00000002.png").stat().st_size > 1000


def test_a_sheet_shows_prompts_of_the_recipe_at_several_strengths(world, tmp_path, monkeypatch):
    drawn = []

    def sample(predict, noise, context, empty_text):
        strength = torch.ones(len(noise))
        drawn.append((context, predict(noise, 0.5 * strength, context, strength)))
        return drawn[-1][1]

    monkeypatch.setattr("slotid_core.training.loop.sample_guided", sample)
    values = settings(world, run={
        "steps": 1, "sample_every": 1, "sample_prompts": ["A man laughs.", "A dog runs on a beach."],
        "sample_strengths": [0.0, 0.5],
    })  # fmt: skip
    trainer = Trainer(config_of(values), tmp_path, start_processes())
    with torch.no_grad():
        for parameter in trainer.trainable.values():  # else a new adapter changes nothing at any strength
            parameter.add_(0.05 * torch.randn_like(parameter))
    trainer.run(resume=False, as_json=False)
    own = trainer.sheet_rows(present(trainer.held_out)).context
    (context, one), (_, none), (_, half) = drawn
    assert torch.equal(context[0], context[2]) and not torch.equal(context[0], context[1])
    assert context.shape != own.shape or not torch.equal(context, own)
    assert (half - none).abs().max() > 0 and (half - none).norm() < (one - none).norm()
    with Image.open(tmp_path / "samples_00000001.png") as sheet:
        assert sheet.size == (5 * 32, 4 * (1 + 3) * 32)  # people x (reference and three strengths) x pixels


def test_validation_tells_the_loss_at_each_noise_level(world, tmp_path):
    trainer = Trainer(config_of(settings(world)), tmp_path, start_processes())
    figures = validate(trainer.model, trainer.validation_data(), trainer.processes)
    at = [value for name, value in figures.items() if name.startswith("validation_loss_at_")]
    assert len(at) == 4 and sum(at) / 4 == pytest.approx(figures["validation_loss"], rel=1e-5)
    assert len({round(value, 4) for value in at}) == 4


def test_a_sheet_that_fails_does_not_end_the_run(world, tmp_path, monkeypatch, capsys):
    def no_room(*_):
        assert checkpoints(tmp_path), "a sheet comes after its step is safe"
        raise torch.OutOfMemoryError("no room for a VAE")

    monkeypatch.setattr("slotid_core.training.loop.load_vae", no_room)
    run = {"steps": 2, "sample_every": 1, "save_every": 1}
    adapter = train(config_of(settings(world, run=run)), tmp_path, as_json=True)
    assert present(adapter).is_file() and capsys.readouterr().out.count("no room for a VAE") == 2


def test_a_sheet_decodes_the_first_frames_only(tmp_path):
    class Decoder(torch.nn.Linear):
        def decode(self, latents):
            assert latents.shape[2] == 5
            return torch.zeros(1, 3, 17, 8, 8)

    sheet_of_pairs(Decoder(1, 1), torch.zeros(2, 16, 17, 2, 2), [torch.zeros(2, 16, 9, 1, 1)], tmp_path / "sheet.png")
    assert (tmp_path / "sheet.png").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("how", ["ddp", "fsdp"])
def test_two_processes_match_one(world, unbroken, tmp_path, how):
    """20 steps at the same global batch; under FSDP every parameter is a DTensor."""
    config = write_settings(tmp_path / "config.json", settings(world, run={"distribution": how}))
    finished = run(command(config, tmp_path / "run", processes=2))
    assert finished.returncode == 0, finished.stderr[-3000:]
    for step, loss in losses(tmp_path / "run").items():
        assert loss == pytest.approx(losses(unbroken)[step], abs=1e-4)
    if how == "fsdp":
        script = tmp_path / "check.py"
        script.write_text(CHECK.format(config=str(config)))
        checked = run([*command(config, tmp_path, processes=2)[:6], str(script)])
        assert checked.returncode == 0 and "all DTensor" in checked.stdout, checked.stderr[-3000:]


@pytest.mark.slow
def test_a_run_goes_on_with_another_number_of_processes(world, unbroken, tmp_path):
    config = write_settings(tmp_path / "config.json", settings(world, run={"distribution": "fsdp", "keep_last": 9}))
    assert run(command(config, tmp_path / "run", processes=2)).returncode == 0
    for path in checkpoints(tmp_path / "run"):
        if path.name > "step_00000010.safetensors":
            path.unlink()
    assert run(command(config, tmp_path / "run", "--resume")).returncode == 0
    assert sorted(losses(tmp_path / "run")) == list(range(20))
    for step, loss in losses(tmp_path / "run").items():
        assert loss == pytest.approx(losses(unbroken)[step], abs=1e-4)


CHECK = """
from pathlib import Path
from torch.distributed.tensor import DTensor
from slotid_core.training.config import read_config
from slotid_core.training.loop import Trainer
from slotid_core.training.processes import start_processes
import torch.distributed as dist
processes = start_processes()
trainer = Trainer(read_config(Path({config!r})), Path("unused"), processes)
assert all(isinstance(p, DTensor) for p in trainer.strategy.parameters())
assert processes.agree(7) and not processes.agree(processes.rank)
if processes.is_first:
    print("all DTensor", flush=True)
dist.destroy_process_group()
"""
