"""ComfyUI's page in a real, headless Chromium."""

import shutil
from contextlib import contextmanager

import requests

from slotid_core.errors import SlotIDError

PATIENCE = 120_000  # milliseconds for any one action; two busy cores can need one minute
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--no-first-run",
)  # fmt: skip
GREETED = {"Comfy.TutorialCompleted": True, "Comfy.OnboardingCoachmarks.Seen": ["appMode", "firstRun"]}


def find_chromium() -> str | None:
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@contextmanager
def open_page(address: str, width: int = 1700, height: int = 1000):
    """A Playwright page on which ComfyUI's app is ready; Playwright's own browser download is not needed."""
    from playwright.sync_api import sync_playwright

    chromium = find_chromium()
    if chromium is None:
        raise SlotIDError("No Chromium found. Install it, on Debian with: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=list(FLAGS))
        try:
            with another_page(browser, address, width, height) as page:
                yield page
        finally:
            browser.close()


@contextmanager
def another_page(browser, address: str, width: int = 1700, height: int = 1000):
    """As `open_page`, in a browser that runs already: Playwright runs once in a process."""
    # Otherwise the template browser, and newer pages' tours, greet a new user and cover the page.
    for setting, value in GREETED.items():
        requests.post(f"http://{address}/settings/{setting}", json=value, timeout=30).raise_for_status()
    page = browser.new_page(viewport={"width": width, "height": height})
    try:
        page.set_default_timeout(PATIENCE)
        page.goto(f"http://{address}/")
        page.wait_for_function("window.app && window.app.graph && window.app.extensionManager")
        page.wait_for_timeout(3000)
        yield page
    finally:
        page.close()
