"""The wheel: its files, and that it trains in a bare environment that has no ComfyUI. Needs the package index."""

import json
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

from tools.published import copy_files, new_environment, repository_files, run

pytestmark = pytest.mark.slow
pytest.importorskip("uv")

ONE_CLIP = "toy_world: {people: 1, first: 1500000, clips_per_person: 1}\nvae: toy_world\ntext_encoder: toy_world\n"
TOY_TRANSFORMER_PARAMETERS = 6_949_440


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Built from a copy of what git holds, as a clean export is."""
    folder, started = tmp_path_factory.mktemp("wheel"), time.monotonic()
    export = copy_files(repository_files(), folder / "export")
    run(sys.executable, "-m", "uv", "build", "--quiet", "--wheel", "--out-dir", folder / "dist", export)
    (built,) = (folder / "dist").glob("*.whl")
    print(f"wheel: {built.stat().st_size / 2**20:.1f} MiB in {time.monotonic() - started:.0f} s")
    return built


@pytest.fixture(scope="module")
def python(wheel, tmp_path_factory) -> Path:
    started = time.monotonic()
    python = new_environment(tmp_path_factory.mktemp("bare") / "venv", f"slotid[train] @ {wheel.as_uri()}")
    print(f"environment with the train extra: {time.monotonic() - started:.0f} s")
    return python


def test_wheel_is_the_core_with_weights_and_recipes_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    kept = (".py", ".yaml", ".json", ".safetensors", "/README.md")
    expected = {name for name in repository_files() if name.startswith("slotid_core/") and name.endswith(kept)}
    assert names == expected
    assert any(name.endswith(".safetensors") for name in names)
    assert any(name.endswith("configs/toy_world.yaml") for name in names)


def test_command_lines_answer_without_comfyui(python, tmp_path):
    assert "No module named" in failure(python, "import comfy", tmp_path)
    for command in ("training", "dataset", "evaluation", "toy_world"):
        assert f"slotid_core.{command}" in run(python, "-m", f"slotid_core.{command}", "--help", cwd=tmp_path)


def test_toy_recipe_is_timed_with_the_weights_of_the_wheel(python, tmp_path):
    started = time.monotonic()
    core = Path(run(python, "-c", "import slotid_core; print(slotid_core.__path__[0])", cwd=tmp_path).strip())
    (tmp_path / "clip.yaml").write_text(ONE_CLIP)
    run(python, "-m", "slotid_core.dataset", "--config", "clip.yaml", "--output", "data", cwd=tmp_path)
    prepared = time.monotonic()
    command = ["-m", "slotid_core.training", "--config", core / "training/configs/toy_world.yaml", "--dry-run"]
    for setting in ("data.train=data", "data.validation=data", "run.batch=1", "run.micro_batch=1"):
        command += ["--set", setting]
    run(python, *command, "--json", "figures.json", cwd=tmp_path)
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures["frozen_parameters"] == TOY_TRANSFORMER_PARAMETERS
    assert figures["seconds_a_step"] > 0
    print(f"one clip: {prepared - started:.0f} s, dry run: {time.monotonic() - prepared:.0f} s, {figures}")


def failure(python: Path, code: str, folder: Path) -> str:
    result = subprocess.run([python, "-c", code], cwd=folder, capture_output=True, text=True, check=False)
    assert result.returncode
    return result.stderr
