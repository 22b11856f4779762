"""Blueprints: parts of the templates as one node each, which ComfyUI's page offers beside the other nodes.

    python -m tools.build_blueprints

A blueprint is a workflow whose one node is a subgraph. Its nodes, links and values are those of a template that
`tools/build_workflows.py` made, so that both stay the same; what comes into the part from outside becomes an input, and
so do the widgets that most people change.
"""

import copy
import json
import uuid
from dataclasses import dataclass

from slotid_core.comfy_runtime import PACK
from tools.graph_geometry import Rect, around, rect_of
from tools.template_layouts import GAP

FOLDER = PACK / "subgraphs"
CATEGORY = "Slot-ID"
INPUT, OUTPUT = -10, -20  # ids of a subgraph's own two ends
END_WIDTH, ROW = 160, 20
INTEGERS, NUMBERS = (
    ("width", "height", "length", "seed", "steps", "subject", "rank"),
    ("strength", "scale", "id_scale", "denoise"),
)
KINDS = {"text": "STRING", "face_encoder": "COMBO"} | dict.fromkeys(INTEGERS, "INT") | dict.fromkeys(NUMBERS, "FLOAT")
VIDEO_WIDGETS = ("prompt", "negative prompt", "width", "height", "length", "seed", "steps")


@dataclass(frozen=True)
class Blueprint:
    """
    Args:
        name: of the node, and of the file.
        template: whose nodes these are.
        outside: names of the inputs, by (node, output) of the template that gives them there.
        widgets: names of the inputs that are widgets inside, as (node, widget).
        outputs: names by (node, output).
        dropped: (node, output) outside whose links are left out.
    """

    name: str
    description: str
    template: str
    nodes: tuple[int, ...]
    outside: dict[tuple[int, int], str]
    widgets: dict[tuple[int, str], str]
    outputs: dict[tuple[int, int], str]
    dropped: tuple[tuple[int, int], ...] = ()


def video_widgets(prompt: int, negative: int, size: int, sampler: int) -> dict[tuple[int, str], str]:
    places = (
        (prompt, "text"), (negative, "text"), (size, "width"), (size, "height"), (size, "length"), (sampler, "seed"),
        (sampler, "steps"),
    )  # fmt: skip
    return dict(zip(places, VIDEO_WIDGETS, strict=True))


BLUEPRINTS = (
    Blueprint(
        "Second pass on the face (Slot-ID)",
        "A small face in a finished video, drawn once more and larger by a MODEL with a person, and put back.",
        "lynx_small_face_wan_14b",
        (21, 22, 23, 24, 25),
        {(15, 0): "frames", (10, 0): "model", (11, 0): "positive", (12, 0): "negative", (5, 0): "vae"},
        {(23, "denoise"): "denoise", (23, "seed"): "seed", (23, "steps"): "steps", (21, "subject"): "subject"},
        {(25, 0): "frames", (21, 2): "overlay"},
    ),
    Blueprint(
        "Clip to person (Slot-ID)",
        "A clip of one person becomes a Slot-ID identity: face, portrait, report and encoders in one node.",
        "slot_id_text_to_video",
        (2, 3, 6, 7, 8, 9, 21),
        {(1, 0): "frames", (1, 1): "fps", (4, 2): "vae", (5, 0): "adapter"},
        {(2, "subject"): "subject", (3, "rank"): "rank"},
        {(9, 0): "identity", (3, 0): "portrait", (21, 0): "card"},
        dropped=((1, 5),),
    ),
    Blueprint(
        "Person to video (Slot-ID)",
        "A video of the person of a Slot-ID identity, from a prompt; who it is goes into the file's metadata.",
        "slot_id_text_to_video",
        (11, 12, 13, 14, 15, 16, 17, 18, 22),
        {(4, 0): "model", (4, 1): "clip", (4, 2): "vae", (5, 0): "adapter", (9, 0): "identity"},
        video_widgets(13, 14, 15, 16) | {(12, "strength"): "strength"},
        {(22, 0): "video"},
    ),
    Blueprint(
        "Picture or clip to person (Lynx)",
        "A picture of one person, or the frames of a clip, becomes what Lynx needs: the embedding and the reference.",
        "lynx_text_to_video",
        (5, 6),
        {(1, 0): "image", (3, 0): "model", (3, 1): "clip", (3, 2): "vae"},
        {(5, "face_encoder"): "face_encoder"},
        {(5, 0): "face", (6, 0): "reference", (5, 1): "reference_crop"},
    ),
    Blueprint(
        "Person to video (Lynx)",
        "A video of the person whom Lynx read from a picture, from a prompt, with separate scales for both.",
        "lynx_text_to_video",
        (8, 9, 10, 11, 12, 13, 14, 17),
        {(3, 0): "model", (3, 1): "clip", (3, 2): "vae", (4, 0): "adapter", (5, 0): "face", (6, 0): "reference"},
        video_widgets(9, 10, 11, 12) | {(8, "id_scale"): "id_scale"},
        {(17, 0): "video"},
    ),
    Blueprint(
        "Picture to person (Stand-In)",
        "A picture of one person becomes the reference of Stand-In's public weights: head on white, encoded.",
        "stand_in_wan_14b",
        (7, 8),
        {(1, 0): "image", (5, 0): "vae"},
        {},
        {(8, 0): "person", (7, 0): "picture"},
    ),
    Blueprint(
        "Person to video (ST-DRC)",
        "A video of the person in ST-DRC's reference, from a prompt, with an adapter and its LoRA.",
        "st_drc_text_to_video",
        (5, 8, 9, 10, 11, 12, 13, 14, 17),
        {(3, 0): "model", (3, 1): "clip", (3, 2): "vae", (4, 0): "adapter", (6, 0): "person"},
        video_widgets(9, 10, 11, 12) | {(8, "scale"): "scale"},
        {(17, 0): "video"},
    ),
    Blueprint(
        "Person to video (Stand-In)",
        "A video of the person of a picture by Stand-In's public weights, from a prompt, as its authors sample.",
        "stand_in_wan_14b",
        (3, 10, 11, 12, 13, 14, 15, 16, 19),
        {(2, 0): "model", (4, 0): "clip", (5, 0): "vae", (6, 0): "adapter", (8, 0): "person"},
        video_widgets(11, 12, 13, 14) | {(10, "scale"): "scale"},
        {(19, 0): "video"},
    ),
    Blueprint(
        "Pictures to person (ST-DRC)",
        "Pictures of one person become ST-DRC's reference, at the size of the video that is to come.",
        "st_drc_text_to_video",
        (6,),
        {(18, 2): "pictures", (3, 2): "vae"},
        {(6, "width"): "width", (6, "height"): "height"},
        {(6, 0): "person", (6, 1): "seen"},
    ),
    Blueprint(
        "Pictures to person (LaVieID)",
        "Pictures of one person become LaVieID's components: brows, eyes, mouth, nose, skin and hair.",
        "lavie_id_text_to_video",
        (5,),
        {(19, 2): "pictures", (4, 0): "adapter"},
        {(5, "face_encoder"): "face_encoder"},
        {(5, 0): "person", (5, 1): "components"},
    ),
    Blueprint(
        "Person to video (LaVieID)",
        "A video of the person whose components LaVieID read, from a prompt, with an adapter and its LoRA.",
        "lavie_id_text_to_video",
        (20, 8, 9, 10, 11, 12, 13, 14, 18),
        {(3, 0): "model", (3, 1): "clip", (3, 2): "vae", (4, 0): "adapter", (5, 0): "person"},
        video_widgets(9, 10, 11, 12) | {(8, "scale"): "scale"},
        {(18, 0): "video"},
    ),
)


def blueprint_workflow(blueprint: Blueprint, template: dict) -> dict:
    """The workflow of a blueprint, from the graph form of its template."""
    made = _Part(blueprint, template)
    name = blueprint.name
    known = str(uuid.uuid5(uuid.NAMESPACE_URL, f"slotid/blueprint/{name}"))
    widgets = {socket["name"] for socket in made.inputs if socket["name"] in blueprint.widgets.values()}
    node = {
        "id": 1,
        "type": known,
        "pos": [0, 0],
        "size": [300, 60 + 24 * len(made.inputs)],
        "flags": {},
        "order": 0,
        "mode": 0,
        "inputs": [
            {"name": one["name"], "type": one["type"], "link": None}
            | ({"widget": {"name": one["name"]}} if one["name"] in widgets else {})
            for one in made.inputs
        ],
        "outputs": [{"name": one["name"], "type": one["type"], "links": []} for one in made.outputs],
        "title": name,
        "properties": {},
        "widgets_values": [],
    }
    definition = {
        "id": known,
        "version": 1,
        "state": {
            "lastGroupId": 0,
            "lastNodeId": max(blueprint.nodes),
            "lastLinkId": len(made.links),
            "lastRerouteId": 0,
        },
        "revision": 0,
        "config": {},
        "name": name,
        "inputNode": {"id": INPUT, "bounding": made.end(len(made.inputs), left=True)},
        "outputNode": {"id": OUTPUT, "bounding": made.end(len(made.outputs), left=False)},
        "inputs": made.inputs,
        "outputs": made.outputs,
        "widgets": [],
        "nodes": made.nodes,
        "groups": [],
        "links": made.links,
        "extra": {},
        "category": CATEGORY,
        "description": blueprint.description,
    }
    return {
        "id": known,
        "revision": 0,
        "last_node_id": 1,
        "last_link_id": 0,
        "nodes": [node],
        "links": [],
        "groups": [],
        "definitions": {"subgraphs": [definition]},
        "config": {},
        "extra": {},
        "version": 0.4,
    }


class _Part:
    """Nodes of a template with the links that are within, come in and go out."""

    def __init__(self, blueprint: Blueprint, template: dict):
        self.blueprint = blueprint
        self.nodes = [copy.deepcopy(node) for node in template["nodes"] if node["id"] in blueprint.nodes]
        self.known = {node["id"]: node for node in self.nodes}
        self.links: list[dict] = []
        self.inputs: list[dict] = []
        self.outputs: list[dict] = []
        for node in self.nodes:
            for socket in node.get("inputs", []):
                socket["link"] = None
            for socket in node.get("outputs", []):
                socket["links"] = []
        self._join(template["links"])
        self.box = around(map(rect_of, self.nodes))

    def _join(self, links: list) -> None:
        for number, (place, name) in enumerate(self.blueprint.outside.items()):
            taken = [link for link in links if (link[1], link[2]) == place and link[3] in self.known]
            kind = next(link[5] for link in taken if link[5] != "*")  # a link to a socket for anything says no more
            self._input(name, kind)
            for _, _, _, target, into, _ in taken:
                self._link(INPUT, number, target, into, kind)
        for (target, widget), name in self.blueprint.widgets.items():
            into = self._widget_input(target, widget)
            kind = self.known[target]["inputs"][into]["type"]
            self._input(name, kind)
            self._link(INPUT, len(self.inputs) - 1, target, into, kind)
        for _, source, out, target, into, kind in links:
            if source in self.known and target in self.known:
                self._link(source, out, target, into, kind)
            elif target in self.known and (source, out) not in (*self.blueprint.outside, *self.blueprint.dropped):
                raise SystemExit(f"{self.blueprint.name}: nothing says what ({source}, {out}) is inside")
        for number, ((source, out), name) in enumerate(self.blueprint.outputs.items()):
            kind = self.known[source]["outputs"][out]["type"]
            self.outputs.append(self._socket(name, kind, "output"))
            self._link(source, out, OUTPUT, number, kind)

    def _widget_input(self, target: int, widget: str) -> int:
        """The place of the input that a widget is as well; files leave those without a link out."""
        inputs = self.known[target].setdefault("inputs", [])
        inputs.append({"name": widget, "type": KINDS[widget], "widget": {"name": widget}, "link": None})
        return len(inputs) - 1

    def _input(self, name: str, kind: str) -> None:
        self.inputs.append(self._socket(name, kind, "input"))

    def _socket(self, name: str, kind: str, side: str) -> dict:
        known = uuid.uuid5(uuid.NAMESPACE_URL, f"slotid/blueprint/{self.blueprint.name}/{side}/{name}")
        return {"id": str(known), "name": name, "type": kind, "linkIds": [], "pos": [0, 0]}

    def _link(self, source: int, out: int, target: int, into: int, kind: str) -> None:
        number = len(self.links) + 1
        self.links.append(
            {"id": number, "origin_id": source, "origin_slot": out, "target_id": target, "target_slot": into,
             "type": kind}
        )  # fmt: skip
        if source == INPUT:
            self.inputs[out]["linkIds"].append(number)
        else:
            self.known[source]["outputs"][out]["links"].append(number)
        if target == OUTPUT:
            self.outputs[into]["linkIds"].append(number)
        else:
            self.known[target]["inputs"][into]["link"] = number

    def end(self, rows: int, left: bool) -> list[float]:
        """Where one of the two ends lies: beside the nodes."""
        box: Rect = self.box
        return [box.x0 - GAP - END_WIDTH if left else box.x1 + GAP, box.y0, END_WIDTH, 40 + ROW * rows]


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for blueprint in BLUEPRINTS:
        template = json.loads((PACK / "workflows" / f"{blueprint.template}.json").read_text())
        workflow = blueprint_workflow(blueprint, template)
        (FOLDER / f"{blueprint.name}.json").write_text(json.dumps(workflow, separators=(",", ":")) + "\n")
        print(blueprint.name)


if __name__ == "__main__":
    main()
