"""The attack on the pack notices what it must count: a death, a hang, memory, and what is opened or written outside."""

import random
from pathlib import Path

import pytest
from weight_files import good_file

# ComfyUI, which pyright is shown as well, has a package of the same name.
from tests.attack import spoilt_weights, table, watched  # pyright: ignore[reportMissingImports]
from tests.attack.outside import Outside  # pyright: ignore[reportMissingImports]

pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the attack reads /proc")
# Answers as `tests/attack/worker.py` does, without its imports.
CHILD = """
import json, os, signal, subprocess, sys, time
def answer(result):
    print(json.dumps({"result": result, "said": "", "peak": 0}), flush=True)
answer("ready")
for line in sys.stdin:
    job = json.loads(line)
    if job["kind"] == "die":
        os.kill(os.getpid(), signal.SIGSEGV)
    elif job["kind"] == "hang":
        time.sleep(60)
    elif job["kind"] == "grow":
        kept = b"x" * 2**28
        time.sleep(60)
    elif job["kind"] == "open":
        os.close(os.open(job["path"], os.O_RDONLY))
    elif job["kind"] == "read by another program":
        subprocess.run(["cat", job["path"]], stdout=subprocess.DEVNULL)
    elif job["kind"] == "write":
        open(job["path"] + ".new", "w").close()
    answer("accepted")
"""


@pytest.fixture
def outside(tmp_path) -> Outside:
    return Outside(tmp_path)


@pytest.fixture
def count(outside, tmp_path, monkeypatch):
    """Rows of one job each, of a child with limits of a second and 100 MiB."""
    monkeypatch.setattr(watched, "LIMIT_SECONDS", 1.0)
    monkeypatch.setattr(watched, "LIMIT_MEMORY", 100.0)
    with watched.Watched(outside, tmp_path / "child.log", ("-c", CHILD)) as child:

        def attack(kind: str) -> table.Row:
            row = table.Row("one")
            child.attack(row, kind, {"kind": kind, "path": str(outside.folder / "secret.txt")})
            return row

        yield attack


@pytest.mark.parametrize(
    ("kind", "column", "said"),
    [
        ("die", "crashed", "ended with -11"),
        ("hang", "hung", "no answer in 1 s"),
        ("grow", "crashed", "MiB"),
        ("open", "outside", "secret.txt"),
        ("read by another program", "outside", "read"),
        ("write", "outside", "secret.txt.new"),
    ],
)
def test_what_must_not_happen_is_counted_and_the_next_file_is_read_by_a_new_child(count, kind, column, said):
    row = count(kind)
    assert getattr(row, column) == 1 and said in row.problems[0] and not row.held
    row = count("nothing")
    assert row.accepted == 1 and row.held


def test_a_row_holds_only_where_nothing_went_wrong_and_memory_stayed():
    row = table.Row("names")
    row.count("refused", "a case")
    row.count("accepted", "another")
    row.add("left", "a case", [])
    assert row.held and table.as_json([row])["held"]
    row.memory = table.LIMIT_MEMORY
    assert not row.held and "memory rose" in table.as_text([row])
    row.memory = 0
    row.add("left", "a case", ["x.part", "y.part"])
    assert row.left == 2 and not row.held and "x.part, y.part" in table.as_text([row])


def test_every_way_of_spoiling_a_weight_file_changes_it(tmp_path):
    whole = good_file("adapter", tmp_path).read_bytes()
    for way in spoilt_weights.WAYS:
        assert any(way(whole, random.Random(seed)) != whole for seed in range(3)), way.__name__
