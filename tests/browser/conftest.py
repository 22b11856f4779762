"""A ComfyUI with the pack in it, and its page in a real browser."""

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[2]))

from slotid_core.comfy_server import ComfyServer
from tools.browser import find_chromium, open_page


@pytest.fixture(scope="session")
def page(tmp_path_factory):
    if find_chromium() is None:
        pytest.skip("no Chromium on this machine; on Debian: apt-get install chromium")
    with ComfyServer(tmp_path_factory.mktemp("comfyui")) as server, open_page(server.address) as opened:
        yield opened
