"""Prepare training data: the command line as a child process, and its progress in the node."""

import hashlib
import json
import os
import tempfile
from pathlib import Path

import comfy.utils
from comfy_api.latest import io

from ...slotid_core.errors import SlotIDError
from ...slotid_core.files import write_json
from ...slotid_core.systems.registry import DEFAULT
from ..lynx.paths import face_encoder_names, face_encoder_path
from ..reference.detector import detector_folders
from ..shared import paths
from .child_process import run_module
from .settings import CATEGORY, TOY, model_file, system_input, work_folder

SOURCES = {"folder": "folder", "ConsisID layout": "consisid", "toy world": TOY}
NO_FACE_ENCODER = "none"


def input_folder(name: str) -> Path:
    path = paths.input_path(name, "path")
    if not os.path.exists(path):
        raise SlotIDError(
            f"{name!r} is not in ComfyUI's input folder. Copy the clips there, or prepare them from anywhere with "
            "python -m slotid_core.dataset."
        )
    return Path(path)


def state_of_files(path: Path) -> str:
    """Changes when a file at or below `path`, or beside it if it is a file, is added, taken away or written."""
    folder = path if path.is_dir() else path.parent
    files = sorted(os.path.join(parent, name) for parent, _, names in os.walk(folder) for name in names)
    return hashlib.sha256("\n".join(map(paths.file_state, files)).encode()).hexdigest()


class SlotIDPrepareDataset(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="SlotIDPrepareDataset",
            display_name="Prepare Training Data (Slot-ID)",
            category=CATEGORY,
            description="Clips with captions to cached training samples: face clip, portrait, Wan latents, text. "
            "Interrupt it at any time; queue it again to go on.",
            is_output_node=True,
            inputs=[
                io.Combo.Input(
                    "source",
                    options=list(SOURCES),
                    tooltip="'folder': videos with a .txt of the same name beside each, or a .jsonl of video_path and "
                    "caption. 'ConsisID layout': the published ConsisID training data. 'toy world': drawn people.",
                ),
                io.String.Input(
                    "path",
                    default="",
                    tooltip="Folder or .jsonl file, relative to ComfyUI's input folder. Not used for the toy world.",
                ),
                io.String.Input(
                    "name", default="people", tooltip="The data goes to output/slotid/data/ under this name."
                ),
                io.Combo.Input(
                    "vae",
                    options=[*paths.file_names("vae"), TOY],
                    tooltip="The Wan 2.1 VAE; training and use must have the same one.",
                ),
                io.Combo.Input(
                    "text_encoder",
                    options=[*paths.file_names("text_encoders"), TOY],
                    tooltip="The umT5-XXL file that you use with Wan.",
                ),
                io.Int.Input(
                    "frames", default=65, min=5, max=257, step=4,
                    tooltip="Frames of a training window, 4n+1, 5 to 257. 65 is the paper's; fewer need less memory.",
                ),
                io.Int.Input(
                    "width", default=832, min=32, max=1920, step=16,
                    tooltip="Width in pixels, a multiple of 16; clips are scaled and cut to it. 480 for small GPUs.",
                ),
                io.Int.Input(
                    "height", default=480, min=32, max=1920, step=16,
                    tooltip="Height in pixels, a multiple of 16.",
                ),
                io.Boolean.Input(
                    "subfolders_are_people", default=False,
                    tooltip="On: clips in one subfolder show one person, and training takes the reference from another "
                    "clip of that person, which is better. Off: every clip is a person of its own.",
                ),
                io.Int.Input(
                    "toy_people", default=200, min=1, max=100_000,
                    tooltip="For the toy world: how many people to draw. 2000 for a good adapter.",
                ),
                system_input("The system that is to be trained; samples get what it reads."),
                io.Combo.Input(
                    "face_encoder", options=[NO_FACE_ENCODER, *face_encoder_names()], default=NO_FACE_ENCODER,
                    optional=True,
                    tooltip="A file in models/facexlib, for a system that reads face embeddings, such as lynx; 'none' "
                    "for the others.",
                ),
            ],
            outputs=[
                io.String.Output(display_name="dataset", tooltip="The prepared folder, for Train Slot-ID."),
                io.String.Output(display_name="report", tooltip="How many samples, and which clips failed and why."),
            ],
        )  # fmt: skip

    @classmethod
    def execute(
        cls, source, path, name, vae, text_encoder, frames, width, height, subfolders_are_people, toy_people,
        system=DEFAULT, face_encoder=NO_FACE_ENCODER,
    ) -> io.NodeOutput:  # fmt: skip
        kind = SOURCES[source]
        settings = {
            "systems": [system],
            "vae": model_file("vae", vae),
            "text_encoder": model_file("text_encoders", text_encoder),
        }
        if face_encoder != NO_FACE_ENCODER:
            settings["face_encoder"] = face_encoder_path(face_encoder)
        if text_encoder != TOY:
            settings["text_encoder_dtype"] = "bfloat16"  # umT5-XXL in float32 leaves a 24 GB card no room for the VAE
        if kind == TOY:
            settings[TOY] = {"people": toy_people, "clips_per_person": 2}
        else:
            grouped = {"folder": "folder", "consisid": "video"}[kind] if subfolders_are_people else "none"
            settings |= {"frames": frames, "width": width, "height": height, "detector_models": detector_folders()}
            settings[kind] = {"path": str(input_folder(path)), "group_by": grouped}
        folder = work_folder("data", name)
        bar, facts = None, {}

        def on_event(event: dict) -> None:
            nonlocal bar
            if event["event"] == "progress":
                bar = bar or comfy.utils.ProgressBar(event["total"])
                bar.update_absolute(event["done"], event["total"])
            elif event["event"] == "finished":
                facts.update(event)

        with tempfile.TemporaryDirectory() as temporary:
            config = Path(temporary) / "prepare.json"
            write_json(config, settings)
            arguments = ["--config", str(config), "--output", str(folder), "--progress", "json"]
            run_module("slotid_core.dataset", arguments, on_event)
        report = json.dumps({key: value for key, value in facts.items() if key != "event"}, indent=2)
        return io.NodeOutput(str(folder), report)

    @classmethod
    def validate_inputs(cls, name=None):
        return paths.name_is_valid("a folder", name)

    @classmethod
    def fingerprint_inputs(cls, source, path, **inputs):
        return "" if SOURCES[source] == TOY else state_of_files(input_folder(path))


NODES = [SlotIDPrepareDataset]
