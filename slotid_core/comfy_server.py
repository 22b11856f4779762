"""A ComfyUI server of our own: started on a free loopback port, with the pack in it, and always stopped again."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from .comfy_runtime import PACK, find_comfyui
from .errors import SlotIDError

FOLDERS = ("custom_nodes", "models", "input", "output", "temp", "user")
START_TIMEOUT_SECONDS = 300
STOP_TIMEOUT_SECONDS = 10
# ComfyUI's main.py, run by a process that ends, with all it started, when its standard input closes. Whoever holds the
# other end may exit, be interrupted or be killed: no server outlives it.
RUN_WHILE_WATCHED = """
import os, runpy, signal, sys, threading

def end_with_the_starter():
    os.read(0, 1)
    os.killpg(0, signal.SIGKILL) if hasattr(os, "killpg") else os._exit(1)

threading.Thread(target=end_with_the_starter, daemon=True).start()
sys.argv = sys.argv[1:]
sys.path[0] = os.path.dirname(sys.argv[0])
runpy.run_path(sys.argv[0], run_name="__main__")
"""


class ComfyServer:
    """Use as a context manager; `address` is "127.0.0.1:port".

    Args:
        base: ComfyUI's base directory; made if missing.
        extra: further command-line arguments for ComfyUI.
        link_pack: link this pack into `custom_nodes`; False where the base holds one that was installed.
    """

    def __init__(self, base: Path, extra: tuple[str, ...] = (), link_pack: bool = True):
        self.base, self.extra, self.link_pack = Path(base).resolve(), extra, link_pack
        self.log = self.base / "server.log"
        self.process: subprocess.Popen | None = None
        self.address = ""

    def __enter__(self) -> "ComfyServer":
        prepare_base(self.base, self.link_pack)
        port = free_port()
        self.address = f"127.0.0.1:{port}"
        command = self.command(port)
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT, cwd=self.base,
                start_new_session=True,
            )  # fmt: skip
        try:
            self.wait_until_ready(self.process)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *exception) -> None:
        self.stop()

    def command(self, port: int) -> list[str]:
        import torch

        arguments = ["--listen", "127.0.0.1", "--port", str(port), "--base-directory", str(self.base)]
        arguments += ["--database-url", "sqlite:///:memory:", "--disable-auto-launch"]
        if not torch.cuda.is_available():
            arguments.append("--cpu")
        main = str(find_comfyui() / "main.py")
        return [sys.executable, "-u", "-c", RUN_WHILE_WATCHED, main, *arguments, *self.extra]

    def wait_until_ready(self, process: subprocess.Popen) -> None:
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while time.monotonic() < deadline:
            if process.poll() is not None:
                raise SlotIDError(f"ComfyUI stopped while starting (exit {process.returncode}).\n{self.log_tail()}")
            try:
                urllib.request.urlopen(f"http://{self.address}/system_stats", timeout=5).close()
                return
            except (urllib.error.URLError, OSError):
                time.sleep(0.25)
        raise SlotIDError(f"ComfyUI did not answer within {START_TIMEOUT_SECONDS} s.\n{self.log_tail()}")

    def log_tail(self, lines: int = 30) -> str:
        text = self.log.read_text(errors="replace").splitlines()
        return f"The end of {self.log}:\n" + "\n".join(text[-lines:])

    def stop(self) -> None:
        """Stop the server and whatever it started; safe to call twice."""
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(STOP_TIMEOUT_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
        if hasattr(os, "killpg"):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        if self.process.stdin:
            self.process.stdin.close()


def prepare_base(base: Path, link_pack: bool = True) -> None:
    """ComfyUI's folders, with this pack as `custom_nodes/slotid`."""
    for folder in FOLDERS:
        (base / folder).mkdir(parents=True, exist_ok=True)
    if not link_pack:
        return
    link = base / "custom_nodes" / "slotid"
    if link.is_symlink() and link.resolve() != PACK:
        link.unlink()
    if not link.exists():
        try:
            link.symlink_to(PACK, target_is_directory=True)
        except OSError:  # Windows without the right to link
            ignored = shutil.ignore_patterns(".*", "output", "__pycache__")
            shutil.copytree(PACK, link, ignore=ignored)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
