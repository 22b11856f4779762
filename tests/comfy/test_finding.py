"""Search words and advanced inputs of the nodes' schemas."""

import pytest
from comfy_api.latest import io


@pytest.fixture(scope="module")
def finding(pack_module):
    return pack_module("nodes.shared.finding")


@pytest.fixture(scope="module")
def schemas(pack_module):
    return {node.define_schema().node_id: node.define_schema() for node in pack_module("nodes").NODES}


@pytest.mark.parametrize(
    ("typed", "begins_with"),
    [
        ("likeness", {"SlotIDApplyIdentity", "LynxApply", "STDRCApply", "LaVieIDApply", "SlotIDLikenessScore"}),
        ("consistent character", {"SlotIDLoadReferenceVideo", "LynxFaceEmbedding", "SlotIDLoadIdentity"}),
        ("reference video", {"SlotIDLoadReferenceVideo", "SlotIDFaceTrack", "SlotIDApplyIdentity"}),
    ],
)
def test_what_people_type_finds_the_nodes_they_need_and_not_all(finding, schemas, typed, begins_with):
    found = {node_id for node_id in schemas if typed in finding.aliases(node_id)}
    assert begins_with <= found
    assert len(found) < len(schemas) / 2


def test_every_node_has_words_of_its_own(finding, schemas):
    known = finding.WORDS | finding.SYSTEMS
    assert [node_id for node_id in schemas if not finding.aliases(node_id) and "Adapter" not in node_id] == [
        node_id for node_id in schemas if not any(part in node_id for part in known)
    ]
    for part in finding.WORDS:
        assert any(part in node_id for node_id in schemas), part


def test_aliases_are_in_the_schema_where_comfyui_has_them(finding, schemas):
    for node_id, schema in schemas.items():
        assert getattr(schema, "search_aliases", []) == (list(finding.aliases(node_id)) if finding.HAS_ALIASES else [])


def test_advanced_inputs_are_optional_to_know_and_say_so_to_the_page(finding, schemas):
    for node_id, names in finding.ADVANCED.items():
        inputs = {one.id: one for one in schemas[node_id].inputs}
        for name in names:
            assert inputs[name].as_dict()["advanced"] is True
            assert isinstance(inputs[name], io.WidgetInput) and inputs[name].default is not None, (node_id, name)
        others = [one for name, one in inputs.items() if name not in names]
        assert others and not any(one.as_dict().get("advanced") for one in others)


def test_names_carry_the_brand(schemas):
    brands = ("Slot-ID", "Lynx", "ST-DRC", "Stand-In", "LaVieID")
    assert [
        schema.display_name for schema in schemas.values() if not any(b in schema.display_name for b in brands)
    ] == []
