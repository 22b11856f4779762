"""No server outlives the one who started it. Run with a small HTTP program in ComfyUI's place, which starts in no time
and, as ComfyUI may, has started a child of its own."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typed import present

from slotid_core.comfy_runtime import PACK, find_comfyui
from slotid_core.comfy_server import ComfyServer
from slotid_core.errors import SlotIDError

SERVING = """
import http.server, os, pathlib, subprocess, sys

class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()

port = int(sys.argv[sys.argv.index("--port") + 1])
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"])
pathlib.Path("pids").write_text(f"{os.getpid()} {child.pid}")
http.server.HTTPServer(("127.0.0.1", port), Answer).serve_forever()
"""
# A background job of a shell inherits that SIGINT is ignored, and would pass it on.
HOLDER = """
import signal, sys, time
from pathlib import Path
from slotid_core.comfy_server import ComfyServer

signal.signal(signal.SIGINT, signal.default_int_handler)
with ComfyServer(Path(sys.argv[1])):
    print("ready", flush=True)
    time.sleep(300)
"""


@pytest.fixture
def install(tmp_path, monkeypatch):
    def write(main: str) -> Path:
        folder = tmp_path / "comfyui"
        (folder / "comfy").mkdir(parents=True)
        (folder / "main.py").write_text(main)
        monkeypatch.setenv("COMFYUI_PATH", str(folder))
        return tmp_path / "base"

    return write


def pids(base: Path) -> list[int]:
    return [int(number) for number in (base / "pids").read_text().split()]


def running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state != "Z"


def all_gone(numbers: list[int], seconds: float = 10) -> bool:
    deadline = time.monotonic() + seconds
    while any(map(running, numbers)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not any(map(running, numbers))


needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks processes up in /proc")


@needs_proc
def test_an_exception_inside_stops_the_server_and_its_child(install):
    base = install(SERVING)
    with pytest.raises(ZeroDivisionError), ComfyServer(base):
        assert all(map(running, pids(base)))
        raise ZeroDivisionError
    assert all_gone(pids(base))


@needs_proc
@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda sign: sign.name)
def test_a_signal_to_the_starter_stops_the_server_and_its_child(install, sign):
    base = install(SERVING)
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(base)], cwd=PACK, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        env=os.environ | {"PYTHONPATH": str(PACK)},
    )  # fmt: skip
    try:
        assert present(holder.stdout).readline() == b"ready\n"
        assert all(map(running, pids(base)))
        holder.send_signal(sign)
        assert holder.wait(30) != 0
        assert all_gone(pids(base))
    finally:
        holder.kill()
        holder.wait()
        present(holder.stdout).close()
        for pid in pids(base):  # none, unless the test has failed
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def test_a_server_that_dies_while_starting_is_reported_with_its_last_words(install):
    base = install("import sys\nprint('first line')\nsys.exit('a folder is missing')")
    with (
        pytest.raises(SlotIDError, match=r"stopped while starting \(exit 1\)(.|\n)*a folder is missing"),
        ComfyServer(base),
    ):
        pytest.fail("it never started")


def test_the_pack_is_linked_into_the_base_folder_and_not_into_comfyui(install):
    base = install(SERVING)
    with ComfyServer(base):
        assert (base / "custom_nodes" / "slotid").resolve() == PACK
    assert sorted(path.name for path in find_comfyui().iterdir()) == ["comfy", "main.py"]


def test_a_named_folder_that_is_no_comfyui_is_an_error_even_if_another_exists(tmp_path, monkeypatch):
    monkeypatch.setenv("COMFYUI_PATH", str(tmp_path))
    with pytest.raises(SlotIDError, match="COMFYUI_PATH is .* holds no ComfyUI"):
        find_comfyui()
