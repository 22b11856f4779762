"""What phones and other nodes give: HDR, mirrored and transparent clips, folders, bytes, odd sizes, late seeks."""

import io
import tracemalloc
from fractions import Fraction
from typing import Any

import av
import numpy as np
import pytest
import torch
from PIL import Image
from reference_clips import number_of, numbered_frame, write_video
from typed import present

from slotid_core.errors import SlotIDError
from slotid_core.reference.decode.audio import cut_audio
from slotid_core.reference.decode.clip import read_clip
from slotid_core.reference.decode.image_reader import GivenFrames
from slotid_core.reference.decode.pyav_reader import PyAVVideo
from slotid_core.reference.decode.source import Trimmed, open_source

PQ, HLG = 16, 18


def write_raw(path, images, codec="ffv1", pix_fmt="yuv420p10le", source="rgb48le", matrix=None, rate=25, **colors):
    """A lossless or GIF file of the given (H, W, C) pictures, tagged with colour properties."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=Fraction(rate))
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt = pix_fmt
        for name, value in colors.items():
            setattr(stream.codec_context, name, value)
        if matrix:
            stream.set_display_matrix(matrix)
        for image in images:
            frame = av.VideoFrame.from_ndarray(image, format=source)
            if "colorspace" in colors:
                frame = frame.reformat(format=pix_fmt, dst_colorspace=colors["colorspace"])
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def pq_code(nits: float) -> float:
    """SMPTE ST 2084's encoding, written from its definition and not as the inverse of ours."""
    m1, m2 = 2610 / 16384, 2523 / 4096 * 128
    c1, c2, c3 = 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32
    y = (nits / 10000) ** m1
    return ((c1 + c2 * y) / (1 + c3 * y)) ** m2


def srgb(light: float) -> float:
    return 12.92 * light if light <= 0.0031308 else 1.055 * light ** (1 / 2.4) - 0.055


def grey_clip(path, code: float, transfer: int):
    image = np.full((64, 96, 3), round(code * 65535), np.uint16)
    colors: dict[str, Any] = {"colorspace": 9, "color_primaries": 9, "color_trc": transfer, "color_range": 1}
    return read_clip(write_raw(path, [image] * 5, **colors), 5).frames


@pytest.mark.parametrize("share", [0.01, 0.1, 0.18, 0.5, 0.79])
def test_hdr_greys_up_to_most_of_paper_white_look_as_they_did(tmp_path, share):
    """BT.2408: paper white is 203 cd/m². Below the knee the light is kept, so its sRGB value is known."""
    frames = grey_clip(tmp_path / "pq.mkv", pq_code(203 * share), PQ)
    assert frames.mean().item() == pytest.approx(srgb(share), abs=0.012)
    assert frames.std() < 0.01


def test_hlg_white_is_near_white_and_highlights_stay_apart(tmp_path):
    """BT.2408, table 1: HLG's 75 % signal is paper white (203 cd/m²), and its 38 % a grey card (26 cd/m²)."""
    card, white, brighter = (grey_clip(tmp_path / f"{code}.mkv", code, HLG).mean() for code in (0.38, 0.75, 1.0))
    assert card == pytest.approx(srgb(26 / 203), abs=0.02)
    assert 0.93 < white < brighter <= 1.0


def test_hdr_keeps_the_hue(tmp_path):
    """BT.709's red, written in BT.2020 (BT.2087's matrix) as PQ, comes back as red."""
    red = [pq_code(203 * 0.5 * share) for share in (0.6274, 0.0691, 0.0164)]
    image = np.broadcast_to(np.array(red) * 65535, (64, 96, 3)).round().astype(np.uint16)
    colors: dict[str, Any] = {"colorspace": 9, "color_primaries": 9, "color_trc": PQ, "color_range": 1}
    clip = read_clip(write_raw(tmp_path / "red.mkv", [np.ascontiguousarray(image)] * 5, **colors), 5)
    found = clip.frames[2, 30, 40]
    assert found[0] == pytest.approx(srgb(0.5), abs=0.03) and found[1:].max() < 0.12


MATRICES = {
    "mirrored": ([-1, 0, 0, 0, 1, 0, 0, 0, 1], lambda picture: picture[:, ::-1]),
    "upside down and mirrored": ([1, 0, 0, 0, -1, 0, 0, 0, 1], lambda picture: picture[::-1]),
    "turned right": ([0, 1, 0, -1, 0, 0, 0, 0, 1], lambda picture: np.rot90(picture, -1)),
    "transposed": ([0, 1, 0, 1, 0, 0, 0, 0, 1], lambda picture: picture.transpose(1, 0, 2)),
}


@pytest.mark.parametrize("name", MATRICES)
def test_the_display_matrix_is_obeyed_also_where_it_mirrors(tmp_path, name):
    """QuickTime's matrix (a b 0, c d 0) takes (x, y) to (ax + cy, bx + dy)."""
    matrix, turn = MATRICES[name]
    image = numbered_frame(3)
    path = write_raw(tmp_path / "clip.mp4", [image] * 5, "libx264", "yuv420p", "rgb24", matrix)
    frame = read_clip(path, 5).frames[1].numpy() * 255
    assert frame.shape == turn(image).shape
    assert np.abs(frame - turn(image)).mean() < 6
    if "mirror" in name:
        pytest.importorskip("decord")
        with pytest.raises(SlotIDError, match="mirrored"):
            read_clip(path, 5, backend="decord")


def test_a_transparent_gif_moves_on_white(tmp_path):
    pictures = []
    for index in range(6):
        picture = Image.new("RGBA", (64, 48), (0, 0, 0, 0))
        picture.paste((200, 30, 30, 255), (8 * index, 8, 8 * index + 8, 40))
        pictures.append(picture)
    pictures[0].save(tmp_path / "clip.gif", save_all=True, append_images=pictures[1:], duration=100, disposal=2, loop=0)
    clip = read_clip(tmp_path / "clip.gif", 5)
    assert clip.frames_per_second == pytest.approx(10, rel=0.02)
    for index, frame in enumerate(clip.frames):
        assert frame[24, 8 * index + 4, 0] > 0.7 > 0.3 > frame[24, 8 * index + 4, 1]
        assert (frame[24, 60] > 0.97).all()


def test_a_folder_of_pictures_is_a_clip_in_the_order_of_its_numbers(tmp_path):
    folder = tmp_path / "frames"
    folder.mkdir()
    for index in range(12):
        Image.fromarray(numbered_frame(index)).save(folder / f"frame_{index}.png")
    (folder / "notes.txt").write_text("no picture")
    (folder / "elsewhere.png").symlink_to(folder / "frame_0.png")
    clip = read_clip(folder, 9, start_seconds=2 / 25)
    assert [number_of(frame) for frame in clip.frames] == list(range(2, 11))
    assert clip.frames_per_second == 25 and clip.audio is None
    (folder / "frame_5.png").write_bytes(b"broken")
    with pytest.raises(SlotIDError, match="frame_5.png"):
        read_clip(folder, 9)
    (tmp_path / "none").mkdir()
    with pytest.raises(SlotIDError, match="no pictures"):
        read_clip(tmp_path / "none", 9)


def test_bytes_given_frames_and_a_trimmed_file_are_clips_too(tmp_path):
    path = write_video(tmp_path / "clip.mp4", sound=True)
    whole = read_clip(path, 9)
    from_bytes = read_clip(io.BytesIO(path.read_bytes()), 9)
    assert torch.equal(whole.frames, from_bytes.frames)
    assert torch.equal(present(whole.audio)["waveform"], present(from_bytes.audio)["waveform"])
    given = read_clip(GivenFrames(whole.frames, 25.0), 5, start_seconds=4 / 25)
    assert (given.frames - whole.frames[4:9]).abs().max() < 0.51 / 255
    source = open_source(path)
    trimmed = Trimmed(source, 0.2, 0.36)
    clip = read_clip(trimmed, 65)
    source.close()
    assert [number_of(frame) for frame in clip.frames] == list(range(5, 14)) and clip.times[0] == 0


def test_given_sound_is_cut_to_the_window():
    sound = {"waveform": torch.arange(100.0)[None, None], "sample_rate": 10}
    assert torch.equal(present(cut_audio(sound, 2.0, 0.5))["waveform"], torch.arange(20.0, 25)[None, None])
    assert cut_audio(sound, 20.0, 1.0) is None


@pytest.mark.parametrize("ending", ["ts", "flv", "avi", "mkv", "mp4"])
def test_a_late_window_is_reached_in_every_container(tmp_path, ending):
    """Without an index some formats seek to behind the target; the first frame must be the requested one."""
    codec = "mpeg4" if ending == "avi" else "libx264"
    path = write_video(tmp_path / f"clip.{ending}", codec, rate=25, frames=29)
    clip = read_clip(path, 5, start_seconds=22 / 25)
    assert [number_of(frame) for frame in clip.frames] == list(range(22, 27))


def test_odd_sizes_and_a_size_that_changes_on_the_way(tmp_path):
    with av.open(str(tmp_path / "odd.mkv"), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 67, 45, "yuv444p"
        for index in range(5):
            picture = av.VideoFrame.from_ndarray(numbered_frame(index, (67, 45)), format="rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    assert read_clip(tmp_path / "odd.mkv", 5).frames.shape == (5, 44, 66, 3)
    frames = [numbered_frame(0), numbered_frame(1), numbered_frame(2, (48, 32)), numbered_frame(3), numbered_frame(4)]

    class Changing(GivenFrames):
        def _picture(self, index):
            return frames[index]

    clip = read_clip(Changing(torch.zeros(5, 64, 96, 3), 25.0), 5)
    assert clip.frames.shape == (5, 64, 96, 3) and [number_of(frame) for frame in clip.frames] == list(range(5))


def test_a_header_that_asks_for_a_picture_of_gigabytes_is_refused(tmp_path):
    Image.new("RGB", (16, 16)).save(tmp_path / "huge.gif")
    content = bytearray((tmp_path / "huge.gif").read_bytes())
    content[6:10] = b"\x28\x23\x28\x23"  # the screen's width and height: 9000
    (tmp_path / "huge.gif").write_bytes(content)
    with pytest.raises(SlotIDError, match="50 megapixels"):
        read_clip(tmp_path / "huge.gif", 5)


def test_memory_beside_the_result_does_not_grow_with_the_window(tmp_path):
    """Python's own allocations: arrays of frames are the only thing that could grow."""
    width, height = 480, 320
    path = write_video(tmp_path / "clip.mp4", frames=29, size=(width, height))

    def peak(count: int) -> int:
        tracemalloc.start()
        read_clip(path, count)
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    peak(5)  # imports
    assert peak(29) - peak(5) < 4 * width * height * 3


def test_key_frames_alone_can_be_read(tmp_path):
    path = write_video(tmp_path / "clip.mp4", frames=24)
    with av.open(str(path)) as container:
        keys = [round(float(packet.pts * packet.time_base) * 25) for packet in container.demux() if packet.is_keyframe]
    source = PyAVVideo(path)
    times = [round(time * 25) for time, _ in source.frames(only_key_frames=True)]
    every = [round(time * 25) for time, _ in source.frames(start=1e-9)]
    source.close()
    assert times == keys and len(keys) < 8 and every == list(range(24))
