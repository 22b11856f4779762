"""The offline trainer as nodes: both run the command line as a child process and show what it reports."""

import hashlib
import importlib.util
import json
import os
import re
import shutil
import sys
import tempfile
from pathlib import Path

import comfy.utils
import folder_paths
import numpy as np
import torch
from comfy_api.latest import io
from PIL import Image

from ...slotid_core.errors import SlotIDError
from ..reference.detector import detector_folders
from ..shared import paths
from ..shared.types import Adapter
from ..slot_id.adapter import LoadedAdapter, SlotIDLoadAdapter
from .child_process import PACK, run_module

CATEGORY = "Slot-ID/training"
TOY = "toy_world"
PRESETS = PACK / "slotid_core" / "training" / "configs"
SOURCES = {"folder": "folder", "ConsisID layout": "consisid", "toy world": TOY}
NEEDED = ("peft", "matplotlib")
NAME = re.compile(r"[\w][\w .-]*")


def work_folder(kind: str, name: str) -> Path:
    """`output/slotid/<kind>/<name>`, made if it is not there."""
    if not NAME.fullmatch(name.strip()):
        raise SlotIDError(f"{name!r} cannot be a folder's name. Use letters, digits, spaces, dots, '-' and '_'.")
    folder = Path(folder_paths.get_output_directory()) / "slotid" / kind / name.strip()
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def input_folder(name: str) -> Path:
    root = os.path.realpath(folder_paths.get_input_directory())
    path = os.path.realpath(os.path.join(root, name))
    if os.path.commonpath([root, path]) != root or not os.path.exists(path):
        raise SlotIDError(
            f"{name!r} is not in ComfyUI's input folder {root}. Copy the clips there, or prepare them from anywhere "
            "with python -m slotid_core.dataset."
        )
    return Path(path)


def state_of_files(path: Path) -> str:
    """Changes when a file at or below `path`, or beside it if it is a file, is added, taken away or written."""
    folder = path if path.is_dir() else path.parent
    files = sorted(os.path.join(parent, name) for parent, _, names in os.walk(folder) for name in names)
    return hashlib.sha256("\n".join(map(paths.file_state, files)).encode()).hexdigest()


def model_file(category: str, name: str) -> str:
    return TOY if name == TOY else paths.model_path(category, name)


def read_picture(path: str | None) -> torch.Tensor:
    """A PNG as IMAGE (1, H, W, 3); a grey square while there is none."""
    if not path or not os.path.isfile(path):
        return torch.full((1, 64, 64, 3), 0.5)
    return torch.from_numpy(np.asarray(Image.open(path).convert("RGB")).astype(np.float32) / 255)[None]


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
                    options=[*folder_paths.get_filename_list("vae"), TOY],
                    tooltip="The Wan 2.1 VAE; training and use must have the same one.",
                ),
                io.Combo.Input(
                    "text_encoder",
                    options=[*folder_paths.get_filename_list("text_encoders"), TOY],
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
            ],
            outputs=[
                io.String.Output(display_name="dataset", tooltip="The prepared folder, for Train Slot-ID."),
                io.String.Output(display_name="report", tooltip="How many samples, and which clips failed and why."),
            ],
        )  # fmt: skip

    @classmethod
    def execute(
        cls, source, path, name, vae, text_encoder, frames, width, height, subfolders_are_people, toy_people
    ) -> io.NodeOutput:
        kind = SOURCES[source]
        settings = {"vae": model_file("vae", vae), "text_encoder": model_file("text_encoders", text_encoder)}
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
            config.write_text(json.dumps(settings))
            arguments = ["--config", str(config), "--output", str(folder), "--progress", "json"]
            run_module("slotid_core.dataset", arguments, on_event)
        report = json.dumps({key: value for key, value in facts.items() if key != "event"}, indent=2)
        return io.NodeOutput(str(folder), report)

    @classmethod
    def fingerprint_inputs(cls, source, path, **inputs):
        return "" if SOURCES[source] == TOY else state_of_files(input_folder(path))


class SlotIDTrainEncoder(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="SlotIDTrainEncoder",
            display_name="Train Slot-ID",
            category=CATEGORY,
            description="Trains an adapter in a process of its own, ComfyUI's models unloaded. Interrupting saves; "
            "queue again with the same name to go on. The adapter appears in models/slotid.",
            is_output_node=True,
            inputs=[
                io.String.Input(
                    "dataset", force_input=True, tooltip="A folder prepared by Prepare Training Data."
                ),
                io.Combo.Input(
                    "preset",
                    options=sorted(path.stem for path in PRESETS.glob("*.yaml")),
                    tooltip="Sizes and rates to start from: toy_world (minutes on a CPU), wan_1_3b_24gb (one GPU of 24 "
                    "GB). The 14B preset is for torchrun on eight GPUs; see the pack's README.",
                ),
                io.Combo.Input(
                    "model_name",
                    options=[*folder_paths.get_filename_list("diffusion_models"), TOY],
                    tooltip="The Wan 2.1 text-to-video model to train for; it stays as it is.",
                ),
                io.String.Input(
                    "name", default="my_adapter",
                    tooltip="File name in models/slotid, and folder of the checkpoints in output/slotid/training.",
                ),
                io.Int.Input(
                    "steps", default=2000, min=1, max=1_000_000,
                    tooltip="Optimiser steps. 2000 show whether it learns; a good adapter takes tens of thousands on a "
                    "real model.",
                ),
                io.Float.Input(
                    "learning_rate", default=0.0, min=0.0, max=0.1, step=0.00001,
                    tooltip="0 to 0.1; 0 takes the preset's: 0.0005 for the toy world, 0.0001 for Wan. Lower it if the "
                    "loss jumps.",
                ),
                io.Int.Input(
                    "batch", default=0, min=0, max=1024,
                    tooltip="Samples a step, 0 to 1024; 0 takes the preset's. More is steadier and slower.",
                ),
                io.Int.Input(
                    "micro_batch", default=0, min=0, max=1024,
                    tooltip="Samples in memory at once, 0 to 1024; 0 takes the preset's. Lower it, to 1 if need be, "
                    "when memory runs out.",
                ),
                io.String.Input(
                    "validation", force_input=True, optional=True,
                    tooltip="A prepared folder of other people. With it the curve shows whether the reference is read.",
                ),
            ],
            outputs=[
                Adapter.Output(display_name="adapter", tooltip="The trained adapter, for all Slot-ID nodes."),
                io.Image.Output(display_name="loss curve", tooltip="Training and validation loss over steps."),
                io.Image.Output(display_name="samples", tooltip="The last sheet of sample clips, or grey."),
            ],
        )  # fmt: skip

    @classmethod
    def fingerprint_inputs(cls, **inputs):
        return json.dumps({key: str(value) for key, value in inputs.items()}, sort_keys=True)

    @classmethod
    def execute(
        cls, dataset, preset, model_name, name, steps, learning_rate, batch, micro_batch, validation=None
    ) -> io.NodeOutput:
        check_packages()
        folder = work_folder("training", name)
        chosen = {
            "data.train": dataset,
            "data.validation": validation or "",
            "model.path": model_file("diffusion_models", model_name),
            "run.steps": steps,
            "run.sample_every": max(100, steps // 5) if validation else 0,
            "run.vae": "",
            "run.save_every": min(200, max(1, steps // 5)),
        }
        own = {"run.batch": batch, "run.micro_batch": micro_batch, "optimizer.learning_rate": learning_rate}
        chosen |= {key: value for key, value in own.items() if value}
        arguments = ["--config", str(PRESETS / f"{preset}.yaml"), "--output", str(folder), "--resume"]
        arguments += ["--progress", "json"]
        for key, value in chosen.items():
            arguments += ["--set", f"{key}={json.dumps(value)}"]
        shown = Shown(steps)
        run_module("slotid_core.training", arguments, shown)
        target = Path(folder_paths.get_folder_paths(paths.ADAPTERS)[0]) / f"{name.strip()}.safetensors"
        install(Path(shown.adapter), target)
        loaded: LoadedAdapter = SlotIDLoadAdapter.execute(target.name).result[0]
        return io.NodeOutput(loaded, read_picture(shown.curve), read_picture(shown.samples))


def check_packages() -> None:
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise SlotIDError(
            f"Training needs {' and '.join(missing)}, which ComfyUI does not bring. Install it for ComfyUI's Python: "
            f"{sys.executable} -m pip install {' '.join(missing)}"
        )


class Shown:
    """Shows a training's events in the node: progress, and the curve or samples as they come."""

    def __init__(self, steps: int):
        self.bar, self.steps = comfy.utils.ProgressBar(steps), steps
        self.curve = self.samples = self.adapter = None

    def __call__(self, event: dict) -> None:
        kind = event["event"]
        if kind == "step":
            self.bar.update_absolute(event["step"] + 1, self.steps)
        elif kind == "saved":
            self.curve = event["picture"]
            self.show(event["step"], event["picture"])
        elif kind == "samples":
            self.samples = event["path"]
            self.show(event["step"], event["path"])
        elif kind == "finished":
            self.adapter = event["adapter"]

    def show(self, step: int, picture: str) -> None:
        if os.path.isfile(picture):
            self.bar.update_absolute(step, self.steps, ("PNG", Image.open(picture).convert("RGB"), None))


def install(adapter: Path, target: Path) -> None:
    """Copy a trained adapter into the models folder; it appears whole or not at all."""
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_suffix(".part")
    shutil.copyfile(adapter, unfinished)
    os.replace(unfinished, target)


NODES = [SlotIDPrepareDataset, SlotIDTrainEncoder]
