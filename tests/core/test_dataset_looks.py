"""Other looks of a person for augmented pairs, and pairs of strangers that preparation leaves out."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from dataset_settings import drawn, models
from safetensors.torch import save

from slotid_core.dataset.cached import CachedDataset, strangers_of
from slotid_core.dataset.config import PrepareConfig
from slotid_core.dataset.looks import LookSettings, other_looks, relit
from slotid_core.dataset.runner import prepare_dataset
from slotid_core.dataset.strangers import Resemblance, alike, read_tensor, strangers_in
from slotid_core.errors import SlotIDError
from slotid_core.reference.faces.face_encoder import FaceEncoder
from slotid_core.systems.contract import SharedObjective
from slotid_core.systems.lynx.strategy import Strategy
from slotid_core.toy_world.person import sample_person
from slotid_core.toy_world.render import render_portrait
from slotid_core.training.batches import Batches
from slotid_core.training.mix import Mix
from slotid_core.weights import save_weights

NONE = {"other_frame": 0.0, "light": 0.0, "background": 0.0}


def picture(seed: int = 1_000_001) -> torch.Tensor:
    return render_portrait(sample_person(seed), 64)[None]


def frames() -> torch.Tensor:
    return torch.linspace(0, 1, 6).view(6, 1, 1, 1).expand(6, 64, 64, 3)


def test_looks_are_a_function_of_the_picture():
    settings = LookSettings(count=3)
    first, again = (other_looks(picture(), frames(), 0.5, settings) for _ in range(2))
    assert len(first) == 3 and all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert all(look.shape == (1, 64, 64, 3) and look.min() >= 0 and look.max() <= 1 for look in first)
    more = other_looks(picture(), frames(), 0.5, LookSettings(count=4))
    assert all(torch.equal(a, b) for a, b in zip(first, more, strict=False)) and len(more) == 4
    assert not torch.equal(other_looks(picture(1_000_002), frames(), 0.5, settings)[0], first[0])


def test_without_any_change_a_look_is_the_picture_and_each_change_is_one():
    (same,) = other_looks(picture(), frames(), 0.5, LookSettings(count=1, **NONE))
    assert torch.equal(same, picture())
    (moment,) = other_looks(picture(), frames(), 0.5, LookSettings(count=1, **NONE | {"other_frame": 1.0}))
    assert any(torch.equal(moment[0], frame) for frame in frames())
    (placed,) = other_looks(picture(), None, 0.5, LookSettings(count=1, **NONE | {"background": 1.0}))
    changed = (placed - picture()).abs().mean(-1)[0]
    middle, corner = changed[24:40, 24:40].mean(), changed[:6, :6].mean()
    assert corner > 0.1 and middle < 0.03, "the person stays and the wall behind does not"
    hook = other_looks(picture(), None, 0.5, LookSettings(count=1, **NONE), lambda look, rng: 1 - look)
    assert torch.equal(hook[0], 1 - picture())


def test_light_is_smooth():
    rng = np.random.default_rng(0)
    grey = torch.full((1, 64, 64, 3), 0.4)
    lit = relit(grey, rng.uniform(-1, 1, (1, 3, 3)), rng.uniform(-1, 1, (3, 3, 3)))
    assert lit.std() > 0.02
    steps = torch.cat([lit.diff(dim=1).flatten(), lit.diff(dim=2).flatten()]).abs()
    assert steps.max() < 0.05 < (lit.max() - lit.min())


def test_a_recogniser_keeps_looks_of_the_person_and_no_others():
    config = PrepareConfig(vae="v", text_encoder="t", folder=None, toy_world=drawn({"vae": "v", "text_encoder": "t"})
                           .toy_world, recogniser="toy")  # fmt: skip
    resemblance = Resemblance(config)
    known = resemblance.vector(picture())
    dimmed = relit(picture(), np.full((1, 3, 3), -0.5), np.zeros((3, 3, 3)))
    assert resemblance.shows(dimmed, known)
    assert not resemblance.shows(picture(1_000_009), known)
    nobody = torch.full((1, 64, 64, 3), 0.5)
    assert resemblance.vector(nobody).isnan().all() and not resemblance.shows(nobody, known)


def test_a_threshold_that_nobody_measured_is_asked_for():
    toy = drawn({"vae": "v", "text_encoder": "t"}).toy_world
    cases: list[dict[str, Any]] = [
        {"recogniser": "somebody"}, {"least_resemblance": 0.5}, {"recogniser": "toy", "least_resemblance": 2},
    ]  # fmt: skip
    for wrong in cases:
        with pytest.raises(SlotIDError, match="recogniser|least_resemblance"):
            PrepareConfig(vae="v", text_encoder="t", toy_world=toy, **wrong)


def test_pairs_of_strangers_are_found_in_one_person_only():
    ann, bob, unseen = torch.eye(3)[0].half(), torch.eye(3)[1].half(), torch.full((1,), float("nan")).half()
    vectors = {"a1": ann, "a2": bob, "a3": ann, "b1": bob, "b2": unseen, "c1": ann}
    samples = [(key, key[0], lambda key=key: vectors[key]) for key in vectors]
    apart, pairs = strangers_in(samples, 0.5)
    assert pairs == 4 and sorted(map(tuple, apart)) == [("a1", "a2"), ("a2", "a3"), ("b1", "b2")]
    assert not alike(unseen, unseen, 0.5)


def test_one_tensor_is_read_without_the_others(tmp_path):
    data = save({"a": torch.randn(700).half(), "likeness": torch.arange(5).half(), "z": torch.randn(3).half()})
    (tmp_path / "file").write_bytes(b"before" + data + b"after")
    assert torch.equal(read_tensor(tmp_path / "file", 6, "likeness"), torch.arange(5).half())


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> CachedDataset:
    """Two people with two clips each, looks of each clip, and a recogniser that is hard to please."""
    folder = tmp_path_factory.mktemp("looks")
    torch.manual_seed(0)
    save_weights(folder / "encoder.safetensors", FaceEncoder(8).state_dict(), {"kind": "random_checkpoint"})
    config = drawn(
        models(folder / "models"), people=2, clips_per_person=2, systems=("lynx",), portrait_size=64,
        face_encoder=str(folder / "encoder.safetensors"), looks=LookSettings(count=2), recogniser="toy",
        least_resemblance=0.999,  # of drawn clips of one person with portraits of their own, all are below it
    )  # fmt: skip
    prepare_dataset(config, folder / "data")
    return CachedDataset(folder / "data")


def test_preparation_makes_looks_and_leaves_out_pairs(prepared):
    sample = prepared.read(0)
    assert sample["face_picture_looks"].shape == (2, *sample["face_picture"].shape)
    assert sample["face_embedding_looks"].shape == (2, *sample["face_embedding"].shape)
    for name in ("face_picture_looks", "face_embedding_looks"):
        assert (
            sample[name].flatten(1).isfinite().all(1).equal(sample["face_picture_looks"].flatten(1).isfinite().all(1))
        )
    assert prepared.manifest["resemblance"]["pairs"] == 2
    likeness = [prepared.read(i, ("likeness",))["likeness"] for i in range(4)]
    for one, other in ((0, 1), (2, 3)):
        same = alike(likeness[one].half(), likeness[other].half(), 0.999)
        expected = other if same else one
        assert prepared.partner(one, np.random.default_rng(0), same_clip=False) == expected


def test_training_learns_from_augmented_pairs(prepared, monkeypatch):
    batches = Batches(
        prepared, SharedObjective(), "other clip", 2, 0, Strategy.required_tensors, 0, lambda generator: {},
        mix=Mix(pairs={"augmented": 1.0}), augmented_tensors=Strategy.augmented_tensors,
    )  # fmt: skip
    whole, read = torch.randn(2, 512), prepared.read

    def with_one_look(index, names=None):
        found = read(index, names)
        if "face_embedding_looks" in found:
            found["face_embedding_looks"] = whole.clone()
            found["face_embedding_looks"][0] = float("nan")
            found["face_picture_looks"] = torch.zeros_like(found["face_picture_looks"])
        return found

    monkeypatch.setattr(prepared, "read", with_one_look)
    for step in range(3):
        conditions = batches.rows(step, range(2)).conditions
        assert all(torch.equal(row, whole[1]) for row in conditions["face_embedding"]), "the discarded look is never it"
        assert not conditions["face_picture"].any()


@pytest.mark.parametrize("wrong", ["a", [["a"]], [["a", 3]], [{"a": "b"}]])
def test_a_manifest_with_odd_pairs_is_named(wrong):
    with pytest.raises(SlotIDError, match="pair of samples"):
        strangers_of({"strangers": wrong}, Path("data"))
