"""Train an adapter: the command line as a child process, and what it reports in the node."""

import importlib
import importlib.util
import json
import os
import sys
from pathlib import Path

import numpy as np
import torch
import yaml
from comfy_api.latest import io

from ...slotid_core.errors import SlotIDError
from ...slotid_core.picture_files import read_rgb
from ...slotid_core.systems.registry import DEFAULT, REFINEMENTS
from ..shared.paths import file_names, name_is_valid, new_name, work_path
from ..shared.seen import with_ui
from ..slot_id.types import Adapter
from .child_process import PACK, run_module
from .live import Shown
from .settings import CATEGORY, TOY, model_file, system_input, work_folder

PRESETS = PACK / "slotid_core" / "training" / "configs"
NEEDED = ("peft", "matplotlib")
OF_PRESET = "of the preset"


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
                    options=presets(),
                    tooltip="Sizes and rates to start from: toy_world (minutes on a CPU), wan_1_3b_24gb (one GPU of 24 "
                    "GB). The 14B preset is for torchrun on eight GPUs; see the pack's README.",
                ),
                io.Combo.Input(
                    "model_name",
                    options=[*file_names("diffusion_models"), TOY],
                    tooltip="The Wan 2.1 text-to-video model to train for; it stays as it is.",
                ),
                io.String.Input(
                    "name", default="my_adapter",
                    tooltip="File name in models/slotid, and folder of the checkpoints in output/slotid/training. An "
                    "adapter of that name is kept, and the new one numbered.",
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
                system_input(
                    "The system to train; the preset must be of that system, and the data prepared for it. The adapter "
                    "of another system than slot_id goes to that system's folder; load it with its own node. "
                    "lavie_id_temporal is no system but LaVieID's temporal module, for latents of any of them.",
                    OF_PRESET,
                ),
            ],
            outputs=[
                Adapter.Output(display_name="adapter", tooltip="The trained adapter, for all Slot-ID nodes."),
                io.Image.Output(display_name="loss curve", tooltip="Training and validation loss over steps."),
                io.Image.Output(display_name="samples", tooltip="The last sheet of sample clips, or grey."),
            ],
        )  # fmt: skip

    @classmethod
    def validate_inputs(cls, name=None):
        return name_is_valid("an adapter", name)

    @classmethod
    def fingerprint_inputs(cls, **inputs):
        return json.dumps({key: str(value) for key, value in inputs.items()}, sort_keys=True)

    @classmethod
    def execute(
        cls, dataset, preset, model_name, name, steps, learning_rate, batch, micro_batch, validation=None,
        system=OF_PRESET,
    ) -> io.NodeOutput:  # fmt: skip
        check_packages()
        system = checked_system(preset, system)
        folder = work_folder("training", new_name("an adapter", name))
        chosen = {
            "data.train": work_path(dataset, "dataset"),
            "data.validation": work_path(validation, "validation") if validation else "",
            "model.path": model_file("diffusion_models", model_name),
            "run.steps": steps,
            "run.sample_every": max(100, steps // 5) if validation else 0,
            "run.vae": "",
            "run.save_every": min(200, max(1, steps // 5)),
        }
        own = {"run.batch": batch, "run.micro_batch": micro_batch, "optimizer.learning_rate": learning_rate}
        chosen |= {key: value for key, value in own.items() if value}
        arguments = ["--config", str(preset_path(preset)), "--output", str(folder), "--resume"]
        arguments += ["--progress", "json"]
        for key, value in chosen.items():
            arguments += ["--set", f"{key}={json.dumps(value)}"]
        shown = Shown(steps)
        run_module("slotid_core.training", arguments, shown)
        loaded = install_trained(system, Path(shown.adapter), name)
        output = io.NodeOutput(loaded, read_picture(shown.curve), read_picture(shown.samples))
        return with_ui(output, shown.told())


def presets() -> list[str]:
    return sorted(path.stem for path in PRESETS.glob("*.yaml"))


def preset_path(preset: str) -> Path:
    """
    Raises:
        SlotIDError: there is no such preset in the pack.
    """
    if preset not in presets():
        raise SlotIDError(f"There is no preset {preset!r}. Choose one of {', '.join(presets())}.")
    return PRESETS / f"{preset}.yaml"


def checked_system(preset: str, system: str) -> str:
    """The system that a preset is of.

    Raises:
        SlotIDError: it is not the one that was chosen.
    """
    found = (yaml.safe_load(preset_path(preset).read_text()) or {}).get("system", DEFAULT)
    if system not in (OF_PRESET, found):
        raise SlotIDError(
            f"The preset {preset} is of the system {found}, but system is {system}. Choose a preset of {system}, or "
            f"set system to '{OF_PRESET}'."
        )
    return found


def check_packages() -> None:
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise SlotIDError(
            f"Training needs {' and '.join(missing)}, which ComfyUI does not bring. Install it for ComfyUI's Python: "
            f"{sys.executable} -m pip install {' '.join(missing)}"
        )


def install_trained(system: str, adapter: Path, name: str):
    """Put a trained adapter among its system's models; what goes on the node's socket."""
    module = f".{REFINEMENTS[system]}" if system in REFINEMENTS else f"..{system}.load"
    return importlib.import_module(module, __package__).install_trained(adapter, name)


def read_picture(path: str | None) -> torch.Tensor:
    """A PNG as IMAGE (1, H, W, 3); a grey square while there is none."""
    if not path or not os.path.isfile(path):
        return torch.full((1, 64, 64, 3), 0.5)
    return torch.from_numpy(read_rgb(Path(path)).astype(np.float32) / 255)[None]


NODES = [SlotIDTrainEncoder]
