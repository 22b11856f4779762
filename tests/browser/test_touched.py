"""What is touched in a node instead of typed, on the canvas and in Nodes 2.0: by mouse and by keyboard, undone, saved,
opened again, and queued as the same prompt that a graph without a page would be.

SCREENSHOTS=FOLDER keeps pictures of the page.
"""

import copy
import json
import os
from pathlib import Path

import av
import numpy as np
import pytest

from slotid_core.comfy_client import ComfyClient
from slotid_core.comfy_runtime import PACK
from tools.build_workflows import inputs_of

CLIPS = ("person_1000015.mp4", "person_1009991.mp4")
API = {
    "1": {
        "class_type": "SlotIDLoadReferenceVideo",
        "inputs": dict(
            file="two.mp4", num_frames=17, start_seconds=0.0, sample_rate=16.0, short_side=480, decoder="auto",
            window="at start_seconds",
        ),
    },
    "2": {
        "class_type": "SlotIDFaceTrack",
        "inputs": dict(
            frames=["1", 0], size=128, margin=0.5, smoothing=8, subject=0, on_missing="error", detector="auto",
        ),
    },
    "3": {
        "class_type": "SlotIDSelectPortrait",
        "inputs": dict(face_clip=["2", 0], candidates=3, rank=0, background="white", detector="auto"),
    },
    "4": {
        "class_type": "SlotIDGateSchedule",
        "inputs": dict(
            family="points", low=0.0, high=1.0, midpoint=0.5, steepness=10.0, points="0:0, 0.5:0.3, 1:1", shift=1.0
        ),
    },
    "5": {"class_type": "PreviewImage", "inputs": dict(images=["3", 0])},
    "6": {"class_type": "PreviewImage", "inputs": dict(images=["4", 1])},
}  # fmt: skip

OPEN = """async (api) => {
  await window.app.loadApiJson(api, "touched");
  const place = { 1: [0, 0], 2: [480, 0], 3: [960, 0], 4: [1440, 0], 5: [0, 1400], 6: [480, 1400] };
  for (const [id, pos] of Object.entries(place)) {
    const node = window.app.graph.getNodeById(id) ?? window.app.graph.getNodeById(Number(id));
    node.pos = pos;
    node.setSize([400, node.size[1]]);
  }
  await window.app.loadGraphData(window.app.graph.serialize(), true, true, "touched");
}"""
SCALES = {"canvas": 0.8, "nodes 2.0": 0.66}  # Nodes 2.0 draws nodes larger and further apart
LOOK = """async (scale) => {
  const view = window.app.canvas.ds;
  view.scale = scale;
  view.offset[0] = 110 / scale;
  view.offset[1] = 120 / scale;
  window.app.canvas.setDirty(true, true);
  await new Promise((done) => setTimeout(done, 1000));
}"""
VALUE = """([type, name]) =>
  window.app.graph.nodes.find((node) => node.type === type).widgets.find((widget) => widget.name === name).value"""
REOPEN = """async () => {
  const text = JSON.stringify(window.app.graph.serialize());
  await window.app.loadGraphData(JSON.parse(text), true, true, "opened again");
}"""
PROMPT = "async () => (await window.app.graphToPrompt()).output"
TRACKER = "window.app.extensionManager.workflow.activeWorkflow.changeTracker"
# Whether the page has loaded the graph that undo, or redo, brings back; a key that is pressed before is lost.
CAME_BACK = f"""([queue, before]) => {{
  const tracker = {TRACKER};
  return tracker[queue].length > before && tracker.activeState !== tracker[queue].at(-1);
}}"""
STILL = "() => [...document.querySelectorAll('video')].forEach((video) => video.pause())"


def two_people(path: Path) -> Path:
    """The example clips side by side."""
    sides = []
    for name in CLIPS:
        with av.open(str(PACK / "example_people" / name)) as container:
            sides.append([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=16)
        pictures = [np.concatenate(pair, axis=1) for pair in zip(*sides, strict=False)]
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path


@pytest.fixture(scope="module")
def clip(page, tmp_path_factory):
    address = page.url.removeprefix("http://").rstrip("/")
    client = ComfyClient(address.split("/")[0])
    assert client.upload(two_people(tmp_path_factory.mktemp("clips") / "two.mp4")) == "two.mp4"
    page.reload()
    page.wait_for_function("window.app && window.app.graph && window.app.extensionManager")
    page.wait_for_timeout(3000)
    return client


# What templates for Wan name where a picture or a clip is to be chosen.
YOURS = tuple(f"filename={name}" for name in ("person.", "left.png", "right.png", "first_frame.png"))


@pytest.fixture
def errors(page):
    """What the console said that is not about a host that cannot be reached, or a picture that is yours to give."""
    said = []

    def on_console(message):
        url = (message.location or {}).get("url", "")
        if message.type == "error" and page.url.split("/")[2] in url and not any(name in url for name in YOURS):
            said.append(f"{message.text} {url}")

    on_error = lambda error: said.append(str(error))  # noqa: E731
    page.on("console", on_console)
    page.on("pageerror", on_error)
    yield said
    page.remove_listener("console", on_console)
    page.remove_listener("pageerror", on_error)


@pytest.fixture(params=["canvas", "nodes 2.0"])
def opened(request, page, clip):
    switch = "(on) => window.app.extensionManager.setting.set('Comfy.VueNodes.Enabled', on)"
    page.evaluate(switch, request.param == "nodes 2.0")
    page.wait_for_timeout(1500)
    page.evaluate(OPEN, API)
    page.evaluate(LOOK, SCALES[request.param])
    page.wait_for_function("() => document.querySelector('.slotid-window')?.offsetWidth > 10")
    yield request.param
    page.evaluate(switch, False)


def value(page, node: str, name: str):
    return page.evaluate(VALUE, [node, name])


def drag(page, selector: str, dx: float, dy: float = 0, nth: int = 0) -> None:
    box = page.locator(selector).nth(nth).bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + dx / 2, y + dy / 2, steps=3)
    page.mouse.move(x + dx, y + dy, steps=3)
    page.mouse.up()
    page.wait_for_timeout(200)


def keep_picture(page, name: str) -> None:
    if folder := os.environ.get("SCREENSHOTS"):
        page.screenshot(path=str(Path(folder) / f"{name}.png"))


def queued(page, act) -> dict:
    """The prompt that the page sends to the server."""
    with page.expect_request(lambda request: request.url.endswith("/prompt") and request.method == "POST") as caught:
        act()
    return json.loads(caught.value.post_data)["prompt"]


def undo(page) -> None:
    press_and_load(page, "Control+z", "redoQueue")


def redo(page) -> None:
    press_and_load(page, "Control+y", "undoQueue")


def press_and_load(page, keys: str, queue: str) -> None:
    """
    Args:
        queue: of the page's tracker, to which the graph that is left goes.
    """
    before = page.evaluate(f"() => {TRACKER}.{queue}.length")
    page.keyboard.press(keys)
    page.wait_for_function(CAME_BACK, arg=[queue, before])
    page.wait_for_timeout(1000)  # until the new nodes have their panels


def set_by_mouse(page) -> dict:
    """Touch everything; what a headless prompt would say instead."""
    drag(page, ".slotid-window", 60)
    drag(page, ".slotid-end", 50)
    page.get_by_label("Follow person 1", exact=True).click()
    page.locator(".slotid-candidate").nth(2).click()
    drag(page, ".slotid-point", 0, 25, nth=1)
    plot = page.locator(".slotid-plot").bounding_box()
    page.mouse.click(plot["x"] + plot["width"] * 0.3, plot["y"] + plot["height"] * 0.4)
    page.wait_for_timeout(200)
    expected = copy.deepcopy(API)
    touched = {
        "1": ("start_seconds", "num_frames"), "2": ("subject",), "3": ("rank",), "4": ("points",),
    }  # fmt: skip
    for node_id, names in touched.items():
        for name in names:
            expected[node_id]["inputs"][name] = value(page, API[node_id]["class_type"], name)
    return expected


def test_set_by_mouse_saved_opened_again_undone_and_queued(page, opened, errors):
    page.evaluate("() => window.app.queuePrompt(0)")
    page.wait_for_function("() => document.querySelectorAll('.slotid-candidate img').length === 3")
    page.wait_for_function("() => document.querySelectorAll('.slotid-person').length === 2")
    page.evaluate(STILL)
    page.evaluate(LOOK, SCALES[opened])
    keep_picture(page, f"touched before {opened}")
    expected = set_by_mouse(page)
    keep_picture(page, f"touched after {opened}")
    inputs = {node_id: node["inputs"] for node_id, node in expected.items()}
    assert inputs["1"]["start_seconds"] > 0.1 and inputs["1"]["num_frames"] % 4 == 1
    assert inputs["1"]["num_frames"] > 17
    assert (inputs["2"]["subject"], inputs["3"]["rank"]) == (1, 2)
    points = [tuple(map(float, pair.split(":"))) for pair in inputs["4"]["points"].split(",")]
    assert len(points) == 4 and points[1] != (0.5, 0.3)

    # Undo takes back the last thing alone, and what the run showed stays to be seen.
    undo(page)
    assert len(value(page, "SlotIDGateSchedule", "points").split(",")) == 3
    assert value(page, "SlotIDSelectPortrait", "rank") == 2
    assert page.locator(".slotid-candidate").count() == 3
    redo(page)
    assert value(page, "SlotIDGateSchedule", "points") == inputs["4"]["points"]
    for rank in (0, 2):  # what is touched now is of the node that undo made
        page.locator(".slotid-candidate").nth(rank).click()
        assert value(page, "SlotIDSelectPortrait", "rank") == rank

    page.evaluate(REOPEN)
    page.wait_for_timeout(1500)
    assert inputs_of(page.evaluate(PROMPT)) == inputs_of(expected)
    assert inputs_of(queued(page, lambda: page.evaluate("() => window.app.queuePrompt(0)"))) == inputs_of(expected)
    page.wait_for_function("() => document.querySelector('.slotid-person[aria-label=\"Follow person 1\"]')")
    assert errors == []


def test_set_by_keyboard(page, opened, errors):
    page.locator(".slotid-window").focus()
    for key in ("PageUp", "ArrowRight", "ArrowRight"):
        page.keyboard.press(key)
    assert value(page, "SlotIDLoadReferenceVideo", "start_seconds") == 1.2
    page.locator(".slotid-end").focus()
    page.keyboard.press("ArrowRight")
    assert value(page, "SlotIDLoadReferenceVideo", "num_frames") == 21
    page.locator(".slotid-window").focus()
    page.keyboard.press("End")
    page.locator(".slotid-end").focus()
    page.keyboard.press("ArrowRight")  # beyond the end of the clip, where a player stops by itself
    page.get_by_role("button", name="▶ Loop").click()
    page.wait_for_timeout(2500)  # more than the 1.4 seconds that are left of the clip
    assert page.evaluate("() => !document.querySelector('.slotid-loop video').paused")
    page.evaluate(STILL)
    page.locator(".slotid-point").nth(1).focus()
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Shift+ArrowLeft")
    assert value(page, "SlotIDGateSchedule", "points") == "0:0, 0.6:0.31, 1:1"
    page.keyboard.press("Delete")
    assert value(page, "SlotIDGateSchedule", "points") == "0:0, 1:1"
    assert page.evaluate("() => window.app.graph.nodes.length") == len(API)  # Delete was the point's, not the node's
    undo(page)
    assert value(page, "SlotIDGateSchedule", "points") == "0:0, 0.6:0.31, 1:1"
    assert errors == []


def test_a_prompt_that_is_opened_over_another_is_the_one_that_is_touched(page, opened):
    page.evaluate("async (api) => window.app.loadApiJson(api, 'another')", API)
    page.wait_for_timeout(1500)
    page.evaluate("() => document.querySelectorAll('.slotid-point')[1].focus()")  # wherever it lies on the page
    page.keyboard.press("ArrowUp")
    assert value(page, "SlotIDGateSchedule", "points") == "0:0, 0.5:0.31, 1:1"


def test_a_person_is_placed_as_a_box(page, opened, errors):
    page.evaluate(
        """async () => {
          const node = window.LiteGraph.createNode("SlotIDRegion");
          node.pos = [960, 520];
          window.app.graph.add(node);
          await new Promise((done) => setTimeout(done, 1000));
        }"""
    )
    box = lambda: [value(page, "SlotIDRegion", name) for name in ("where", "x", "y", "width", "height")]  # noqa: E731
    assert box()[0] == "left half"
    drag(page, ".slotid-box", 60)
    drag(page, ".slotid-corner", -20, -30)
    where, x, y, width, height = box()
    assert where == "box" and 0 < x <= 0.5 and y == 0 and 0 < width < 0.5 and 0 < height < 1
    page.locator(".slotid-box").focus()
    page.keyboard.press("Shift+ArrowDown")
    assert box()[2] == min(0.1, round(1 - height, 2))
    keep_picture(page, f"region {opened}")
    assert errors == []


def test_the_drawing_follows_what_is_typed_and_says_what_the_server_would_refuse(page, opened):
    page.evaluate(
        """(text) => {
          const widget = window.app.graph.nodes.find((node) => node.type === "SlotIDGateSchedule")
            .widgets.find((widget) => widget.name === "points");
          widget.value = text;
          widget.callback?.(text);
        }""",
        "0:0.5, 1:0.4",
    )
    assert page.locator(".slotid-problem").inner_text().startswith("w must not fall")


def test_what_another_node_sets_is_said(page, opened, errors):
    said = page.get_by_text("what is set here does not count: points.")
    page.evaluate(
        """() => {
          const graph = window.app.graph;
          const gate = graph.nodes.find((node) => node.type === "SlotIDGateSchedule");
          const text = window.LiteGraph.createNode("PrimitiveString");
          graph.add(text);
          text.connect(0, gate, gate.inputs.findIndex((input) => input.name === "points"));
        }"""
    )
    said.wait_for(state="attached")
    page.evaluate(
        """() => {
          const gate = window.app.graph.nodes.find((node) => node.type === "SlotIDGateSchedule");
          gate.disconnectInput(gate.inputs.findIndex((input) => input.name === "points"));
        }"""
    )
    said.wait_for(state="detached")
    assert errors == []
