"""Make the graph-UI workflows and their thumbnails from the API workflows, with the real frontend.

    python -m tools.build_workflows [name ...]          # needs Chromium and Playwright

`workflows/api/name.json` is what the server runs, with a title for each node in `_meta`, and where a file that it
loads can be downloaded, as core's templates say it. This lets ComfyUI's own frontend make widgets and sockets, adds the
note of `template_notes.py`, places nodes in the columns of `template_layouts.py` at the heights that `graph_layout.py`
found (run that too after a graph has changed, and build again), checks that the frontend reads the
graph back as it was, and writes `workflows/name.json` and `workflows/name.jpg`. So both forms of a workflow come from
one source.
"""

import io
import json
import sys
import tempfile
import uuid
from pathlib import Path
from typing import Any

from slotid_core.comfy_runtime import PACK
from slotid_core.comfy_server import ComfyServer
from tools.browser import open_page
from tools.graph_geometry import links_behind_nodes, overlaps
from tools.graph_layout import arranged, columns_of, known_places, opening
from tools.graph_reroutes import reroutes_of
from tools.template_form import put_form
from tools.template_layouts import GAP, LAYOUTS, ROOM, WIDTH
from tools.template_notes import NOTES

WORKFLOWS = PACK / "workflows"
PLAYER = "video-preview"

MAKE = """async ({api, name, sizes, width, notes}) => {
  await window.app.loadApiJson(api, name);
  const graph = window.app.graph;
  const fit = () => graph.nodes.forEach((node) => {
    const [least, room] = sizes[node.type] ?? [width, 0];
    node.setSize([least, Math.max(room, node.computeSize()[1])]);
  });
  for (const [id, node] of Object.entries(api)) {
    const made = graph.getNodeById(id) ?? graph.getNodeById(Number(id));
    if (node._meta.models) made.properties.models = node._meta.models;
    for (const widget of made.widgets ?? []) if (widget.name === "control_after_generate") widget.value = "fixed";
  }
  for (const text of notes) {
    const node = window.LiteGraph.createNode("MarkdownNote");
    node.widgets[0].value = text;
    graph.add(node);
  }
  fit();
  await new Promise((done) => setTimeout(done, 2500)); // panels and players come
  fit();
  await new Promise((done) => setTimeout(done, 500));
  return graph.serialize();
}"""

ARRANGE = """async ({places, groups, reroutes}) => {
  const graph = window.app.graph;
  for (const {id, pos, size} of places) {
    const node = graph.getNodeById(id);
    node.pos = pos;
    node.setSize(size);
  }
  for (const {title, bounding, color} of groups) {
    const group = new window.LiteGraph.LGraphGroup(title);
    group.pos = bounding.slice(0, 2);
    group.size = bounding.slice(2);
    group.color = color;
    graph.add(group);
  }
  for (const reroute of reroutes) {
    graph.setReroute(reroute);
    graph.links.get(reroute.linkIds[0]).parentId = reroute.id; // of several, the last
  }
  await new Promise((done) => setTimeout(done, 1500));
  window.app.canvas.setDirty(true, true);
  const prompt = await window.app.graphToPrompt();
  return { workflow: prompt.workflow, api: prompt.output };
}"""


def build(page, name: str) -> None:
    api = json.loads((WORKFLOWS / "api" / f"{name}.json").read_text())
    asked = {"api": api, "name": name, "sizes": ROOM, "width": WIDTH, "notes": [NOTES[name]]}
    made = page.evaluate(MAKE, asked)
    lies = arranged(made, LAYOUTS[name], known_places(name))
    made = page.evaluate(ARRANGE, lies | {"reroutes": reroutes_of(placed(made, lies["places"]), gaps_of(name, made))})
    if inputs_of(made["api"]) != inputs_of(api):
        raise SystemExit(f"{name}: the frontend reads the graph differently:\n{difference(made['api'], api)}")
    workflow = without_nulls(made["workflow"])
    if models := models_of(api):
        workflow["models"] = models
    workflow.setdefault("extra", {})["ds"] = opening(workflow, LAYOUTS[name])
    put_form(workflow, LAYOUTS[name])
    workflow["id"] = str(uuid.uuid5(uuid.NAMESPACE_URL, f"slotid/{name}"))
    (WORKFLOWS / f"{name}.json").write_text(json.dumps(workflow, indent=1) + "\n")
    thumbnail(page, WORKFLOWS / f"{name}.jpg")
    faults = overlaps(workflow), links_behind_nodes(workflow)
    print(f"{name}: {len(workflow['nodes'])} nodes, {len(workflow['links'])} links, faults {faults}", flush=True)


def placed(graph: dict, places: list[dict]) -> dict:
    """The graph with its nodes where they are to lie."""
    at = {place["id"]: place for place in places}
    return graph | {"nodes": [node | at[node["id"]] for node in graph["nodes"]]}


def gaps_of(name: str, graph: dict) -> list[float]:
    """The middles between the columns of a template."""
    _, right = columns_of(LAYOUTS[name], {node["id"]: node for node in graph["nodes"]})
    return [x + GAP / 2 for x in right]


def models_of(api: dict) -> list[dict]:
    """Files that nodes use without naming them in a widget, which the frontend offers for the graph as a whole."""
    return [
        model
        for node in api.values()
        for model in node["_meta"].get("models", [])
        if model["name"] not in node["inputs"].values()
    ]


def inputs_of(api: dict) -> dict:
    """Class and inputs by node, without the player's widget, which the frontend writes once a video has loaded."""
    return {
        node_id: (node["class_type"], {name: value for name, value in node["inputs"].items() if name != PLAYER})
        for node_id, node in api.items()
    }


def difference(first: dict, second: dict) -> str:
    ours, theirs = inputs_of(first), inputs_of(second)
    return "\n".join(
        f"{key}: {ours.get(key)} != {theirs.get(key)}" for key in ours | theirs if ours.get(key) != theirs.get(key)
    )


def without_nulls(value: Any) -> Any:
    """The frontend writes every unset property; readers treat a missing one the same."""
    if isinstance(value, dict):
        return {key: without_nulls(item) for key, item in value.items() if item is not None or key == "link"}
    if isinstance(value, list):
        return [without_nulls(item) for item in value]
    return value


FRAME_WHOLE_GRAPH = """async ({left, top, width, height}) => {
  await window.app.extensionManager.setting.set("Comfy.Minimap.Visible", false);
  const edges = { x0: Infinity, y0: Infinity, x1: -Infinity, y1: -Infinity };
  for (const node of window.app.graph.nodes) {
    edges.x0 = Math.min(edges.x0, node.pos[0]);
    edges.y0 = Math.min(edges.y0, node.pos[1] - 30);
    edges.x1 = Math.max(edges.x1, node.pos[0] + node.size[0]);
    edges.y1 = Math.max(edges.y1, node.pos[1] + node.size[1]);
  }
  const view = window.app.canvas.ds;
  view.scale = Math.min(width / (edges.x1 - edges.x0), height / (edges.y1 - edges.y0));
  view.offset[0] = left / view.scale - edges.x0;
  view.offset[1] = top / view.scale - edges.y0;
  window.app.canvas.setDirty(true, true);
  await new Promise((done) => setTimeout(done, 1500));
}"""


def thumbnail(page, path: Path) -> None:
    """The whole graph, as the template browser shows it."""
    from PIL import Image

    area = {"left": 120, "top": 140, "width": 2820, "height": 1100}
    page.evaluate(FRAME_WHOLE_GRAPH, area)
    clip = {"x": area["left"] - 15, "y": area["top"] - 15, "width": area["width"] + 30, "height": area["height"] + 30}
    picture = Image.open(io.BytesIO(page.screenshot(clip=clip))).convert("RGB")
    picture.thumbnail((1400, 1400))
    picture.save(path, quality=85)


def main(names: list[str]) -> int:
    with (
        tempfile.TemporaryDirectory() as base,
        ComfyServer(Path(base)) as server,
        open_page(server.address, 3000, 1300) as page,
    ):
        for name in names or NOTES:
            build(page, name)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
