"""What goes wrong around the page: a file that vanished, 2,000 frames, 200 people, a narrow window. Nothing that was
set is lost, and a sentence says what is not there. A server that was started again is in test_restart.py.

SCREENSHOTS=FOLDER keeps pictures of the page.
"""

import copy
import shutil
from fractions import Fraction

import av
import numpy as np
import pytest
from test_touched import API, PROMPT, errors, inputs_of, keep_picture, two_people, value  # noqa: F401

from slotid_core import comfy_server
from slotid_core.comfy_runtime import PACK
from slotid_core.comfy_server import ComfyServer
from tools.browser import another_page, find_chromium

PERSON = "person_1000015.safetensors"
MANY, FRAMES, SHOWN = 200, 2004, 2000
LOAD = {"class_type": "SlotIDLoadIdentity", "inputs": {"identity_name": PERSON}}
SAID = {"class_type": "PreviewAny", "inputs": {"source": ["7", 1]}}
CLIP = {key: API[key] for key in ("1", "2", "3", "5")}
OPEN = """async ([api, name]) => {
  await window.app.loadApiJson(api, name);
  window.app.graph.nodes.forEach((node, place) => (node.pos = [440 * place, 0]));
  await window.app.loadGraphData(window.app.graph.serialize(), true, true, name);
  window.app.canvas.ds.scale = 1;
  window.app.canvas.ds.offset[0] = window.app.canvas.ds.offset[1] = 110;
  window.app.canvas.setDirty(true, true);
  await new Promise((done) => setTimeout(done, 1500));
}"""
RUN = "() => window.app.queuePrompt(0)"
CUT_OFF = """() => [".slotid-note", ".slotid-bar", ".slotid-strip"]
  .flatMap((part) => [...document.querySelectorAll(`.slotid-panel ${part}`)])
  .filter((part) => part.offsetWidth && part.scrollWidth > part.clientWidth + 1).map((part) => part.textContent)"""
INSIDE = """() => {
  const panel = document.querySelector(".slotid-panel").getBoundingClientRect();
  return [...document.querySelectorAll(".slotid-panel button, .slotid-panel .slotid-note")]
    .filter((part) => part.offsetWidth)
    .every((part) => part.getBoundingClientRect().right <= panel.right + 1);
}"""


class Hosted:
    """A ComfyUI of these tests alone, whose files they may change, and which can be started again at its address."""

    def __init__(self, base):
        self.server = ComfyServer(base).__enter__()
        self.base = self.server.base

    def stop(self) -> None:
        self.server.stop()

    def start_again(self, monkeypatch) -> None:
        port = int(self.server.address.split(":")[1])
        monkeypatch.setattr(comfy_server, "free_port", lambda: port)
        self.server = ComfyServer(self.base).__enter__()


@pytest.fixture(scope="module")
def hosted(tmp_path_factory):
    if find_chromium() is None:
        pytest.skip("no Chromium on this machine; on Debian: apt-get install chromium")
    hosted = Hosted(tmp_path_factory.mktemp("comfyui"))
    two_people(hosted.base / "input" / "two.mp4")
    yield hosted
    hosted.stop()


@pytest.fixture(scope="module")
def page(page, hosted):
    """Of the server that can be stopped, in the browser of the other tests."""
    with another_page(page.context.browser, hosted.server.address) as opened:
        yield opened


def say(page, text: str) -> None:
    page.get_by_text(text, exact=False).first.wait_for(state="visible")


def test_a_clip_that_vanished_is_named_and_what_was_set_stays(page, hosted, errors):  # noqa: F811
    """The page has not shown it before, as browsers keep what they have shown."""
    file = hosted.base / "input" / "vanished.mp4"
    shutil.copy(hosted.base / "input" / "two.mp4", file)
    page.evaluate("() => window.app.refreshComboInNodes()")
    away = file.rename(hosted.base / "vanished.mp4")
    api = copy.deepcopy(CLIP)
    api["1"]["inputs"] |= {"file": file.name, "start_seconds": 1.0, "num_frames": 33}
    page.evaluate(OPEN, [api, "vanished"])
    say(page, "vanished.mp4 is not in ComfyUI's input folder any more.")
    keep_picture(page, "hostile vanished")
    assert inputs_of(page.evaluate(PROMPT)) == inputs_of(api)
    away.rename(file)
    page.evaluate("() => window.app.api.dispatchCustomEvent('reconnected')")
    page.wait_for_function("() => document.querySelector('.slotid-window')?.offsetWidth > 10")
    say(page, "1 s to 3.1 s of")
    assert inputs_of(page.evaluate(PROMPT)) == inputs_of(api)
    errors[:] = [text for text in errors if "404" not in text]  # the browser's own line about the clip
    assert errors == []


def test_two_thousand_frames_are_played_and_the_rest_is_told(page, hosted, errors):  # noqa: F811
    with av.open(str(PACK / "example_people" / "person_1000015.mp4")) as container:
        pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    with av.open(str(hosted.base / "input" / "long.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(16), options={"preset": "ultrafast"})
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        to_and_fro = pictures + pictures[::-1]
        for number in range(FRAMES):
            picture = np.ascontiguousarray(to_and_fro[number % len(to_and_fro)])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    page.evaluate("() => window.app.refreshComboInNodes()")
    asked = API["2"]["inputs"] | {"frames": ["12", 0], "on_missing": "skip"}
    api = {
        "11": {"class_type": "LoadVideo", "inputs": {"file": "long.mp4"}},
        "12": {"class_type": "GetVideoComponents", "inputs": {"video": ["11", 0]}},
        "2": {"class_type": "SlotIDFaceTrack", "inputs": asked},
        "14": {"class_type": "PreviewAny", "inputs": {"source": ["2", 3]}},
    }  # fmt: skip
    page.evaluate(OPEN, [api, "long"])
    page.evaluate(RUN)
    say(page, f"The first {SHOWN} of {FRAMES} frames; the run took all of them.")
    slider = page.get_by_label("tracked faces: frame")
    slider.focus()
    page.keyboard.press("End")
    page.get_by_text(f"{SHOWN}/{SHOWN}").wait_for()
    page.keyboard.press("ArrowLeft")
    page.get_by_text(f"{SHOWN - 1}/{SHOWN}").wait_for()
    page.wait_for_function("() => !document.querySelector('.slotid-person').hidden")
    page.locator(".slotid-person").first.click()
    assert value(page, "SlotIDFaceTrack", "subject") == 0
    keep_picture(page, "hostile 2000 frames")
    assert errors == []


def test_two_hundred_people_are_searched_and_one_who_vanished_is_named(page, hosted, errors):  # noqa: F811
    folder = hosted.base / "models" / "slotid" / "identities"
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(MANY):
        shutil.copy(PACK / "example_people" / "identities" / PERSON, folder / f"guest_{number:03}.safetensors")
    page.evaluate("() => window.app.refreshComboInNodes()")
    page.evaluate(OPEN, [{"7": LOAD, "8": SAID}, "many"])
    page.get_by_role("button", name="People…").click()
    cards = page.locator(".slotid-people .slotid-candidate")
    page.wait_for_function(f"() => document.querySelectorAll('.slotid-people .slotid-candidate').length >= {MANY}")
    everybody = cards.count()
    page.get_by_label("Search people").fill("guest_199")
    say(page, f"1 of {everybody} people.")
    page.get_by_title("guest_199.safetensors").click()
    assert value(page, "SlotIDLoadIdentity", "identity_name") == "guest_199.safetensors"
    page.get_by_label("Search people").fill("nobody is called this")
    say(page, f"None of {everybody} people.")
    page.get_by_label("Search people").fill("")
    assert cards.count() == everybody
    keep_picture(page, "hostile 200 people")

    (folder / "guest_199.safetensors").unlink()
    button = page.get_by_role("button", name="People…")
    button.click()
    button.click()
    say(page, "guest_199 is not there any more.")
    assert value(page, "SlotIDLoadIdentity", "identity_name") == "guest_199.safetensors"
    keep_picture(page, "hostile person vanished")
    assert errors == []


@pytest.mark.parametrize("renderer", ["canvas", "nodes 2.0"])
def test_in_a_narrow_window_nothing_is_cut_off(page, errors, renderer):  # noqa: F811
    switch = "(on) => window.app.extensionManager.setting.set('Comfy.VueNodes.Enabled', on)"
    page.evaluate(switch, renderer == "nodes 2.0")
    wide = page.viewport_size
    page.evaluate(OPEN, [CLIP, "narrow"])
    page.wait_for_function("() => document.querySelector('.slotid-window')?.offsetWidth > 10")
    before = inputs_of(page.evaluate(PROMPT))
    page.set_viewport_size({"width": 480, "height": 720})
    page.evaluate(
        """async () => {
          const node = window.app.graph.nodes.find((node) => node.type === "SlotIDLoadReferenceVideo");
          node.setSize([120, 100]);
          await new Promise((done) => setTimeout(done, 1500));
        }"""
    )
    say(page, "0 s to 1.1 s of")
    assert page.evaluate(CUT_OFF) == [] and page.evaluate(INSIDE)
    assert inputs_of(page.evaluate(PROMPT)) == before
    page.locator(".slotid-end").focus()
    page.keyboard.press("ArrowRight")
    assert value(page, "SlotIDLoadReferenceVideo", "num_frames") == 21
    keep_picture(page, f"hostile narrow {renderer}")
    page.set_viewport_size(wide)
    page.evaluate(switch, False)
    assert errors == []
