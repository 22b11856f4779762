"""The node that reads a clip: from ComfyUI's input folder and nothing outside of it, or from a VIDEO."""

import json
import os
from pathlib import Path

import folder_paths
from comfy_api.latest import InputImpl, io

from ...slotid_core.errors import SlotIDError
from ...slotid_core.picture_files import ENDINGS as PICTURE_ENDINGS
from ...slotid_core.reference.decode.audio import cut_audio, read_audio
from ...slotid_core.reference.decode.clip import read_clip
from ...slotid_core.reference.decode.image_reader import GivenFrames
from ...slotid_core.reference.decode.source import FrameSource, Trimmed, open_source
from ...slotid_core.reference.faces.best_window import find_best_window, without_search
from ...slotid_core.reference.report.timeline import draw_timeline
from ...slotid_core.video_files import ENDINGS
from ..shared import paths
from ..shared.progress import progress_bar, stop_if_interrupted
from ..shared.seen import with_ui
from ..shared.warnings import warn
from . import example_clip
from .detector import face_detector
from .seen import surveyed

CATEGORY = "Slot-ID/reference"
WAN_RATE = 16.0  # frames per second
WINDOWS = ("at start_seconds", "best")
FEWEST_PICTURES = 5  # in a folder that is offered as a clip


def input_videos() -> list[str]:
    """Names relative to the input folder, with forward slashes: videos and folders of pictures, the examples last."""
    not_on_disk = example_clip.put_examples()
    root = folder_paths.get_input_directory()
    found = []
    for folder, _, names in os.walk(root):
        below = os.path.relpath(folder, root).replace(os.sep, "/")
        found += [f"{below}/{name}".removeprefix("./") for name in names if name.lower().endswith(ENDINGS)]
        if below != "." and sum(name.lower().endswith(PICTURE_ENDINGS) for name in names) >= FEWEST_PICTURES:
            found.append(f"{below}/")
    return sorted({*found, *not_on_disk}, key=lambda name: (name.startswith(example_clip.FOLDER), name))


def input_video_path(name: str) -> str:
    """The file or folder of that name, checked after following links.

    Raises:
        SlotIDError: it lies outside the input folder, or does not exist.
    """
    if name is not None and not isinstance(name, str):  # ComfyUI hands over whatever JSON the prompt holds
        raise SlotIDError(f"The video: {name!r} is no text. Choose a file of ComfyUI's input folder.")
    root = os.path.realpath(folder_paths.get_input_directory())
    name = (name or "").removesuffix("[input]").strip()
    if not name:
        raise SlotIDError("No video is chosen. Upload one, or choose one from ComfyUI's input folder.")
    path = paths.input_path(name, "The video")
    if not os.path.isfile(path) and (path == root or not os.path.isdir(path)):
        raise SlotIDError(f"There is no video {name!r} in ComfyUI's input folder. Upload it, or check the name.")
    return path


def video_path(name: str) -> str:
    """`input_video_path`; an example clip that is not in the input folder is the pack's own file."""
    try:
        return input_video_path(name)
    except SlotIDError:
        if isinstance(name, str) and (shipped := example_clip.shipped_path(name)):
            return shipped
        raise


def source_of(video) -> tuple[Path | FrameSource, dict | None]:
    """ComfyUI's VIDEO -> what `read_clip` takes, and its sound where that must be cut apart.

    A file is read from the disk, seeking; a video that is frames in memory is taken as it is, not encoded first.
    """
    if not isinstance(video, InputImpl.VideoFromFile):
        components = video.get_components()
        return GivenFrames(components.images, float(components.frame_rate)), components.audio
    file = video.get_stream_source()
    file = Path(file) if isinstance(file, str) else file
    start, duration = video.get_active_trim_window() if hasattr(video, "get_active_trim_window") else (0.0, 0.0)
    if not start and not duration:
        return file, None
    # Sound first: a file in memory has one position for both.
    sound = read_audio(file, start, duration or 86400.0, stop_if_interrupted)
    return Trimmed(open_source(file, heartbeat=stop_if_interrupted), start, duration or None), sound


class SlotIDLoadReferenceVideo(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="SlotIDLoadReferenceVideo",
            display_name="Load Reference Video (Slot-ID)",
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
                    default=WAN_RATE,
                    min=0.0,
                    max=120.0,
                    step=1.0,
                    tooltip="Frames per second to sample at, by time, 0 to 120. 16 is Wan's own rate and that of its "
                    "adapters: movement keeps its speed whatever the clip's rate. 0 takes every frame; connect fps to "
                    "Encode Reference then.",
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
                    tooltip="What reads the file; both give the same frames. auto is PyAV, which is faster on long "
                    "files and shows HDR and mirrored clips right. Choose decord to compare.",
                ),
                io.Combo.Input(
                    "window",
                    options=list(WINDOWS),
                    default=WINDOWS[0],
                    optional=True,
                    tooltip="Where the frames are taken. best searches the clip, from start_seconds on, for the window "
                    "in which the face changes most while sharp and large; a minute at most on long clips. No window "
                    "ever spans a cut between scenes. Choose best for any clip that you have not cut yourself.",
                ),
                io.Video.Input(
                    "video",
                    optional=True,
                    tooltip="A VIDEO from another node, read instead of file: from the disk where it is a file.",
                ),
                io.Audio.Input(
                    "audio",
                    optional=True,
                    tooltip="Sound to take instead of the clip's own; it begins where the clip begins. For folders of "
                    "pictures and separate recordings.",
                ),
            ],
            outputs=[
                io.Image.Output(display_name="frames", tooltip="(4n+1, height, width, 3), for Track Face."),
                io.Float.Output(
                    display_name="fps",
                    tooltip="Frames per second at which these frames are shown, for fps of Encode Reference.",
                ),
                io.Audio.Output(display_name="audio", tooltip="The window's sound; nothing if the clip is silent."),
                io.String.Output(
                    display_name="notes", tooltip="What was done to the clip: decoder, rounding, repairs."
                ),
                io.Image.Output(
                    display_name="timeline",
                    tooltip="The clip from left to right: pictures, where a face was seen, cuts, the score of every "
                    "window that was compared, and the one taken.",
                ),
                io.String.Output(
                    display_name="window_report", tooltip="JSON: the window, its score and cuts, for Reference Report."
                ),
            ],
        )

    @classmethod
    def execute(
        cls,
        file,
        num_frames,
        start_seconds,
        sample_rate,
        short_side,
        decoder,
        window=WINDOWS[0],
        video=None,
        audio=None,
    ) -> io.NodeOutput:
        source, sound = (Path(video_path(file)), None) if video is None else source_of(video)
        rate = sample_rate or None
        survey = None
        if window == "best":
            survey = find_best_window(source, face_detector("auto"), num_frames, start_seconds, rate, progress_bar())
            num_frames, start_seconds = survey.best.num_frames, survey.best.start_seconds
        clip = read_clip(source, num_frames, start_seconds, rate, short_side, decoder, progress_bar())
        if survey is None:
            survey = without_search(clip)
        sound = audio if audio is not None else sound
        sound = clip.audio if sound is None else cut_audio(sound, clip.times[0], clip.duration)
        taken = f"{len(clip.frames)} frames, {clip.times[0]:.2f} to {clip.times[-1]:.2f} s, read with {clip.backend}."
        notes = "\n".join((taken, *survey.notes, *clip.notes))
        warn(cls, "\n".join(clip.notes))
        facts = survey.facts() | {"frames_per_second": round(clip.frames_per_second, 3), "read_with": clip.backend}
        facts["notes"] = [*survey.notes, *clip.notes]
        output = io.NodeOutput(
            clip.frames, clip.frames_per_second, sound, notes, draw_timeline(survey), json.dumps(facts, indent=2)
        )
        told = surveyed(survey, file, video is not None, len(clip.frames), clip.frames_per_second)
        return with_ui(output, told)

    @classmethod
    def validate_inputs(cls, file):
        try:
            video_path(file)
        except SlotIDError as error:
            return str(error)
        return True

    @classmethod
    def fingerprint_inputs(cls, file, **settings):
        path = video_path(file)
        with_pictures = sorted(entry.path for entry in os.scandir(path)) if os.path.isdir(path) else []
        return "\n".join(map(paths.file_state, [path, *with_pictures]))


NODES = [SlotIDLoadReferenceVideo]
