"""The form as which each template opens: it asks for who and what, shows the result, and names what is there."""

import json

import pytest

from slotid_core.comfy_runtime import PACK
from tools.template_form import form
from tools.template_layouts import LAYOUTS


def template(name: str, folder: str = "workflows") -> dict:
    return json.loads((PACK / folder / f"{name}.json").read_text())


@pytest.mark.parametrize("name", sorted(LAYOUTS))
def test_the_template_has_the_form_of_its_layout(name):
    """`python -m tools.template_form` writes it."""
    extra = template(name)["extra"]
    expected = form(template(name), LAYOUTS[name])
    assert {key: extra.get(key) for key in expected} == expected
    labels = [
        socket["label"]
        for node in template(name)["nodes"]
        for socket in node.get("inputs", [])
        if node["type"] == "LoadImage" and socket["name"] == "image"
    ]
    assert len(labels) == len(set(labels)) == sum(widget == "image" for _, widget in expected["linearData"]["inputs"])


@pytest.mark.parametrize("name", sorted(LAYOUTS))
def test_what_is_asked_is_typed_and_what_is_shown_is_a_saved_video(name):
    api = template(name, "workflows/api")
    asked = template(name)["extra"]["linearData"]
    for number, widget in asked["inputs"]:
        assert isinstance(api[str(number)]["inputs"][widget], str)  # a value, and no link
    assert [api[str(number)]["class_type"] for number in asked["outputs"]] == ["SaveVideo"]
    last, _ = asked["inputs"][-1]
    assert api[str(last)]["class_type"] == "CLIPTextEncode" and "egative" not in api[str(last)]["_meta"]["title"]


@pytest.mark.parametrize("name", sorted(LAYOUTS))
def test_every_file_that_a_person_must_bring_is_asked(name):
    """Otherwise Run ends in an error that the form has no place to mend."""
    brought = {
        (int(number), key)
        for number, node in template(name, "workflows/api").items()
        for key in ("image", "file")
        if isinstance(node["inputs"].get(key), str)
    }
    assert brought <= {tuple(pair) for pair in template(name)["extra"]["linearData"]["inputs"]}
