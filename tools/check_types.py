"""Compare pyright's errors by folder with tools/type_errors.json: clean folders have none, other counts may only fall.

python -m tools.check_types              # part of `make types`
python -m tools.check_types --write      # keep counts that fell, and those of new folders
"""

import argparse
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

from slotid_core.comfy_runtime import PACK

TABLE = PACK / "tools" / "type_errors.json"
CLEAN = {f"slotid_core/{name}" for name in ("systems", "wan", "training", "dataset", "evaluation")}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.check_types", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--write", action="store_true", help="keep counts that fell, and those of new folders")
    parser.add_argument("--show", action="store_true", help="print the errors of clean folders and of those that rose")
    options = parser.parse_args(arguments)
    errors = found_errors()
    counts = Counter(folder_of(error["file"]) for error in errors)
    allowed = json.loads(TABLE.read_text()) if TABLE.exists() else {}
    problems = compare(counts, allowed)
    for folder in sorted(counts | Counter(allowed)):
        print(f"{folder:<28} {counts[folder]:>4}   {problems.get(folder, '')}")
    print(f"{'together':<28} {counts.total():>4}")
    if options.show:
        for error in errors:
            if folder_of(error["file"]) in problems:
                line = error["range"]["start"]["line"] + 1
                print(f"{Path(error['file']).relative_to(PACK)}:{line}: {error['message'].splitlines()[0]}")
    if options.write:
        kept = {name: min(count, allowed.get(name, count)) for name, count in sorted(counts.items())}
        TABLE.write_text(json.dumps({name: kept[name] for name in kept if not is_clean(name)}, indent=2) + "\n")
        return 0
    return 1 if problems else 0


def compare(counts: dict[str, int], allowed: dict[str, int]) -> dict[str, str]:
    """What is wrong with each folder; a folder that the table does not name may have no error."""
    problems = {}
    for folder, count in counts.items():
        limit = 0 if is_clean(folder) else allowed.get(folder, 0)
        if count > limit:
            problems[folder] = f"at most {limit}"
    return problems


def is_clean(folder: str) -> bool:
    return folder in CLEAN


def folder_of(file: str) -> str:
    parts = Path(file).relative_to(PACK).parts
    depth = 2 if parts[0] in ("slotid_core", "tests") and len(parts) > 2 else 1
    return "/".join(parts[:depth])


def found_errors() -> list[dict]:
    command = [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable]
    result = subprocess.run(command, cwd=PACK, capture_output=True, text=True, check=False)
    try:
        report = json.loads(result.stdout)
    except json.JSONDecodeError:
        sys.exit(f"pyright did not answer (exit {result.returncode}): {(result.stderr or result.stdout)[-2000:]}")
    return [entry for entry in report["generalDiagnostics"] if entry["severity"] == "error"]


if __name__ == "__main__":
    sys.exit(main())
