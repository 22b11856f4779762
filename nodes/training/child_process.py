"""Long work as a child process of ComfyUI's: it reports JSON lines, and the stop button asks it to save and stop."""

import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

import comfy.model_management

from ...slotid_core.errors import SlotIDError

PACK = Path(__file__).resolve().parents[2]
# As `python -m`, but the pack is found also by the Python of ComfyUI's portable build, which ignores PYTHONPATH.
START = """
import runpy, sys
sys.path.insert(0, sys.argv.pop(1))
runpy.run_module(sys.argv.pop(1), run_name="__main__", alter_sys=True)
"""
LOOK_EVERY = 0.25  # seconds between looks at the stop button
KILLED = (
    "was killed (SIGKILL), by somebody or by the system, which does so when main memory runs out. Close other "
    "programs, or lower micro_batch (training) or frames, width and height (preparation). What was saved stays: queue "
    "again to go on from there."
)
SAVES_WITHIN = 180  # seconds that the child may take to save; then it is killed, and its last checkpoint stays


def run_module(module: str, arguments: list[str], on_event: Callable[[dict], None]) -> None:
    """Run `python -m module arguments` to its end, with ComfyUI's models out of the way.

    Args:
        on_event: called with each JSON object that the child prints on a line of its own.

    Raises:
        InterruptProcessingException: the queue was interrupted; the child has saved and stopped.
        SlotIDError: the child failed; the message is what it said last.
    """
    comfy.model_management.unload_all_models()
    comfy.model_management.soft_empty_cache()
    new_group = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP} if os.name == "nt" else {}
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as complaints:
        child = subprocess.Popen(
            [sys.executable, "-c", START, str(PACK), module, *arguments], cwd=PACK, stdout=subprocess.PIPE,
            stderr=complaints, text=True, encoding="utf-8", errors="replace", **new_group,
        )  # fmt: skip
        try:
            for event in events_of(child):
                comfy.model_management.throw_exception_if_processing_interrupted()
                if event is not None:
                    on_event(event)
        finally:
            stop(child)
        if child.returncode:
            complaints.seek(0)
            said = [line for line in complaints.read().splitlines() if line.strip()]
            raise SlotIDError(f"{module} {ending(child.returncode)} It said: {' '.join(said[-3:]) or 'nothing'}")


def ending(code: int) -> str:
    """How a child ended, in words, with the likely reason."""
    if code >= 0:
        return f"ended with code {code}."
    if -code == getattr(signal, "SIGKILL", None):
        return KILLED
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"was ended by the system ({name}). What was saved stays: queue again to go on from there."


def events_of(child: subprocess.Popen):
    """Each event as it comes, and None every quarter of a second in which none does."""
    lines: queue.Queue = queue.Queue()

    def read() -> None:
        for line in child.stdout:
            lines.put(line)
        lines.put(None)

    threading.Thread(target=read, daemon=True).start()
    while True:
        try:
            line = lines.get(timeout=LOOK_EVERY)
        except queue.Empty:
            yield None
            continue
        if line is None:
            child.wait()
            return
        try:
            event = json.loads(line)
        except json.JSONDecodeError:
            continue
        if isinstance(event, dict) and "event" in event:
            yield event


def stop(child: subprocess.Popen) -> None:
    """Ask a child that still runs to save and stop; kill it if it does not."""
    if child.poll() is not None:
        return
    child.send_signal(signal.CTRL_BREAK_EVENT if os.name == "nt" else signal.SIGTERM)
    try:
        child.wait(SAVES_WITHIN)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
