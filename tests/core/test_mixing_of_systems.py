"""Lynx's faces and references, and LaVieID's people, joined: the ends, the mean, and what is refused."""

import math

import pytest
import torch
import torch.nn.functional as F

from slotid_core.errors import SlotIDError
from slotid_core.systems.lavie_id import Person
from slotid_core.systems.lavie_id.mixing import merged, mixed
from slotid_core.systems.lynx.mixing import merged_references, mixed_face
from slotid_core.systems.lynx.reference import ReferenceFeatures

PARTS = 6


def face(seed: int) -> torch.Tensor:
    return F.normalize(torch.randn(1, 512, generator=torch.Generator().manual_seed(seed)), dim=1)


def person(seed: int, hidden=(), adapter="abc", **facts) -> Person:
    shown = torch.ones(1, PARTS)
    shown[0, list(hidden)] = 0
    tokens = torch.randn(1, PARTS, 4, 8, generator=torch.Generator().manual_seed(seed))
    return Person(tokens, shown, adapter, {"report": seed, **facts})


def test_a_mixed_face_moves_along_the_arc_at_an_even_pace():
    one, other = face(1), face(2)
    assert torch.equal(mixed_face(one, other, 0.0), one) and torch.equal(mixed_face(one, other, 1.0), other)
    whole = math.acos(float((one * other).sum()))
    for weight in (0.25, 0.5, 0.9):
        between = mixed_face(one, other, weight)
        assert between.norm() == pytest.approx(1, abs=1e-6)
        assert math.acos(float((between * one).sum())) == pytest.approx(weight * whole, abs=1e-3)
    assert torch.allclose(mixed_face(one, one.clone(), 0.5), one, atol=1e-6)


def test_faces_between_which_there_is_nobody():
    with pytest.raises(SlotIDError, match="opposite"):
        mixed_face(face(1), -face(1), 0.5)
    with pytest.raises(SlotIDError, match="256 and 512 numbers"):
        mixed_face(face(1), face(2)[:, :256], 0.5)


def reference(seed: int, pictures=1, width=16, **facts) -> ReferenceFeatures:
    features = torch.randn(2, 3, 5 * pictures, width, generator=torch.Generator().manual_seed(seed))
    features[0] = 0.5
    return ReferenceFeatures(features, {"pictures": pictures, **facts})


def test_references_stand_side_by_side_and_read_back(tmp_path):
    consent = {"provenance": {"sources": [{"name": "a.png", "sha256": "1"}], "consent": "yes"}}
    one, other = reference(1, **consent), reference(2, pictures=2)
    both = merged_references([one, other])
    assert torch.equal(both.features, torch.cat([one.features, other.features], dim=2))
    assert both.source["pictures"] == 3 and both.source["provenance"]["consent"] == "yes"
    both.save(tmp_path / "both.safetensors")
    assert torch.equal(ReferenceFeatures.load(tmp_path / "both.safetensors").features, both.features)


def test_references_that_do_not_go_together():
    with pytest.raises(SlotIDError, match="16 x 3, 32 x 3"):
        merged_references([reference(1), reference(2, width=32)])
    with pytest.raises(SlotIDError, match="have 6 pictures; 4 are the most"):
        merged_references([reference(1, pictures=4), reference(2, pictures=2)])


def test_a_merge_is_the_mean_of_who_shows_a_component_in_any_order(tmp_path):
    people = person(1), person(2, hidden=[2]), person(3, hidden=[2, 5])
    made, turned = merged(people), merged(people[::-1])
    tokens = torch.cat([one.tokens for one in people]).double()
    assert torch.allclose(made.tokens[0, 0].double(), tokens[:, 0].mean(0), atol=1e-6)
    assert torch.allclose(made.tokens[0, 2].double(), tokens[0, 2], atol=1e-6)
    assert torch.allclose(made.tokens[0, 5].double(), tokens[:2, 5].mean(0), atol=1e-6)
    assert torch.allclose(made.tokens, turned.tokens, atol=1e-6) and made.shown.all()
    made.save(tmp_path / "made.safetensors")
    read = Person.load(tmp_path / "made.safetensors")
    assert torch.equal(read.tokens, made.tokens) and len(read.source["merged"]) == 3


def test_what_nobody_shows_stays_hidden_and_finite():
    made = merged([person(1, hidden=[4]), person(2, hidden=[4])])
    assert made.shown[0].tolist() == [1, 1, 1, 1, 0, 1] and torch.isfinite(made.tokens).all()


def test_mixed_people_are_exactly_themselves_at_the_ends():
    one, other = person(1, hidden=[0]), person(2, hidden=[1])
    assert mixed(one, other, 0.0) is one and mixed(one, other, 1.0) is other
    between = mixed(one, other, 0.25)
    assert between.shown.all() and between.source["weight"] == 0.25
    assert torch.allclose(between.tokens[0, 0], other.tokens[0, 0], atol=1e-6)
    assert torch.allclose(between.tokens[0, 1], one.tokens[0, 1], atol=1e-6)
    assert torch.allclose(between.tokens[0, 2:], torch.lerp(one.tokens, other.tokens, 0.25)[0, 2:], atol=1e-6)


@pytest.mark.parametrize("weight", [0.0, 0.5])
def test_people_of_two_adapters_are_refused(weight):
    with pytest.raises(SlotIDError, match="adapters abc and xyz"):
        mixed(person(1), person(2, adapter="xyz"), weight)
