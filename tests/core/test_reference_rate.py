"""Frames brought to another rate: by time, whatever the rates; and a person's slots do not depend on the camera's."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from slotid_core.errors import SlotIDError
from slotid_core.reference.decode.clip import read_clip
from slotid_core.reference.decode.image_reader import GivenFrames
from slotid_core.reference.decode.rate import at_rate, nearest_frames

rates = st.floats(1, 240)


@given(count=st.integers(1, 400), rate=rates, wanted=rates)
def test_each_tick_gets_the_frame_nearest_to_it(count, rate, wanted):
    chosen = nearest_frames(count, rate, wanted)
    assert len(chosen) % 4 == 1 and chosen[0] == 0 and max(chosen) < count
    assert all(later >= earlier for earlier, later in itertools.pairwise(chosen))
    if abs(rate - wanted) <= 0.01 * wanted:
        assert chosen == list(range(len(chosen)))
        return
    off = [abs(index / rate - tick / wanted) for tick, index in enumerate(chosen)]
    assert max(off) <= 0.5 / rate + 2e-3
    ticks_missed = (count - 1) / rate * wanted - (len(chosen) - 1)
    assert ticks_missed < 4  # no more than 4n+1 leaves out
    if rate > 1.5 * wanted:
        assert len(set(chosen)) == len(chosen)


@settings(max_examples=30, deadline=None)
@given(count=st.integers(5, 120), rate=st.floats(4, 120), wanted=st.floats(4, 60))
def test_frames_are_those_that_reading_at_the_rate_gives(count, rate, wanted):
    """Reading a clip at a rate is an older way to the same frames."""
    if abs(rate - wanted) <= 0.01 * wanted:
        return
    frames = torch.arange(count).view(-1, 1, 1, 1).expand(-1, 16, 16, 3) / 255
    read = read_clip(GivenFrames(frames, rate), 1025, frames_per_second=wanted).frames
    ours = frames[nearest_frames(count, rate, wanted, most=1025)]
    assert len(read) == len(ours) and (read - ours).abs().max() <= 1 / 255 + 1e-6  # ties may fall either way


def clip(count: int) -> torch.Tensor:
    return torch.arange(float(count)).view(-1, 1, 1, 1).expand(-1, 2, 2, 3)


def test_the_same_rate_and_an_unknown_one_leave_the_frames_as_they_are():
    frames = clip(65)
    for rate in (16.0, 15.98, 0.0):
        assert torch.equal(at_rate(frames, rate, 16.0, 65).frames, frames)
    assert not at_rate(frames, 16.0, 16.0, 65).warnings
    (warning,) = at_rate(frames, 0.0, 16.0, 65).warnings
    assert "not known" in warning and "Connect fps" in warning
    assert not at_rate(clip(1), 0.0, 16.0, 65).warnings  # one picture has no rate
    assert len(at_rate(clip(8), 0.0, 16.0, 65).frames) == 5


def test_a_faster_clip_that_is_too_short_is_told_so():
    given = at_rate(clip(65), 60.0, 16.0, 65)
    assert len(given.frames) == 17
    (warning,) = given.warnings
    assert "17 frames" in warning and "sample_rate" in warning
    assert not at_rate(clip(257), 60.0, 16.0, 65).warnings


def test_a_slower_clip_repeats_frames_says_so_and_is_not_made_longer_than_usual():
    given = at_rate(clip(33), 8.0, 16.0, 65)
    assert given.frames[:6, 0, 0, 0].tolist() == [0, 0, 1, 1, 2, 2] and len(given.frames) == 65
    (warning,) = given.warnings
    assert "8 frames per second" in warning and "32 of 65 frames are repeats" in warning
    assert len(at_rate(clip(65), 8.0, 16.0, 65).frames) == 65
    assert len(at_rate(clip(65), 1e-9, 16.0, 65).frames) == 65  # and at once


@pytest.mark.parametrize("rate", [-1.0, float("nan"), float("inf")])
def test_a_rate_that_is_none_is_refused(rate):
    with pytest.raises(SlotIDError, match="above 0"):
        at_rate(clip(5), rate, 16.0, 65)


def test_slots_depend_on_the_rate_no_more_than_on_the_crop(tmp_path):
    """Two people filmed at three rates; `python -m tools.measure_rates` measures it on more."""
    from slotid_core.systems.slot_id import load_adapter
    from slotid_core.toy_world.family import load_vae, part_path
    from tools.measure_rates import FIRST, Filmed, distances

    adapter, vae = load_adapter(part_path("adapter")), load_vae()
    rows = [distances(Filmed(tmp_path, seed, adapter, vae)) for seed in (FIRST, FIRST + 1)]
    mean = {name: np.mean([row[name] for row in rows]) for name in rows[0]}
    for way in ("read at the rate", "encoded at the rate"):
        assert mean[f"{way}: between rates"] <= mean["two crops"]
        assert mean[f"{way}: between rates"] < 0.5 * mean["every frame: between rates"]
    assert mean["slower, frames repeated: 8"] < mean["slower, every frame: 8"]
