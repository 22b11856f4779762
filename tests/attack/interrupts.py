"""Prompts that are interrupted at a random moment: the server is idle soon, and nothing unfinished stays."""

import random
import re
import time
from pathlib import Path

from slotid_core.comfy_client import WorkflowError

from . import prompts
from .outside import Outside, changed
from .server import WatchedServer
from .table import LIMIT_SECONDS, Row
from .watched import Clock

COUNT = 100
LONGEST = 2.0  # seconds until the interrupt
CHILD_EVERY = 10  # a preparation, which runs in a process of its own
CHILD_SECONDS = 8.0  # until the interrupt of such a one, so that some are met at work
RESULTS = ("temp", "output", "models", "input")


def attack(count: int, seed: int, server: WatchedServer, outside: Outside) -> Row:
    row = Row("interrupted prompts")
    server.client.run(workflow(0))
    server.client.run(prompts.preparation("interrupted_0"))
    outside.touched()
    known = {shape(path, server.base) for path in server.files()}
    for number in range(1, count + 1):
        rng = random.Random(f"{seed} interrupts {number}")
        is_child = number % CHILD_EVERY == 0
        graph = prompts.preparation(f"interrupted_{number}", 50) if is_child else workflow(number)
        seconds = rng.uniform(0, CHILD_SECONDS if is_child else LONGEST)
        case = f"{'preparation' if is_child else 'workflow'} {number} after {seconds:.2f} s, seed {seed}"
        row.count(*interrupted(server, graph, seconds, case))
        row.add("outside", case, outside.touched())
        row.add("left", case, server.children())
    new = changed({}, server.files())
    row.add("left", "after all of them", sorted({shape(path, server.base) for path in new} - known))
    row.memory = server.most_memory()
    return row


def workflow(number: int) -> dict:
    """The shipped one, from clip to video, with a window and a seed of its own, so that nothing is in the cache."""
    graph = prompts.shortened("slot_id_text_to_video", seed=number, steps=4)
    graph["1"]["inputs"]["start_seconds"] = number % 40 / 40
    return graph


def interrupted(server: WatchedServer, graph: dict, seconds: float, case: str) -> tuple[str, str, str]:
    """Queue a prompt, interrupt it, and wait until the server is idle; the arguments of `Row.count`."""
    try:
        prompt_id = server.client.queue(graph)
    except WorkflowError as error:
        return "crashed", case, f"it was refused: {error}"
    time.sleep(seconds)
    server.client.interrupt()
    clock = Clock(server.pid)
    while not server.is_idle():
        if clock.seconds() > LIMIT_SECONDS:
            server.client.cancel(prompt_id)
            return "hung", case, f"not idle {LIMIT_SECONDS:g} s after the interrupt"
        time.sleep(0.1)
    history = server.client.get(f"/history/{prompt_id}").get(prompt_id, {})
    kinds = [kind for kind, _ in history.get("status", {}).get("messages", [])]
    if "execution_error" in kinds:
        return "crashed", case, str(history["status"]["messages"][-1])[:300]
    return ("refused" if "execution_interrupted" in kinds else "accepted"), case, ""


def shape(path: str, base: Path) -> str:
    """A path below ComfyUI's folder without its numbers and random letters, by which new files are told from known."""
    below = path.removeprefix(str(base))
    return re.sub(r"\d+", "#", re.sub(r"_temp_[a-z]{5}_", "_temp_", below))
