"""Templates as they lie on the canvas: nothing over anything, and what matters in view.

No browser: places and sizes are in the files, and `tests/browser/test_template_sizes.py` compares them with the page's.
"""

import json

import numpy as np
import pytest

from slotid_core.comfy_runtime import PACK
from tools.graph_geometry import (
    NOTE,
    Rect,
    around,
    links_behind_nodes,
    links_of,
    overlaps,
    rect_of,
    socket_heights,
    spline,
    view,
)
from tools.graph_layout import MENU, SIDE_BAR, WINDOW
from tools.graph_reroutes import reroutes_of
from tools.template_layouts import LAYOUTS, ROOM

NAMES = sorted(path.stem for path in (PACK / "workflows").glob("*.json"))
READABLE = 0.6  # the smallest scale at which the canvas draws text
DESKTOP = (1920, 1000)
# Twelve steps from clip to file do not fit into a window from left to right.
RESULT_OUT_OF_VIEW = {
    "slot_id_text_to_video", "slot_id_wan_14b", "slot_id_wan_1_3b", "slot_id_wan_i2v_14b", "slot_id_wan_2_2_14b",
    "lynx_two_people_wan_14b", "lynx_small_face_wan_14b", "st_drc_text_to_video", "lavie_id_text_to_video",
}  # fmt: skip


def template(name: str) -> dict:
    return json.loads((PACK / "workflows" / f"{name}.json").read_text())


def test_every_template_has_a_layout():
    assert sorted(LAYOUTS) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_no_node_is_over_another(name):
    assert overlaps(template(name)) == []


@pytest.mark.parametrize("name", NAMES)
def test_nodes_have_the_room_that_they_need_in_use(name):
    for node in template(name)["nodes"]:
        width, height = ROOM.get(node["type"], (0, 0))
        assert node["size"][0] >= width and node["size"][1] >= height, node["type"]


@pytest.mark.parametrize("name", NAMES)
def test_links_run_from_left_to_right_and_not_behind_nodes(name):
    workflow = template(name)
    assert all(link.start[0] < link.end[0] for link in links_of(workflow))
    assert links_behind_nodes(workflow) == []


@pytest.mark.parametrize("name", NAMES)
def test_note_first_input_prompt_and_result_are_in_view_at_opening(name):
    workflow, layout = template(name), LAYOUTS[name]
    assert workflow["extra"]["ds"]["scale"] >= READABLE
    seen, laptop = (view(workflow, *window, left=SIDE_BAR - 1, top=MENU - 1) for window in (DESKTOP, WINDOW))
    wanted = [node for node in workflow["nodes"] if node["id"] in layout.seen or node["type"] == NOTE]
    assert len(wanted) == 4
    hidden = [node["id"] for node in wanted if not seen.holds(rect_of(node))]
    assert hidden == ([layout.seen[2]] if name in RESULT_OUT_OF_VIEW else [])
    for node in wanted:  # on a laptop, where they begin
        x, y = node["pos"]
        if node["id"] == layout.seen[0] or node["type"] == NOTE:
            assert laptop.holds(Rect(x, y, x + 200, y + 60)), node["type"]


@pytest.mark.parametrize("name", NAMES)
def test_stages_are_coloured_groups_that_hold_their_nodes(name):
    workflow, layout = template(name), LAYOUTS[name]
    rects = {node["id"]: rect_of(node) for node in workflow["nodes"]}
    groups = {group["title"]: group for group in workflow["groups"]}
    assert list(groups) == [stage.title for stage in layout.stages]
    assert len({group["color"] for group in groups.values()}) == len(groups)
    for stage in layout.stages:
        x, y, width, height = groups[stage.title]["bounding"]
        inside = [number for ids in layout.columns[stage.first : stage.last + 1] for number in ids]
        assert Rect(x, y, x + width, y + height).holds(around(rects[number] for number in inside))


@pytest.mark.parametrize("name", NAMES)
def test_seeds_are_fixed_and_titles_are_words(name):
    workflow = template(name)
    for node in workflow["nodes"]:
        for value in node.get("widgets_values", []):
            assert value not in ("randomize", "increment", "decrement"), node["type"]
        title = node.get("title", "Note")
        assert "_" not in title and (title[0].isupper() or title == "umT5"), title


def test_what_lies_over_something_is_found():
    """The checks above fail where they should."""

    def node(number, x, y, inputs=0, outputs=0):
        return {
            "id": number, "type": "Any", "pos": [x, y], "size": [100, 100],
            "inputs": [{"name": str(n), "type": "IMAGE"} for n in range(inputs)],
            "outputs": [{"name": str(n), "type": "IMAGE"} for n in range(outputs)],
        }  # fmt: skip

    first, second, between = node(1, 0, 0, outputs=1), node(2, 400, 0, inputs=1), node(3, 200, 0)
    workflow = {"nodes": [first, second, between], "links": [[1, 1, 0, 2, 0, "IMAGE"]]}
    assert overlaps(workflow) == [] and links_behind_nodes(workflow) == [(1, 2, 3)]
    between["pos"] = [200, 200]
    assert links_behind_nodes(workflow) == []
    between["pos"] = [99, 100]  # its title reaches into the first node
    assert overlaps(workflow) == [(1, 3)]


def test_a_link_is_the_canvas_spline():
    points = spline(np.array([[[0.0, 0.0], [300.0, 400.0]]]))[0]
    middle = points[len(points) // 2]
    assert np.abs(points + points[::-1] - [300, 400]).max() < 1e-9  # symmetric about the middle
    assert abs(middle[1] - 200) < 10 and points[0][1] < points[0][0]  # it sets out to the right


def test_a_hidden_link_is_led_around_by_as_few_reroutes_as_do():
    workflow = in_a_row(4)
    workflow["links"] = [[7, 1, 0, 4, 0, "IMAGE"], [8, 1, 0, 2, 0, "IMAGE"]]
    gaps = [150.0, 350.0, 550.0]
    made = reroutes_of(workflow, gaps)
    assert links_behind_nodes(workflow) != [] and {number for one in made for number in one["linkIds"]} == {7}
    led = workflow | {"extra": led_by(made)}
    assert links_behind_nodes(led) == []
    link = links_of(led)[0]
    assert link.through == tuple(tuple(one["pos"]) for one in made) and len(made) == 2  # down, along, and up again
    workflow["nodes"][2]["pos"] = [400, 900]  # one node less in the way
    workflow["nodes"][3]["pos"] = [600, 300]
    assert len(reroutes_of(workflow, gaps)) == 1


def test_reroutes_of_two_links_are_apart_and_no_way_is_an_error():
    workflow = in_a_row(4)
    workflow["links"] = [[7, 1, 0, 4, 0, "IMAGE"], [8, 1, 1, 4, 1, "IMAGE"]]
    made = reroutes_of(workflow, [150.0, 350.0, 550.0])
    places = np.array([one["pos"] for one in made])
    far = np.abs(places[:, None] - places[None]).max(-1) + 1000 * np.eye(len(places))
    assert len(made) == 4 and far.min() >= 24
    with pytest.raises(SystemExit, match="node 1 to node 4"):
        reroutes_of(workflow, [350.0])


def led_by(made: list[dict]) -> dict:
    last = {one["linkIds"][0]: one["id"] for one in made}
    return {"reroutes": made, "linkExtensions": [{"id": link, "parentId": one} for link, one in last.items()]}


def in_a_row(count: int) -> dict:
    """Nodes of 100 x 100 from left to right, 200 apart, of two inputs and outputs each."""
    sockets = [{"name": name, "type": "IMAGE"} for name in "ab"]
    nodes = [
        {"id": number, "type": "Any", "pos": [200 * (number - 1), 0], "size": [100, 100], "inputs": sockets,
         "outputs": sockets}
        for number in range(1, count + 1)
    ]  # fmt: skip
    return {"nodes": nodes, "links": []}


def test_an_input_that_is_a_widget_is_at_its_widget():
    node = {
        "inputs": [{"name": "a"}, {"name": "b", "widget": {"name": "b"}}, {"name": "c", "widget": {"name": "c"}}],
        "outputs": [{"name": "x"}, {"name": "y"}],
    }
    inputs, outputs = socket_heights(node)
    assert inputs[0] == outputs[0] == 14 and outputs[1] == 34
    assert outputs[1] < inputs[1] < inputs[2] == inputs[1] + 24
