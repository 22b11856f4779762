"""The door for videos: a file is told by its first bytes, and only containers of an allow-list are opened.

FFmpeg reads some 370 formats and chooses one by itself. Among them are lists that name other files, addresses or
themselves, devices, and scripts. So the container is told here, FFmpeg is given that one and an open file, and it may
open nothing else. `tests/core/test_media_door.py` holds that no other module opens a video.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from .errors import SlotIDError

MOST_PIXELS = 50_000_000  # in one picture: 8K has 33 million; a damaged header asks for anything
MOST_FRAMES = 1_000_000  # decoded in one go: eleven hours at 25 per second
ENDINGS = (".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi", ".gif", ".mpg", ".mpeg", ".ts", ".wmv", ".flv")
# FFmpeg's name of each container -> what its files begin with, at which byte.
BEGINNINGS: dict[str, tuple[int, tuple[bytes, ...]]] = {
    "mov": (4, (b"ftyp", b"styp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot")),
    "matroska": (0, (b"\x1a\x45\xdf\xa3",)),
    "avi": (8, (b"AVI ", b"AVIX", b"AVI\x19")),
    "gif": (0, (b"GIF87a", b"GIF89a")),
    "flv": (0, (b"FLV",)),
    "asf": (0, (bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c"),)),
    "ogg": (0, (b"OggS",)),
    "mpeg": (0, (b"\0\0\1\xba",)),
    "mpegvideo": (0, (b"\0\0\1\xb3",)),
}
TRANSPORT = {188: 0, 192: 4, 204: 0}  # MPEG-TS: bytes from one packet to the next, and where each begins
PACKETS = 5  # that must begin where they should
HEAD = 204 * (PACKETS + 1)
# Nothing may be opened beside the file itself: no protocol is allowed, and no track of an mp4 may lie elsewhere.
CLOSED = {"protocol_whitelist": "none", "enable_drefs": "0", "use_absolute_path": "0"}
LISTS = (b"#EXTM3U", b"ffconcat", b"v=0", b"[playlist]", b"<", b"rtsp:", b"http", b"file ")


def container_of(head: bytes) -> str | None:
    """FFmpeg's name of the container that a file's first `HEAD` bytes belong to; None if it is not allowed."""
    for name, (place, beginnings) in BEGINNINGS.items():
        if head[place:].startswith(beginnings) and (name != "avi" or head.startswith((b"RIFF", b"ON2 "))):
            return name
    return "mpegts" if _is_transport_stream(head) else None


def _is_transport_stream(head: bytes) -> bool:
    for length, first in TRANSPORT.items():
        for start in range(first, first + length):  # a recording may begin inside a packet
            syncs = head[start::length][:PACKETS]
            if len(syncs) >= 3 and set(syncs) == {0x47}:
                return True
    return False


class VideoFile:
    """An open video. `container` is PyAV's; frames and packets are read with `decode` alone."""

    def __init__(self, file: Path | BinaryIO, heartbeat: Callable[[], None] = lambda: None):
        """
        Args:
            file: a path, or an open file, which stays open.
            heartbeat: called for every piece that is read or decoded; what it raises ends the work.

        Raises:
            SlotIDError: no such file, a container that is not allowed, or a damaged one.
        """
        import av
        from av.error import FFmpegError

        self.name = getattr(file, "name", None) or "The video"
        self.failure = FFmpegError
        self._heartbeat = heartbeat
        self._own = isinstance(file, Path)
        self._file = _opened(file) if isinstance(file, Path) else file
        self._input = _Heard(self._file, heartbeat)
        self.container: Any = None
        try:
            self._file.seek(0)  # an earlier reader leaves it at its end
            head = self._file.read(HEAD)
            self.format = container_of(head)
            if not head:
                raise SlotIDError(f"{self.name} is empty (0 bytes). The copy or upload broke off; do it again.")
            if self.format is None:
                raise _not_allowed(self.name, head)
            self._file.seek(0)
            self.container = av.open(
                self._input, mode="r", format=self.format, container_options=CLOSED,
                options={"max_pixels": str(MOST_PIXELS)},
            )  # fmt: skip
            self._input.raise_if_stopped()
        except SlotIDError:
            self.close()
            raise
        except (FFmpegError, ValueError, OSError) as error:
            self.close()
            self._input.raise_if_stopped()
            raise SlotIDError(
                f"{self.name} cannot be read as a video ({error}). It may be truncated or damaged: copy it again from "
                "its source, or convert it to mp4 (H.264)."
            ) from error
        except BaseException:
            self.close()
            raise

    def decode(self, stream) -> Iterator:
        """Frames of one stream from where the file stands.

        Raises:
            SlotIDError: a frame is too large, or there are too many.
            FFmpegError: the file breaks off.
        """
        if stream.type == "video":
            _limit_pixels(stream)
        try:
            for count, frame in enumerate(self._frames(stream)):
                if stream.type == "video":
                    check_pixels(self.name, frame.width, frame.height)
                    if count >= MOST_FRAMES:
                        raise SlotIDError(
                            f"{self.name} has more than {MOST_FRAMES} frames before the ones that are wanted. Cut out "
                            "the part that you need."
                        )
                yield frame
        except self.failure:
            self._input.raise_if_stopped()
            raise
        self._input.raise_if_stopped()

    def _frames(self, stream) -> Iterator:
        # All packets, so that the heart beats also where a file holds little of this stream.
        for packet in self.container.demux():
            self._heartbeat()
            if packet.stream.index == stream.index:
                yield from packet.decode()

    def seek(self, offset: int, stream=None) -> None:
        if stream is None:
            self.container.seek(offset)
        else:
            self.container.seek(offset, stream=stream)
        self._input.raise_if_stopped()

    def close(self) -> None:
        if self.container is not None:
            self.container.close()
        if self._own:
            self._file.close()

    def __enter__(self):
        return self

    def __exit__(self, *problem) -> None:
        self.close()


class _Heard:
    """A file as FFmpeg reads it: somebody may stop the reading before every piece.

    An error that is raised inside FFmpeg's call is lost or repeated, so the file ends there instead, and the error
    is raised when the call is back.
    """

    def __init__(self, file: BinaryIO, heartbeat: Callable[[], None]):
        self._file, self._heartbeat = file, heartbeat
        self._stopped: BaseException | None = None
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int) -> bytes:
        if self._stopped is None:
            try:
                self._heartbeat()
            except BaseException as error:
                self._stopped = error
        return b"" if self._stopped else self._file.read(size)

    def raise_if_stopped(self) -> None:
        if self._stopped is not None:
            raise self._stopped


def check_pixels(name: str, width: int, height: int) -> None:
    """
    Raises:
        SlotIDError: a picture of this size is not read.
    """
    if width * height > MOST_PIXELS:
        raise SlotIDError(
            f"{name} says that its frames are {width}x{height} pixels; more than {MOST_PIXELS // 1_000_000} megapixels "
            "are not read. If that is not its size, the file is damaged; else shrink it first."
        )


def looks_like_text(file: Path) -> bool:
    """Whether another reader, which chooses a format by itself, could take a file for a list of other files.

    Lists are text and end at a zero byte, and videos have one early on.
    """
    with _opened(file) as opened:
        return b"\0" not in opened.read(64)


def _limit_pixels(stream) -> None:
    """A picture that grows on the way is refused before there is memory for it."""
    if not stream.codec_context.is_open:
        stream.codec_context.options = {"max_pixels": str(MOST_PIXELS)}


def _opened(path: Path) -> BinaryIO:
    try:
        if not path.is_file():  # a pipe or a device would be waited for
            raise SlotIDError(f"There is no video file {path}. Check the name, or upload the clip again.")
        return path.open("rb")
    except (OSError, ValueError) as error:
        if isinstance(error, SlotIDError):
            raise
        raise SlotIDError(f"{str(path)!r} cannot be opened ({error}). Check the name and who may read it.") from error


def _not_allowed(name: str, head: bytes) -> SlotIDError:
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith(tuple(beginning.lower() for beginning in LISTS)):
        what = "it is a list or description of other files, which are not followed"
    elif head.startswith((b"\x89PNG", b"\xff\xd8\xff", b"BM", b"II*\0", b"MM\0*")) or head[8:12] == b"WEBP":
        what = "it is a picture"
    else:
        what = "its beginning is that of no video container that is read here"
    return SlotIDError(
        f"{name} cannot be read as a video: {what}. If it should be one, it is truncated or damaged: copy it again "
        "from its source, or convert it to mp4 (H.264)."
    )
