"""Each language has each text of the schemas, and none that is gone."""

import json
import re

import pytest

from slotid_core.comfy_runtime import PACK
from tools import locales

KEPT = r"models/[\w/]+|[\w.-]+\.(?:safetensors|pth|pt|jsonl|md)\b|(?<!\w)'[\w -]+'|\d{2,}"
NAMES = sorted(path.name for path in (PACK / "locales").iterdir())


@pytest.fixture(scope="module")
def english(pack_module):
    nodes = pack_module("nodes").NODES
    return locales.definitions({node.define_schema().node_id: node.GET_NODE_INFO_V1() for node in nodes})


def test_the_languages():
    assert sorted(("en", *locales.LANGUAGES)) == NAMES


def test_english_is_what_the_schemas_say(english):
    """`python -m tools.locales` writes it."""
    assert locales.read("en", "nodeDefs.json") == english


@pytest.mark.parametrize("language", locales.LANGUAGES)
def test_a_language_has_every_node_and_socket_and_no_other(english, language):
    ours, theirs = locales.texts(english), locales.texts(locales.read(language, "nodeDefs.json"))
    assert theirs.keys() == ours.keys()


@pytest.mark.parametrize("language", locales.LANGUAGES)
def test_texts_are_translated_and_keep_what_is_not_to_be(english, language):
    """File names, folders, combo values in quotes and bare numbers are the same in every language."""
    theirs = locales.texts(locales.read(language, "nodeDefs.json"))
    same = [path for path, text in locales.texts(english).items() if len(text) > 40 and theirs[path] == text]
    assert same == []
    for path, text in locales.texts(english).items():
        for kept in re.findall(KEPT, text):
            assert kept in theirs[path], (path, kept, theirs[path])


@pytest.mark.parametrize("language", NAMES)
def test_main_names_every_category(english, pack_module, language):
    parts = {part for node in pack_module("nodes").NODES for part in node.define_schema().category.split("/")}
    assert set(locales.read(language, "main.json")["nodeCategories"]) == parts


def test_a_translation_follows_its_text_and_goes_with_it():
    before = {"A": {"description": "One.", "inputs": {"x": {"tooltip": "Two."}}}}
    after = {"B": {"description": "Two.", "inputs": {"y": {"tooltip": "Three."}}}}
    translation = {"A": {"description": "Eins.", "inputs": {"x": {"tooltip": "Zwei."}}}, "Z": {"description": "Alt."}}
    assert locales.carried_over(before, after, translation) == {"B": {"description": "Zwei."}}


def test_signs_of_the_message_format_are_escaped():
    assert locales.escaped("{x} a@b | c") == "{'{'}x{'}'} a{'@'}b {'|'} c"
    for language in NAMES:
        for text in locales.texts(locales.read(language, "nodeDefs.json")).values():
            assert not re.search(r"[{}@|]", re.sub(r"\{'.'\}", "", text)), text


def test_comfyui_serves_them(client):
    found = json.loads(client.get_text("/i18n"))
    for language in NAMES:
        assert found[language]["nodeDefs"]["SlotIDFaceTrack"]["inputs"]["margin"]["tooltip"]
        assert found[language]["nodeCategories"]["Slot-ID"]
