"""Identities joined into one: what is kept at the ends, what the mean is, and what is refused."""

from dataclasses import replace

import pytest
import torch
from conftest import random_identity

from slotid_core.errors import SlotIDError
from slotid_core.systems.slot_id.gate import GateSchedule
from slotid_core.systems.slot_id.identity import TENSORS, Identity
from slotid_core.systems.slot_id.mixing import merged, mixed

FIRST, SECOND, THIRD = (random_identity(seed, source={"report": f"clip {seed}"}) for seed in (1, 2, 3))


def same(one: Identity, other: Identity) -> bool:
    return all(torch.equal(getattr(one, name), getattr(other, name)) for name in TENSORS)


def test_the_ends_are_exactly_the_two_people():
    assert same(mixed(FIRST, SECOND, 0.0), FIRST) and same(mixed(FIRST, SECOND, 1.0), SECOND)
    assert not same(mixed(FIRST, SECOND, 0.5), FIRST)


def test_what_the_video_model_gets_moves_in_a_straight_line():
    """At any noise level: rows and FiLM are linear in the identity where their gates are the same."""
    level, strength = torch.tensor([0.3]), torch.ones(1)
    ends = [one.condition(level, strength) for one in (FIRST, SECOND)]
    for weight in (0.25, 0.5, 0.9):
        between = mixed(FIRST, SECOND, weight).condition(level, strength)
        tokens = torch.lerp(ends[0].rows.tokens, ends[1].rows.tokens, weight)
        assert torch.allclose(between.rows.tokens, tokens, atol=1e-6)
        assert torch.allclose(between.film, torch.lerp(ends[0].film, ends[1].film, weight), atol=1e-6)


def test_a_merge_counts_all_clips_alike_in_any_order():
    one, other = merged([FIRST, SECOND, THIRD]), merged([THIRD, FIRST, SECOND])
    for name in TENSORS:
        expected = torch.stack([getattr(clip, name).double() for clip in (FIRST, SECOND, THIRD)]).mean(0)
        assert torch.allclose(getattr(one, name).double(), expected, atol=1e-6)
        assert torch.allclose(getattr(one, name), getattr(other, name), atol=1e-6)
    assert same(merged([FIRST, FIRST]), FIRST)


def test_a_file_of_it_reads_back(tmp_path):
    made = mixed(FIRST, SECOND, 0.25)
    made.save(tmp_path / "between.safetensors")
    read = Identity.load(tmp_path / "between.safetensors")
    assert same(made, read)
    assert read.source["report"] == "clip 1\n\nclip 2" and read.source["weight"] == 0.25


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (replace(SECOND, adapter_fingerprint="abc"), "same adapter"),
        (replace(SECOND, video_tokens=SECOND.video_tokens[:, :0]), "same kinds of reference"),
        (replace(SECOND, gate=GateSchedule("constant")), "different gates"),
    ],
)
def test_what_has_no_mean_is_refused(other, said):
    for join in (lambda: mixed(FIRST, other, 0.5), lambda: merged([FIRST, other])):
        with pytest.raises(SlotIDError, match=said):
            join()


def test_who_agreed_is_known_of_what_is_made_of_them():
    one, other = (
        replace(
            person, source={"provenance": {"sources": [{"name": name, "sha256": name}], "consent": f"{name} agreed"}}
        )
        for name, person in (("ann", FIRST), ("bob", SECOND))
    )
    for made in (mixed(one, other, 0.5), merged([one, other])):
        facts = made.source["provenance"]
        assert facts["consent"] == "ann agreed\nbob agreed" and len(facts["sources"]) == 2
    assert "provenance" not in mixed(FIRST, SECOND, 0.5).source
