"""The form as which a template opens where the page knows forms (its "app mode", since 1.41.13): who, prompt, result.

    python -m tools.template_form [name ...]     # writes it into templates that are built already

In a workflow's `extra`, `linearData` names the widgets of the form, [node, widget], and the nodes whose results it
shows; `linearMode` opens it at once. A picture is called by its node's title there. Older pages have an unfinished view
of that name, and `web/start/comfy.js` keeps them from it.
"""

import json
import sys

from slotid_core.comfy_runtime import PACK
from tools.template_layouts import LAYOUTS, Layout

# What is asked of a node: the widget that says who, or what is to be seen.
WIDGETS = {
    "CLIPTextEncode": "text",
    "LoadImage": "image",
    "SlotIDLoadIdentity": "identity_name",
    "SlotIDLoadReferenceVideo": "file",
}


def form(workflow: dict, layout: Layout) -> dict:
    """What goes into `extra`: inputs in the order in which they are asked, then the result."""
    types = {node["id"]: node["type"] for node in workflow["nodes"]}
    first, prompt, result = layout.seen
    inputs = [[number, WIDGETS[types[number]]] for number in (first, *layout.asked_as_well, prompt)]
    return {"linearMode": True, "linearData": {"inputs": inputs, "outputs": [result]}}


def put_form(workflow: dict, layout: Layout) -> None:
    """The form, and a name beside each picture that it asks for: of several, all would be called "image"."""
    workflow.setdefault("extra", {}).update(form(workflow, layout))
    for node in workflow["nodes"]:
        if node["type"] != "LoadImage" or [node["id"], "image"] not in workflow["extra"]["linearData"]["inputs"]:
            continue
        others = [one for one in node.get("inputs", []) if one["name"] != "image"]
        named = {"name": "image", "type": "COMBO", "widget": {"name": "image"}, "link": None, "label": node["title"]}
        node["inputs"] = [named, *others]


def main(names: list[str]) -> int:
    for name in names or LAYOUTS:
        path = PACK / "workflows" / f"{name}.json"
        workflow = json.loads(path.read_text())
        put_form(workflow, LAYOUTS[name])
        path.write_text(json.dumps(workflow, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
