"""Make the graph-UI workflows and their thumbnails from the API workflows, with the real frontend.

    python -m tools.build_workflows [name ...]          # needs Chromium and Playwright

`workflows/api/name.json` is what the server runs, with a title and a place for each node in `_meta`, and where a file
that it loads can be downloaded, as core's templates say it. This adds the notes below, lets ComfyUI's own frontend make
widgets and sockets, checks that the frontend reads the graph back as it was, and writes `workflows/name.json` and
`workflows/name.jpg`. So both forms of a workflow come from one source.
"""

import io
import json
import sys
import tempfile
import uuid
from pathlib import Path

from slotid_core.comfy_runtime import PACK
from slotid_core.comfy_server import ComfyServer
from tools.browser import open_page

WORKFLOWS = PACK / "workflows"
PLAYER = "video-preview"
OPENED_AT = 0.62  # scale; below 0.6 the canvas leaves text out
SIDE_BAR, MENU, TITLE = 75, 80, 30  # pixels

START_NOTE = """## Slot-ID: {title}

{what}

**This graph runs at once, with the toy world:** tiny models in Wan's format that come with the pack. They draw
cartoon people who smile, nod, look around, talk, laugh or look surprised, in six places and six outfits; a prompt in
other words misses them. Their adapter has learnt from 6,000 drawn people; a clip of a real one makes somebody drawn.

**For real videos** replace *Load Toy World* by *Load Wan Model (Slot-ID)*, *Load CLIP* (type `wan`, the umT5-XXL file)
and *Load VAE* (the Wan 2.1 VAE), choose an adapter that was trained for that model, and raise the sampler's *cfg*, or
both its scales, to 5. No Slot-ID adapter for Wan has been published yet; see the pack's README. Until there is one,
*Load Wan Model* runs with both strengths at 0.
"""

DETECTOR_NOTE = """
Put [face_detection_yunet_2023mar.onnx](https://huggingface.co/opencv/face_detection_yunet/resolve/main/face_detection_yunet_2023mar.onnx)
(0.2 MB, MIT) into *models/face_detection*: it sees faces that turn away, which the bundled detector does not.
"""

LYNX_NOTE = """## Lynx: a video of the person in one picture

Choose a picture with one large, frontal face, write a prompt, and queue.

{what}

| to change | turn |
|---|---|
| the face is stiff, always frontal, or the prompt is ignored | *id_scale* down to 0.6, or *start_percent* up to 0.1 |
| light, expression or frame of the picture come back | *ref_scale* down, or *ref_layers* to none |
| likeness is weak | *identity_scale* of the sampler up to 3 |
| speed | equal *text_scale* and *identity_scale*: two passes a step instead of three |

Look at *The face as Lynx sees it*: it must be upright and whole.
"""

LYNX_TOY = """**This graph runs at once, with the toy world:** tiny models with random weights, made on your machine.
They show that every part works, and draw noise. **For real videos** open *lynx_wan_14b*, which names the files to
download."""

ST_DRC_NOTE = """## ST-DRC: a video of the person in a picture

**This graph runs at once, with the toy world:** tiny models with random weights, made on your machine. They show that
every part works, and draw noise. There are no public ST-DRC weights; adapters come from training with this pack. For
real videos with public weights open *stand_in_wan_14b*, which these nodes run as well.

Choose a picture, write a prompt, and queue. The size in *Encode reference* is the size of the video.

| to change | turn |
|---|---|
| layout or light of the picture return | *scale* down to 0.8 |
| the prompt is ignored | *text_scale* of the sampler above *identity_scale*, or *start_percent* up to 0.1 |
| likeness is weak | *identity_scale* above *text_scale* |

Look at *What the VAE encoded*: the face must be whole and large.
"""

LAVIE_ID_NOTE = """## LaVieID: a video of the person in a picture, component by component

**This graph runs at once, with the toy world:** tiny models with random weights, made on your machine. They show that
every part works, and draw noise. There are no public LaVieID weights; adapters come from training with this pack.

Choose a picture with one large face, write a prompt, and queue. The face is cut into brows, eyes, mouth, nose, skin and
hair; a router weighs, for each part of the video, how far each of them is drawn there.

| to change | turn |
|---|---|
| a component is missing or wrong | another picture, or connect *masks* to *Encode person* |
| the face looks pasted, or the prompt is ignored | *scale* down to 0.8, or *start_percent* up to 0.1 |
| likeness is weak | *identity_scale* of the sampler above *text_scale* |

Look at *Components that were found*: six pictures, empty where the picture does not show one. *What is routed where*
has one colour a component: brows violet, eyes blue, mouth red, nose green, skin peach, hair brown.
"""

TEMPORAL_NOTE = """## LaVieID's temporal module: a sampled video whose frames agree

**This graph runs at once, with the toy world,** and a module of random weights: it shows that every part works, and
spoils the video. Modules come from training with this pack, in a quarter of an hour for the toy world; choose yours in
*Load temporal module*. There are no public ones.

The module reads sampled latents and gives latents, so it goes behind any sampler and any system: put *Refine latents*
between your sampler and *VAE Decode*. Here the person is one of Slot-ID's ready identities. It reads no prompt and no
person, and goes on from chunk to chunk, so that a video may be as long as you like.

| to change | turn |
|---|---|
| frames still flicker, or colours drift | *strength* up |
| movement or detail is lost | *strength* down; 0 is the video as sampled |

Look at *What was changed*: rough frames before and after, and where and when. Both videos are saved.
"""

LYNX_FILES = """Files, about 31 GB; ComfyUI offers those that are missing:

| file | folder in models | licence |
|---|---|---|
| Wan 2.1 T2V 14B, umT5, VAE | diffusion_models, text_encoders, vae | Apache-2.0 |
| Lynx ID layers, resampler, Ref layers | lynx | Apache-2.0 |
| recognition_arcface_ir_se50.pth, from facexlib | facexlib | states none for the weights |

A face detector with landmarks (insightface's packs, in models/insightface, **non-commercial research only**) places
the crop best; without one, eyes and mouth are guessed from the face's box. For lite: choose the lite ID layers *and*
the lite resampler. The settings are those of Lynx's authors."""

STAND_IN_NOTE = """## Stand-In: a video of the person in one picture

Choose a picture with one large, frontal face, write a prompt, and queue. Say *a woman* or *a man* and nothing about
the looks: they come from the picture. Its authors ask for frontal medium shots and close-ups.

Files, about 22 GB; ComfyUI offers those that are missing:

| file | folder in models | licence |
|---|---|---|
| Wan 2.1 T2V 14B, umT5, VAE | diffusion_models, text_encoders, vae | Apache-2.0 |
| Stand-In's LoRA (0.3 GB) | st_drc, or loras where you have it | see THIRD_PARTY.md |

| to change | turn |
|---|---|
| the picture's light or expression come back | *scale* down to 0.8, or *start_percent* up to 0.1 |
| likeness is weak | *identity_scale* of the sampler up to 2; a step then takes three passes instead of two |
| speed | nothing: two passes a step, and the picture is computed in the first step alone |

Look at *The face as Stand-In sees it*: the head must be whole, on white. The settings are those of Stand-In's authors:
*identity first* with *identity_scale* 1 is their guidance, where the negative prompt has the picture too.
"""

NOTES = {
    "slot_id_text_to_video": [
        {
            "pos": [40, 60],
            "size": [420, 420],
            "text": START_NOTE.format(
                title="a new video of the person in a clip",
                what="Choose a few seconds of video of one person, write a prompt, and queue. The identity is saved "
                "as well, for *slot_id_reuse_identity*.",
            )
            + DETECTOR_NOTE,
        }
    ],
    "slot_id_reuse_identity": [
        {
            "pos": [40, 60],
            "size": [420, 420],
            "text": START_NOTE.format(
                title="the same person again",
                what="Loads an identity: one that comes with the pack, or that *slot_id_text_to_video* saved. No clip "
                "and no face tools are needed.",
            ),
        }
    ],
    "lynx_text_to_video": [{"pos": [40, 60], "size": [420, 440], "text": LYNX_NOTE.format(what=LYNX_TOY)}],
    "st_drc_text_to_video": [{"pos": [40, 60], "size": [420, 480], "text": ST_DRC_NOTE}],
    "lavie_id_text_to_video": [{"pos": [40, 60], "size": [420, 520], "text": LAVIE_ID_NOTE}],
    "lavie_id_refine_video": [{"pos": [40, 60], "size": [420, 520], "text": TEMPORAL_NOTE}],
    "stand_in_wan_14b": [{"pos": [-420, 60], "size": [420, 640], "text": STAND_IN_NOTE}],
    "lynx_wan_14b": [{"pos": [-420, 60], "size": [420, 640], "text": LYNX_NOTE.format(what=LYNX_FILES)}],
}

ARRANGE = """async ({api, notes, name}) => {
  await window.app.loadApiJson(api, name);
  const graph = window.app.graph;
  for (const [id, node] of Object.entries(api)) {
    const placed = graph.getNodeById(id) ?? graph.getNodeById(Number(id));
    placed.pos = node._meta.pos;
    if (node._meta.size) placed.setSize(node._meta.size);
    if (node._meta.models) placed.properties.models = node._meta.models;
  }
  for (const note of notes) {
    const node = window.LiteGraph.createNode("MarkdownNote");
    node.pos = note.pos;
    node.size = note.size;
    node.widgets[0].value = note.text;
    graph.add(node);
  }
  await new Promise((done) => setTimeout(done, 1500));
  window.app.canvas.setDirty(true, true);
  const prompt = await window.app.graphToPrompt();
  return { workflow: prompt.workflow, api: prompt.output };
}"""


def build(page, name: str) -> None:
    api = json.loads((WORKFLOWS / "api" / f"{name}.json").read_text())
    made = page.evaluate(ARRANGE, {"api": api, "notes": NOTES[name], "name": name})
    if inputs_of(made["api"]) != inputs_of(api):
        raise SystemExit(f"{name}: the frontend reads the graph differently:\n{difference(made['api'], api)}")
    workflow = without_nulls(made["workflow"])
    if models := models_of(api):
        workflow["models"] = models
    workflow.setdefault("extra", {})["ds"] = view_of(workflow)
    workflow["id"] = str(uuid.uuid5(uuid.NAMESPACE_URL, f"slotid/{name}"))
    (WORKFLOWS / f"{name}.json").write_text(json.dumps(workflow, indent=1) + "\n")
    thumbnail(page, WORKFLOWS / f"{name}.jpg")
    print(f"{name}: {len(workflow['nodes'])} nodes, {len(workflow['links'])} links")


def view_of(workflow: dict) -> dict:
    """What is in view at opening: the left and upper part, beside the side bar and below the menu, with its text."""
    left, top = (min(node["pos"][side] for node in workflow["nodes"]) for side in (0, 1))
    return {
        "scale": OPENED_AT,
        "offset": [SIDE_BAR / OPENED_AT - left, MENU / OPENED_AT + TITLE - top],
    }


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


def without_nulls(value):
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
