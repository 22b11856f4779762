"""Templates on the page: no node is larger than its file says, also once players and panels are there, and no node is
over another. On newer pages than the pinned one core's own nodes have grown, and titles are a little wider.
"""

import pytest
from test_template_form import FORMS_SINCE, KNOWN
from test_templates import NAMES, PREFIXES, as_graph

from tools.graph_geometry import overlaps, socket_heights

SLACK, SLACK_OF_NEWER = 1, 4  # pixels
OPEN = "async ([workflow, name]) => { await window.app.loadGraphData(workflow, true, true, name); }"
NODES = """() => window.app.graph.nodes.map((node) => ({
  id: Number(node.id),
  pos: [...node.pos],
  size: [node.size[0], node.flags?.collapsed ? 0 : Math.max(node.size[1], node.computeSize()[1])],
  inputs: Object.fromEntries(
    (node.inputs ?? []).map((input, slot) => [input.name, node.getInputPos(slot)[1] - node.pos[1]])),
  outputs: (node.outputs ?? []).map((_, slot) => node.getOutputPos(slot)[1] - node.pos[1]),
}))"""


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
