"""An API workflow, and what a user changes in it: the clip's file, the prompt, the seed of the noise.

The only place that knows nodes by class. Everything else of the workflow stays as it ships.
"""

import copy
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...comfy_runtime import PACK
from ...errors import SlotIDError
from ..usage import Usage

FOLDER = PACK / "workflows" / "api"
# Class of a node, and which of its inputs is meant.
REFERENCES = {"SlotIDLoadReferenceVideo": "file", "LoadVideo": "file"}
TEXTS = {"CLIPTextEncode": "text"}
SEEDS = {"SlotIDSampler": "seed", "KSampler": "seed", "KSamplerAdvanced": "noise_seed", "RandomNoise": "noise_seed"}
STEPS = {"SlotIDSampler": "steps", "KSampler": "steps", "KSamplerAdvanced": "steps", "BasicScheduler": "steps"}
SAVES = {"SaveVideo": "video", "SaveWEBM": "images"}
SUFFIXES = {"SaveVideo": ".mp4", "SaveWEBM": ".webm"}
VIDEOS = {"CreateVideo": "images"}
# Class of a node, and by which of its inputs `Usage` is set: a guidance of one scale has both.
SCALES = {
    "SlotIDSampler": {"text_scale": "text_scale", "identity_scale": "identity_scale", "order": "order"},
    "KSampler": {"text_scale": "cfg", "identity_scale": "cfg"},
    "KSamplerAdvanced": {"text_scale": "cfg", "identity_scale": "cfg"},
}
# Class of a node, and which of its outputs is the portrait. Without one, what the workflow itself previews of the
# reference is taken.
PORTRAITS = {"SlotIDSelectPortrait": 0}
PREVIEW = "PreviewImage"
PORTRAIT, FRAMES = "evaluation portrait", "evaluation frames"  # ids of nodes that are added


@dataclass(frozen=True)
class Workflow:
    """Node ids: `seeds` may be several, as a video of two experts has two samplers."""

    name: str
    nodes: dict
    reference: str
    text: str
    seeds: tuple[str, ...]
    save: str

    def filled(self, file: str, prompt: str, seed: int) -> dict:
        """A copy to queue. Two previews are added, which change no other node: the portrait, and the frames before
        the video's codec.
        """
        nodes = copy.deepcopy(self.nodes)
        _put(nodes[self.reference], REFERENCES, file)
        _put(nodes[self.text], TEXTS, prompt)
        for node in self.seeds:
            _put(nodes[node], SEEDS, seed)
        for name, source in ((PORTRAIT, self.portrait), (FRAMES, self.frames)):
            if source is not None:
                nodes[name] = {"class_type": PREVIEW, "inputs": {"images": source}}
        return nodes

    @property
    def portrait(self) -> list | None:
        """The link to the portrait, if one node makes one; else to what is previewed of the reference alone."""
        made = _of(self.nodes, PORTRAITS)
        if len(made) == 1:
            return [made[0], PORTRAITS[self.nodes[made[0]]["class_type"]]]
        shown = [node["inputs"].get("images") for node in self.nodes.values() if node["class_type"] == PREVIEW]
        before = [link for link in shown if isinstance(link, list) and not self.seen_by(link[0]) & set(self.seeds)]
        return before[0] if before else None

    def seen_by(self, node: str) -> set[str]:
        """Nodes whose outputs reach a node, itself among them."""
        reached, ahead = set(), [node]
        while ahead:
            name = ahead.pop()
            if name not in reached and name in self.nodes:
                reached.add(name)
                ahead += [link[0] for link in self.nodes[name]["inputs"].values() if isinstance(link, list)]
        return reached

    @property
    def usage(self) -> Usage:
        """Steps and scales of the workflow's first sampler, where they are numbers in it, and else the usual ones."""
        entry = self.nodes[self.seeds[0]]
        kind = entry["class_type"]
        names = SCALES.get(kind, {}) | ({"steps": STEPS[kind]} if kind in STEPS else {})
        given: dict[str, Any] = {name: entry["inputs"].get(other) for name, other in names.items()}
        numbers = {name: value for name, value in given.items() if value is not None and not isinstance(value, list)}
        return Usage(**numbers)

    @property
    def frames(self) -> list | None:
        """The link to the frames of the saved video, if they can be had; nodes that pass a video on are passed over."""
        saved = self.nodes[self.save]
        name = SAVES[saved["class_type"]]
        source, passed = saved["inputs"].get(name), set()
        if name == "images":
            return source if isinstance(source, list) else None
        while isinstance(source, list) and source[0] in self.nodes and source[0] not in passed:
            passed.add(source[0])
            maker = self.nodes[source[0]]
            if maker["class_type"] in VIDEOS:
                return maker["inputs"].get(VIDEOS[maker["class_type"]])
            source = maker["inputs"].get("video")
        return None

    @property
    def suffix(self) -> str:
        """Of the saved video's file."""
        return SUFFIXES[self.nodes[self.save]["class_type"]]

    @property
    def classes(self) -> set[str]:
        return {node["class_type"] for node in self.nodes.values()}


def read_workflow(name: str, steps: int | None = None) -> Workflow:
    """A shipped API workflow by name, or one of your own by the path of its .json.

    Args:
        steps: sampling steps in place of the workflow's own.

    Raises:
        SlotIDError: no such workflow, not in API form, or without the nodes in which a person, a prompt and a seed
            are given and a video is saved.
    """
    path = Path(name) if name.endswith(".json") else FOLDER / f"{name}.json"
    if not path.is_file():
        shipped = ", ".join(sorted(file.stem for file in FOLDER.glob("*.json"))) or "none beside this package"
        raise SlotIDError(f"There is no workflow {name!r}. Shipped are: {shipped}. Or give the path of a .json file.")
    try:
        nodes = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise SlotIDError(f"{path.name} is not valid JSON ({error}). Export the workflow again.") from error
    if not isinstance(nodes, dict) or not all(isinstance(n, dict) and "class_type" in n for n in nodes.values()):
        raise SlotIDError(f"{path.name} is not in API form. Export it with Workflow > Export (API).")
    seeds = _of(nodes, SEEDS)
    if not seeds:
        raise SlotIDError(f"{path.name} has no sampler whose seed is known: none of {', '.join(SEEDS)}.")
    if steps is not None:
        for node in _of(nodes, STEPS):
            _put(nodes[node], STEPS, steps)
    return Workflow(
        path.stem, nodes, _one(path.name, nodes, REFERENCES, "loads the reference clip"),
        _prompt(path.name, nodes), tuple(seeds), _one(path.name, nodes, SAVES, "saves the video"),
    )  # fmt: skip


def _of(nodes: dict, classes: dict) -> list[str]:
    return [name for name, node in nodes.items() if node["class_type"] in classes]


def _one(file: str, nodes: dict, classes: dict, what: str) -> str:
    found = _of(nodes, classes)
    if len(found) != 1:
        raise SlotIDError(f"{file} has {len(found)} nodes of {' or '.join(classes)}; exactly one {what}.")
    return found[0]


def _prompt(file: str, nodes: dict) -> str:
    """The text encoder that somebody takes as `positive`."""
    links = [node["inputs"].get("positive") for node in nodes.values()]
    found = {link[0] for link in links if isinstance(link, list) and nodes[link[0]]["class_type"] in TEXTS}
    if len(found) != 1:
        raise SlotIDError(
            f"{file} has {len(found)} nodes of {' or '.join(TEXTS)} that are somebody's `positive`; it must be one."
        )
    return found.pop()


def _put(node: dict, classes: dict, value) -> None:
    node["inputs"][classes[node["class_type"]]] = value
