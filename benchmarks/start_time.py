"""What the pack adds to the start of ComfyUI, in CPU seconds, beside ComfyUI's own extra nodes.

CPU seconds, as other programs on the machine change how long a start takes and not how much it computes. Measured at a
second start: the first one compiles.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.paired import Ratio
from slotid_core.comfy_server import find_comfyui, prepare_base

STARTS = 3  # after the first
IMPORTS = """
import asyncio, json, sys, time
base, pack = sys.argv[1:]
sys.argv = ["main.py", "--cpu", "--base-directory", base]
import comfy.options
comfy.options.enable_args_parsing()
import utils.extra_config  # first, as in its main file: another module of the name `utils` comes into the path later
import nodes, server

async def start():
    server.PromptServer(asyncio.get_running_loop())
    began = time.process_time()
    await nodes.init_extra_nodes(init_custom_nodes=False)
    own = time.process_time()
    loaded = await nodes.load_custom_node(pack)
    print(json.dumps({"loaded": loaded, "comfyui": own - began, "pack": time.process_time() - own}))

asyncio.run(start())
"""


def measure() -> list[dict[str, float]]:
    """CPU seconds of `comfyui`'s own extra nodes and of the `pack`, for each start but the first."""
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder) / "base"
        prepare_base(base)
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        environment |= {"PYTHONPATH": "", "PYTHONPYCACHEPREFIX": str(Path(folder) / "compiled")}
        command = [sys.executable, "-c", IMPORTS, str(base), str(base / "custom_nodes" / "slotid")]
        starts = []
        for _ in range(1 + STARTS):
            told = subprocess.run(
                command, cwd=find_comfyui(), env=environment, check=True, capture_output=True, text=True
            ).stdout
            starts.append(json.loads(told.splitlines()[-1]))
            assert starts[-1]["loaded"]
    return starts[1:]


def run() -> list[Ratio]:
    starts = measure()
    low, median, high = sorted(start["pack"] / start["comfyui"] for start in starts)
    seconds = min(start["pack"] for start in starts)
    return [Ratio(f"start: the pack ({seconds:.2f} CPU seconds) / ComfyUI's own extra nodes", median, low, high)]
