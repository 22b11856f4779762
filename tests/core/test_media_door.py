"""The door for media: only allowed containers, told by content, within limits; and who waits is heard."""

import ast
import io
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import av
import pytest
from av.error import FFmpegError
from PIL import Image
from reference_clips import numbered_frame, write_video

from slotid_core import video_files
from slotid_core.errors import SlotIDError
from slotid_core.picture_files import read_rgb
from slotid_core.video_files import HEAD, MOST_PIXELS, VideoFile, container_of

ROOT = Path(__file__).resolve().parents[2]
CODECS = {"mp4": "libx264", "mov": "libx264", "mkv": "mjpeg", "webm": "libvpx", "avi": "mpeg4", "ts": "libx264",
          "flv": "flv1", "mpg": "mpeg2video", "ogv": "ffv1", "wmv": "wmv2"}  # fmt: skip


def frames_of(file) -> int:
    with VideoFile(file) as video:
        return sum(1 for _ in video.decode(video.container.streams.video[0]))


def gif(path: Path, size=(64, 48), count: int = 5) -> Path:
    pictures = [Image.new("RGB", size, (40 * index, 0, 0)) for index in range(count)]
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=40)
    return path


@pytest.mark.parametrize("ending", ["mp4", "mov", "mkv", "webm", "avi", "ts", "flv", "mpg", "wmv"])
def test_b1_every_container_that_is_offered_is_told_by_its_content(tmp_path, ending):
    path = write_video(tmp_path / f"clip.{ending}", CODECS[ending], frames=9)
    nameless = path.rename(tmp_path / "clip")
    assert frames_of(nameless) >= 8  # some encoders join two frames of the same time
    assert frames_of(io.BytesIO(nameless.read_bytes())) >= 8


def test_b1_a_recording_that_begins_inside_a_packet_is_still_a_transport_stream(tmp_path):
    whole = write_video(tmp_path / "clip.ts", frames=9).read_bytes()
    assert container_of(whole[100 : 100 + HEAD]) == "mpegts"


REFUSED = {
    "itself.m3u8": "#EXTM3U\n#EXTINF:1,\n{name}\n",
    "other.m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nfile://{secret}\n#EXT-X-ENDLIST\n",
    "with_mark.m3u8": "\ufeff#EXTM3U\n#EXTINF:9,\n../secret.mp4\n",
    "list.mp4": "ffconcat version 1.0\nfile {secret}\n",
    "stream.sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n",
    "manifest.mpd": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><Period/></MPD>',
    "list.asx": '<asx version="3.0"><entry><ref href="{secret}"/></entry></asx>',
    "subtitles.mp4": "WEBVTT\n\n00:00.000 --> 00:01.000\nhello\n",
    "words.mp4": "not a video",
}


@pytest.mark.parametrize("name", REFUSED)
def test_b1_b2_lists_of_other_files_are_refused_before_ffmpeg_sees_them(tmp_path, name, monkeypatch):
    secret = write_video(tmp_path / "secret.mp4", frames=5)
    path = tmp_path / name
    path.write_text(REFUSED[name].format(name=name, secret=secret), encoding="utf-8")
    monkeypatch.setattr(av, "open", lambda *values, **named: pytest.fail("FFmpeg was asked"))
    with pytest.raises(SlotIDError, match=name):
        VideoFile(path)
    with pytest.raises(SlotIDError, match="cannot be read as a video"):
        VideoFile(io.BytesIO(path.read_bytes()))


def external_reference(path: Path, name: bytes) -> bytes:
    """An mp4 whose track says that its media lie in another file, by an alias as QuickTime writes it."""
    content = path.read_bytes()
    place = content.index(b"url \0\0\0\1")  # a data reference to the file itself
    record = bytes(130) + b"\0\1\0\1" + bytes(16)  # from one level up to one level down: beside this file
    record += (2).to_bytes(2, "big") + len(name).to_bytes(2, "big") + name + b"\0" * (len(name) % 2)
    record += (0xFFFF).to_bytes(2, "big") + b"\0\0"
    entry = (12 + len(record)).to_bytes(4, "big") + b"al" + b"is" + bytes(4) + record
    grown = len(entry) - 12
    out = bytearray(content[: place - 4] + entry + content[place + 8 :])
    for box in (b"moov", b"trak", b"mdia", b"minf", b"dinf", b"dref"):
        at = out.index(box) - 4
        out[at : at + 4] = (int.from_bytes(out[at : at + 4], "big") + grown).to_bytes(4, "big")
    return bytes(out)


def test_b2_media_of_an_mp4_that_lie_in_another_file_are_not_read(tmp_path):
    secret = write_video(tmp_path / "secret.mp4", frames=9)
    (tmp_path / "clip.mp4").write_bytes(external_reference(secret, b"secret.mp4"))
    opened = []

    def open_any(url, flags, options):
        opened.append(url)
        return open(url, "rb")  # noqa: PTH123  PyAV closes it

    clip, follow = str(tmp_path / "clip.mp4"), {"enable_drefs": "1"}
    av.open(clip, container_options=follow, io_open=open_any).close()
    assert str(secret) in opened, "FFmpeg would not follow this reference, so the test shows nothing"
    path = tmp_path / "clip.mp4"
    secret.rename(tmp_path / "away.mp4")
    before = frames_or_error(path)
    (tmp_path / "away.mp4").rename(secret)
    assert frames_or_error(path) == before  # what lies beside the file makes no difference


def frames_or_error(path: Path) -> int | str:
    try:
        return frames_of(path)
    except (SlotIDError, FFmpegError) as error:
        return type(error).__name__


def test_b9_a_picture_is_measured_before_it_is_decoded(tmp_path):
    side = 13_000
    path = tmp_path / "huge.png"
    Image.new("1", (side, side)).save(path)
    began = time.process_time()
    with pytest.raises(SlotIDError, match=f"{side}x{side}"):
        read_rgb(path)
    assert time.process_time() - began < 0.5


def test_b9_pictures_are_told_by_content_and_only_usual_formats_are_read(tmp_path):
    script = tmp_path / "picture.png"
    Image.new("RGB", (8, 8)).save(tmp_path / "page.eps")
    script.write_bytes((tmp_path / "page.eps").read_bytes())  # Pillow would run a PostScript interpreter on it
    with pytest.raises(SlotIDError, match=r"picture\.png cannot be read"):
        read_rgb(script)
    Image.new("RGB", (8, 6), (9, 99, 199)).save(tmp_path / "odd.jpg", "PNG")
    assert read_rgb(tmp_path / "odd.jpg").shape == (6, 8, 3)


def test_b9_a_video_has_a_limit_of_pixels_and_frames(tmp_path, monkeypatch):
    content = bytearray(gif(tmp_path / "huge.gif", (16, 16), 1).read_bytes())
    content[6:10] = (9000).to_bytes(2, "little") * 2
    (tmp_path / "huge.gif").write_bytes(content)
    assert MOST_PIXELS < 9000 * 9000
    with pytest.raises((SlotIDError, FFmpegError)):
        frames_of(tmp_path / "huge.gif")
    monkeypatch.setattr(video_files, "MOST_FRAMES", 4)
    assert frames_of(gif(tmp_path / "four.gif", count=4)) == 4
    with pytest.raises(SlotIDError, match=r"five\.gif has more than 4 frames"):
        frames_of(gif(tmp_path / "five.gif", count=5))


class Stopped(BaseException):
    """As ComfyUI's, which is no Exception in some of its versions."""


@pytest.mark.parametrize("at", [1, 2, 3, 5, 9])
@pytest.mark.parametrize("ending", ["mp4", "avi", "ts"])
def test_b1_who_waits_is_heard_at_every_step(tmp_path, ending, at):
    """Whichever call of the heartbeat raises, opening, decoding or the end, that very error comes out, once."""
    path = write_video(tmp_path / f"clip.{ending}", CODECS[ending], frames=24)
    beats = 0

    def heartbeat() -> None:
        nonlocal beats
        beats += 1
        if beats == at:
            raise Stopped
        assert beats < at, "it went on after it was stopped"

    with pytest.raises(Stopped), VideoFile(path, heartbeat) as video:
        for _ in video.decode(video.container.streams.video[0]):
            pass
    assert beats == at


def test_b11_a_zero_byte_or_a_pipe_is_no_video(tmp_path):
    for path in (tmp_path / "a\0b.mp4", tmp_path / "none.mp4", tmp_path):
        with pytest.raises(SlotIDError):
            VideoFile(path)
    refused_at_once(VideoFile, tmp_path / "pipe.mp4")


def test_b11_a_pipe_is_no_picture_and_is_not_waited_for(tmp_path):
    refused_at_once(read_rgb, tmp_path / "pipe.png")


def refused_at_once(read: Callable[[Path], object], pipe: Path) -> None:
    """A pipe to which nobody writes keeps whoever opens it waiting."""
    os.mkfifo(pipe)
    found = []

    def opening() -> None:
        try:
            read(pipe)
        except SlotIDError as error:
            found.append(str(error))

    thread = threading.Thread(target=opening, daemon=True)
    thread.start()
    thread.join(20)
    assert found and pipe.name in found[0]


def test_an_open_file_stays_open_and_a_path_is_closed(tmp_path):
    path = write_video(tmp_path / "clip.mp4", frames=5)
    with path.open("rb") as file:
        file.seek(100)
        assert frames_of(file) == 5 and not file.closed
    video = VideoFile(path)
    video.close()
    assert video._file.closed


ALLOWED = {
    # The last two write alone.
    "av.open": {"slotid_core/video_files.py", "slotid_core/toy_world/example.py", "nodes/shared/seen.py"},
    "Image.open": {"slotid_core/picture_files.py", "slotid_core/reference_training/compose.py"},  # of bytes of its own
    "decord.VideoReader": {"slotid_core/reference/decode/decord_reader.py"},
    "cv2.VideoCapture": set(),
}


@pytest.mark.parametrize("call", ALLOWED)
def test_nothing_opens_media_beside_the_door(call):
    found = set()
    for folder in ("slotid_core", "nodes"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call) and ast.unparse(node.func) == call:
                    found.add(path.relative_to(ROOT).as_posix())
    assert found == ALLOWED[call] or (found < ALLOWED[call] and call == "av.open"), found


def test_b11_numbers_of_other_scripts_in_names_of_pictures(tmp_path):
    from slotid_core.reference.decode.clip import read_clip

    for index, name in enumerate(["1.png", "2.png", "²3.png", "٣.png", "x10.png"]):
        Image.fromarray(numbered_frame(index)).save(tmp_path / name)
    assert len(read_clip(tmp_path, 5).frames) == 5


def test_b9_a_folder_has_a_limit_of_pixels_and_of_pictures(tmp_path, monkeypatch):
    from slotid_core.reference.decode import image_reader
    from slotid_core.reference.decode.clip import read_clip

    Image.fromarray(numbered_frame(0)).save(tmp_path / "1.png")
    Image.new("1", (13_000, 13_000)).save(tmp_path / "2.png")
    with pytest.raises(SlotIDError, match=r"2\.png says that its frames are 13000x13000"):
        read_clip(tmp_path, 5)
    monkeypatch.setattr(image_reader, "MOST_PICTURES", 1)
    with pytest.raises(SlotIDError, match="holds 2 pictures"):
        read_clip(tmp_path, 5)


def test_b9_a_result_that_no_machine_holds_is_refused_by_arithmetic(tmp_path, monkeypatch):
    from slotid_core.reference.decode import clip

    path = write_video(tmp_path / "clip.mp4", frames=5)
    monkeypatch.setattr(clip, "MOST_BYTES", 5 * 96 * 64 * 3 * 4 - 1)
    with pytest.raises(SlotIDError, match="do not fit into memory"):
        clip.read_clip(path, 5)


def test_b1_a_clip_can_be_stopped_while_frames_are_skipped(tmp_path, monkeypatch):
    """Nothing is taken before the late window, so progress alone would not be heard."""
    from slotid_core import interrupts
    from slotid_core.reference.decode.clip import read_clip

    monkeypatch.setattr(interrupts, "BEAT", 0.0)
    path = write_video(tmp_path / "clip.avi", "mpeg4", frames=29)
    calls = []

    def progress(done: int, total: int) -> None:
        calls.append((done, total))
        if len(calls) == 4:
            raise Stopped

    with pytest.raises(Stopped):
        read_clip(path, 5, start_seconds=22 / 25, progress=progress)
    assert calls == [(0, 5)] * 4


def test_b11_a_clip_16_pixels_wide_with_decord_works_or_says_why(tmp_path):
    pytest.importorskip("decord")
    from slotid_core.reference.decode.clip import read_clip

    path = write_video(tmp_path / "small.mp4", size=(16, 16), frames=9)
    with pytest.raises(SlotIDError, match=r"16x16.*Use the PyAV"):
        read_clip(path, 5, backend="decord")
    assert read_clip(path, 5).frames.shape == (5, 16, 16, 3)


def test_b2_decord_is_given_nothing_that_it_could_take_for_a_list(tmp_path):
    pytest.importorskip("decord")
    from slotid_core.reference.decode.decord_reader import DecordVideo

    whole = bytearray(write_video(tmp_path / "clip.ts", frames=9).read_bytes())
    text = b'G<MPD profiles="urn:mpeg:dash:profile:isoff-live:2011"> file:///etc/passwd </MPD>'
    (tmp_path / "both.ts").write_bytes(text.ljust(188, b" ") + whole)
    with pytest.raises(SlotIDError, match="list of other files"):
        DecordVideo(tmp_path / "both.ts")
