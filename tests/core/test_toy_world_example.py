"""Drawn clips as files: what the renderer draws, at any rate, and the same clips as those that come with the pack."""

import av
import numpy as np
import pytest

from slotid_core.comfy_runtime import PACK
from slotid_core.toy_world.example import EXAMPLES, at_times, clip_name, write_clip
from slotid_core.toy_world.person import HELD_OUT_FROM, sample_person
from slotid_core.toy_world.render import reference_motion, render_reference


def frames_of(path) -> tuple[np.ndarray, float]:
    with av.open(str(path)) as container:
        rate = float(container.streams.video[0].average_rate)
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]) / 255.0, rate


def test_a_clip_shows_the_reference_and_nothing_else_is_left(tmp_path):
    path = write_clip(tmp_path / "new" / "ann.mp4", sample_person(HELD_OUT_FROM), 3, frames=9, size=64)
    frames, rate = frames_of(path)
    drawn = render_reference(sample_person(HELD_OUT_FROM), 3, 9, 64).numpy()
    assert rate == 16 and frames.shape == (9, 64, 64, 3) and np.abs(frames - drawn).mean() < 0.02
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("rate", [25, 30, 60])
def test_at_another_rate_somebody_moves_as_fast(tmp_path, rate):
    at_16, _ = frames_of(write_clip(tmp_path / "16.mp4", sample_person(HELD_OUT_FROM), 3, 17, 64))
    faster, told = frames_of(write_clip(tmp_path / "faster.mp4", sample_person(HELD_OUT_FROM), 3, rate + 1, 64, rate))
    assert told == rate and len(faster) == rate + 1
    by_time = np.mean([np.abs(faster[round(i * rate / 16)] - at_16[i]).mean() for i in range(17)])
    by_number = np.mean([np.abs(faster[i] - at_16[i]).mean() for i in range(17)])
    assert by_time < 0.5 * by_number


def test_poses_at_whole_frames_are_those_of_the_motion():
    _, motion = reference_motion(sample_person(HELD_OUT_FROM), 3, 20)
    assert np.array_equal(at_times(motion, np.arange(20.0)).yaw, motion.yaw)
    between = at_times(motion, np.array([4.5])).mouth_open
    assert between == pytest.approx((motion.mouth_open[4] + motion.mouth_open[5]) / 2)


def test_the_packs_clips_are_what_the_renderer_draws_today():
    assert len(EXAMPLES) == 6 and min(EXAMPLES) >= HELD_OUT_FROM
    for seed, reference in EXAMPLES.items():
        frames, rate = frames_of(PACK / "example_people" / clip_name(seed))
        drawn = render_reference(sample_person(seed), reference, 65, 64).numpy()
        small = frames.reshape(65, 64, 4, 64, 4, 3).mean((2, 4))
        assert rate == 16 and np.abs(small - drawn).mean() < 0.02, seed
