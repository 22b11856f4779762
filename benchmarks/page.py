"""What the pack's scripts add to the start of ComfyUI's page, and what dragging on the timeline of a long clip takes.

Milliseconds of the page's main thread in CPU time, as other programs on the machine change how long a load takes and
not how much it computes; frames a second are of the wall clock. Loads with and without the pack's scripts take turns in
one browser with a warm cache. Needs Chromium; without one there are no ratios.
"""

import statistics
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.paired import Ratio
from slotid_core.comfy_client import ComfyClient
from slotid_core.comfy_runtime import PACK
from slotid_core.comfy_server import ComfyServer
from tools.browser import find_chromium, open_page

PAIRS = 20
MINUTES, RATE = 10, 30
DRAGGED_SECONDS = 6.0
ROUNDS = 12
STAND_IN = "export const app = { registerExtension() {} }, api = { addEventListener() {} };"
WITHOUT = "slotid_without"
# The list of scripts is the same request in both loads; only what it names differs.
FILTER = f"""
const ask = window.fetch;
window.fetch = async (address, ...given) => {{
  const answer = await ask(address, ...given);
  if (!/\\/extensions(\\?|$)/.test(String(address?.url ?? address))) return answer;
  const all = await answer.json();
  const kept = localStorage.getItem("{WITHOUT}") ? all.filter((one) => !one.includes("/slotid/")) : all;
  return new Response(JSON.stringify(kept), {{ headers: {{ "Content-Type": "application/json" }} }});
}};
const seen = () => {{
  if (window.app?.graph?.nodes?.length) window.shownAfter = performance.now();
  else requestAnimationFrame(seen);
}};
seen();
"""
LOADED = "() => window.shownAfter"
OURS = "() => window.app.extensions.some((one) => one.name === 'SlotID.Page')"
TIMELINE = """async (file) => {
  window.app.graph.clear();
  const node = window.LiteGraph.createNode("SlotIDLoadReferenceVideo");
  window.app.graph.add(node);
  const widget = node.widgets.find((one) => one.name === "file");
  if (!widget.options.values.includes(file)) widget.options.values.push(file);
  widget.value = file;
  widget.callback?.(file);
  window.app.canvas.ds.scale = 1;
  window.app.canvas.ds.offset[0] = window.app.canvas.ds.offset[1] = 150;
  window.app.canvas.setDirty(true, true);
}"""
READY = "() => document.querySelector('.slotid-window')?.offsetWidth > 0"
# One step of the drag in each frame that the browser draws, there and back over the whole strip. `far` 0 is no drag.
DRAG = """async ([seconds, far]) => {
  const pane = document.querySelector(".slotid-window");
  const strip = pane.parentElement.getBoundingClientRect();
  const tell = (kind, at) => (kind === "pointerdown" ? pane : window).dispatchEvent(new PointerEvent(kind, {
    bubbles: true, cancelable: true, pointerId: 1, clientX: strip.left + at * strip.width, clientY: strip.top + 10 }));
  if (far) tell("pointerdown", 0);
  const places = new Set();
  let frames = 0;
  const begin = performance.now();
  await new Promise((done) => {
    const step = () => {
      const past = (performance.now() - begin) / 1000;
      if (past > seconds) return done();
      frames += 1;
      if (far) tell("pointermove", far * Math.abs(((past / 2) % 2) - 1));
      places.add(pane.style.left);
      requestAnimationFrame(step);
    };
    requestAnimationFrame(step);
  });
  if (far) tell("pointerup", 0);
  return { rate: (1000 * frames) / (performance.now() - begin), frames, places: places.size };
}"""


def scripts() -> list[Path]:
    return sorted((PACK / "web").rglob("*.js"))


def long_clip(path: Path, seconds: int) -> Path:
    """A small clip whose pictures change all the time."""
    import av
    import numpy as np

    ramp = np.add.outer(np.arange(96), np.arange(128)).astype(np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=RATE, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv420p"
        for frame in range(seconds * RATE):
            picture = np.repeat((ramp + frame % 256)[..., None], 3, axis=-1)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path


@contextmanager
def served_page() -> Iterator[tuple]:
    with (
        tempfile.TemporaryDirectory() as base,
        ComfyServer(Path(base)) as server,
        open_page(server.address) as page,
    ):
        page.add_init_script(FILTER)
        thread = page.context.new_cdp_session(page)
        thread.send("Performance.enable", {"timeDomain": "threadTicks"})
        yield server, page, thread


def main_thread(thread) -> float:
    """Milliseconds of CPU time that the page's main thread has taken."""
    found = {one["name"]: one["value"] for one in thread.send("Performance.getMetrics")["metrics"]}
    return 1000 * found["TaskDuration"]


def load(page, thread, address: str, without: bool) -> tuple[float, float]:
    """(ms of the main thread, ms of the wall clock) until the first graph is on the page."""
    page.evaluate(f"(on) => on ? localStorage.setItem('{WITHOUT}', 1) : localStorage.removeItem('{WITHOUT}')", without)
    page.goto("about:blank")
    before = main_thread(thread)
    page.goto(f"http://{address}/")
    page.wait_for_function(LOADED)
    taken = main_thread(thread) - before
    assert page.evaluate(OURS) != without
    return taken, page.evaluate(LOADED)


def starts(server, page, thread) -> Ratio:
    pairs = []
    for number in range(-2, PAIRS):  # two to warm the caches
        order = (True, False) if number % 2 else (False, True)
        found = {without: load(page, thread, server.address, without) for without in order}
        if number >= 0:
            pairs.append((found[False], found[True]))
            print(f"  with {found[False]}, without {found[True]}", file=sys.stderr, flush=True)
    cpu, wall = (statistics.median(ours[i] - bare[i] for ours, bare in pairs) for i in (0, 1))
    low, median, high = statistics.quantiles([ours[0] / bare[0] for ours, bare in pairs], n=4)
    claim = f"page: start with the pack's scripts (+{cpu:.0f} ms CPU, {wall:+.0f} ms) / without"
    return Ratio(claim, median, low, high)


def scripts_alone(page, thread, address: str) -> Ratio:
    """Milliseconds of the main thread to load what the pack adds to every start, and all of its scripts, into a page
    without anything else: ComfyUI's own start takes hundreds of times as long, and varies by more."""
    page.route("**/slotid-nothing", lambda route: route.fulfill(content_type="text/html", body="<html></html>"))
    for name in ("api", "app"):
        page.route(f"**/scripts/{name}.js", lambda route: route.fulfill(content_type="text/javascript", body=STAND_IN))
    web = PACK / "web"
    first = [f"/extensions/slotid/{path.name}" for path in scripts() if path.parent == web / "start"]
    later = [
        f"/slotid/scripts/{path.relative_to(web).as_posix()}" for path in scripts() if path.parent != web / "start"
    ]
    taken: list[list[float]] = []
    for _ in range(ROUNDS):
        round_ = []
        for asked in ([], first, first + later):
            page.goto(f"http://{address}/slotid-nothing")
            before = main_thread(thread)
            page.evaluate("(asked) => Promise.all(asked.map((one) => import(one))).then(() => {})", asked)
            page.wait_for_timeout(150)
            round_.append(main_thread(thread) - before)
        taken.append(round_)
    few, all_ = ([one[i] - one[0] for one in taken] for i in (1, 2))
    claim = (
        f"page: scripts of its start ({len(first)} files, {statistics.median(few):.0f} ms CPU) / "
        f"all scripts ({len(first + later)}, {statistics.median(all_):.0f})"
    )
    low, median, high = statistics.quantiles([a / b for a, b in zip(few, all_, strict=True)], n=4)
    return Ratio(claim, median, low, high)


def drags(server, page, thread) -> Ratio:
    """A frame of dragging the window over ten minutes, beside a frame in which nothing is touched."""
    with tempfile.TemporaryDirectory() as folder:
        name = ComfyClient(server.address).upload(long_clip(Path(folder) / "long.mp4", 60 * MINUTES))
    page.evaluate(f"() => localStorage.removeItem('{WITHOUT}')")
    page.goto(f"http://{server.address}/")
    page.wait_for_function(LOADED)
    page.evaluate(TIMELINE, name)
    page.wait_for_function(READY)
    page.wait_for_timeout(5000)  # the small pictures are read
    rounds: list[dict[int, tuple[float, dict]]] = []
    for number in range(5):
        found = {}
        for far in (0, 1) if number % 2 else (1, 0):
            before = main_thread(thread)
            told = page.evaluate(DRAG, [DRAGGED_SECONDS, far])
            found[far] = ((main_thread(thread) - before) / told["frames"], told)
        assert found[1][1]["places"] > 20 and found[0][1]["places"] == 1
        rounds.append(found)
        print(f"  {found}", file=sys.stderr, flush=True)
    dragged, still = (statistics.median(one[far][0] for one in rounds) for far in (1, 0))
    rates = [statistics.median(one[far][1]["rate"] for one in rounds) for far in (1, 0)]
    claim = f"page: a frame of a drag ({dragged:.1f} ms CPU, {rates[0]:.0f}/s) / still ({still:.1f}, {rates[1]:.0f}/s)"
    low, median, high = statistics.quantiles([one[1][0] / one[0][0] for one in rounds], n=4)
    return Ratio(claim, median, low, high)


def run() -> list[Ratio]:
    if find_chromium() is None:
        return []
    with served_page() as (server, page, thread):
        found = [starts(server, page, thread), drags(server, page, thread)]
        return [*found, scripts_alone(page, thread, server.address)]
