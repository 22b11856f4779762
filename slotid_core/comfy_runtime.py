"""Where ComfyUI is, for command-line use. The one module of the core that may import it, and only when asked."""

import os
import sys
from pathlib import Path

from .errors import SlotIDError

PACK = Path(__file__).resolve().parent.parent
OWN_COMFYUI = PACK / ".comfyui"


def find_comfyui() -> Path:
    """The ComfyUI to use: `COMFYUI_PATH`, else the one that this pack sits in, else the project's own copy.

    Raises:
        SlotIDError: there is none, or `COMFYUI_PATH` names something else.
    """
    named = os.environ.get("COMFYUI_PATH")
    if named:
        if not is_comfyui(Path(named)):
            raise SlotIDError(f"COMFYUI_PATH is {named!r}, which holds no ComfyUI (no main.py and comfy/). Correct it.")
        return Path(named).resolve()
    candidates = [PACK.parent.parent] if PACK.parent.name == "custom_nodes" else []
    for candidate in (*candidates, OWN_COMFYUI):
        if is_comfyui(candidate):
            return candidate
    raise SlotIDError("No ComfyUI found. Run `make env`, or set COMFYUI_PATH to the folder that holds its main.py.")


def is_comfyui(folder: Path) -> bool:
    return (folder / "main.py").is_file() and (folder / "comfy").is_dir()


def import_comfyui() -> Path:
    """Make `import comfy` work in this process, on the CPU where there is no GPU; returns the folder.

    ComfyUI goes first on the path, because a folder of this pack is called `nodes`, as is a module of ComfyUI's.
    """
    folder = find_comfyui()
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    arguments, sys.argv = sys.argv, sys.argv[:1]  # ComfyUI parses the command line when it is imported
    try:
        from comfy.cli_args import args  # pyright: ignore[reportMissingImports]  found on the path that was just set
    finally:
        sys.argv = arguments
    import torch

    args.cpu = args.cpu or not torch.cuda.is_available()
    return folder
