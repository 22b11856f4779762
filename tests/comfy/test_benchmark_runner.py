"""A benchmark over several real servers: every job once, whatever becomes of a server."""

import contextlib
import json
import os
import signal
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from slotid_core.comfy_server import ComfyServer
from slotid_core.errors import SlotIDError
from slotid_core.evaluation.__main__ import main
from slotid_core.evaluation.graph.workflow import FOLDER
from slotid_core.evaluation.likeness.benchmark_command import PROMPTS
from slotid_core.evaluation.likeness.frames import read_video
from slotid_core.evaluation.likeness.recipe import Recipe, jobs_of, read_prompt_file, read_recipe
from slotid_core.evaluation.likeness.runner import Runner

sys.path.append(str(Path(__file__).resolve().parents[1] / "core"))
from likeness_clips import drawn, write_frames  # pyright: ignore[reportMissingImports]

WORKFLOW = "slot_id_text_to_video"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The shipped workflow with two steps, and clips of four drawn people.

    It saves WebM: libx264 on several threads, which `SaveVideo` takes, sometimes gives another file of the same
    pictures on a busy machine.
    """
    base = tmp_path_factory.mktemp("benchmark")
    nodes = json.loads((FOLDER / f"{WORKFLOW}.json").read_text())
    for entry in nodes.values():
        if "steps" in entry["inputs"]:
            entry["inputs"]["steps"] = 2
        if entry["class_type"] == "CreateVideo":
            frames = entry["inputs"]["images"]
    for entry in nodes.values():
        if entry["class_type"] == "SaveVideo":
            entry["class_type"] = "SaveWEBM"
            entry["inputs"] = {"images": frames, "codec": "vp9", "fps": 16.0, "crf": 8.0, "filename_prefix": "video"}
    (base / "toy.json").write_text(json.dumps(nodes))
    for number in range(4):
        write_frames(base / "people" / f"person{number}.mp4", drawn(1_700_001 + number, 500 + number, 33, 256), 16)
    return base


def jobs(folder, subjects: int, prompts: int, seeds: int):
    texts = read_prompt_file(PROMPTS)
    return jobs_of(Recipe(subjects, prompts, seeds), [str(folder / "toy.json")], folder / "people", texts)


def test_designs_that_ship_are_those_of_the_papers():
    sizes = {
        name: (read_recipe(name).subjects, read_recipe(name).prompts)
        for name in ("forty_by_twenty", "thirty_by_ninety")
    }
    assert sizes == {"forty_by_twenty": (40, 20), "thirty_by_ninety": (30, 90)}
    prompts = read_prompt_file(PROMPTS)
    assert len(prompts) >= 90 and len({prompt.text for prompt in prompts}) == len(prompts)
    assert [prompt.stratum for prompt in prompts[:4]] == ["large motion", "expression", "interaction", "occlusion"]


def test_a_job_is_known_by_its_content(folder, tmp_path):
    made, _ = jobs(folder, 2, 2, 2)
    assert len({job.key for job in made}) == 8
    (tmp_path / "people").mkdir()
    for file in (folder / "people").iterdir():
        (tmp_path / "people" / file.name.replace("person", "guest")).write_bytes(file.read_bytes())
    (tmp_path / "toy.json").write_text((folder / "toy.json").read_text())
    renamed, _ = jobs(tmp_path, 2, 2, 2)
    assert [job.key for job in renamed] == [job.key for job in made]
    with pytest.raises(SlotIDError, match="asks for 5 subjects, and there are 4"):
        jobs(folder, 5, 1, 1)


def test_a_server_that_is_not_there_is_named_and_the_other_does_all(server, folder, tmp_path):
    made, workflows = jobs(folder, 1, 2, 1)
    runner = Runner(tmp_path / "videos", ["127.0.0.1:9", server.address], workflows)
    runner.run(made)
    records = [runner.record(job) or {} for job in made]
    assert all(record["error"] == "" for record in records) and all(runner.video(job).is_file() for job in made)
    assert {record["server"] for record in records} == {server.address}
    assert list(runner.lost) == ["127.0.0.1:9"] and "No connection" in runner.lost["127.0.0.1:9"]
    times = [runner.video(job).stat().st_mtime_ns for job in made]
    again = Runner(tmp_path / "videos", ["127.0.0.1:9"], workflows)
    again.run(made)  # everything has ended: no server is asked
    assert not again.lost and [again.video(job).stat().st_mtime_ns for job in made] == times
    with pytest.raises(SlotIDError, match="1 jobs are left, and no server is"):
        again.run(jobs(folder, 1, 3, 1)[0])


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_24_jobs_on_three_servers_of_which_one_is_killed_give_the_table_of_one_server(folder, tmp_path):
    (tmp_path / "design.yaml").write_text("subjects: 4\nprompts: 3\nseeds: 2\n")
    made, _ = jobs(folder, 4, 3, 2)
    assert len(made) == 24
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(ComfyServer(tmp_path / f"server{number}")) for number in range(3)]
        three = tmp_path / "three"
        done = threading.Event()

        def kill_one_half_way():
            while not done.wait(0.1):
                if len(list((three / "videos").glob("*.json"))) >= 12 and servers[1].process:
                    os.killpg(servers[1].process.pid, signal.SIGKILL)
                    return

        thread = threading.Thread(target=kill_one_half_way)
        thread.start()
        try:
            table_of_three = benchmark(folder, three, [server.address for server in servers], tmp_path)
        finally:
            done.set()
            thread.join()
        assert servers[1].process and servers[1].process.poll() is not None
        records = {file.stem: json.loads(file.read_text()) for file in (three / "videos").glob("*.json")}
        by_server = [sum(record["server"] == server.address for record in records.values()) for server in servers]
        assert records.keys() == {job.key for job in made} and not any(record["error"] for record in records.values())
        assert sum(by_server) == 24 and by_server[1] < 12
        counted = sum(prompts_run(servers[number]) for number in (0, 2)) + by_server[1]
        assert counted == 24  # none twice on the servers that can still say so
        table_of_one = benchmark(folder, tmp_path / "one", [servers[0].address], tmp_path)
    unlike = [
        (job.person, job.prompt.text, job.seed, records[job.key]["server"])
        for job in made
        if not same_video(three / "videos", tmp_path / "one" / "videos", f"{job.key}.webm")
    ]
    furthest = max(abs(value - table_of_one[name]) for name, value in table_of_three.items() if value == value)
    print("jobs by server", by_server, "other videos", unlike, "largest difference of a figure", furthest)
    assert table_of_one.keys() == table_of_three.keys()
    # Nothing in a job may depend on the server, on its load, or on what it did before: not one pixel.
    assert not unlike and furthest == 0


def same_video(first: Path, second: Path, name: str) -> bool:
    one, other = (read_video(folder / name).pixels for folder in (first, second))
    return np.array_equal(one, other)


def prompts_run(server: ComfyServer) -> int:
    from slotid_core.comfy_client import ComfyClient

    return len(ComfyClient(server.address).get("/history"))


def benchmark(folder, output, addresses: list[str], base) -> dict:
    figures = base / f"{output.name}.json"
    servers = [part for address in addresses for part in ("--server", address)]
    main([
        "benchmark", "--recipe", str(base / "design.yaml"), "--workflow", str(folder / "toy.json"), "--references",
        str(folder / "people"), "--recognisers", "toy", "--folder", str(output), "--json", str(figures), *servers,
    ])  # fmt: skip
    return json.loads(figures.read_text())
