"""Templates as forms: where the page knows forms they open as one, in which who and what can be set; elsewhere they
open as graphs.

SCREENSHOTS=FOLDER keeps pictures of the page.
"""

import json

import pytest
from test_templates import NAMES, WORKFLOWS
from test_touched import errors, keep_picture  # noqa: F401

OPEN = "async ([workflow, name]) => { await window.app.loadGraphData(workflow, true, true, name); }"
KNOWN = "() => window.__COMFYUI_FRONTEND_VERSION__.split('.').map(Number)"
FORMS_SINCE = [1, 41, 13]
MODE = "() => window.app.rootGraph?.extra?.linearMode ?? window.app.graph.extra?.linearMode ?? false"


@pytest.mark.parametrize("name", NAMES)
def test_a_template_opens_as_a_form_where_there_are_forms(page, name, errors):  # noqa: F811
    workflow = json.loads((WORKFLOWS / f"{name}.json").read_text())
    page.evaluate(OPEN, [workflow, name])
    page.wait_for_timeout(2000)
    knows_forms = page.evaluate(KNOWN) >= FORMS_SINCE
    assert page.evaluate(MODE) == knows_forms
    keep_picture(page, f"form {name}")
    form = page.get_by_test_id("linear-widgets")
    if not knows_forms:
        assert form.count() == 0
        assert page.locator("#graph-canvas").is_visible()
        return
    form.wait_for()
    prompt = workflow["extra"]["linearData"]["inputs"][-1][0]
    (text,) = (node["widgets_values"][0] for node in workflow["nodes"] if node["id"] == prompt)
    fields = form.locator("textarea")
    assert text in [fields.nth(place).input_value() for place in range(fields.count())]
    fields.last.fill("Another prompt.")
    sent = page.evaluate("async () => (await window.app.graphToPrompt()).output")
    assert sent[str(prompt)]["inputs"]["text"] == "Another prompt."
    assert errors == []
