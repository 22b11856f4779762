"""Blueprints against the templates that they are parts of: form, types, and nothing forgotten."""

import json

import pytest

from slotid_core.comfy_runtime import PACK
from tools.build_blueprints import BLUEPRINTS, FOLDER, INPUT, OUTPUT, blueprint_workflow
from tools.graph_geometry import overlaps

FILES = sorted(FOLDER.glob("*.json"))
OURS = set(json.loads((PACK / "node_list.json").read_text()))


def loaded(path) -> tuple[dict, dict]:
    workflow = json.loads(path.read_text())
    (definition,) = workflow["definitions"]["subgraphs"]
    return workflow, definition


def test_each_system_has_a_way_in_and_a_way_out():
    assert [path.stem for path in FILES] == sorted(blueprint.name for blueprint in BLUEPRINTS)
    for system in ("Slot-ID", "Lynx", "ST-DRC", "Stand-In", "LaVieID"):
        of_system = [path.stem for path in FILES if f"({system})" in path.stem]
        assert sum("to person" in name for name in of_system) == sum("to video" in name for name in of_system) == 1


@pytest.mark.parametrize("blueprint", BLUEPRINTS, ids=lambda blueprint: blueprint.name)
def test_the_file_is_what_the_template_makes(blueprint):
    """`python -m tools.build_blueprints` writes it."""
    template = json.loads((PACK / "workflows" / f"{blueprint.template}.json").read_text())
    assert blueprint_workflow(blueprint, template) == json.loads((FOLDER / f"{blueprint.name}.json").read_text())


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_one_node_is_the_subgraph_and_shows_its_sockets(path):
    workflow, definition = loaded(path)
    (node,) = workflow["nodes"]
    assert node["type"] == definition["id"] and definition["name"] == path.stem
    assert definition["category"] == "Slot-ID" and definition["description"].endswith(".")
    for side in ("inputs", "outputs"):
        shown, inside = ([(one["name"], one["type"]) for one in place[side]] for place in (node, definition))
        assert shown == inside and len(set(shown)) == len(shown)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_links_join_sockets_of_one_type_and_are_known_at_both_ends(path):
    _, definition = loaded(path)
    nodes = {node["id"]: node for node in definition["nodes"]}
    for link in definition["links"]:
        source = (
            definition["inputs"][link["origin_slot"]]
            if link["origin_id"] == INPUT
            else nodes[link["origin_id"]]["outputs"][link["origin_slot"]]
        )
        target = (
            definition["outputs"][link["target_slot"]]
            if link["target_id"] == OUTPUT
            else nodes[link["target_id"]]["inputs"][link["target_slot"]]
        )
        assert link["type"] == source["type"], link
        assert target["type"] in (link["type"], "*") or link["type"] == "*", link
        assert link["id"] in source.get("linkIds", source.get("links"))
        assert target.get("link") == link["id"] or link["id"] in target.get("linkIds", [])
    known = {link["id"] for link in definition["links"]}
    assert len(known) == len(definition["links"])
    for node in nodes.values():
        used = {socket["link"] for socket in node.get("inputs", []) if socket["link"] is not None}
        used |= {number for socket in node.get("outputs", []) for number in socket["links"]}
        assert used <= known
    assert all(socket["linkIds"] for socket in (*definition["inputs"], *definition["outputs"]))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_nodes_are_known_and_do_not_lie_over_one_another(path):
    _, definition = loaded(path)
    kinds = {node["type"] for node in definition["nodes"]}
    assert kinds & OURS and kinds - OURS <= {
        "CLIPTextEncode", "EmptyHunyuanLatentVideo", "VAEEncode", "VAEDecode", "CreateVideo", "ModelSamplingSD3",
    }  # fmt: skip
    assert overlaps(definition) == []
