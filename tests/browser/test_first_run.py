"""The Slot-ID template as a user meets it, on the canvas and in Nodes 2.0: its clip plays, and
after a run the tracked face, the ranked candidates and the card are seen.

SCREENSHOTS=FOLDER keeps pictures of the page.
"""

import os
from pathlib import Path

import pytest
from test_templates import as_graph

CLIP = "person_1000015.mp4"

OPEN = "async (workflow) => { await window.app.loadGraphData(workflow, true, true, 'slot_id_text_to_video') }"

PLAYS = """async (name) => {
  const video = [...document.querySelectorAll("video")].find((video) =>
    (video.currentSrc || video.src || "").includes(name) && video.getBoundingClientRect().width > 50);
  if (!video || video.readyState < 2 || video.error) return false;
  video.muted = true;
  const before = video.currentTime;
  await video.play();
  await new Promise((done) => setTimeout(done, 700));
  return video.currentTime !== before;
}"""

# What the server has in its cache is not shown again, so each run has a margin of its own.
QUICKLY = """() => {
  const widget = (type, name) =>
    window.app.graph.nodes.find((node) => node.type === type).widgets.find((widget) => widget.name === name);
  widget("SlotIDSampler", "steps").value = 1;
  widget("SlotIDFaceTrack", "margin").value = 0.5 + 0.1 * Math.random();
}"""

# On the canvas the node draws pictures that it holds; in Nodes 2.0 it holds an <img>.
PICTURES = """([type, count, isNew]) => {
  const preview = window.app.graph.nodes.find((node) => node.type === type);
  const outputs = window.app.nodeOutputs[preview.id]?.images ?? [];
  if (outputs.length !== count) return false;
  const pictures = isNew
    ? [...document.querySelectorAll(`[data-node-id="${preview.id}"] img`)]
    : preview.imgs ?? [];
  return pictures.length > 0 && pictures.every((picture) => picture.naturalWidth > 0);
}"""

CANDIDATES = """(count) => {
  const pictures = [...document.querySelectorAll(".slotid-candidate img")];
  return pictures.length === count && pictures.every((picture) => picture.naturalWidth > 0);
}"""

TRACKED = """() => {
  const video = document.querySelector(".slotid-stage:has(.slotid-person) video");
  return video && video.videoWidth > 0 && !video.error;
}"""

SHOW = """async (titles) => {
  const nodes = window.app.graph.nodes.filter((node) => titles.some((title) => node.title.startsWith(title)));
  const left = Math.min(...nodes.map((node) => node.pos[0])), top = Math.min(...nodes.map((node) => node.pos[1]));
  const view = window.app.canvas.ds;
  view.scale = 0.75;
  view.offset[0] = 120 / view.scale - left;
  view.offset[1] = 120 / view.scale - top;
  window.app.canvas.setDirty(true, true);
  await new Promise((done) => setTimeout(done, 1500));
}"""


@pytest.fixture(params=["canvas", "nodes 2.0"])
def renderer(request, page):
    switch = "(on) => window.app.extensionManager.setting.set('Comfy.VueNodes.Enabled', on)"
    page.evaluate(switch, request.param == "nodes 2.0")
    page.wait_for_timeout(2000)
    yield request.param
    page.evaluate(switch, False)


def keep_picture(page, name: str) -> None:
    if folder := os.environ.get("SCREENSHOTS"):
        page.screenshot(path=str(Path(folder) / f"{name}.png"))


def test_the_clip_plays_and_candidates_are_seen_after_a_run(page, renderer):
    page.evaluate(OPEN, as_graph("slot_id_text_to_video"))
    page.wait_for_timeout(4000)
    keep_picture(page, f"offered {renderer}")
    page.keyboard.press("Escape")  # what the template offers to download may cover the page
    page.evaluate(SHOW, ["Reference clip", "Track face", "Select portrait", "How good"])
    keep_picture(page, f"opened {renderer}")
    assert page.get_by_text("failed to load", exact=False).count() == 0
    page.wait_for_function(PLAYS, arg=CLIP)
    page.evaluate(QUICKLY)
    page.evaluate("() => window.app.queuePrompt(0)")
    page.wait_for_function(PICTURES, arg=["SlotIDReferenceReport", 1, renderer == "nodes 2.0"])
    page.wait_for_function(CANDIDATES, arg=5)
    page.wait_for_function(TRACKED)
    page.evaluate(SHOW, ["Reference clip", "Track face", "Select portrait", "How good"])
    keep_picture(page, f"after a run {renderer}")
