"""ComfyUI lists the blueprints, and their nodes get all that they require."""

import json


def is_widget(kind) -> bool:
    return isinstance(kind, list) or kind in ("INT", "FLOAT", "STRING", "BOOLEAN", "COMBO")


def test_the_route_lists_them_and_their_nodes_are_fed(client):
    from tools.build_blueprints import BLUEPRINTS

    info = client.object_info()
    listed = json.loads(client.get_text("/global_subgraphs"))
    ours = {entry["name"]: key for key, entry in listed.items() if entry["info"]["node_pack"] == "custom_nodes.slotid"}
    assert set(ours) == {blueprint.name for blueprint in BLUEPRINTS}
    for name, key in ours.items():
        workflow = json.loads(json.loads(client.get_text(f"/global_subgraphs/{key}"))["data"])
        (definition,) = workflow["definitions"]["subgraphs"]
        assert definition["name"] == name
        for node in definition["nodes"]:
            required = info[node["type"]]["input"].get("required", {})
            sockets = {socket for socket, (kind, *_) in required.items() if not is_widget(kind)}
            linked = {socket["name"] for socket in node["inputs"] if socket["link"] is not None}
            assert sockets <= linked, (name, node["type"])
