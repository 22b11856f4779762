"""What a user does first: open the template browser, find the pack, open its workflows."""

import json
import os
from pathlib import Path

import pytest

from tools.build_workflows import inputs_of

WORKFLOWS = Path(__file__).resolve().parents[2] / "workflows"
PREFIXES = ("SlotID", "Lynx", "STDRC", "LaVieID")
NAMES = sorted(path.stem for path in (WORKFLOWS / "api").glob("*.json"))


def as_graph(name: str) -> dict:
    """A template that opens as a graph, also where the page knows forms."""
    workflow = json.loads((WORKFLOWS / f"{name}.json").read_text())
    workflow["extra"]["linearMode"] = False
    return workflow


def open_template(page, name: str) -> None:
    page.keyboard.press("Escape")  # newer pages have a dialog that names missing files
    page.evaluate("() => window.app.extensionManager.command.execute('Comfy.BrowseTemplates')")
    page.get_by_role("dialog").locator("span", has_text="slotid").first.click()  # panels behind it may say it too
    title = page.get_by_text(name, exact=True).last
    title.wait_for()
    title.scroll_into_view_if_needed()  # pictures load as they come into view
    wait_for_thumbnail(page, name)
    title.click()
    page.wait_for_function(f"() => window.app.graph.nodes.length > 10 && document.title.includes('{name}')")
    page.wait_for_timeout(1000)


def wait_for_thumbnail(page, name: str) -> None:
    """The template's picture is there and not broken."""
    page.wait_for_function(
        """(name) => [...document.querySelectorAll("img")]
            .some((image) => image.alt === name && image.naturalWidth > 0)""",
        arg=name,
    )


# By the type and not by `has_errors`, which newer pages also set where a model's file is missing, as it is here.
MISSING_NODES = """() => window.app.graph.nodes
    .filter((node) => !window.LiteGraph.registered_node_types[node.type])
    .map((node) => node.type)"""


@pytest.mark.parametrize("name", NAMES)
def test_template_opens_whole_and_reads_back_as_the_api_form(page, name):
    open_template(page, name)
    if folder := os.environ.get("SCREENSHOTS"):
        page.screenshot(path=str(Path(folder) / f"{name}.png"))
    assert page.evaluate(MISSING_NODES) == []
    assert page.get_by_text("Missing Node", exact=False).count() == 0
    read_back = page.evaluate("async () => (await window.app.graphToPrompt()).output")
    check_same(inputs_of(read_back), inputs_of(json.loads((WORKFLOWS / "api" / f"{name}.json").read_text())))


def check_same(found: dict, expected: dict) -> None:
    """Links and values are the same. Core's nodes gain widgets from release to release, and 0.33.0 has `codec` below
    `format`, where the `codec` of older graphs is a hidden widget of its own."""
    assert found.keys() == expected.keys()
    for number, (kind, inputs) in expected.items():
        found_kind, found_inputs = found[number]
        assert found_kind == kind
        if kind.startswith(PREFIXES):
            assert found_inputs == inputs, kind
            continue
        for name, value in inputs.items():
            by_that_name = [found_inputs[other] for other in found_inputs if other.split(".")[-1] == name]
            assert value in by_that_name, (kind, name)


def test_the_clip_can_be_uploaded_from_the_node(page):
    open_template(page, "slot_id_text_to_video")
    widgets = page.evaluate(
        """() => window.app.graph.nodes.find((node) => node.type === 'SlotIDLoadReferenceVideo')
             .widgets.map((widget) => [widget.name, widget.type])"""
    )
    assert ["file", "combo"] in widgets
    assert any(kind == "button" for _, kind in widgets), widgets
