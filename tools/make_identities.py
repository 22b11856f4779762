"""Make the identities that come with the pack: one of each example clip, by the workflow that a user runs.

    python -m tools.make_identities [--folder example_people/identities]

The shipped workflow runs up to Save Identity, once for each clip, through a real server. Run it again whenever the
adapter, the reference nodes or the clips change.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

from slotid_core.comfy_client import ComfyClient
from slotid_core.comfy_runtime import PACK
from slotid_core.comfy_server import ComfyServer
from slotid_core.systems.slot_id import Identity
from slotid_core.toy_world.example import EXAMPLES, clip_name

WORKFLOW = PACK / "workflows" / "api" / "slot_id_text_to_video.json"
LOAD, SAVE = "SlotIDLoadReferenceVideo", "SlotIDSaveIdentity"


def up_to(workflow: dict, class_type: str) -> dict:
    """The node of this class and all that it needs."""
    kept, open_ends = {}, [key for key, entry in workflow.items() if entry["class_type"] == class_type]
    while open_ends:
        key = open_ends.pop()
        kept[key] = workflow[key]
        open_ends += [value[0] for value in workflow[key]["inputs"].values() if isinstance(value, list)]
    return kept


def make_identities(folder: Path) -> list[Path]:
    graph = up_to(json.loads(WORKFLOW.read_text()), SAVE)
    inputs = {entry["class_type"]: entry["inputs"] for entry in graph.values()}
    made = []
    with tempfile.TemporaryDirectory() as base, ComfyServer(Path(base)) as server:
        client = ComfyClient(server.address)
        for seed in EXAMPLES:
            clip = PACK / "example_people" / clip_name(seed)
            inputs[LOAD]["file"] = client.upload(clip)
            inputs[SAVE] |= {"name": clip.stem, "replace": True}
            client.run(graph)
            made.append(Path(base) / "models" / "slotid" / "identities" / f"{clip.stem}.safetensors")
        for file in made:
            Identity.load(file).save(folder / file.name)
    return [folder / file.name for file in made]


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tools.make_identities", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument(
        "--folder", type=Path, default=PACK / "example_people" / "identities", help="where they are written"
    )
    for path in make_identities(parser.parse_args().folder):
        print(f"{path} ({path.stat().st_size / 1e3:.0f} kB)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
