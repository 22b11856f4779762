"""The contract of systems: a made-up one is prepared, trained and evaluated, and so are Lynx and ST-DRC."""

import json
import sys
from dataclasses import replace
from typing import Any

import pytest
import torch
from dataset_settings import drawn, models
from toy_family import ship_random_family
from training_settings import command, losses, make_world, run, settings, write_settings
from typed import one_size

from slotid_core.dataset.augmentation import AugmentationSettings
from slotid_core.dataset.cached import CachedDataset
from slotid_core.dataset.runner import prepare_dataset
from slotid_core.errors import SlotIDError
from slotid_core.evaluation.metrics import Metrics, summarize
from slotid_core.evaluation.studio import Studio
from slotid_core.evaluation.subjects import subjects_of
from slotid_core.evaluation.usage import Usage
from slotid_core.evaluation.variants import chosen_rows
from slotid_core.reference.faces.face_encoder import FaceEncoder
from slotid_core.systems import registry
from slotid_core.systems.lynx import build_adapter
from slotid_core.systems.lynx.inference import load_trained
from slotid_core.systems.st_drc import load_adapter
from slotid_core.systems.st_drc.inference import LoadedAdapter
from slotid_core.training.backbone import load_backbone
from slotid_core.training.config import config_from_settings
from slotid_core.training.loop import Trainer, train
from slotid_core.training.processes import start_processes
from slotid_core.weights import read_tensors, save_weights

# A system that adds one learned vector, read off the portrait's mean, to what enters every block.
MADE_UP = {
    "strategy.py": """
from dataclasses import dataclass
import torch
from torch import nn
from slotid_core.weights import save_weights, with_prefix
from .inference import INFERENCE, predictor

@dataclass(frozen=True)
class ObjectiveSettings:
    loudness: float = 1.0

class Strategy(nn.Module):
    required_tensors = INFERENCE.required_tensors
    shown_tensor = "portrait"
    parameter_groups = ("shift",)
    text_rows = 0

    def __init__(self, settings, backbone):
        super().__init__()
        self.settings = settings
        self.model = backbone.requires_grad_(False)
        self.shift = nn.Linear(16, backbone.config.dim)
        nn.init.zeros_(self.shift.weight)
        nn.init.zeros_(self.shift.bias)

    @staticmethod
    def settings_for_data(adapter, data, folder):
        return adapter

    def draw(self, generator):
        return {"loudness": torch.rand((), generator=generator)}

    def undisturbed(self):
        return {"loudness": torch.ones(())}

    def parameter_group(self, name):
        return "shift"

    def at_step(self, step):
        pass

    def shards(self):
        return [*self.model.blocks, self.model]

    def forward(self, batch):
        noisy = torch.lerp(batch.video, batch.noise, batch.noise_level.view(-1, 1, 1, 1, 1))
        predict = predictor(self.model, self.shift, batch.conditions["portrait"])
        error = predict(noisy, batch.noise_level, batch.context, batch.has_identity) - (batch.noise - batch.video)
        return self.settings.objective.loss(error)

    def predictor(self, batch):
        return predictor(self.model, self.shift, batch.conditions["portrait"])

    def export(self, path, tensors, facts):
        save_weights(path, with_prefix(tensors, "shift."), {"kind": "shift", "version": 1, "training": facts})
""",
    "inference.py": """
import torch
from torch import nn
from slotid_core.systems.contract import Variant
from slotid_core.wan.hooks.blocks import wrap_blocks
from slotid_core.weights import read_tensors

def predictor(model, shift, portrait):
    def predict(noisy, level, context, strength):
        amount = torch.zeros(len(noisy)) if strength is None else strength
        vector = amount[:, None, None] * shift(portrait.mean((2, 3, 4)))[:, None]
        def add(args, run):
            return run({**args, "img": args["img"] + vector})
        options = wrap_blocks({}, {index: add for index in range(model.config.num_layers)})
        return model(noisy, 1000 * level, context, transformer_options=options, padding_row=context.shape[1] - 1)
    return predict

class Loaded:
    required_tensors = ("portrait",)
    def __init__(self, shift):
        self.shift = shift
    def person(self, conditions):
        return conditions["portrait"]
    def prepare_model(self, model):
        pass
    def predictor(self, model, person):
        return predictor(model, self.shift, person)

class Inference:
    required_tensors = ("portrait",)
    variants = {"full": Variant("full")}
    shipped_file = "shift_adapter.safetensors"
    def load(self, path):
        tensors = read_tensors(path)[0]
        shift = nn.Linear(*tensors["weight"].shape[::-1])
        shift.load_state_dict(tensors)
        return Loaded(shift.requires_grad_(False))

INFERENCE = Inference()
""",
    "__init__.py": "",
}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    torch.set_num_threads(1)
    return make_world(tmp_path_factory.mktemp("world"))


@pytest.fixture
def made_up(tmp_path, monkeypatch):
    """The name of a fifth system, in a folder outside of the package, with one entry in the registry."""
    folder = tmp_path / "outside" / "made_up_system"
    folder.mkdir(parents=True)
    for name, text in MADE_UP.items():
        (folder / name).write_text(text)
    monkeypatch.syspath_prepend(str(folder.parent))
    monkeypatch.setitem(registry.SYSTEMS, "shift", "made_up_system")
    yield "shift"
    for name in [name for name in sys.modules if name.startswith("made_up_system")]:
        del sys.modules[name]


def test_a_fifth_system_prepares_trains_and_is_evaluated(made_up, tmp_path):
    files = models(tmp_path / "models")
    config = drawn(files, people=3, clips_per_person=2, systems=(made_up,))
    prepare_dataset(config, tmp_path / "data")
    sample = CachedDataset(tmp_path / "data").read(0)
    assert set(sample) == {"video", "portrait", "text", "empty_text", "factors"}, "what the system and measurement read"

    family = tmp_path / "family"
    ship_random_family(family)
    values = {
        "system": made_up,
        "data": {"train": str(tmp_path / "data"), "validation": str(tmp_path / "data")},
        "model": {"path": str(family / "dit.safetensors"), "dtype": "float32", "compute_dtype": "float32"},
        "run": {"steps": 5, "batch": 2, "validate_every": 5, "validation_samples": 2, "sample_every": 5},
        "objective": {"own": {"loudness": 0.5}},
        "optimizer": {"learning_rate": 1e-3, "warmup_steps": 1, "lr_multipliers": {"shift": 2.0}},
    }
    adapter = train(config_from_settings(values), tmp_path / "adapters" / "shift" / "full")
    assert adapter is not None and adapter.is_file() and sorted(losses(adapter.parent)) == list(range(5))
    assert (adapter.parent / "samples_00000005.png").is_file()

    studio = Studio(tmp_path / "adapters", Usage(steps=2), family)
    subjects = subjects_of(0, 2, 1)
    base, full = (studio.clips(row, subjects, 0) for row in chosen_rows(["base", "full"], [made_up]))
    assert base.shape == full.shape == (2, 1, 17, 64, 64, 3) and not torch.equal(base, full)
    figures = summarize("shift.full", Metrics(studio, subjects, 0).measure(full))
    assert {"shift.full.similarity", "shift.full.rank1", "shift.full.action"} <= set(figures)


def test_a_system_says_what_it_does_not_know(made_up, world):
    with pytest.raises(SlotIDError, match="no setting 'token_dropout'"):
        config_from_settings(settings(world, system=made_up, objective={"own": {"token_dropout": 0.1}}))
    with pytest.raises(SlotIDError, match="no system 'other'; there are slot_id, lynx, st_drc, lavie_id, shift"):
        config_from_settings(settings(world, system="other"))
    values = settings(world, optimizer={"lr_multipliers": {"slots": 2.0}})
    with pytest.raises(SlotIDError, match="'slots'; this system has encoder, anchor, film, lora, tokens"):
        Trainer(config_from_settings(values), world / "unused", start_processes())


LYNX_ADAPTER = {"resampler": {"width": 64, "depth": 1, "num_heads": 1, "num_tokens": 4, "mlp_width": 64}}


@pytest.fixture(scope="module")
def lynx_data(tmp_path_factory):
    """Drawn people as Lynx reads them, by a face encoder of random weights."""
    folder = tmp_path_factory.mktemp("lynx")
    torch.manual_seed(0)
    encoder = FaceEncoder(8).eval()
    save_weights(folder / "face_encoder.safetensors", encoder.state_dict(), {"kind": "face_encoder", "version": 1})
    face_encoder = str(folder / "face_encoder.safetensors")
    files = models(folder / "models")
    prepare_dataset(
        drawn(files, people=4, clips_per_person=2, systems=("lynx",), face_encoder=face_encoder), folder / "data"
    )
    return folder


def lynx_settings(world, lynx_data, **changes) -> dict:
    data = {"train": str(lynx_data / "data"), "validation": str(lynx_data / "data")}
    values = settings(world, system="lynx", data=data, **changes)
    return {**values, "adapter": LYNX_ADAPTER | changes.get("adapter", {})}


def test_one_set_of_drawn_people_serves_every_system(lynx_data, tmp_path):
    """The portrait of a drawn person is the face picture, which are one tensor until they are in a file."""
    config = drawn(
        models(tmp_path / "models"), people=1, clips_per_person=1, systems=tuple(registry.SYSTEMS), component_size=8,
        face_encoder=str(lynx_data / "face_encoder.safetensors"), augmentation=AugmentationSettings(count=1),
    )  # fmt: skip
    prepare_dataset(config, tmp_path / "data")
    sample = CachedDataset(tmp_path / "data").read(0)
    for name in registry.SYSTEMS:
        assert set(registry.strategy_of(name).required_tensors) <= set(sample), name
    assert torch.equal(sample["portrait"], sample["face_picture"])


def test_lynx_is_prepared_with_what_it_reads(lynx_data):
    sample = CachedDataset(lynx_data / "data").read(0)
    assert set(sample) == {
        "video", "text", "empty_text", "face_embedding", "face_picture", "grey_picture", "face_prompt",
        "factors", "face_places",
    }  # fmt: skip
    assert sample["face_embedding"].shape == (512,)
    assert sample["face_embedding"].norm().item() == pytest.approx(1.0, abs=1e-2)
    assert sample["face_picture"].shape == sample["grey_picture"].shape and sample["face_picture"].shape[1] == 1


def test_lynx_trains_and_its_file_is_read_by_what_reads_published_ones(world, lynx_data, tmp_path):
    """Fixed batches: the loss falls, the base stays, and the exported file gives the trained branches."""
    values = lynx_settings(world, lynx_data, run={"steps": 40, "validate_every": 20, "sample_every": 0})
    values["optimizer"] = {"learning_rate": 3e-3, "warmup_steps": 2}
    trainer = Trainer(config_from_settings(values), tmp_path, start_processes())
    base = {name: p.clone() for name, p in trainer.strategy.model.named_parameters()}
    batch = one_size(trainer.batches.rows(0, range(4)))
    before = trainer.strategy(batch).mean().item()
    for step in range(40):
        trainer.step(step, batch, stopping=False)
    after = trainer.strategy(batch).mean().item()
    assert after < 0.97 * before, (before, after)
    assert all(torch.equal(p, base[name]) for name, p in trainer.strategy.model.named_parameters())

    path = trainer.export(40)
    tensors = read_tensors(path)[0]
    built = build_adapter(resampler=tensors, id_layers=tensors, ref_layers=tensors)
    face = torch.randn(2, 512)
    for loaded in (built, load_trained(path)):
        assert loaded.variant == "full" and len(loaded.id_layers) == len(loaded.ref_layers) == 2
        branches = loaded.face_branches(face)
        assert all(torch.isfinite(branch.value).all() and branch.value.any() for branch in branches.values())


def test_lynx_at_its_start_is_the_base_and_people_differ_after_a_step(world, lynx_data, tmp_path):
    trainer = Trainer(config_from_settings(lynx_settings(world, lynx_data)), tmp_path, start_processes())
    batch = one_size(trainer.batches.rows(0, range(4)))
    predict = trainer.strategy.predictor(batch)
    inputs = (batch.noise, batch.noise_level, batch.context)
    nobody, people = predict(*inputs, None), predict(*inputs, torch.ones(4))
    bare = trainer.strategy.model(
        *[batch.noise, 1000 * batch.noise_level, batch.context], padding_row=-1 % batch.context.shape[1]
    )
    assert torch.equal(nobody, bare) and torch.equal(people, bare)
    trainer.step(0, batch, stopping=False)
    trainer.step(1, batch, stopping=False)
    predict = trainer.strategy.predictor(batch)
    nobody, people = predict(*inputs, None), predict(*inputs, torch.ones(4))
    assert not torch.equal(nobody, people)
    half = predict(*inputs, torch.tensor([1.0, 0.0, 1.0, 0.0]))
    assert torch.allclose(half[::2], people[::2], atol=1e-5) and torch.allclose(half[1::2], nobody[1::2], atol=1e-5)


@pytest.mark.parametrize("part", ["has_id", "has_ref"])
def test_lynx_with_one_of_its_adapters(world, lynx_data, tmp_path, part):
    values = lynx_settings(world, lynx_data, run={"steps": 2}, adapter={part: False})
    path = train(config_from_settings(values), tmp_path)
    assert path is not None
    adapter = load_trained(path)
    assert bool(adapter.id_layers) == (part == "has_ref") and bool(adapter.ref_layers) == (part == "has_id")


def test_lynx_is_a_row_of_an_evaluation(lynx_data, tmp_path):
    family = tmp_path / "family"
    ship_random_family(family)
    data = {"train": str(lynx_data / "data")}
    values = {
        "system": "lynx", "data": data, "adapter": LYNX_ADAPTER,
        "model": {"path": str(family / "dit.safetensors"), "dtype": "float32", "compute_dtype": "float32"},
        "run": {"steps": 2, "batch": 2, "ema_decay": 0.0}, "optimizer": {"learning_rate": 1e-2, "warmup_steps": 0},
    }  # fmt: skip
    train(config_from_settings(values), tmp_path / "adapters" / "lynx" / "full")
    studio = Studio(
        tmp_path / "adapters", Usage(steps=2), family, face_encoder=str(lynx_data / "face_encoder.safetensors")
    )
    subjects = subjects_of(0, 2, 1)
    base, full = (studio.clips(row, subjects, 0) for row in chosen_rows(["base", "full"], ["lynx"]))
    assert (base - full).abs().max() > 1e-4
    with pytest.raises(SlotIDError, match="face_encoder is not set"):
        studio = Studio(tmp_path / "adapters", Usage(steps=2), family)
        studio.clips(chosen_rows(["full"], ["lynx"])[0], subjects, 0)


ST_DRC_ADAPTER = {"lora": {"rank": 8, "alpha": 8.0}}


@pytest.fixture(scope="module")
def st_drc_data(tmp_path_factory):
    """Drawn people as ST-DRC reads them."""
    folder = tmp_path_factory.mktemp("st_drc")
    augmentation = AugmentationSettings(count=2)
    config = drawn(
        models(folder / "models"), people=4, clips_per_person=2, systems=("st_drc",), augmentation=augmentation
    )
    prepare_dataset(config, folder / "data")
    return folder / "data"


def st_drc_settings(world, data, **changes) -> dict:
    folders = {"train": str(data), "validation": str(data)}
    values = settings(world, system="st_drc", data=folders, **changes)
    return {**values, "adapter": ST_DRC_ADAPTER | changes.get("adapter", {})}


def test_st_drc_is_prepared_with_pictures_of_the_videos_size(st_drc_data):
    sample = CachedDataset(st_drc_data).read(0)
    assert set(sample) == {"video", "text", "empty_text", "reference_picture", "augmented_pictures", "factors"}
    assert sample["reference_picture"].shape == (16, 1, *sample["video"].shape[2:])
    assert sample["augmented_pictures"].shape == (16, 2, *sample["video"].shape[2:])
    assert not torch.equal(sample["augmented_pictures"][:, :1], sample["reference_picture"])


@pytest.mark.parametrize("tokens", ["all", "reference"])
def test_st_drc_trains_and_its_file_predicts_what_was_trained(world, st_drc_data, tmp_path, tokens):
    """Fixed batches: the loss falls, the base stays, and the exported file predicts as the trained model does."""
    changes = {"lora": {"rank": 8, "alpha": 8.0, "tokens": tokens}}
    run = {"steps": 30, "validate_every": 20, "sample_every": 0, "ema_decay": 0.0}
    values = st_drc_settings(world, st_drc_data, run=run, adapter=changes)
    values["optimizer"] = {"learning_rate": 3e-3, "warmup_steps": 2}
    trainer = Trainer(config_from_settings(values), tmp_path, start_processes())
    base = {name: p.clone() for name, p in trainer.strategy.model.named_parameters() if ".lora_" not in name}
    batch = one_size(trainer.batches.rows(0, range(4)))
    before = trainer.strategy(batch).mean().item()
    for step in range(30):
        trainer.step(step, batch, stopping=False)
    after = trainer.strategy(batch).mean().item()
    assert after < (0.98 if tokens == "all" else 1.0) * before, (before, after)
    now = dict(trainer.strategy.model.named_parameters())
    assert all(torch.equal(now[name], p) for name, p in base.items())

    loaded = LoadedAdapter(load_adapter(trainer.export(30)))
    model = load_backbone(config_from_settings(values).model)
    loaded.prepare_model(model)
    inputs = (batch.noise, batch.noise_level, batch.context)
    rows = torch.tensor([1.0, 0.0, 1.0, 1.0])
    trained = trainer.strategy.predictor(batch)
    by_file = loaded.predictor(model, loaded.person(batch.conditions))
    with torch.no_grad():
        for strength in (None, rows, torch.ones(4)):
            assert torch.allclose(by_file(*inputs, strength), trained(*inputs, strength), atol=5e-3)
        assert (by_file(*inputs, rows)[0] - by_file(*inputs, None)[0]).abs().max() > 1e-3


def test_st_drc_at_its_start_is_the_base_where_there_is_no_reference(world, st_drc_data, tmp_path):
    trainer = Trainer(config_from_settings(st_drc_settings(world, st_drc_data)), tmp_path, start_processes())
    batch = one_size(trainer.batches.rows(0, range(4)))
    predict, inputs = trainer.strategy.predictor(batch), (batch.noise, batch.noise_level, batch.context)
    bare = load_backbone(trainer.config.model)
    with torch.no_grad():
        expected = bare(batch.noise, 1000 * batch.noise_level, batch.context, padding_row=batch.context.shape[1] - 1)
        assert torch.equal(predict(*inputs, None), expected)
        half = predict(*inputs, torch.tensor([1.0, 0.0, 1.0, 0.0]))
    assert torch.allclose(half[1::2], expected[1::2], atol=1e-5)
    assert not torch.allclose(half[::2], expected[::2], atol=1e-4)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_st_drc_draws_its_reference_among_the_augmented_ones(world, st_drc_data, tmp_path, share):
    values = st_drc_settings(world, st_drc_data, objective={"own": {"augmented": share}})
    trainer = Trainer(config_from_settings(values), tmp_path, start_processes())
    batch = one_size(trainer.batches.rows(0, range(8)))
    strategy: Any = trainer.strategy  # of ST-DRC
    shown = strategy.pictures(batch)
    for row, picture in enumerate(shown):
        plain, augmented = batch.conditions["reference_picture"][row], batch.conditions["augmented_pictures"][row]
        candidates = [plain] if share == 0 else list(augmented.split(1, dim=1))
        assert any(torch.equal(picture, candidate) for candidate in candidates)


def test_st_drc_begins_with_the_clips_own_frame_and_ends_with_other_pictures(world, st_drc_data, tmp_path):
    own = {"augmented": 0.5, "own_frame": 1.0, "own_frame_steps": 0.5}
    values = st_drc_settings(world, st_drc_data, objective={"own": own}, run={"steps": 20})
    trainer = Trainer(config_from_settings(values), tmp_path, start_processes())
    strategy: Any = trainer.strategy  # of ST-DRC
    batch = one_size(trainer.batches.rows(0, range(8)))

    def own_frames(step: int) -> int:
        strategy.at_step(step)
        pairs = zip(strategy.pictures(batch), batch.video[:, :, :1], strict=True)
        return sum(torch.equal(picture, frame) for picture, frame in pairs)

    counts = [own_frames(step) for step in (0, 5, 10, 19)]
    assert counts[0] == 8 and counts[2] == counts[3] == 0 and 0 < counts[1] < 8
    strategy.at_step(0)
    undisturbed = {**batch.conditions, "picture_choice": strategy.undisturbed()["picture_choice"].expand(8, 3)}
    shown = strategy.pictures(replace(batch, conditions=undisturbed))
    assert torch.equal(shown, batch.conditions["reference_picture"])


@pytest.mark.slow
@pytest.mark.parametrize("how", ["ddp", "fsdp"])
@pytest.mark.parametrize("tokens", ["all", "reference"])
def test_st_drc_by_two_processes_of_which_one_shows_nobody(world, st_drc_data, tmp_path, how, tokens):
    """A LoRA of reference tokens alone has nothing to do there, and takes part in the gradients all the same."""
    run_of = {"steps": 3, "batch": 2, "micro_batch": 1, "ema_decay": 0.0, "validate_every": 0, "distribution": how}
    values = st_drc_settings(
        world, st_drc_data, run=run_of, objective={"identity_dropout": 0.5},
        adapter={"lora": {"rank": 8, "alpha": 8.0, "tokens": tokens}},
    )  # fmt: skip
    trainer = Trainer(config_from_settings(values), tmp_path, start_processes())
    shown = [trainer.batches.rows(step, range(2)).has_identity for step in range(3)]
    assert any(one.sum() == 1 for one in shown), "a step in which one row shows somebody"
    train(config_from_settings(values), tmp_path / "1")
    file = write_settings(tmp_path / "settings.json", values)
    done = run(command(file, tmp_path / "2", processes=2))
    assert done.returncode == 0, done.stderr[-2000:]
    one, two = losses(tmp_path / "1"), losses(tmp_path / "2")
    assert all(one[step] == pytest.approx(two[step], rel=1e-4) for step in range(3))


def test_st_drc_is_a_row_of_an_evaluation(st_drc_data, tmp_path):
    family = tmp_path / "family"
    ship_random_family(family)
    values = {
        "system": "st_drc", "data": {"train": str(st_drc_data)}, "adapter": ST_DRC_ADAPTER,
        "model": {"path": str(family / "dit.safetensors"), "dtype": "float32", "compute_dtype": "float32"},
        "run": {"steps": 2, "batch": 2, "ema_decay": 0.0}, "optimizer": {"learning_rate": 1e-2, "warmup_steps": 0},
    }  # fmt: skip
    train(config_from_settings(values), tmp_path / "adapters" / "st_drc" / "full")
    studio = Studio(tmp_path / "adapters", Usage(steps=2), family)
    subjects = subjects_of(0, 2, 1)
    base, null, full = (studio.clips(row, subjects, 0) for row in chosen_rows(["base", "null", "full"], ["st_drc"]))
    assert (base - full).abs().max() > 1e-4 and (null - full).abs().max() > 1e-4


def test_settings_of_earlier_releases_are_read_with_a_warning(world, caplog):
    values = settings(
        world,
        objective={"token_dropout": 0.2, "timestep_shift": 5.0, "temperature_end": 0.1},
        optimizer={"rates": {"tokens": 10.0}, "clip_norm": 0.5},
        run={"average": 0.9, "keep": 2, "explosion": 7.0},
    )
    before = json.dumps(values)
    config = config_from_settings(values)
    assert json.dumps(values) == before
    assert config.objective.timestep_shift == 5.0 and config.own_objective().token_dropout == 0.2
    assert config.own_objective().temperature_end == 0.1
    assert config.optimizer.lr_multipliers == {"tokens": 10.0} and config.optimizer.max_grad_norm == 0.5
    assert (config.run.ema_decay, config.run.keep_last, config.run.loss_spike_factor) == (0.9, 2, 7.0)
    for old in ("objective.token_dropout", "optimizer.rates", "optimizer.clip_norm", "run.average"):
        assert f"The setting {old} is called" in caplog.text
