"""Files saved by an earlier release (commit 7fc280a) load, and give what they gave there.

The files, and what that code computed from them, are fixtures. Values are compared within rounding, as other machines
round otherwise; on the machine that made them SAVED_BITWISE=1 compares bits.
"""

import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from lynx_waves import fill, wave
from torch import Tensor
from typed import present

from slotid_core.config import config_from_dict, config_to_dict
from slotid_core.dataset.cached import CachedDataset
from slotid_core.dataset.config import PrepareConfig
from slotid_core.dataset.config import read_config as read_preparation
from slotid_core.dataset.manifest import read_manifest
from slotid_core.reference.faces.face_encoder import load_face_encoder
from slotid_core.systems.lynx import LynxCondition, ReferenceFeatures, build_adapter, install_lynx
from slotid_core.systems.slot_id import Identity, SlotIDAdapter, load_adapter
from slotid_core.systems.slot_id.inference import predict_velocity, predictor
from slotid_core.training.checkpoint import latest_checkpoint
from slotid_core.training.config import config_from_settings, read_config
from slotid_core.training.loop import train
from slotid_core.wan import WanConfig, WanModel
from slotid_core.wan.guidance import sample_guided
from slotid_core.wan.lora import merge_lora
from slotid_core.weights import load_weights, read_tensors, save_weights

FIXTURES = Path(__file__).parents[1] / "fixtures" / "7fc280a"
BITWISE = os.environ.get("SAVED_BITWISE") == "1"

ADAPTERS = ("full", "other_settings", "conv_pool", "mean_latent", "anchor_only")
LYNX_PARTS = {
    "full, official": ("lynx_full_resampler", "lynx_full_id_official", "lynx_ref_official"),
    "full, repacked": ("lynx_full_resampler", "lynx_full_id_repacked", "lynx_ref_repacked"),
    "lite, official": ("lynx_lite_resampler", "lynx_lite_id_official", None),
    "lite, repacked": ("lynx_lite_resampler", "lynx_lite_id_repacked", None),
    "ref alone": (None, None, "lynx_ref_official"),
}
WIDTH, DEPTH, TEXT_WIDTH, FACE_WIDTH = 64, 3, 48, 24
TRAINING_WIDTH = 128  # the least that a model file can have: a head is 128 wide


# What is computed from the files, here and when they were made.


def video_model() -> WanModel:
    config = WanConfig(dim=WIDTH, ffn_dim=96, num_layers=DEPTH, num_heads=1, text_dim=TEXT_WIDTH)
    return fill(WanModel(config), phase=0.1)


def clip_and_portrait() -> tuple[Tensor, Tensor]:
    return wave(1, 16, 2, 4, 4, phase=0.2), wave(1, 16, 1, 4, 4, phase=0.3)


def noisy_and_text(batch: int = 1) -> tuple[Tensor, Tensor]:
    """Noisy latents and a prompt with its padding row."""
    context = torch.cat([wave(batch, 5, TEXT_WIDTH, phase=0.5), torch.zeros(batch, 1, TEXT_WIDTH)], dim=1)
    return wave(batch, 16, 2, 4, 4, phase=0.4), context


@torch.no_grad()
def outputs_of_adapter(adapter: SlotIDAdapter) -> dict[str, Tensor]:
    """Streams, identity, and what a video model with the adapter's LoRA predicts and samples."""
    clip, portrait = clip_and_portrait()
    outputs = {}
    for stream_name, stream in zip(("video", "image"), adapter.streams(clip, portrait), strict=True):
        if stream is not None:
            for name in ("tokens", "global_vector", "assignment"):
                outputs[f"{stream_name}_stream.{name}"] = getattr(stream, name)
    model = video_model()
    if adapter.lora:
        merge_lora(model, adapter.lora)
    return outputs | outputs_of_identity(adapter(clip, portrait), model)


@torch.no_grad()
def outputs_of_identity(identity: Identity, model: WanModel) -> dict[str, Tensor]:
    names = ("image_tokens", "video_tokens", "image_film", "video_film")
    outputs = {f"identity.{name}": getattr(identity, name) for name in names}
    levels, strength = torch.tensor([0.15, 0.5, 0.9]), torch.tensor([1.0, 0.6, 0.0])
    mask = torch.ones(3, identity.num_tokens)
    mask[1, ::2] = 0
    condition = identity.condition(levels, strength, mask)
    parts = {"tokens": condition.rows.tokens, "amount": condition.rows.amount, "film": condition.film}
    outputs |= {f"condition.{name}": value for name, value in parts.items()}
    noisy, context = noisy_and_text(3)
    outputs["velocity"] = predict_velocity(model, noisy, levels, context, identity, strength, mask)
    noise, context = noisy_and_text()
    empty = wave(1, TEXT_WIDTH, phase=0.6)
    for order in ("text first", "identity first"):
        outputs[f"clip, {order}"] = sample_guided(
            predictor(model, identity), noise, context, empty, steps=3, text_scale=2.5, identity_scale=2.0, order=order
        )
    return outputs


@torch.no_grad()
def outputs_of_lynx(files: tuple[str | None, str | None, str | None]) -> dict[str, Tensor]:
    """Branches of both adapters, and a prediction in which row 0 is nobody and row 1 the person."""
    parts = [None if name is None else read_tensors(FIXTURES / f"{name}.safetensors")[0] for name in files]
    adapter = build_adapter(*parts)
    adapter.check_model(WIDTH, DEPTH)
    outputs, face, reference = {}, {}, {}
    if parts[1] is not None:
        person = torch.nn.functional.normalize(wave(1, FACE_WIDTH, phase=1.0), dim=1)
        face = adapter.face_branches(torch.cat([torch.zeros(1, FACE_WIDTH), person]))
    if parts[2] is not None:
        reference = adapter.reference_branches(ReferenceFeatures.load(FIXTURES / "lynx_reference.safetensors").features)
    for kind, branches in (("face", face), ("reference", reference)):
        for block, branch in branches.items():
            outputs[f"{kind}.{block}.key"], outputs[f"{kind}.{block}.value"] = branch.key, branch.value
            outputs[f"{kind}.{block}.is_normalized"] = torch.tensor(branch.is_normalized)
    condition = LynxCondition(torch.tensor([0, 1]), face, reference, 0.9, 0.8)
    model = video_model()
    noisy, context = noisy_and_text(2)
    options = install_lynx({}, model, condition, range(DEPTH))
    outputs["velocity"] = model(noisy, torch.tensor([700.0, 300.0]), context, transformer_options=options)
    return outputs


def lynx_group(variant: str) -> str:
    """Both layouts of a variant hold the same numbers, so that one expectation is of both."""
    return f"lynx {variant.split(',')[0]}"


@torch.no_grad()
def outputs_of_face_encoder() -> dict[str, Tensor]:
    encoder = load_face_encoder(FIXTURES / "lynx_face_encoder.safetensors")
    return {"embedding": encoder(wave(1, 3, 112, 112, phase=1.1))}


def world_for_training(folder: Path) -> None:
    """The prepared data and the settings, and beside them the video model that the settings name."""
    shutil.copytree(FIXTURES / "prepared", folder / "prepared")
    shutil.copy(FIXTURES / "training.yaml", folder)
    config = WanConfig(dim=TRAINING_WIDTH, ffn_dim=128, num_layers=2, num_heads=1)
    model = fill(WanModel(config), phase=0.7)
    save_weights(folder / "backbone.safetensors", model.state_dict(), {"kind": "backbone", "version": 1})


def trained(folder: Path, resume: bool) -> tuple[dict[str, Tensor], Path]:
    """The run of training.yaml in the working folder: figures of its steps, and its adapter."""
    adapter = train(read_config(Path("training.yaml")), folder, resume=resume, as_json=True)
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    outputs = {}
    for line in lines:
        for name in ("loss", "gradient_norm", "learning_rate"):
            outputs[f"step {line['step']}.{name}"] = torch.tensor(line[name], dtype=torch.float64)
    return outputs, present(adapter)


# The tests.


@pytest.fixture(autouse=True)
def one_thread():
    count = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(count)


@pytest.fixture(scope="module")
def expected() -> dict[str, Tensor]:
    return read_tensors(FIXTURES / "expected.safetensors")[0]


@pytest.fixture(scope="module")
def facts() -> dict:
    return json.loads((FIXTURES / "expected.json").read_text())


@pytest.fixture
def in_world(tmp_path, monkeypatch) -> Path:
    world_for_training(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def assert_same(outputs: dict[str, Tensor], expected: dict[str, Tensor], group: str, rtol=1e-4, atol=1e-5) -> None:
    """All tensors of a group of expected.safetensors, and no others."""
    wanted = {name.removeprefix(f"{group}/"): value for name, value in expected.items() if name.startswith(f"{group}/")}
    assert wanted and set(outputs) == set(wanted)
    for name, value in wanted.items():
        found = outputs[name]
        assert found.shape == value.shape and found.dtype == value.dtype, name
        if BITWISE or value.dtype == torch.bool:
            assert torch.equal(found, value), f"{name}: {(found.double() - value.double()).abs().max()}"
        else:
            message = f"{name}: {{}}".format
            torch.testing.assert_close(found, value, rtol=rtol, atol=atol, msg=message)


def holds(new, old, where: str = "") -> None:
    """Whatever was set is set so still; settings added since may be there besides. Lists and tuples are alike."""
    if isinstance(old, dict):
        assert isinstance(new, dict), where
        for name, value in old.items():
            assert name in new, f"{where}.{name}"
            holds(new[name], value, f"{where}.{name}")
    elif isinstance(old, list):
        assert len(new) == len(old), where
        for index, value in enumerate(old):
            holds(new[index], value, f"{where}[{index}]")
    else:
        assert new == old, where


@pytest.mark.parametrize("name", ADAPTERS)
def test_slot_id_adapter(expected, facts, name):
    adapter = load_adapter(FIXTURES / f"slot_id_{name}.safetensors")
    outputs = facts["adapters"][name]
    holds(config_to_dict(adapter.config), outputs["config"])
    assert adapter.fingerprint == outputs["fingerprint"]
    assert (adapter.encoder.temperature if adapter.encoder else None) == outputs["temperature"]
    assert set(adapter.lora) == set(outputs["lora"])
    assert_same(outputs_of_adapter(adapter), expected, f"slot_id_{name}")


@pytest.mark.parametrize("name", ADAPTERS)
def test_identity(expected, facts, name, tmp_path):
    """Loaded without the adapter, it is the one that the adapter makes; saved again, it is the same file or more."""
    path = FIXTURES / f"identity_{name}.safetensors"
    identity = Identity.load(path)
    holds(config_to_dict(identity.gate), facts["identities"][name]["gate"])
    assert identity.gate_mode == facts["identities"][name]["gate_mode"]
    assert identity.adapter_fingerprint == facts["adapters"][name]["fingerprint"]
    assert identity.source == facts["identities"][name]["source"]
    assert_same(outputs_of_identity(identity, video_model()), expected, f"identity_{name}")
    identity.save(tmp_path / "again.safetensors")
    (tensors, header), (first, first_header) = (
        load_weights(file, "identity", 1) for file in (tmp_path / "again.safetensors", path)
    )
    holds(header, first_header)
    assert set(tensors) == set(first) and all(torch.equal(tensors[key], first[key]) for key in first)


@pytest.mark.parametrize("variant", LYNX_PARTS)
def test_lynx_adapter_in_each_layout(expected, variant):
    assert_same(outputs_of_lynx(LYNX_PARTS[variant]), expected, lynx_group(variant))


def test_lynx_reference(facts, tmp_path):
    path = FIXTURES / "lynx_reference.safetensors"
    reference = ReferenceFeatures.load(path)
    assert (reference.model_depth, reference.model_width) == (DEPTH, WIDTH)
    assert reference.source == facts["lynx_reference"]["source"]
    reference.save(tmp_path / "again.safetensors")
    (tensors, header), (first, first_header) = (
        load_weights(file, "lynx_reference", 1) for file in (tmp_path / "again.safetensors", path)
    )
    holds(header, first_header)
    assert torch.equal(tensors["features"], first["features"])


def test_lynx_face_encoder(expected):
    assert_same(outputs_of_face_encoder(), expected, "face_encoder")


def test_training_settings(facts):
    """Every setting that there was, each with another value than its default."""
    for name in ("training_all", "training"):
        found = read_config(FIXTURES / f"{name}.yaml")
        assert found == config_from_settings(facts[name], warn=False)
        old, new = facts[name], config_to_dict(found)
        renamed = {
            "run": {"average": "ema_decay", "keep": "keep_last", "explosion": "loss_spike_factor"},
            "optimizer": {"rates": "lr_multipliers", "clip_norm": "max_grad_norm"},
        }
        for section in ("data", "model", "run", "optimizer"):
            names = renamed.get(section, {})
            holds(new[section], {names.get(key, key): value for key, value in old[section].items()}, section)
        holds({**new["objective"].pop("own"), **new["objective"]}, old["objective"], "objective")
        holds(new["adapter"], old["adapter"], "adapter")
    changed = read_config(FIXTURES / "training_all.yaml", ["run.steps=7", "optimizer.rates.film=9"])
    assert changed.run.steps == 7 and changed.optimizer.lr_multipliers["film"] == 9


@pytest.mark.parametrize("name", ["toy_world", "folder", "consisid"])
def test_preparation_settings(facts, name):
    found = config_to_dict(read_preparation(FIXTURES / f"preparation_{name}.yaml"))
    holds(found, facts["preparations"][name])


def test_prepared_data(expected, facts):
    folder = FIXTURES / "prepared"
    manifest, data = read_manifest(folder), CachedDataset(folder)
    holds(config_to_dict(config_from_dict(PrepareConfig, manifest["config"])), facts["prepared"]["config"])
    assert data.manifest_hash == facts["prepared"]["sha256"]
    samples = [
        {name: getattr(sample, name) for name in facts["prepared"]["samples"][0]} for sample in data.samples
    ]  # fmt: skip
    assert samples == facts["prepared"]["samples"]
    for index in range(len(data)):
        outputs = {name: tensor.sum(dtype=torch.float64) for name, tensor in data.read(index).items()}
        assert_same(outputs, expected, f"prepared {index}", rtol=1e-9)


def test_training_checkpoint_is_gone_on_from(in_world, expected, facts):
    run = in_world / "run"
    run.mkdir()
    shutil.copy(FIXTURES / "step_00000002.safetensors", run)
    tensors, header = present(latest_checkpoint(run))
    assert header["step"] == 2 and set(tensors) == set(facts["checkpoint"]["tensors"])
    outputs, adapter = trained(run, resume=True)
    assert "step 1.loss" not in outputs  # steps 0 and 1 are not done again
    after = {name: value for name, value in expected.items() if not name.startswith(("run/step 0", "run/step 1"))}
    assert_same(outputs, after, "run")
    assert_is_the_trained_adapter(adapter, facts)


def test_training_from_the_start(in_world, expected, facts):
    outputs, adapter = trained(in_world / "run", resume=False)
    assert_same(outputs, expected, "run")
    assert_is_the_trained_adapter(adapter, facts)


def assert_is_the_trained_adapter(path: Path, facts: dict) -> None:
    first = load_adapter(FIXTURES / "slot_id_trained.safetensors")
    assert first.fingerprint == facts["adapters"]["trained"]["fingerprint"]
    (tensors, header), (expected, first_header) = (
        load_weights(file, "slot_id_adapter", 1) for file in (path, FIXTURES / "slot_id_trained.safetensors")
    )
    holds(header["config"], first_header["config"])
    assert header["temperature"] == first_header["temperature"] and header["training"]["steps"] == 4
    assert header["training"]["data_manifest"] == first_header["training"]["data_manifest"]
    # Adam's first steps are of the size of the learning rate whatever the gradient, so that rounding can turn one.
    assert_same(tensors, {f"trained/{name}": value for name, value in expected.items()}, "trained", atol=2e-2)


def test_a_run_starts_from_a_trained_adapter(in_world, expected):
    settings = read_config(
        Path("training.yaml"), [f"run.start_from={FIXTURES / 'slot_id_trained.safetensors'}", "run.steps=1"]
    )
    train(settings, in_world / "again", as_json=True)
    (line,) = [json.loads(line) for line in (in_world / "again/log.jsonl").read_text().splitlines()]
    outputs = {"loss": torch.tensor(line["loss"], dtype=torch.float64)}
    assert_same(outputs, expected, "start_from")
