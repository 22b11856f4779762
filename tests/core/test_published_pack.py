"""What the registry is told, and that what is published stands alone: no ComfyUI needed to know it."""

import ast
import json
import re
from pathlib import Path

import pytest
from PIL import Image

from slotid_core.comfy_runtime import PACK
from slotid_core.toy_world.example import EXAMPLES, clip_name
from tools.published import published_files

tomllib = pytest.importorskip("tomllib", reason="Python 3.11 reads TOML")

DEVELOPERS_ONLY = ("tests", "tools", "benchmarks", "studies", ".ci", ".github")
LARGEST_MIB = 60


@pytest.fixture(scope="module")
def published() -> set[str]:
    if not (PACK / ".git").exists():
        pytest.skip("not a git checkout")
    return published_files()


@pytest.fixture(scope="module")
def settings() -> dict:
    return tomllib.loads((PACK / "pyproject.toml").read_text())


def test_registry_metadata_is_complete(settings):
    project, comfy = settings["project"], settings["tool"]["comfy"]
    assert {"name", "version", "description", "license", "requires-python", "classifiers"} <= set(project)
    assert {"Repository", "Documentation", "Bug Tracker"} <= set(project["urls"])
    assert {"PublisherId", "DisplayName", "Icon", "Banner", "requires-comfyui"} <= set(comfy)
    assert any(text.startswith("Operating System ::") for text in project["classifiers"])
    assert any(text.startswith("Environment :: GPU ::") for text in project["classifiers"])


@pytest.mark.parametrize(("entry", "ratio"), [("Icon", 1), ("Banner", 21 / 9)])
def test_pictures_are_in_the_repository_and_have_the_sides_that_the_registry_wants(settings, entry, ratio):
    file = PACK / settings["tool"]["comfy"][entry].partition("/main/")[2]
    width, height = Image.open(file).size
    assert width / height == pytest.approx(ratio)
    assert file.stat().st_size < 100_000
    if entry == "Icon":
        assert width <= 400


def test_developers_files_are_left_out(published):
    assert not [name for name in published if name.split("/")[0] in (*DEVELOPERS_ONLY, "Makefile")]
    assert not [name for name in published if name.startswith(("docs/study", "docs/images"))]
    assert sum((PACK / name).stat().st_size for name in published) < LARGEST_MIB * 2**20


def test_what_nodes_need_is_published(published):
    assert {"__init__.py", "requirements.txt", "pyproject.toml", "node_list.json", "LICENSE"} <= published
    assert {f"web/start/docs/{name}.md" for name in json.loads((PACK / "node_list.json").read_text())} <= published
    assert {file.relative_to(PACK).as_posix() for file in (PACK / "web").rglob("*.js")} <= published
    assert {f"example_people/{clip_name(seed)}" for seed in EXAMPLES} <= published
    weights = PACK / "slotid_core" / "toy_world" / "weights"
    assert {file.relative_to(PACK).as_posix() for file in weights.iterdir() if file.is_file()} <= published


def test_published_code_imports_published_code_only(published):
    missing = []
    for name in sorted(name for name in published if name.endswith(".py")):
        for node in ast.walk(ast.parse((PACK / name).read_text())):
            if isinstance(node, ast.ImportFrom) and node.level:
                module = Path(name).parents[node.level - 1].joinpath(*(node.module or "").split("."))
                if not {f"{module}.py", str(module / "__init__.py")} & published:
                    missing.append(f"{name}: {module}")
            else:
                roots = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                roots += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
                missing += [f"{name}: {root}" for root in roots if root.split(".")[0] in DEVELOPERS_ONLY]
    assert not missing


def test_files_hold_no_paths_of_the_machine_that_made_them(published):
    """Headers of weights and of ready identities, workflows and manifests."""
    for name in published:
        if name.endswith((".safetensors", ".json")):
            content = (PACK / name).read_bytes()
            size = int.from_bytes(content[:8], "little") if name.endswith(".safetensors") else len(content)
            found = re.search(rb'"(/|[A-Z]:\\\\)(home|root|Users|work|tmp|mnt)\b[^"]*', content[: 8 + size])
            assert not found, (name, found.group())
