"""From a reference clip to a finished video and a contact sheet, through a real ComfyUI.

python -m tools.demo [--reference clip.mp4] [--prompt "..."]      # or: make demo REFERENCE=... PROMPT=...
"""

import argparse
import json
import shutil
import sys
import textwrap
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from slotid_core.comfy_client import ComfyClient
from slotid_core.comfy_runtime import PACK
from slotid_core.comfy_server import ComfyServer
from slotid_core.errors import SlotIDError
from slotid_core.evaluation.videos import read_frames
from slotid_core.files import write_json
from slotid_core.toy_world.captions import known_words, unknown_words
from slotid_core.toy_world.example import EXAMPLES, clip_name
from tools.contact_sheet import Strip, contact_sheet, write_enlarged
from tools.toy_judges import judge_clip

OUTPUT = PACK / "output" / "demo"
BASE = PACK / "output" / "comfyui"
WORKFLOW = PACK / "workflows" / "api" / "slot_id_text_to_video.json"


def main() -> int:
    parser = argparse.ArgumentParser(prog="make demo", description=str(__doc__).splitlines()[0])
    parser.add_argument("--reference", type=Path, help="a clip of one person; by default one of the toy world")
    parser.add_argument("--prompt", help="what happens in the new video")
    parser.add_argument("--json", type=Path, help="also write what was measured to this file")
    arguments = parser.parse_args()
    OUTPUT.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()

    reference = arguments.reference or PACK / "example_people" / clip_name(next(iter(EXAMPLES)))
    if not reference.is_file():
        raise SlotIDError(f"There is no file {reference}. Give REFERENCE the path of a video.")
    workflow = json.loads(WORKFLOW.read_text())
    if arguments.prompt:
        only(workflow, "CLIPTextEncode", "Prompt")["inputs"]["text"] = arguments.prompt
    notes = notes_on(workflow, real_clip=bool(arguments.reference))
    print("\n".join(notes))
    name = f"demo/{int(time.time())}"
    watch_reference(workflow, name)

    print("Starting ComfyUI (about half a minute) ...")
    before_start = time.monotonic()
    with ComfyServer(BASE) as server:
        before_run = time.monotonic()
        client = ComfyClient(server.address)
        only(workflow, "SlotIDLoadReferenceVideo")["inputs"]["file"] = client.upload(reference)
        result = run_with_bar(client, workflow)
        after_run = time.monotonic()
        parts = fetch_parts(client, result)
    tracking = json.loads(result.outputs["face report"]["text"][0])
    drawn = weights_of(workflow) != "random"
    figures = make_results(parts, reference, bool(arguments.reference), prompt_of(workflow), notes, drawn)
    figures |= {
        "face_detector": tracking["detector"],
        "face_detection_rate": tracking["detection_rate"],
        "crop_jitter_percent": tracking["crop_jitter_percent"],
        "server_start_seconds": before_run - before_start,
        "workflow_seconds": after_run - before_run,
        "total_seconds": time.monotonic() - started,
    }
    tell(figures, tracking["notes"])
    if arguments.json:
        write_json(arguments.json, figures)
    return 0


def watch_reference(workflow: dict, name: str) -> None:
    """Save what the workflow only passes on, for the contact sheet: the tracked clip, the face clip, the portrait,
    and the frames of the result, as a video of 64 pixels loses colour."""
    only(workflow, "SaveVideo")["inputs"]["filename_prefix"] = f"{name}/slotid"
    track, portrait = only_id(workflow, "SlotIDFaceTrack"), only_id(workflow, "SlotIDSelectPortrait")
    for label, output in (("face", 0), ("overlay", 2)):
        workflow[f"{label} video"] = {
            "class_type": "CreateVideo", "inputs": {"images": [track, output], "fps": 16.0},
        }  # fmt: skip
        workflow[f"save {label}"] = {
            "class_type": "SaveVideo",
            "inputs": {
                "video": [f"{label} video", 0], "filename_prefix": f"{name}/{label}", "format": "mp4", "codec": "h264",
            },
        }  # fmt: skip
    workflow["face report"] = {"class_type": "PreviewAny", "inputs": {"source": [track, 3]}}
    for label, source in (("portrait", portrait), ("frame", only_id(workflow, "VAEDecode"))):
        workflow[f"save {label}"] = {
            "class_type": "SaveImage", "inputs": {"images": [source, 0], "filename_prefix": f"{name}/{label}"},
        }  # fmt: skip


def run_with_bar(client: ComfyClient, workflow: dict):
    """A bar that follows the node that works; in a log, a line for each node."""
    shape = "{desc:<28} {bar:30} {n_fmt}/{total_fmt}"
    with tqdm(total=1, desc="queued", bar_format=shape, file=sys.stdout, disable=None) as bar:
        working = ""

        def progress(node_class: str, step: int, steps: int) -> None:
            nonlocal working
            if bar.disable and node_class != working:
                print(f"  {node_class}", flush=True)
            working = node_class
            bar.desc, bar.total, bar.n = node_class, steps, step
            bar.refresh()

        return client.run(workflow, progress)


def notes_on(workflow: dict, real_clip: bool) -> list[str]:
    """What must be known to read the result: what the models are, and what they cannot do."""
    if weights_of(workflow) == "random":
        return ["Toy world with RANDOM weights: every part runs, and the result is noise."]
    notes = ["Toy world: tiny models that draw cartoon people. Their adapter has never seen the person of the clip."]
    if real_clip:
        notes.append(
            "The reference is a clip of your own, and the toy world draws cartoons: do not expect that person."
        )
    # The text encoder that ships was made before captions described anybody.
    unknown = unknown_words(prompt_of(workflow), with_looks=False)
    if unknown:
        notes.append(f"The toy world does not know: {', '.join(unknown)}.")
        notes += textwrap.wrap("It knows: " + ", ".join(known_words(with_looks=False)) + ".", 160)
    return notes


def weights_of(workflow: dict) -> str:
    return only(workflow, "SlotIDLoadToyWorld")["inputs"]["weights"]


def prompt_of(workflow: dict) -> str:
    return only(workflow, "CLIPTextEncode", "Prompt")["inputs"]["text"]


@dataclass(frozen=True)
class Parts:
    """Files of a finished run: the video as saved, its frames, and what it was made from."""

    video: Path
    frames: list[Path]
    overlay: Path
    face: Path
    portrait: Path


def fetch_parts(client: ComfyClient, result) -> Parts:
    shutil.rmtree(OUTPUT / "parts", ignore_errors=True)
    files: dict[str, list[Path]] = {}
    for entry in sorted(result.files(), key=lambda entry: entry["filename"]):
        if entry["type"] == "output":
            files.setdefault(entry["filename"].split("_")[0], []).append(client.fetch(entry, OUTPUT / "parts"))
    return Parts(
        files["slotid"][0], files["frame"], files["overlay"][0], files["face"][0], files["portrait"][0]
    )  # fmt: skip


def make_results(parts: Parts, reference: Path, real_clip: bool, prompt: str, notes: list[str], drawn: bool) -> dict:
    """Write the video and the contact sheet to OUTPUT; returns what was measured. `drawn`: by trained weights."""
    from PIL import Image

    saved, rate = read_frames(parts.video)
    frames = np.stack([np.asarray(Image.open(path).convert("RGB")) for path in parts.frames])
    if len(saved) % 4 != 1 or len(saved) != len(frames):
        raise SlotIDError(
            f"{parts.video.name} has {len(saved)} frames, and {len(frames)} were decoded; both should be 4n+1 and the "
            "same. Please report this."
        )
    write_enlarged(frames, rate, OUTPUT / "video.mp4")
    shutil.copy(parts.video, OUTPUT / "video_as_sampled.mp4")
    overlay, face = read_frames(parts.overlay)[0], read_frames(parts.face)[0]
    verdict_lines, figures = [], {}
    if drawn:  # the judges were trained on drawings; noise means nothing to them
        verdict = judge_clip(frames, prompt, None if real_clip else read_frames(reference)[0])
        verdict_lines, figures = verdict.lines(), verdict.figures()
    sheet_notes = [f"Reference {reference.name}, {len(face)} frames. Prompt: {prompt}", *notes, *verdict_lines]
    strips = [
        Strip("Reference and tracked face", overlay),
        Strip("Face clip that the encoder reads", face),
        Strip("Portrait on a neutral background", np.asarray(Image.open(parts.portrait).convert("RGB"))[None]),
        Strip(f"Result, {len(frames)} frames of {frames.shape[2]} x {frames.shape[1]}", frames),
    ]
    contact_sheet("Slot-ID demo", sheet_notes, strips).save(OUTPUT / "contact_sheet.png")
    print("\n" + "\n".join([sheet_notes[0], *verdict_lines]))
    return {
        "frames": len(frames),
        "width": frames.shape[2],
        "height": frames.shape[1],
        "frames_per_second": rate,
        "mean_brightness": float(frames.mean()),
        **figures,
    }


def tell(figures: dict, tracking_notes: list[str]) -> None:
    print(
        "Result: {frames} frames (4n+1) of {width} x {height} at {frames_per_second:g} per second, decoded again; "
        "mean brightness {mean_brightness:.1f} of 255.\n"
        "Face: found in {face_detection_rate:.0%} of the frames looked at ({face_detector}); crop jitter "
        "{crop_jitter_percent:.2f}% of its side.".format(**figures)
    )
    for note in tracking_notes:
        print(f"      {note}")
    print(
        "Time: {server_start_seconds:.0f} s for ComfyUI to start, {workflow_seconds:.0f} s for the workflow, "
        "{total_seconds:.0f} s in all.".format(**figures)
    )
    print(f"\nvideo          {OUTPUT / 'video.mp4'}\ncontact sheet  {OUTPUT / 'contact_sheet.png'}")


def only_id(workflow: dict, class_type: str, title: str | None = None) -> str:
    """The one node of this class (and title) in a workflow, so that nothing depends on numbers."""
    found = [
        node_id
        for node_id, node in workflow.items()
        if node["class_type"] == class_type and (title is None or node.get("_meta", {}).get("title") == title)
    ]
    if len(found) != 1:
        raise SlotIDError(
            f"The workflow has {len(found)} nodes {class_type} {title or ''}; the demo needs exactly one."
        )
    return found[0]


def only(workflow: dict, class_type: str, title: str | None = None) -> dict:
    return workflow[only_id(workflow, class_type, title)]


if __name__ == "__main__":
    try:
        sys.exit(main())
    except SlotIDError as error:
        sys.exit(f"demo: {error}")
