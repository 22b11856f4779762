"""What a training shows while it goes: the progress bar, and curves and samples in the page."""

import math
import os
import time
from pathlib import Path

import comfy.utils
import torch
from comfy_execution.utils import get_executing_context

from ...slotid_core.picture_files import read_rgb
from ..shared.seen import Told, picture_files, show

EVENT = "slotid_training"  # to the page that queued the run
EVERY = 1.0  # seconds between two messages
MOST_POINTS = 400  # of a curve; neighbours are averaged
SAMPLES_SIDE = 1024  # pixels of the shorter side: sheets have many small pictures
CURVES = {
    "loss": "training",
    "validation_loss": "validation",
    "validation_loss_without_identity": "validation without identity",
    "validation_loss_mismatched": "validation mismatched",
}


class Shown:
    """Takes a training's events; `curve`, `samples` and `adapter` are the paths that came with them."""

    def __init__(self, steps: int):
        self.bar, self.steps = comfy.utils.ProgressBar(steps), steps
        self.curve = self.samples = self.adapter = None
        self.series: dict[str, list[tuple[int, float]]] = {name: [] for name in CURVES}
        self.sheet: dict = {}
        self.waits = ""  # what the training itself says where it goes no further
        self.told_at = 0.0

    def __call__(self, event: dict) -> None:
        kind = event["event"]
        if kind in ("step", "validation"):
            for name in CURVES:
                if isinstance(value := event.get(name), float) and math.isfinite(value):
                    self.series[name].append((event["step"], value))
        self.waits = f"It has waited {event['seconds']:.0f} s for {event['waiting_for']}." if kind == "stalled" else ""
        if kind == "step":
            self.bar.update_absolute(event["step"] + 1, self.steps)
        elif kind == "saved":
            self.curve = event["picture"]
        elif kind == "samples":
            self.samples = event["path"]
            self.sheet = sheet_file(self.samples)
        elif kind == "finished":
            self.adapter = event["adapter"]
        if kind != "step" or time.monotonic() - self.told_at > EVERY:
            self.told_at = time.monotonic()
            tell(self.facts())

    def facts(self) -> dict:
        """All that the page needs to draw it, so that a page that was opened again misses nothing."""
        curves = {label: averaged(self.series[name]) for name, label in CURVES.items() if self.series[name]}
        return {"steps": self.steps, "curves": curves, "waits": self.waits, **self.sheet}

    def told(self) -> Told:
        return show("training", **self.facts())


def averaged(points: list[tuple[int, float]], most: int = MOST_POINTS) -> list[list[float]]:
    """At most `most` points, each the mean of neighbours, at the last one's step."""
    size = -(-len(points) // most) or 1
    groups = [points[i : i + size] for i in range(0, len(points), size)]
    return [[group[-1][0], round(sum(value for _, value in group) / len(group), 6)] for group in groups]


def sheet_file(path: str) -> dict:
    if not os.path.isfile(path):
        return {}
    return picture_files(torch.from_numpy(read_rgb(Path(path)).astype("float32") / 255)[None], SAMPLES_SIDE)


def tell(facts: dict) -> None:
    """Send it to the page; outside a server's run there is none."""
    context = get_executing_context()
    if context is None:
        return
    from server import PromptServer

    server = PromptServer.instance
    server.send_sync(EVENT, {"node": context.node_id, "seen": {"kind": "training", **facts}}, server.client_id)
