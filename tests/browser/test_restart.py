"""A server that is stopped and started again under an open page: nothing that was set is lost, and what ComfyUI emptied
is said.

SCREENSHOTS=FOLDER keeps pictures of the page.
"""

from test_hostile import CLIP, LOAD, OPEN, RUN, SAID, hosted, page, say  # noqa: F401
from test_touched import PROMPT, inputs_of, keep_picture, undo

SHOWN_PICTURES = """() => {
  const pictures = [...document.querySelectorAll(".slotid-grid .slotid-candidate img")];
  return pictures.length > 1 && pictures.every((picture) => picture.naturalWidth > 0);
}"""
TWO_ROWS = """async () => {
  window.app.graph.nodes.forEach((node, place) => (node.pos = [440 * (place % 3), 700 * Math.floor(place / 3)]));
  window.app.canvas.ds.scale = 0.65;
  window.app.canvas.setDirty(true, true);
  await new Promise((done) => setTimeout(done, 1500));
}"""


def what_was_set(page) -> dict:  # noqa: F811
    """Inputs of the prompt but for what a node shows of the last run."""
    return {key: entry for key, entry in inputs_of(page.evaluate(PROMPT)).items() if entry[0] != "PreviewAny"}


def test_a_server_that_was_started_again_loses_nothing_that_was_set(page, hosted, monkeypatch):  # noqa: F811
    page.route("**/view?*", lambda route: route.continue_())  # without the browser's cache, which keeps what was shown
    page.evaluate(OPEN, [CLIP | {"7": LOAD, "8": SAID}, "restarted"])
    page.evaluate(TWO_ROWS)
    page.evaluate(RUN)
    page.wait_for_function(SHOWN_PICTURES)
    page.locator(".slotid-grid .slotid-candidate").nth(1).click()
    hosted.stop()
    page.locator(".slotid-window").focus()
    page.keyboard.press("ArrowRight")
    page.get_by_role("button", name="People…").click()
    say(page, "ComfyUI does not answer. Is it running?")
    keep_picture(page, "hostile no server")
    before = what_was_set(page)
    assert before["1"][1]["start_seconds"] == 0.1 and before["3"][1]["rank"] == 1

    hosted.start_again(monkeypatch)
    page.wait_for_function("async () => (await fetch('/api/system_stats').catch(() => ({}))).ok")
    page.wait_for_timeout(5000)  # the page connects again
    assert what_was_set(page) == before
    page.locator(".slotid-window").focus()
    page.keyboard.press("ArrowRight")
    undo(page)  # the nodes are made anew, and ask for what the server emptied
    say(page, "The clip is gone: ComfyUI empties its temporary folder when it starts.")
    # Chromium keeps the candidates' pictures in memory as long as the page is open, so they are still shown.
    assert page.locator(".slotid-grid [aria-checked=true]").get_attribute("aria-label").startswith("Candidate 1")
    keep_picture(page, "hostile restarted")
    assert what_was_set(page) == before

    page.evaluate(RUN)
    page.get_by_text("The clip is gone", exact=False).first.wait_for(state="hidden")
    assert what_was_set(page) == before
