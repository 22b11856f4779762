"""A ComfyUI server of our own: started on a free loopback port, with the pack in it, and always stopped again."""

import atexit
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

from slotid_core.comfy_runtime import PACK, find_comfyui
from slotid_core.errors import SlotIDError

FOLDERS = ("custom_nodes", "models", "input", "output", "temp", "user")
START_TIMEOUT_SECONDS = 300


class ComfyServer:
    """Use as a context manager; `address` is "127.0.0.1:port".

    Args:
        base: ComfyUI's base directory; made if missing. The pack is linked into its `custom_nodes`.
        extra: further command-line arguments for ComfyUI.
    """

    def __init__(self, base: Path, extra: tuple[str, ...] = ()):
        self.base, self.extra = Path(base).resolve(), extra
        self.log = self.base / "server.log"
        self.process: subprocess.Popen | None = None
        self.address = ""

    def __enter__(self) -> "ComfyServer":
        prepare_base(self.base)
        port = free_port()
        self.address = f"127.0.0.1:{port}"
        atexit.register(self.stop)
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                self.command(port), stdout=log, stderr=subprocess.STDOUT, cwd=self.base, start_new_session=True
            )
        try:
            self.wait_until_ready()
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
        return [sys.executable, "-u", str(find_comfyui() / "main.py"), *arguments, *self.extra]

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise SlotIDError(
                    f"ComfyUI stopped while starting (exit {self.process.returncode}).\n{self.log_tail()}"
                )
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
        atexit.unregister(self.stop)
        if self.process is None or self.process.poll() is not None:
            return
        for sign, patience in ((signal.SIGTERM, 10), (signal.SIGKILL, 10)):
            try:
                os.killpg(self.process.pid, sign)
                self.process.wait(patience)
                return
            except ProcessLookupError:
                return
            except subprocess.TimeoutExpired:
                continue


def prepare_base(base: Path) -> None:
    """ComfyUI's folders, with this pack as `custom_nodes/slotid`."""
    for folder in FOLDERS:
        (base / folder).mkdir(parents=True, exist_ok=True)
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
