"""Show that installing the pack does not move a user's torch, numpy or OpenCV.

    python -m tools.check_requirements          # needs the package index; part of `make prove`

For each platform, requirements.txt is resolved against an installation that somebody may have. It must resolve, and
must not ask for what ComfyUI's users choose themselves.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from slotid_core.comfy_runtime import PACK

# Two installations, an old one and a new one, as they must stay.
INSTALLATIONS = {
    "3.10": ("torch==2.4.1", "numpy==1.26.4", "opencv-python==4.10.0.84"),
    "3.12": ("torch==2.14.1", "numpy==2.2.6", "opencv-python==4.12.0.88"),
}
PLATFORMS = ("x86_64-manylinux_2_28", "aarch64-manylinux_2_28", "aarch64-apple-darwin", "x86_64-pc-windows-msvc")
THEIRS = {"torch", "torchvision", "torchaudio", "opencv-python", "opencv-python-headless", "onnxruntime", "comfyui"}


def main() -> int:
    failures = 0
    for python, installed in INSTALLATIONS.items():
        for platform in PLATFORMS:
            problem = moved(python, platform, installed)
            failures += bool(problem)
            print(f"Python {python}, {platform}: {problem or 'nothing moves'}", flush=True)
    return 1 if failures else 0


def moved(python: str, platform: str, installed: tuple[str, ...]) -> str:
    """What is wrong, or nothing."""
    with tempfile.TemporaryDirectory() as folder:
        constraints = Path(folder) / "installed.txt"
        constraints.write_text("\n".join(installed) + "\n")
        command = [sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--no-header", "--no-annotate"]
        command += ["--constraint", str(constraints), "--python-version", python, "--python-platform", platform]
        result = subprocess.run([*command, str(PACK / "requirements.txt")], capture_output=True, text=True, check=False)
    if result.returncode:
        return result.stderr.strip()
    names = {line.split("==")[0].strip() for line in result.stdout.splitlines() if "==" in line}
    return f"asks for {', '.join(sorted(names & THEIRS))}" if names & THEIRS else ""


if __name__ == "__main__":
    sys.exit(main())
