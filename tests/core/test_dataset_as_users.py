"""References of drawn people, made as the nodes make them from a clip."""

from dataclasses import replace

import pytest
import torch

from slotid_core.dataset.config import PrepareConfig, ToyWorldSource
from slotid_core.dataset.drawn_clips import drawn_pixels
from slotid_core.dataset.toy_world_source import toy_world_clips
from slotid_core.errors import SlotIDError


def test_references_as_users_have_them_are_cut_from_the_clip_itself():
    source = ToyWorldSource(people=1, first=7, clips_per_person=1, references_per_person=1)
    config = PrepareConfig(vae="toy_world", text_encoder="toy_world", toy_world=source, reference_frames=9)
    as_users = replace(config, toy_world=replace(source, as_users=1.0))
    clip = toy_world_clips(source)[0]
    drawn, found = drawn_pixels(clip, config), drawn_pixels(clip, as_users)
    assert torch.equal(drawn.video, found.video)
    assert found.facts["detector"] == "drawn faces"
    assert found.reference.shape == drawn.reference.shape and found.portrait.shape == drawn.portrait.shape
    assert not torch.equal(found.portrait, drawn.portrait)
    assert (found.portrait[0, :4, :4] > 0.97).all()  # the scene behind is gone
    assert (found.face_picture[0] - found.portrait[0]).abs().mean() > 0.05
    assert torch.equal(
        drawn_pixels(clip, replace(config, toy_world=replace(source, as_users=0.0))).portrait, drawn.portrait
    )


@pytest.mark.parametrize("share", [-0.1, 1.5])
def test_a_share_beyond_one_is_named(share):
    with pytest.raises(SlotIDError, match="as_users"):
        toy_world_clips(ToyWorldSource(people=1, as_users=share))
