"""Saved people in a load node, on the canvas and in Nodes 2.0: chosen by mouse and keyboard, copied, set aside.

SCREENSHOTS=FOLDER keeps pictures of the page.
"""

import pytest
from test_touched import errors, keep_picture, undo, value  # noqa: F401

API = {
    "1": {"class_type": "SlotIDLoadIdentity", "inputs": {"identity_name": "person_1000015.safetensors"}},
    "2": {"class_type": "PreviewAny", "inputs": {"source": ["1", 1]}},
}
OPEN = """async (api) => {
  await window.app.loadApiJson(api, "people");
  for (const node of window.app.graph.nodes) node.pos = node.type === "PreviewAny" ? [900, 0] : [0, 0];
  await window.app.loadGraphData(window.app.graph.serialize(), true, true, "people");
  window.app.canvas.ds.scale = 1;
  window.app.canvas.ds.offset[0] = window.app.canvas.ds.offset[1] = 200;
  window.app.canvas.setDirty(true, true);
  await new Promise((done) => setTimeout(done, 1000));
}"""

PASTED = """() => {
  let reached = 0;
  const count = () => (reached += 1);
  document.addEventListener("paste", count);
  const search = document.querySelector(".slotid-panel input[type=search]");
  search.dispatchEvent(new ClipboardEvent("paste", { bubbles: true }));
  document.removeEventListener("paste", count);
  return reached;
}"""
CHOOSE_OUTSIDE = """(name) => {
  const widget = window.app.graph.nodes.find((node) => node.type === "SlotIDLoadIdentity").widgets
    .find((widget) => widget.name === "identity_name");
  widget.value = name;
  widget.callback?.(name);
}"""
TRAINING = """() => {
  for (const node of window.app.graph.nodes) {
    const detail = { node: String(node.id), seen: { kind: "training", steps: 5, curves: {} } };
    window.app.api.dispatchCustomEvent("slotid_training", detail);
  }
  return document.querySelectorAll("[aria-label='Loss over steps']").length;
}"""


@pytest.mark.parametrize("renderer", ["canvas", "nodes 2.0"])
def test_people_are_chosen_and_kept_in_order(page, renderer, errors):  # noqa: F811
    switch = "(on) => window.app.extensionManager.setting.set('Comfy.VueNodes.Enabled', on)"
    page.evaluate(switch, renderer == "nodes 2.0")
    page.wait_for_timeout(1500)
    page.evaluate(OPEN, API)
    chosen = lambda: value(page, "SlotIDLoadIdentity", "identity_name")  # noqa: E731
    button = page.locator(".slotid-panel button[aria-expanded]")
    if button.get_attribute("aria-expanded") == "false":
        button.click()
    cards = page.locator(".slotid-people .slotid-candidate")
    page.wait_for_function("() => document.querySelectorAll('.slotid-people .slotid-candidate').length >= 6")
    before = cards.count()

    page.get_by_title("person_1009992.safetensors").click()
    assert chosen() == "person_1009992.safetensors"
    assert page.locator('[data-action="delete"]').is_disabled()  # it comes with the pack
    page.get_by_title("person_1009993.safetensors").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    assert chosen() == "person_1009994.safetensors"
    focused = "() => document.activeElement.title"
    assert page.evaluate(focused) == "person_1009994.safetensors"  # without focus, Delete would be the node's

    name = f"Ann {renderer.replace('.', '')}"
    page.locator('[data-action="duplicate"]').click()
    page.keyboard.type(name)
    page.keyboard.press("Enter")
    page.get_by_title(f"{name}.safetensors").wait_for()
    page.wait_for_timeout(1000)
    assert chosen() == f"{name}.safetensors" and cards.count() == before + 1
    page.get_by_label("Search people").fill("ann")
    assert cards.count() == 1
    assert page.evaluate(PASTED) == 0
    keep_picture(page, f"people {renderer}")
    page.get_by_label("Search people").fill("")

    page.get_by_title(f"{name}.safetensors").focus()  # in the search, Ctrl+Z is the text's
    undo(page)
    assert chosen() == "person_1009994.safetensors"
    page.get_by_title(f"{name}.safetensors").click()
    assert chosen() == f"{name}.safetensors"
    page.locator('[data-action="delete"]').click()
    page.evaluate(CHOOSE_OUTSIDE, "person_1009994.safetensors")
    assert page.locator('[data-action="delete"]').inner_text() == "Delete"  # what was asked was asked of another
    page.get_by_title(f"{name}.safetensors").click()
    page.locator('[data-action="delete"]').focus()
    for _ in range(2):
        page.keyboard.press("Enter")
    page.get_by_text(f"It is kept as {name}.safetensors.deleted").wait_for()
    assert cards.count() == before
    assert page.evaluate(TRAINING) == 0  # a training of another workflow, where a node has the same id
    assert errors == []
    page.evaluate(switch, False)
