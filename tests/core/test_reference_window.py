"""Cuts, the best window of a clip and its picture, on clips whose right answer is known."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from proof import examples

from slotid_core.errors import SlotIDError
from slotid_core.reference.decode.clip import read_clip
from slotid_core.reference.decode.image_reader import GivenFrames
from slotid_core.reference.decode.shots import find_cuts, longest_shot
from slotid_core.reference.faces.best_window import find_best_window, without_search
from slotid_core.reference.faces.face import Detector, Face
from slotid_core.reference.report.timeline import draw_timeline
from slotid_core.toy_world.person import sample_person
from slotid_core.toy_world.render import render_reference

REAL_CLIPS = Path(os.environ.get("SLOTID_FACES", Path(__file__).parents[3] / "shared" / "data" / "faces"))
SIDE, RATE = 64, 25.0
MIDDLE = Detector("middle", lambda image, smallest: [Face(tuple(s * len(image) for s in (0.25, 0.2, 0.75, 0.7)))], 64)
BLIND = Detector("blind", lambda image, smallest: [], 64)


@pytest.fixture(scope="module")
def scenes() -> list[torch.Tensor]:
    """Drawn people who act before backgrounds of their own: (40, SIDE, SIDE, 3) each."""
    return [render_reference(sample_person(number), number, 40, SIDE) for number in range(4)]


def test_cuts_are_found_to_the_frame_and_lively_clips_have_none(scenes):
    for number, scene in enumerate(scenes):
        assert find_cuts(scene) == [] and find_cuts(scene[::4]) == []
        other = scenes[(number + 1) % len(scenes)]
        assert find_cuts(torch.cat([scene[:25], other[:13], scene[25:]])) == [25, 38]


def test_a_flash_a_fade_and_noise_are_no_cuts(scenes):
    flash = scenes[0].clone()
    flash[20] = flash[20] * 0.2 + 0.8
    fading = scenes[0] * torch.linspace(1, 0, 40)[:, None, None, None]
    assert find_cuts(flash) == find_cuts(fading) == find_cuts(torch.full((9, 32, 32, 3), 0.5)) == []
    assert find_cuts(torch.zeros(1, 8, 8, 3)) == []


@given(st.lists(st.integers(1, 99), max_size=6, unique=True).map(sorted))
def test_the_longest_shot_has_no_cut_inside_and_none_is_longer(cuts):
    first, end = longest_shot(cuts, 100)
    assert first in [0, *cuts] and end in [*cuts, 100] and not any(first < cut < end for cut in cuts)
    assert end - first == max(np.diff([0, *cuts, 100]))


def test_a_window_that_is_asked_for_never_spans_a_cut(scenes):
    clip = read_clip(GivenFrames(torch.cat([scenes[0][:10], scenes[1][:30]]), RATE), 33)
    assert len(clip.frames) == 21 and clip.times[0] == pytest.approx(10 / RATE)
    assert any("scene changes" in note for note in clip.notes)


@settings(max_examples=examples(8), deadline=None)
@given(lengths=st.lists(st.integers(3, 40), min_size=2, max_size=4), wanted=st.sampled_from([9, 17, 33]))
def test_the_best_window_never_spans_a_cut(scenes, lengths, wanted):
    clip = torch.cat([scenes[number][:length] for number, length in enumerate(lengths)])
    survey = find_best_window(GivenFrames(clip, RATE), MIDDLE, wanted)
    edges = np.cumsum([0, *lengths])
    first = round(survey.best.start_seconds * RATE)
    shot = np.searchsorted(edges, first, side="right") - 1
    assert first + survey.best.num_frames <= edges[shot + 1]
    assert survey.best.num_frames <= wanted and survey.best.num_frames % 4 == 1
    if max(lengths) < wanted:
        assert any("without a cut" in note for note in survey.notes)


def turning_face(frames: int, moving: range) -> torch.Tensor:
    """A disc with eyes that wander to both sides on some of the frames, and stand still on the others."""
    rows, columns = torch.meshgrid(torch.linspace(0, 1, SIDE), torch.linspace(0, 1, SIDE), indexing="ij")
    clip = []
    for index in range(frames):
        shift = 0.14 * np.sin(index / 4) if index in moving else 0.0
        picture = torch.full((SIDE, SIDE), 0.3)
        picture[(columns - 0.5) ** 2 + (rows - 0.45) ** 2 < 0.06] = 0.75
        for x in (0.4, 0.6):
            picture[(columns - x - shift) ** 2 + (rows - 0.4) ** 2 < 0.002] = 0.1
        clip.append(picture[..., None].expand(-1, -1, 3))
    return torch.stack(clip)


def blurred(clip: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.avg_pool2d(clip.permute(0, 3, 1, 2), 9, stride=1, padding=4).permute(0, 2, 3, 1)


def test_the_window_with_most_change_wins():
    survey = find_best_window(GivenFrames(turning_face(120, range(60, 93)), RATE), MIDDLE, 33)
    first = round(survey.best.start_seconds * RATE)
    assert len(set(range(first, first + 33)) & set(range(60, 93))) > 16
    still = min(survey.windows, key=lambda window: window.start_seconds)
    assert survey.best.total > 2 * still.total and survey.best.parts["change"] > 3 * still.parts["change"]


def test_of_two_equal_movements_the_sharp_one_wins():
    clip = turning_face(100, range(100))
    clip[:50] = blurred(clip[:50])
    survey = find_best_window(GivenFrames(clip, RATE), MIDDLE, 33)
    assert round(survey.best.start_seconds * RATE) >= 44


def test_a_face_that_leaves_for_half_the_clip_is_found_in_the_other_half():
    clip = turning_face(100, range(100))

    def detect(image, smallest):  # the picture is darker where the person has left
        return MIDDLE.detect(image, smallest) if image.mean() > 60 else []

    clip[50:] *= 0.3
    survey = find_best_window(GivenFrames(clip, RATE), Detector("sees the first half", detect, 64), 33)
    assert round(survey.best.start_seconds * RATE) + 33 <= 54 and survey.best.parts["seen"] > 0.8


@pytest.mark.parametrize("clip", [torch.zeros(40, SIDE, SIDE, 3), torch.rand(40, SIDE, SIDE, 3)])
def test_black_and_faceless_clips_still_give_a_window_and_say_so(clip):
    survey = find_best_window(GivenFrames(clip, RATE), BLIND, 17)
    assert survey.best.num_frames == 17 and "No face" in survey.notes[0] and np.isfinite(survey.best.total)


def test_a_long_clip_is_sounded_out_and_the_one_good_place_found():
    """1,500 frames, all still but for one stretch; nothing is read in full."""
    clip = turning_face(1, range(0)).expand(1500, -1, -1, -1).clone()
    clip[700:800] = turning_face(100, range(100))
    reads = []

    class Counting(GivenFrames):
        def _picture(self, index):
            reads.append(index)
            return super()._picture(index)

    def detect(image, smallest):
        return MIDDLE.detect(image, smallest)

    survey = find_best_window(Counting(clip, RATE), Detector("middle", detect, 64), 65)
    assert len(survey.regions) > 1 and len(reads) < 900
    assert survey.best.num_frames == 65


def test_progress_moves_on_and_an_interrupt_stops_the_search(scenes):
    seen = []
    find_best_window(GivenFrames(scenes[0], RATE), MIDDLE, 17, progress=lambda done, total: seen.append((done, total)))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen) and len(seen) == 40

    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        find_best_window(GivenFrames(scenes[0], RATE), MIDDLE, 17, progress=stop)


def test_a_start_behind_the_end_is_named(scenes):
    with pytest.raises(SlotIDError, match="earlier start"):
        find_best_window(GivenFrames(scenes[0], RATE), MIDDLE, 17, start_seconds=50.0)


def test_the_timeline_shows_the_window_where_it_lies(scenes):
    survey = find_best_window(GivenFrames(turning_face(120, range(60, 93)), RATE), MIDDLE, 33)
    picture = draw_timeline(survey)[0]
    green = (picture[200] - torch.tensor([30, 62, 44]) / 255).abs().sum(dim=-1) < 0.02  # the band's row
    columns = torch.nonzero(green).flatten().float()
    at = 64 + 880 * survey.best.start_seconds / survey.duration, 64 + 880 * survey.best.end_seconds / survey.duration
    assert columns.min() == pytest.approx(at[0], abs=3) and columns.max() == pytest.approx(at[1], abs=3)
    given_window = draw_timeline(without_search(read_clip(GivenFrames(scenes[0], RATE), 17)))
    assert given_window.shape == (1, 300, 960, 3)


@pytest.mark.skipif(not REAL_CLIPS.is_dir(), reason="the real clips are not beside this checkout (SLOTID_FACES)")
def test_a_real_clip_has_no_cut_and_two_joined_have_one():
    first, second = (read_clip(REAL_CLIPS / name, 33, short_side=128).frames for name in ("d3.mp4", "d10.mp4"))
    assert find_cuts(first) == find_cuts(second) == []
    assert find_cuts(torch.cat([first, second])) == [33]
