"""The house: which folder may import which, what it may know by name, and how large a file may be."""

import ast
import re
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CORE = ROOT / "slotid_core"
LONGEST = 500
# Rooms of the core, and which others each may import; every room may import the single files beside them.
MAY_IMPORT = {
    "wan": set(),
    "reference": set(),
    "toy_world": {"wan", "reference"},
    "systems": {"wan", "reference"},
    "recognisers": {"reference", "toy_world"},
    "dataset": {"systems", "reference", "recognisers", "toy_world", "wan"},
    "training": {"dataset", "systems", "wan"},
    "reference_training": {"reference", "toy_world"},
    "evaluation": {"training", "dataset", "systems", "recognisers", "toy_world", "wan", "reference"},
}
# Inside `reference`, from a clip to its report.
REFERENCE_ORDER = ("decode", "faces", "portrait", "report")
KNOW_NO_SYSTEM = ("training", "dataset", "evaluation", "wan", "toy_world")
SYSTEM_NAMES = re.compile(r"slot_id|slotid_adapter|lynx|st_drc|lavie", re.IGNORECASE)


def sources(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*.py") if not {".venv", ".comfyui", ".cache"} & set(path.parts))


def is_module(name: tuple[str, ...]) -> bool:
    place = ROOT.joinpath(*name)
    return place.with_suffix(".py").is_file() or (place / "__init__.py").is_file()


def imports_of(path: Path) -> list[tuple[str, ...]]:
    """Modules of this repository that a file imports, anywhere in it, as parts of their dotted names."""
    module = path.relative_to(ROOT).with_suffix("").parts
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            base = module[: -node.level] if node.level else ()
            name = tuple(part for part in (*base, *(node.module or "").split(".")) if part)
            inside = [(*name, alias.name) for alias in node.names]
            modules = [other for other in inside if is_module(other)]
            # A package whose modules are named is no more than their folder.
            found += modules if len(modules) == len(inside) else [name, *inside]
        elif isinstance(node, ast.Import):
            found += [tuple(alias.name.split(".")) for alias in node.names]
    return found


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_imports_run_one_way(room):
    wrong = []
    for path in sources(CORE / room):
        for name in imports_of(path):
            if name[:1] == ("slotid_core",) and len(name) > 1 and (CORE / name[1]).is_dir():
                if name[1] != room and name[1] not in MAY_IMPORT[room]:
                    wrong.append(f"{path.relative_to(ROOT)} imports {'.'.join(name)}")
            elif name[:1] in (("nodes",), ("studies",), ("tools",)) or name[:1] == ("comfy",):
                wrong.append(f"{path.relative_to(ROOT)} imports {'.'.join(name)}")
    assert not wrong, wrong


def test_every_room_has_its_rule():
    rooms = {path.name for path in CORE.iterdir() if (path / "__init__.py").is_file()}
    assert rooms == set(MAY_IMPORT)


def test_a_reference_goes_from_clip_to_report():
    for place, folder in enumerate(REFERENCE_ORDER):
        later = set(REFERENCE_ORDER[place + 1 :])
        for path in sources(CORE / "reference" / folder):
            found = {name[2] for name in imports_of(path) if name[:2] == ("slotid_core", "reference") and len(name) > 2}
            assert not found & later, path


def test_systems_do_not_know_each_other():
    systems = {path.name for path in (CORE / "systems").iterdir() if path.is_dir()} - {"__pycache__"}
    for system in systems:
        for path in sources(CORE / "systems" / system):
            others = {n[2] for n in imports_of(path) if n[:2] == ("slotid_core", "systems") and len(n) > 2}
            assert not others & (systems - {system}), path


@pytest.mark.parametrize("room", KNOW_NO_SYSTEM)
def test_these_rooms_name_no_system(room):
    named = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in sources(CORE / room)
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if SYSTEM_NAMES.search(line)
    ]
    assert not named, named


def test_no_circle():
    files = [path for folder in ("slotid_core", "nodes", "studies", "tools") for path in sources(ROOT / folder)]
    modules = {path.relative_to(ROOT).with_suffix("").parts: path for path in files}
    arrows = defaultdict(set)
    for path in files:
        for name in imports_of(path):
            for target in (name, (*name, "__init__")):
                if target in modules and modules[target] != path:
                    arrows[path].add(modules[target])
    state: dict[Path, int] = {}

    def visit(path: Path, trail: tuple[Path, ...]) -> None:
        assert state.get(path) != 1, " -> ".join(str(p.relative_to(ROOT)) for p in (*trail, path))
        if path not in state:
            state[path] = 1
            for other in arrows[path]:
                visit(other, (*trail, path))
            state[path] = 2

    for path in files:
        visit(path, ())


def test_no_file_holds_two_ideas():
    long = {
        str(path.relative_to(ROOT)): count
        for path in sources(ROOT)
        if (count := len(path.read_text().splitlines())) > LONGEST
    }
    assert not long, long


def test_the_core_imports_without_comfyui_and_reaches_for_it_in_one_place():
    reaching = re.compile(r"^\s*(from|import) (comfy|folder_paths|server|execution)\b", re.MULTILINE)
    found = [path.name for path in sources(CORE) if reaching.search(path.read_text())]
    assert found in ([], ["comfy_runtime.py"])
