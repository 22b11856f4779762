"""Hostile names and paths, sent to every input of the pack's nodes that takes a text or a choice."""

import itertools
import json
import random
import re
from pathlib import Path

from ..comfy.graphs import node
from . import prompts
from .outside import Outside, changed
from .server import WatchedServer
from .table import LIMIT_SECONDS, Row

COUNT = 300
MEANS_A_FILE = re.compile(r"folder|file|models/|director|output/|path|name", re.IGNORECASE)
STARTS_A_PROCESS = ("SlotIDPrepareDataset", "SlotIDTrainEncoder")
PROCESS_SECONDS = 120.0  # that a preparation or training of a good name may take: Python and its imports start first
# What makes an input matter, where its default leaves it unused, and what a node needs for whatever input.
SETTINGS = {
    ("SlotIDPrepareDataset", "path"): {"source": "folder"},
    ("SlotIDGateSchedule", "points"): {"family": "points"},
    ("SlotIDGuider", ""): {"model": prompts.WITH_A_PERSON},
    ("SlotIDSampler", ""): {"model": prompts.WITH_A_PERSON},
}
EXAMPLE = "slotid_examples/person_1000015.mp4"
SMALL = {"frames": 5, "num_frames": 5, "width": 64, "height": 64, "toy_people": 1, "steps": 1, "batch": 1,
         "micro_batch": 1, "on_missing": "skip", "source": "toy world", "size": 64, "short_side": 64,
         "dataset": "slotid/data/people", "file": EXAMPLE}  # fmt: skip


def attack(count: int, seed: int, server: WatchedServer, outside: Outside) -> Row:
    row = Row("names and paths")
    server.client.run(prompts.preparation("people"))
    server.client.run(prompts.saved_people())
    info = server.client.object_info()
    check_good_values(info, server)
    plant_links(server.base, outside)
    outside.touched()
    pairs = cases(info, hostile(outside, server.base), seed)
    for number, (place, value, over_wire) in zip(range(count), itertools.cycle(pairs), strict=False):
        class_type, name = place
        graph = graph_for(info, class_type, name, value, over_wire)
        before = server.files()
        limit = PROCESS_SECONDS if class_type in STARTS_A_PROCESS else LIMIT_SECONDS
        case = f"{class_type}.{name} = {ascii(value)[:80]}{' over a wire' * over_wire} (number {number} of seed {seed})"
        result = server.attempt(row, case, graph, limit)
        row.add("outside", case, outside.touched())
        if result == "refused":
            row.add("left", case, new_files(before, server.files()))
    row.memory = server.most_memory()
    return row


def check_good_values(info: dict, server: WatchedServer) -> None:
    """Every node that is attacked runs as long as nothing is hostile, so that only what is hostile can be refused.

    Raises:
        WorkflowError: a node does not run, so attacks on it would show nothing.
    """
    for class_type in dict.fromkeys(class_type for class_type, _ in text_inputs(info)):
        server.client.run(graph_for(info, class_type))


def plant_links(base: Path, outside: Outside) -> None:
    """Links that lead outside, in every folder in which results and uploads lie."""
    for name in ("input", "output", "output/slotid/data", "output/slotid/training"):
        (base / name).mkdir(parents=True, exist_ok=True)
        (base / name / "link").symlink_to(outside.folder)
        (base / name / "link.mp4").symlink_to(outside.folder / "secret.mp4")


def text_inputs(info: dict) -> dict[tuple[str, str], bool]:
    """(class, input) of every text and choice of the pack's nodes -> whether its tooltip speaks of files or names."""
    found = {}
    for class_type, description in info.items():
        if description["python_module"] != "custom_nodes.slotid":
            continue
        for name, (kind, *options) in inputs_of(description):
            if kind in ("STRING", "COMBO") or isinstance(kind, list):
                tooltip = f"{name} {options[0].get('tooltip', '') if options else ''}"
                found[class_type, name] = bool(MEANS_A_FILE.search(tooltip))
    return found


def inputs_of(description: dict) -> list[tuple[str, list]]:
    return [item for part in ("required", "optional") for item in description["input"].get(part, {}).items()]


def cases(info: dict, values: list, seed: int) -> list[tuple[tuple[str, str], object, bool]]:
    """Every input with every value in a random order; those that name files come three times as often."""
    rng = random.Random(seed)
    places = text_inputs(info)
    decks = {place: rng.sample(values, len(values)) for place in places}
    rounds = []
    for turn in range(len(values)):
        drawn = [place for place, means_a_file in places.items() if means_a_file or turn % 3 == 0]
        for place in rng.sample(drawn, len(drawn)):
            kind = next(entry[0] for name, entry in inputs_of(info[place[0]]) if name == place[1])
            value = decks[place][turn]
            rounds.append((place, value, kind == "STRING" and isinstance(value, str) and rng.random() < 0.4))
    return rounds


def graph_for(info: dict, class_type: str, attacked: str = "", value: object = None, over_wire: bool = False) -> dict:
    """A prompt in which everything is good but one input, if one is named."""
    graph, inputs = prompts.parts(), {}
    del graph["save"], graph["sample"]
    required = info[class_type]["input"].get("required", {})
    for name, (kind, *options) in inputs_of(info[class_type]):
        by_name = name in prompts.BY_NAME and kind != "INT"  # a number of frames is called as frames are
        if name == attacked or (name not in required and not by_name):
            continue
        if by_name or kind in prompts.BY_TYPE:
            inputs[name] = prompts.BY_NAME[name] if by_name else prompts.BY_TYPE[kind]
        else:
            inputs[name] = default_of(kind, options[0] if options else {})
            if name in SMALL:
                inputs[name] = SMALL[name]
    inputs |= SETTINGS.get((class_type, ""), {})
    if attacked:
        inputs |= SETTINGS.get((class_type, attacked), {}) | {attacked: value}
    if over_wire:
        graph["text"] = node("PrimitiveString", value=value)
        inputs[attacked] = ["text", 0]
    graph["attacked"] = node(class_type, **inputs)
    if info[class_type]["output"]:
        graph["show"] = node("PreviewAny", source=["attacked", 0])
    return graph


def default_of(kind: object, options: dict) -> object:
    if "default" in options:
        return options["default"]
    choices = kind if isinstance(kind, list) else options.get("options", [])
    return choices[0] if choices else ""


def new_files(before: dict, after: dict) -> list[str]:
    """What a refused prompt has added, removed or changed, but for ComfyUI's own log."""
    return [path for path in changed(before, after) if not path.endswith(("server.log", ".pyc", "comfyui.log"))]


def hostile(outside: Outside, base: Path) -> list:
    folder = str(outside.folder)
    climbing = f"../{outside.folder.name}"
    words = [
        "", " ", ".", "..", "/", "../", "...", "./..", "~", "~/secret.mp4", "~root", "$HOME/secret.mp4", "*", "?", "|",
        f"{climbing}/secret.mp4", f"../{climbing}/secret.mp4", f"{climbing}", f"{climbing}/pictures", folder,
        f"{folder}/secret.mp4", f"{folder}/secret.safetensors", f"{folder}/secret.yaml", f"{folder}/secret",
        f"{folder}/secret.jsonl", f"../../../{outside.folder.name}/secret.safetensors", f"{base}/../outside/secret.mp4",
        "/etc/passwd", "/etc", "/proc/self/environ", "/dev/zero", "/dev/stdin", "/dev/random", "/etc/hostname",
        f"file://{folder}/secret.mp4", "http://127.0.0.1:9/x.mp4", "concat:/etc/passwd", "pipe:0", "data:text/plain,x",
        "%2e%2e/outside/secret.mp4", "%2e%2e%2foutside%2fsecret.mp4", "..%5coutside", "..\\outside\\secret.mp4",
        "C:\\Windows\\win.ini", "C:", "\\\\server\\share\\x", "a\0b", f"{climbing}/secret.mp4\0.safetensors", "a\nb",
        "a\r\nb", "a\tb", "\U0001f600", "\U0001f600.safetensors", "\ud800", "\ud800/..", "\udcff", "x" * 300, "<",
        "人" * 100, "x" * 160, "x" * 100_000, "a/" * 3000, "con", "NUL", "COM1.safetensors", "lpt¹", "name.", "name. .",
        " name ", ".hidden", "-rf", "--config", "link", "link/secret.mp4", "link/secret.safetensors", "link/new",
        "link.mp4", "slotid_examples/../../outside/secret.mp4", f"toy_world/../../{climbing}/secret.safetensors",
        "secret.mp4 [output]", f"{climbing}/secret.mp4 [input]", "\u202egnp.exe", "．．/outside", "toy_world\0",
        "../toy_world", "toy_world/", "; touch ../outside/x", "$(touch ../outside/x)", "`id`", "{0.__class__}", "%s%n",
        "none\0", "slotid/data/link", "slotid/training/link", "slotid/data/people/..", "[]", "{}", "null",
    ]  # fmt: skip
    return [*words, 5, -1, 1e308, True, None, {}, {"a": 1}, [], [1, 2, 3], json.dumps({"a": [[]] * 50}), "[" * 5000]
