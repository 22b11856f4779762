"""Which files the repository holds, which of them are published, and environments to try them in.

python -m tools.published      # list the published pack, with its size
"""

import importlib.metadata
import os
import shutil
import subprocess
import sys
from pathlib import Path

from slotid_core.comfy_runtime import PACK


def repository_files() -> set[str]:
    """All files that git tracks, or would: what a commit of everything holds."""
    return git_files("--cached", "--others", "--exclude-standard")


def published_files() -> set[str]:
    """The repository without what .comfyignore leaves out: git reads its patterns as comfy-cli does."""
    left_out = git_files("--cached", "--others", "--ignored", "--exclude-from=.comfyignore")
    return repository_files() - left_out


def git_files(*options: str) -> set[str]:
    command = ["git", "ls-files", "-z", *options]
    output = subprocess.run(command, cwd=PACK, check=True, capture_output=True, text=True).stdout
    return {name for name in output.split("\0") if name and (PACK / name).is_file()}


def copy_files(names: set[str], target: Path) -> Path:
    for name in sorted(names):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(PACK / name, target / name)
    return target


def new_environment(folder: Path, *requirements: str) -> Path:
    """A bare virtual environment with these packages, and its Python. Needs the package index.

    Versions are those of the running environment where it has the package, so that its downloads are used again.
    """
    installed = folder.parent / f"{folder.name}.txt"
    versions = {package.metadata["Name"]: package.version for package in importlib.metadata.distributions()}
    installed.write_text("".join(f"{name}=={version}\n" for name, version in versions.items() if name != "slotid"))
    uv = [sys.executable, "-m", "uv"]
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    run(*uv, "venv", "--quiet", "--python", sys.executable, folder)
    run(*uv, "pip", "install", "--quiet", "--python", python, "--constraint", installed, *requirements)
    return python


def run(*command, timeout: float = 600, **options) -> str:
    """Run it, and return what it said; what it said is also in the error."""
    parts = [str(part) for part in command]
    result = subprocess.run(
        parts, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=timeout,
        check=False, **options,
    )  # fmt: skip
    if result.returncode:
        raise AssertionError(f"{' '.join(parts)}: exit {result.returncode}\n{result.stdout[-4000:]}")
    return result.stdout


def main() -> None:
    names = sorted(published_files())
    print("\n".join(names))
    print(f"{len(names)} files, {sum((PACK / name).stat().st_size for name in names) / 2**20:.1f} MiB")


if __name__ == "__main__":
    main()
