"""Captions that describe the person: kept with a sample, and a target for whatever reads references."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from dataset_settings import drawn, models
from test_training_batches import People
from training_settings import make_world, settings
from typed import one_size

from slotid_core.config import config_from_dict
from slotid_core.dataset.cached import CachedDataset
from slotid_core.dataset.config import FolderSource, PrepareConfig
from slotid_core.dataset.folder_source import folder_clips
from slotid_core.dataset.models import load_text_encoder
from slotid_core.dataset.runner import prepare_dataset
from slotid_core.dataset.toy_world_source import scene_seed
from slotid_core.errors import SlotIDError
from slotid_core.systems.contract import Batch, SharedObjective
from slotid_core.systems.described import described_loss
from slotid_core.toy_world.captions import full_description
from slotid_core.toy_world.person import sample_person
from slotid_core.toy_world.scene import sample_scene
from slotid_core.training.batches import Batches
from slotid_core.training.config import TrainingConfig
from slotid_core.training.loop import Trainer, train
from slotid_core.training.processes import start_processes
from slotid_core.wan import WanConfig, WanModel
from slotid_core.wan.lora import add_lora, lora_parameters


class DescribedPeople(People):
    """A described caption has five rows, of its sample's number plus 100."""

    def read(self, index, names=None):
        described = {"described": torch.full((5, 8), 100.0 + index)}
        return {**super().read(index), **described} if names is None else {
            name: described[name] if name == "described" else super(DescribedPeople, self).read(index)[name]
            for name in names
        }  # fmt: skip


def one_batch(weight=1.0, **dropout) -> Batch:
    nothing: dict[str, Any] = {"text_dropout": 0.0, "identity_dropout": 0.0, "joint_dropout": 0.0}
    objective = SharedObjective(described_weight=weight, **(nothing | dropout))
    source = Batches(DescribedPeople(6), objective, "other clip", 6, 0, ("reference",), 0, lambda generator: {})
    return one_size(source.rows(0, range(6)))


def test_each_row_has_the_description_of_its_own_clip():
    batch = one_batch()
    assert batch.described is not None
    assert torch.equal(batch.described[:, 0, 0], 100 + batch.video[:, 0, 0, 0, 0])


def test_without_a_person_the_target_is_what_the_row_itself_says():
    batch = one_batch(identity_dropout=1.0)
    assert batch.described is not None and torch.equal(batch.described, batch.context)


def test_without_a_prompt_no_description_tells_of_the_scene():
    described = one_batch(text_dropout=1.0).described
    assert described is not None and not described.any()


def test_no_weight_reads_no_description():
    assert one_batch(weight=0.0).described is None


def test_the_weight_falls_to_nothing():
    objective = SharedObjective(described_weight=4.0, described_steps=0.5)
    assert [objective.described_weight_at(step, 100) for step in (0, 25, 50, 99)] == [4.0, 2.0, 0.0, 0.0]
    cases: tuple[dict[str, Any], ...] = {"described_weight": -1.0}, {"described_steps": 0.0}
    for wrong in cases:
        with pytest.raises(SlotIDError, match=next(iter(wrong))):
            SharedObjective(**wrong)


def test_the_target_is_the_frozen_models_and_lora_is_back_afterwards():
    torch.manual_seed(0)
    model = WanModel(WanConfig(dim=128, ffn_dim=128, num_layers=2, num_heads=1)).eval()
    torch.nn.init.normal_(model.head.head.weight)
    noisy, level, described = torch.randn(2, 16, 1, 4, 4), torch.tensor([0.3, 0.8]), torch.randn(2, 4, 4096)
    described[:, -1] = 0
    with torch.no_grad():
        target = model(noisy, 1000 * level, described, padding_row=3)
    add_lora(model, ("cross_attn.k", "cross_attn.v"), 4, 4.0)
    for name, parameter in lora_parameters(model).items():
        parameter.data.normal_() if ".lora_B." in name else None
    with torch.no_grad():
        changed = model(noisy, 1000 * level, described, padding_row=3)
    batch = Batch(noisy, described, noisy, level, torch.ones(2), described=described)
    assert described_loss(model, batch, [target], 1.0).max() < 1e-9
    expected = (changed - target).square().mean((1, 2, 3, 4))
    assert expected.min() > 1e-3
    torch.testing.assert_close(described_loss(model, batch, [changed], 2.0), 2 * expected)
    assert not described_loss(model, batch, [changed], 0.0).any()
    with torch.no_grad():
        assert torch.equal(model(noisy, 1000 * level, described, padding_row=3), changed)
    untaught = replace(batch, described=torch.zeros_like(described))
    assert not described_loss(model, untaught, [changed], 1.0).any()


def described(config: PrepareConfig) -> PrepareConfig:
    assert config.toy_world is not None
    return replace(config, toy_world=replace(config.toy_world, described=True))


def test_drawn_clips_are_described_when_asked(tmp_path):
    files = models(tmp_path / "models")
    config = drawn(files, people=2, clips_per_person=1)
    prepare_dataset(config, tmp_path / "plain")
    prepare_dataset(described(config), tmp_path / "described")
    data = CachedDataset(tmp_path / "described")
    text = load_text_encoder(str(config.text_encoder), torch.float32, torch.device("cpu"))
    for index, sample in enumerate(data.samples):
        seed = scene_seed(int(sample.person.removeprefix("person")), 0)
        wanted = text.encode(full_description(sample_person(int(sample.person[6:])), sample_scene(seed), seed))
        torch.testing.assert_close(data.read(index)["described"], wanted.half().float())
    with pytest.raises(SlotIDError, match="no tensor 'described'"):
        CachedDataset(tmp_path / "plain").read(0, ("described",))


def test_clips_of_a_folder_are_described_by_a_file_beside_them_or_in_the_list(tmp_path):
    for name in ("a", "b", "c"):
        (tmp_path / f"{name}.mp4").write_bytes(b"")
        (tmp_path / f"{name}.txt").write_text("Someone nods.")
    (tmp_path / "a.described.txt").write_text("Someone with red\nhair nods.")
    (tmp_path / "c.described.txt").write_bytes(b"\xff")
    a, b, c = folder_clips(FolderSource(str(tmp_path)))
    assert (a.described, a.failed) == ("Someone with red hair nods.", "") and (b.described, b.failed) == ("", "")
    assert "c.described.txt" in c.failed
    listed = tmp_path / "list.jsonl"
    listed.write_text(
        '{"video_path": "a.mp4", "caption": "Nods.", "described": "Red hair  nods."}\n'
        '{"video_path": "a.mp4", "caption": "Nods.", "described": 3}'
    )
    first, second = folder_clips(FolderSource(str(listed)))
    assert first.described == "Red hair nods." and "described" in second.failed


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = make_world(tmp_path_factory.mktemp("world"))
    config = drawn(models(folder / "models"), people=4, clips_per_person=2)
    prepare_dataset(described(config), folder / "described")
    return folder


def test_a_run_learns_from_descriptions_until_their_weight_is_gone(world, tmp_path):
    values = settings(
        world, data={"train": str(world / "described"), "validation": ""}, objective={"described_weight": 5.0},
        run={"steps": 8, "save_every": 8},
    )  # fmt: skip
    config = config_from_dict(TrainingConfig, values)
    assert train(config, tmp_path / "run") is not None
    trainer = Trainer(config, tmp_path / "other", start_processes())
    batch = trainer.batches.rows(0, range(4))
    with_identity = replace(batch, has_identity=torch.ones(4))
    losses = []
    for step in (0, 2, 4):
        trainer.strategy.at_step(step)
        losses.append(trainer.strategy(with_identity).mean().item())
    plain = config_from_dict(TrainingConfig, settings(world, data={"train": str(world / "described")}))
    without = Trainer(plain, tmp_path / "plain", start_processes())
    without.strategy.at_step(4)
    assert losses[0] > losses[1] > losses[2]
    assert losses[2] == pytest.approx(without.strategy(with_identity).mean().item(), rel=1e-4)


def test_data_without_descriptions_is_named(world, tmp_path):
    config = config_from_dict(TrainingConfig, settings(world, objective={"described_weight": 1.0}))
    with pytest.raises(SlotIDError, match="described"):
        train(config, tmp_path / "run")
