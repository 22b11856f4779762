"""A video file to frames: windows, sampling by time, rotation, two decoders with one result, and bad files."""

import importlib.util
import io
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from proof import examples
from reference_clips import SIZE, number_of, write_video

from slotid_core.errors import SlotIDError
from slotid_core.reference.decode.clip import read_clip, shrink
from slotid_core.reference.decode.pyav_reader import PyAVVideo
from slotid_core.reference.decode.window import largest_window, nearest_in_time, sample_times

BACKENDS = ["PyAV"] + (["decord"] if importlib.util.find_spec("decord") else [])
# Twenty files: every codec at three or four rates, and every quarter turn where the container keeps it.
KINDS = [
    *(("libx264", "mp4", rate, rotation) for rate, rotation in ((12, 0), (24, 90), (30, 180), (60, -90))),
    *(("libx265", "mp4", rate, rotation) for rate, rotation in ((12, 180), (25, 0), (30, -90), (60, 90))),
    *(("mpeg4", "mov", rate, rotation) for rate, rotation in ((12, -90), (24, 180), (25, 90))),
    *(("libvpx-vp9", "webm", rate, 0) for rate in (15, 30, 60)),
    *(("mjpeg", "mkv", rate, 0) for rate in (15, 25, 30)),
    *(("ffv1", "mkv", rate, 0) for rate in (24, 50, 60)),
]


@given(st.integers(1, 100_000))
def test_a_window_is_4n_plus_1_and_the_largest_that_fits(available):
    window = largest_window(available)
    assert window % 4 == 1 and available - 4 < window <= available


def test_no_window_in_nothing():
    with pytest.raises(SlotIDError, match="0 frames"):
        largest_window(0)


@given(
    gaps=st.lists(st.integers(20, 400), min_size=1, max_size=30),
    start=st.integers(0, 4000),
    rate=st.sampled_from([5, 10, 16, 25, 60]),
    count=st.integers(1, 40),
)
def test_sampling_takes_the_frame_nearest_in_time(gaps, start, rate, count):
    times = np.cumsum([0, *gaps]) / 1000
    wanted = list(sample_times(start / 1000, rate, count))
    taken = [index for _, index in nearest_in_time(zip(times, range(len(times)), strict=True), wanted, tolerance=0.0)]
    inside = [time for time in wanted if time <= times[-1]]
    assert len(taken) == len(inside)
    for time, index in zip(inside, taken, strict=True):
        assert abs(times[index] - time) <= np.abs(times - time).min() + 0.0011  # a tie within a millisecond is a tie
    assert taken == sorted(taken)


@pytest.mark.parametrize(("codec", "ending", "rate", "rotation"), KINDS)
def test_every_codec_and_rotation_gives_the_same_upright_frames(tmp_path, codec, ending, rate, rotation):
    path = write_video(tmp_path / f"clip.{ending}", codec, rate, rotation=rotation)
    clips = [read_clip(path, 9, start_seconds=4 / rate, backend=backend) for backend in BACKENDS]
    for clip in clips:
        width, height = SIZE if rotation % 180 == 0 else SIZE[::-1]
        assert clip.frames.shape == (9, height, width, 3)
        assert clip.frames.dtype == torch.float32 and clip.frames.min() >= 0 and clip.frames.max() <= 1
        assert clip.frames_per_second == pytest.approx(rate, rel=1e-3)
        assert [number_of(frame) for frame in clip.frames] == list(range(4, 13))
        # the metadata turns the picture counter-clockwise, and its white top-left and black top-right corners with it
        stored = torch.rot90(clip.frames[0], -rotation // 90, dims=(0, 1))
        assert stored[:8, :8].mean() > 0.9 and stored[:8, -8:].mean() < 0.1
    assert all((clip.frames - clips[0].frames).abs().max() <= 1 / 255 for clip in clips)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_variable_rate_is_sampled_by_time(tmp_path, backend):
    times = [0.0, 0.1, 0.2, 0.9, 1.0, 1.1, 1.2, 1.3, 1.4, 2.0]
    path = write_video(tmp_path / "clip.mp4", times=times)
    clip = read_clip(path, 5, frames_per_second=2.5, backend=backend)
    nearest = [int(np.abs(np.array(times) - time).argmin()) for time in (0, 0.4, 0.8, 1.2, 1.6)]
    assert [number_of(frame) for frame in clip.frames] == nearest
    every = read_clip(path, 9, backend=backend)
    assert any("varies" in note for note in every.notes)


@pytest.mark.parametrize("backend", BACKENDS)
def test_frames_are_shrunk_but_never_enlarged(tmp_path, backend):
    path = write_video(tmp_path / "clip.mp4", frames=5)
    assert read_clip(path, 5, short_side=32, backend=backend).frames.shape == (5, 32, 48, 3)
    assert read_clip(path, 5, short_side=480, backend=backend).frames.shape == (5, 64, 96, 3)


def test_shrinking_averages():
    checkerboard = np.indices((64, 64)).sum(axis=0) % 2 * 255
    small = shrink(np.repeat(checkerboard[..., None], 3, axis=2).astype(np.uint8), 16)
    assert small.shape == (16, 16, 3) and np.abs(small.astype(int) - 128).max() <= 4


def test_numbers_other_than_4n_plus_1_and_short_clips_are_rounded_down_with_a_note(tmp_path):
    path = write_video(tmp_path / "clip.mp4", frames=24)
    rounded = read_clip(path, 8)
    assert len(rounded.frames) == 5 and "8 frames asked" in rounded.notes[0]
    short = read_clip(path, 65)
    assert len(short.frames) == 21 and any("24 of 65" in note for note in short.notes)
    single = read_clip(write_video(tmp_path / "one.mp4", frames=1), 65)
    assert len(single.frames) == 1 and any("movement" in note for note in single.notes)


def test_a_rate_above_the_clips_repeats_frames_and_says_so(tmp_path):
    clip = read_clip(write_video(tmp_path / "clip.mp4", rate=10), 9, frames_per_second=20)
    assert len({number_of(frame) for frame in clip.frames}) == 5
    assert any("twice" in note for note in clip.notes)


def test_the_sound_is_that_of_the_window(tmp_path):
    path = write_video(tmp_path / "clip.mp4", rate=10, frames=20, sound=True)  # silent until 1 s
    quiet, loud = read_clip(path, 5).audio, read_clip(path, 5, start_seconds=1.2).audio
    assert quiet is not None and loud is not None
    assert loud["sample_rate"] == 16000 and loud["waveform"].shape == (1, 1, 8000)
    assert quiet["waveform"].square().mean() < 1e-4 < 0.2 < loud["waveform"].square().mean()
    assert read_clip(write_video(tmp_path / "silent.mp4"), 5).audio is None


def test_progress_reaches_the_end_and_can_stop_the_read(tmp_path):
    path = write_video(tmp_path / "clip.mp4")
    seen = []
    read_clip(path, 9, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(index, 9) for index in range(1, 10)]

    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        read_clip(path, 9, progress=stop)


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"num_frames": 0}, "num_frames is 0"),
        ({"start_seconds": math.nan}, "start is nan"),
        ({"start_seconds": -1.0}, "start is -1"),
        ({"start_seconds": 60.0}, "earlier start"),
        ({"frames_per_second": 0.0}, "sampling rate is 0"),
        ({"frames_per_second": math.inf}, "sampling rate is inf"),
        ({"short_side": 2}, "short side is 2"),
        ({"backend": "guess"}, "no decoder 'guess'"),
    ],
)
def test_a_setting_out_of_range_is_named(tmp_path, wrong, reason):
    path = write_video(tmp_path / "clip.mp4")
    with pytest.raises(SlotIDError, match=reason):
        read_clip(path, **wrong)


def test_a_reader_rewinds_and_a_file_in_memory_can_be_read_again(tmp_path):
    path = write_video(tmp_path / "clip.mp4", rate=10, frames=30)
    video = PyAVVideo(path)
    for start in (2.0, 0.0, 0.0):  # in the middle of a read, after one, and from the end of the file
        times = [time for time, _ in video.frames(start)]
        assert times[0] <= start and times[-1] == pytest.approx(2.9) and video.failure is None
    next(video.frames(1.5))
    assert next(video.frames(0.0))[0] == 0
    assert next(video.frames(0.0, only_key_frames=True))[0] == 0
    memory = io.BytesIO(path.read_bytes())
    first, again = read_clip(memory, 9), read_clip(memory, 9)
    assert torch.equal(first.frames, again.frames) and torch.equal(first.frames, read_clip(path, 9).frames)


def test_files_that_are_no_video_are_named(tmp_path):
    with pytest.raises(SlotIDError, match="no video file"):
        read_clip(tmp_path / "gone.mp4")
    (tmp_path / "empty.mp4").touch()
    with pytest.raises(SlotIDError, match="0 bytes"):
        read_clip(tmp_path / "empty.mp4")
    (tmp_path / "text.mp4").write_text("this is not a film " * 100)
    with pytest.raises(SlotIDError, match="cannot be read as a video"):
        read_clip(tmp_path / "text.mp4")


def test_sound_alone_is_no_video(tmp_path):
    import av
    from reference_clips import _tone

    with av.open(str(tmp_path / "sound.m4a"), "w") as container:
        stream = container.add_stream("aac", rate=16000, layout="mono")
        container.mux(stream.encode(_tone(1.0)))
        container.mux(stream.encode(None))
    with pytest.raises(SlotIDError, match="no video stream"):
        read_clip(tmp_path / "sound.m4a")


def test_a_truncated_file_gives_what_it_has_or_a_clear_error(tmp_path):
    whole = write_video(tmp_path / "clip.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) // 2])  # the index at the end is lost
    with pytest.raises(SlotIDError, match="truncated"):
        read_clip(tmp_path / "cut.mp4")
    stream = write_video(tmp_path / "clip.mkv", "ffv1").read_bytes()
    (tmp_path / "cut.mkv").write_bytes(stream[: len(stream) * 2 // 3])
    clip = read_clip(tmp_path / "cut.mkv", 65)
    assert 5 <= len(clip.frames) < 24 and len(clip.frames) % 4 == 1 and clip.notes
    assert [number_of(frame) for frame in clip.frames] == list(range(len(clip.frames)))


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    folder = tmp_path_factory.mktemp("originals")
    return [
        write_video(folder / name, codec).read_bytes()
        for name, codec in (("a.mp4", "libx264"), ("b.webm", "libvpx-vp9"), ("c.mkv", "mjpeg"))
    ]


@settings(max_examples=examples(25), deadline=None)
@given(data=st.data())
def test_damaged_files_give_a_valid_clip_or_a_clear_error(originals, tmp_path_factory, data):
    content = bytearray(data.draw(st.sampled_from(originals)))
    for _ in range(data.draw(st.integers(0, 20))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("damaged") / "clip.mp4"
    path.write_bytes(content[: data.draw(st.integers(1, len(content)))])
    try:
        clip = read_clip(path, 9, backend=data.draw(st.sampled_from(["auto", "PyAV"])))
    except SlotIDError as error:
        assert str(error)
    else:
        assert len(clip.frames) % 4 == 1 and torch.isfinite(clip.frames).all()


@given(height=st.integers(2, 200), width=st.integers(2, 200), short_side=st.sampled_from([16, 48, 64]))
def test_sizes_are_even_so_that_the_frames_can_be_encoded_again(height, width, short_side):
    """853 × 480 came out of a 1920 × 1080 clip, and H.264 refused it."""
    small = shrink(np.zeros((height, width, 3), np.uint8), short_side)
    assert small.shape[0] % 2 == 0 and small.shape[1] % 2 == 0
    assert min(small.shape[:2]) <= max(short_side, 2)


def test_white_frames_of_other_sizes_stay_white(tmp_path):
    """Weights of a resizing sum to a little more than 1 at some sizes, which gave 1.0000001."""
    from PIL import Image

    for index in range(65):
        size = (14, 64) if index == 0 else (31, 16 + 4 * index)
        Image.new("RGB", size, (255, 255, 255)).save(tmp_path / f"{index}.png")
    assert read_clip(tmp_path, 65).frames.max() == 1
