"""Templates on the page: no node is larger than its file says, also once players and panels are there, and no node is
over another. On newer pages than the pinned one core's own nodes have grown, and titles are a little wider.
"""

import math

import pytest
from test_template_form import FORMS_SINCE, KNOWN
from test_templates import NAMES, PREFIXES, as_graph

from tools.graph_geometry import SAMPLES, links_of, overlaps, socket_heights, spline

SLACK, SLACK_OF_NEWER = 1, 4  # pixels
SOCKET = 10  # links end that far inside of a node's edge
OPEN = "async ([workflow, name]) => { await window.app.loadGraphData(workflow, true, true, name); }"
NODES = """() => window.app.graph.nodes.map((node) => ({
  id: Number(node.id),
  pos: [...node.pos],
  size: [node.size[0], node.flags?.collapsed ? 0 : Math.max(node.size[1], node.computeSize()[1])],
  inputs: Object.fromEntries(
    (node.inputs ?? []).map((input, slot) => [input.name, node.getInputPos(slot)[1] - node.pos[1]])),
  outputs: (node.outputs ?? []).map((_, slot) => node.getOutputPos(slot)[1] - node.pos[1]),
}))"""

# The canvas keeps the middle of the last piece of each link that it has drawn.
MIDDLES = """async () => {
  window.app.canvas.ds.scale = 0.1; // all of it is drawn
  window.app.canvas.ds.offset = [800, 800];
  window.app.canvas.setDirty(true, true);
  await new Promise((done) => setTimeout(done, 500));
  return [...window.app.graph.links.values()].map((link) => [Number(link.id), [...link._pos]]);
}"""


@pytest.mark.parametrize("name", NAMES)
def test_nodes_are_as_large_as_the_file_says(page, name):
    workflow = as_graph(name)
    page.evaluate(OPEN, [workflow, name])
    page.wait_for_timeout(3000)  # players and panels come
    newer = page.evaluate(KNOWN) >= FORMS_SINCE
    expected = {node["id"]: node for node in workflow["nodes"]}
    found = page.evaluate(NODES)
    assert len(found) == len(expected)
    assert overlaps({"nodes": found}) == []
    for node in found:
        if newer and not expected[node["id"]]["type"].startswith(PREFIXES):
            continue
        for length, ours in zip(node["size"], expected[node["id"]]["size"], strict=True):
            assert length <= ours + (SLACK_OF_NEWER if newer else SLACK), expected[node["id"]]["type"]
        inputs, outputs = socket_heights(expected[node["id"]])
        for socket, ours in zip(expected[node["id"]].get("inputs", []), inputs, strict=True):
            if "widget" not in socket:  # those are somewhere at their widget
                assert abs(node["inputs"][socket["name"]] - ours) < 2, socket["name"]
        assert all(abs(real - ours) < 2 for real, ours in zip(node["outputs"], outputs, strict=True))


@pytest.mark.parametrize("name", ["slot_id_text_to_video", "lynx_two_people_wan_14b"])
def test_links_are_where_the_page_draws_them(page, name):
    workflow = as_graph(name)
    assert workflow["extra"]["reroutes"]
    page.evaluate(OPEN, [workflow, name])
    page.wait_for_timeout(3000)
    drawn = dict(page.evaluate(MIDDLES))
    for link in links_of(workflow):
        last = spline(link.stops[None])[0, -len(SAMPLES) :]
        middle = (last[len(last) // 2 - 1] + last[len(last) // 2]) / 2
        assert math.dist(drawn[link.id], middle) < SOCKET, (link.source, link.target)
