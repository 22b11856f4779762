"""Scripts of panels are asked for by a page that shows a node of the pack, and by no other."""

from slotid_core.comfy_runtime import PACK

CORE_ALONE = """() => window.app.loadGraphData({ version: 0.4, last_node_id: 1, last_link_id: 0, links: [], nodes: [{
  id: 1, type: "EmptyLatentImage", pos: [0, 0], size: [300, 120], inputs: [], outputs: [], widgets_values: [64, 64, 1],
}] })"""
ADD = """() => {
  const node = window.LiteGraph.createNode("SlotIDGateSchedule");
  window.app.graph.add(node);
  node.widgets.find((one) => one.name === "low").value = 0.25;
}"""
OURS_ALONE = """() => {
  const graph = window.app.graph.serialize();
  return { ...graph, nodes: graph.nodes.filter((one) => one.type === "SlotIDGateSchedule") };
}"""
LOAD = """async (graph) => {
  await window.app.loadGraphData(graph);
  return window.app.graph.nodes[0].widgets.some((one) => one.name === "slotid_panel");
}"""
LOW = "() => window.app.graph.nodes.at(-1).widgets.find((one) => one.name === 'low').value"
PANEL_SHOWN = "() => document.querySelector('.slotid-panel')?.isConnected"


def asked_for(requests: list[str]) -> set[str]:
    names = (address.split("?")[0] for address in requests)
    return {name.rsplit("/", 1)[1] for name in names if name.endswith(".js") and "/slotid/" in name}


def reload(page) -> None:
    page.reload()
    page.wait_for_function("window.app && window.app.graph && window.app.extensionManager")
    page.wait_for_timeout(3000)


def test_a_page_without_nodes_of_the_pack_asks_for_no_panel(page):
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.evaluate(CORE_ALONE)
    page.wait_for_timeout(1000)  # the page keeps the graph, and opens with it again
    reload(page)
    page.evaluate(CORE_ALONE)
    assert asked_for(requests) == {file.name for file in (PACK / "web" / "start").glob("*.js")}
    page.evaluate(ADD)
    page.wait_for_function(PANEL_SHOWN)
    assert {"all.js", "panel.js", "gate.js"} <= asked_for(requests)


def test_a_graph_that_is_loaded_first_finds_panels_in_its_nodes_at_once(page):
    """Its nodes are then as large as their panels need, before links are drawn and undo looks at the graph."""
    page.evaluate(CORE_ALONE)
    page.evaluate(ADD)
    page.wait_for_function(PANEL_SHOWN)
    graph = page.evaluate(OURS_ALONE)
    page.evaluate(CORE_ALONE)
    page.wait_for_timeout(1000)
    reload(page)
    assert page.evaluate(LOAD, graph)
    assert page.evaluate(LOW) == 0.25


def test_a_node_that_is_gone_before_its_panel_came_leaves_none(page):
    page.evaluate(CORE_ALONE)
    page.wait_for_timeout(1000)
    reload(page)
    page.evaluate(ADD)
    page.evaluate(CORE_ALONE)
    page.evaluate(ADD)
    page.wait_for_function(PANEL_SHOWN)
    page.wait_for_timeout(1000)
    assert page.locator(".slotid-panel").count() == 1


def test_panels_that_cannot_be_loaded_are_told(page):
    page.evaluate(CORE_ALONE)
    page.wait_for_timeout(1000)
    page.route("**/slotid/scripts/**", lambda route: route.abort())
    reload(page)
    page.evaluate(ADD)
    page.get_by_text("Panels of nodes could not be loaded", exact=False).first.wait_for(state="visible")
    assert page.evaluate(LOW) == 0.25
    page.unroute("**/slotid/scripts/**")
    reload(page)
    page.evaluate(ADD)
    page.wait_for_function(PANEL_SHOWN)
