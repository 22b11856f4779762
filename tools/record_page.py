"""Record the moving picture of the README: a first video, made by clicks on ComfyUI's real page.

    python -m tools.record_page [FILE.webp]          # needs Chromium and Playwright

From the empty page: the menu, the template, Run, what the run shows in its nodes, one thing touched, the result. Every
picture is a screenshot of that page; only the pointer is drawn in, as a headless browser shows none.
"""

import io
import sys
import tempfile
import time
from pathlib import Path

from slotid_core.comfy_runtime import PACK
from slotid_core.comfy_server import ComfyServer
from slotid_core.files import whole_file
from tools.browser import open_page

PICTURE = PACK / "docs" / "images" / "first_video.webp"
WIDTH, HEIGHT = 1366, 768
SHOWN_WIDTH = 900
LARGEST = 2**20  # bytes, as `tools/check_sizes.py` takes them
QUALITIES = (70, 55, 40, 28, 18)
POINTER, ROUND = (255, 214, 0), 7
MENU, ENTRY = "Slot-ID", "First video: a person from a clip"
FINISHED = """async () => Object.values(await (await fetch("/api/history")).json())
  .filter((run) => run.status?.completed).length"""
PUT_IN_MIDDLE = """async (types) => {
  const nodes = window.app.graph.nodes.filter((node) => types.includes(node.type));
  const edge = (least, side, far) =>
    least(...nodes.map((node) => node.pos[side] + (far ? node.size[side] : side ? -30 : 0)));
  const [left, top] = [edge(Math.min, 0), edge(Math.min, 1)];
  const [width, height] = [edge(Math.max, 0, true) - left, edge(Math.max, 1, true) - top];
  const view = window.app.canvas.ds;
  const scale = Math.min(1200 / width, 590 / height);
  view.scale = scale;
  view.offset[0] = (70 + (1296 - width * scale) / 2) / scale - left;
  view.offset[1] = (140 + (610 - height * scale) / 2) / scale - top;
  window.app.canvas.setDirty(true, true);
  await new Promise((done) => setTimeout(done, 1200));
}"""
STEP_VIDEOS = """(share) => {
  for (const video of document.querySelectorAll("video")) {
    if (!video.duration) continue;
    video.pause();
    video.currentTime = share * video.duration;
  }
}"""


class Recorder:
    """Screenshots of a page with how long each is shown, and the pointer where it is."""

    def __init__(self, page):
        self.page, self.pictures, self.pointer, self.clicks = page, [], None, 0

    def keep(self, milliseconds: int) -> None:
        from PIL import Image, ImageDraw

        picture = Image.open(io.BytesIO(self.page.screenshot())).convert("RGB")
        if self.pointer:
            x, y = self.pointer
            box = (x - ROUND, y - ROUND, x + ROUND, y + ROUND)
            ImageDraw.Draw(picture).ellipse(box, fill=POINTER, outline=(0, 0, 0), width=2)
        picture = picture.resize((SHOWN_WIDTH, round(SHOWN_WIDTH * HEIGHT / WIDTH)), Image.Resampling.LANCZOS)
        self.pictures.append((picture, milliseconds))

    def move(self, element, milliseconds: int = 900) -> None:
        box = element.bounding_box()
        self.pointer = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        element.hover()
        self.keep(milliseconds)

    def click(self, element, milliseconds: int = 900) -> None:
        self.move(element, milliseconds)
        element.click()
        self.clicks += 1

    def save(self, path: Path) -> int:
        """The best quality that is small enough; gives the number of bytes."""
        pictures, durations = zip(*self.pictures, strict=True)
        for quality in QUALITIES:
            content = io.BytesIO()
            pictures[0].save(
                content, "WEBP", save_all=True, append_images=pictures[1:], duration=durations, loop=0,
                quality=quality, method=6,
            )  # fmt: skip
            if content.tell() <= LARGEST:
                break
        with whole_file(path) as unfinished:
            unfinished.write_bytes(content.getvalue())
        return content.tell()


def record(page) -> Recorder:
    film = Recorder(page)
    page.evaluate("() => window.app.extensionManager.setting.set('Comfy.Minimap.Visible', false)")
    if (banner := page.locator("button:has(i[class*='lucide--x'])").first).is_visible():
        banner.click()  # it offers Nodes 2.0
    film.keep(700)
    begin = time.monotonic()
    film.click(page.locator(".comfy-menu-button-wrapper").first)
    film.move(page.get_by_text(MENU, exact=True).first)
    entry = page.get_by_text(ENTRY, exact=False).first
    entry.wait_for(state="visible")
    film.click(entry, 1400)
    page.wait_for_function("() => window.app.graph.nodes.some((node) => node.type === 'SlotIDSampler')")
    page.wait_for_timeout(4000)
    film.pointer = None
    film.keep(1600)
    before = page.evaluate(FINISHED)
    film.click(page.get_by_test_id("queue-button").get_by_text("Run").first)
    film.pointer = None
    while page.evaluate(FINISHED) == before:
        if len(film.pictures) < 14:
            film.keep(500)
        page.wait_for_timeout(4000)
    print(f"{film.clicks} clicks, {time.monotonic() - begin:.0f} s to the video", flush=True)

    page.evaluate(PUT_IN_MIDDLE, ["SlotIDLoadReferenceVideo", "SlotIDFaceTrack", "SlotIDSelectPortrait"])
    for frame in range(6):
        page.evaluate(STEP_VIDEOS, frame / 6)
        page.wait_for_timeout(500)
        film.keep(350)
    film.click(page.locator(".slotid-candidate").nth(1), 1000)
    page.wait_for_timeout(500)
    film.keep(1800)
    film.pointer = None
    page.evaluate(PUT_IN_MIDDLE, ["SaveVideo"])
    for frame in range(12):
        page.evaluate(STEP_VIDEOS, frame / 12)
        page.wait_for_timeout(400)
        film.keep(200 if frame < 11 else 1500)
    return film


def main(names: list[str]) -> int:
    path = Path(names[0]) if names else PICTURE
    with (
        tempfile.TemporaryDirectory() as base,
        ComfyServer(Path(base)) as server,
        open_page(server.address, WIDTH, HEIGHT) as page,
    ):
        size = record(page).save(path)
    print(f"{path}: {size / 2**10:.0f} KiB")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
