"""The node that reads a clip from ComfyUI's input folder, and nothing outside of it."""

import os

import folder_paths
from comfy_api.latest import io

from ..slotid_core.errors import SlotIDError
from ..slotid_core.reference.clip import read_clip
from . import example_clip, paths
from .progress import progress_bar

CATEGORY = "Slot-ID/reference"
ENDINGS = (".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi", ".gif", ".mpg", ".mpeg", ".ts", ".wmv", ".flv")


def input_videos() -> list[str]:
    """Names relative to the input folder, those in its subfolders with forward slashes, and the drawn example."""
    root = folder_paths.get_input_directory()
    found = sorted(
        os.path.relpath(os.path.join(folder, name), root).replace(os.sep, "/")
        for folder, _, names in os.walk(root)
        for name in names
        if name.lower().endswith(ENDINGS)
    )
    return [*found, example_clip.NAME]


def input_video_path(name: str) -> str:
    """The file of that name, checked after following links.

    Raises:
        SlotIDError: it lies outside the input folder, or does not exist.
    """
    root = os.path.realpath(folder_paths.get_input_directory())
    name = (name or "").removesuffix("[input]").strip()
    if not name or "\0" in name:
        raise SlotIDError("No video is chosen. Upload one, or choose one from ComfyUI's input folder.")
    path = os.path.realpath(os.path.join(root, name))
    if not _is_below(root, path):
        raise SlotIDError(f"{name!r} lies outside ComfyUI's input folder. Upload the clip or copy it into {root}.")
    if not os.path.isfile(path):
        raise SlotIDError(f"There is no video {name!r} in ComfyUI's input folder. Upload it, or check the name.")
    return path


def video_path(name: str) -> str:
    """`input_video_path`, or the example clip, drawn when it is first asked for."""
    return example_clip.example_clip() if name == example_clip.NAME else input_video_path(name)


def _is_below(root: str, path: str) -> bool:
    try:
        return os.path.commonpath([root, path]) == root
    except ValueError:  # different drives
        return False


class SlotIDLoadReferenceVideo(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="SlotIDLoadReferenceVideo",
            display_name="Load Reference Video",
            category=CATEGORY,
            description="Reads a few seconds of a clip that shows the person: upright, shrunk, always 4n+1 frames.",
            inputs=[
                io.Combo.Input(
                    "file",
                    options=input_videos(),
                    upload=io.UploadType.video,
                    tooltip="A video in ComfyUI's input folder or a folder below it. Choose one in which the face is "
                    "large, mostly turned to the camera, and moves: turning, talking, smiling.",
                ),
                io.Int.Input(
                    "num_frames",
                    default=65,
                    min=1,
                    max=1025,
                    step=4,
                    tooltip="Frames to take, 1 to 1025, of the form 4n+1 (others are rounded down). Use what the "
                    "adapter was trained on, usually 65. A shorter clip gives the largest 4n+1 it has.",
                ),
                io.Float.Input(
                    "start_seconds",
                    default=0.0,
                    min=0.0,
                    max=86400.0,
                    step=0.1,
                    tooltip="Where the window begins, in seconds from the start of the clip, 0 to 86400. Move it past "
                    "a title or to the most expressive moment.",
                ),
                io.Float.Input(
                    "sample_rate",
                    default=0.0,
                    min=0.0,
                    max=120.0,
                    step=1.0,
                    tooltip="Frames per second to sample at, by time, 0 to 120. 0 takes every frame. 16, Wan's own "
                    "rate, covers about twice as much movement of a 30 fps clip; use it on longer clips.",
                ),
                io.Int.Input(
                    "short_side",
                    default=480,
                    min=64,
                    max=2160,
                    step=16,
                    tooltip="Frames are shrunk while reading to this many pixels on the shorter side, 64 to 2160, "
                    "never enlarged. Raise it when the face is small in the picture; memory grows with its square.",
                ),
                io.Combo.Input(
                    "decoder",
                    options=["auto", "decord", "PyAV"],
                    default="auto",
                    tooltip="What reads the file; both give the same frames. auto: decord where installed, else PyAV. "
                    "Choose PyAV for a file that decord reads badly.",
                ),
            ],
            outputs=[
                io.Image.Output(display_name="frames", tooltip="(4n+1, height, width, 3), for Track Face."),
                io.Float.Output(display_name="fps", tooltip="Frames per second at which these frames are shown."),
                io.Audio.Output(display_name="audio", tooltip="The window's sound; nothing if the clip is silent."),
                io.String.Output(
                    display_name="notes", tooltip="What was done to the clip: decoder, rounding, repairs."
                ),
            ],
        )

    @classmethod
    def execute(cls, file, num_frames, start_seconds, sample_rate, short_side, decoder) -> io.NodeOutput:
        clip = read_clip(
            video_path(file),
            num_frames,
            start_seconds,
            frames_per_second=sample_rate or None,
            short_side=short_side,
            backend=decoder,
            progress=progress_bar(),
        )
        window = f"{len(clip.frames)} frames, {clip.times[0]:.2f} to {clip.times[-1]:.2f} s, read with {clip.backend}."
        return io.NodeOutput(clip.frames, clip.frames_per_second, clip.audio, "\n".join((window, *clip.notes)))

    @classmethod
    def validate_inputs(cls, file):
        try:
            if file != example_clip.NAME:
                input_video_path(file)
        except SlotIDError as error:
            return str(error)
        return True

    @classmethod
    def fingerprint_inputs(cls, file, **settings):
        return file if file == example_clip.NAME else paths.file_state(input_video_path(file))
