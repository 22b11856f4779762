"""Reaching the end of a ten-minute file: 65 frames of a 1080p clip, against reading it through.

The file is ten seconds of drawn noise, encoded once and repeated sixty times without encoding again. Each ratio is the
median over the seeking reader's runs; reading through is long, so it is done once.
"""

import resource
import statistics
import subprocess
import sys
import tempfile
import time
from fractions import Fraction
from pathlib import Path

from benchmarks.paired import Ratio
from slotid_core.reference.decode.clip import read_clip  # noqa: F401  timed in child processes, without its imports

WIDTH, HEIGHT, RATE, SECONDS, REPEATS = 1920, 1080, 30, 10, 60
FRAMES, RUNS = 65, 5
START = SECONDS * REPEATS - FRAMES / RATE - 0.5
MOST_MEGABYTES = 600


def run() -> list[Ratio]:
    with tempfile.TemporaryDirectory() as folder:
        path = write_long_file(Path(folder))
        seeking = [seconds_of(f"read_clip({str(path)!r}, {FRAMES}, {START})") for _ in range(RUNS)]
        through = seconds_of(f"pyav_through({str(path)!r})")
        ratios = [_ratio("PyAV read-through", seeking, through)]
        try:
            import cv2  # noqa: F401
        except ImportError:
            print("OpenCV is not installed: its read-through is left out.", file=sys.stderr)
        else:
            ratios.append(_ratio("OpenCV read-through", seeking, seconds_of(f"opencv_through({str(path)!r})")))
        megabytes = memory_above_the_result(path)
    ratios.append(
        Ratio(f"memory above the tensor of the same / {MOST_MEGABYTES} MB", *[megabytes / MOST_MEGABYTES] * 3)
    )
    return ratios


def _ratio(other: str, seeking: list[float], through: float) -> Ratio:
    low, median, high = statistics.quantiles([seconds / through for seconds in seeking], n=4)
    return Ratio(f"{FRAMES} frames at the end of 10 min 1080p: seeking / {other}", median, low, high)


def write_long_file(folder: Path) -> Path:
    import av
    import numpy as np

    segment, whole = folder / "segment.mp4", folder / "long.mp4"
    coarse = np.random.default_rng(0).integers(0, 255, (HEIGHT // 20, WIDTH // 20, 3)).astype(np.uint8)
    noise = np.kron(coarse, np.ones((20, 20, 1), np.uint8))
    with av.open(str(segment), "w") as container:
        stream = container.add_stream("libx264", rate=RATE)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.options = {"preset": "ultrafast", "crf": "23", "g": "150"}
        for index in range(RATE * SECONDS):
            picture = np.ascontiguousarray(np.roll(noise, 3 * index, axis=1))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    with av.open(str(segment)) as source, av.open(str(whole), "w") as container:
        stream = source.streams.video[0]
        packets = [packet for packet in source.demux(stream) if packet.size]
        copy = container.add_stream_from_template(stream)
        span = int(Fraction(SECONDS) / stream.time_base)
        for repeat in range(REPEATS):
            for packet in packets:
                again = av.Packet(bytes(packet))
                again.pts, again.dts = packet.pts + repeat * span, packet.dts + repeat * span
                again.is_keyframe, again.time_base, again.stream = packet.is_keyframe, stream.time_base, copy
                container.mux(again)
    return whole


def seconds_of(call: str) -> float:
    """A process of its own for each, so that none finds the other's caches or leaves its memory behind."""
    code = f"start = time.perf_counter(); {call}; print(time.perf_counter() - start)"
    return float(_child("import time; from benchmarks.late_window import *; " + code))


def memory_above_the_result(path: Path) -> float:
    """Megabytes by which the process grew at its peak beyond the returned tensor."""
    code = (
        "from benchmarks.late_window import *; "
        f"before = peak(); clip = read_clip({str(path)!r}, {FRAMES}, {START}); "
        "print((peak() - before) - clip.frames.numel() * 4 / 1e6)"
    )
    return float(_child(code))


def peak() -> float:
    """Megabytes, the most this process ever held."""
    import av  # noqa: F401  part of the start, not of the reading

    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return kilobytes / (1e6 if sys.platform == "darwin" else 1e3)


def pyav_through(path: str) -> list:
    """Decodes every frame, and keeps the last window."""
    import av

    kept = []
    with av.open(path) as container:
        container.streams.video[0].thread_type = "AUTO"
        for frame in container.decode(video=0):
            if frame.time >= START and len(kept) < FRAMES:
                kept.append(frame.to_ndarray(format="rgb24"))
    return kept


def opencv_through(path: str) -> list:
    import cv2

    kept, video = [], cv2.VideoCapture(path)
    for index in range(RATE * SECONDS * REPEATS):
        more, picture = video.read()
        if not more:
            break
        if index >= START * RATE and len(kept) < FRAMES:
            kept.append(picture)
    return kept


def _child(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[1])
    if done.returncode:
        raise RuntimeError(done.stderr[-600:])
    return done.stdout.strip().splitlines()[-1]


if __name__ == "__main__":
    started = time.perf_counter()
    for ratio in run():
        print(ratio)
    print(f"{time.perf_counter() - started:.0f} s")
