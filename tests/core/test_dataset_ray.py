"""The same preparation on Ray: the same bytes as one process, also when a worker is killed on the way."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from dataset_settings import contents, drawn, models
from typed import present

from slotid_core.config import config_to_dict
from slotid_core.dataset.runner import prepare_dataset

pytestmark = [pytest.mark.slow, pytest.mark.timeout(540)]
pytest.importorskip("ray")
ROOT = Path(__file__).resolve().parents[2]
WORKER = "ray::MapWorker"


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """32 clips in 16 shards, by one process."""
    folder = tmp_path_factory.mktemp("prepared")
    paths = models(tmp_path_factory.mktemp("checkpoints"))
    config = drawn({name: os.path.relpath(path) for name, path in paths.items()}, people=8, clips_per_person=4)
    prepare_dataset(config, folder)
    return config, folder


def start(config, folder: Path, *arguments: str) -> subprocess.Popen:
    settings = folder / "settings.json"
    settings.write_text(json.dumps(config_to_dict(config)))
    command = [sys.executable, "-m", "slotid_core.dataset", "--config", settings, "--output", folder / "output"]
    return subprocess.Popen(
        [*command, *(arguments or ("--ray", "--workers", "2")), "--progress", "json"],
        stdout=subprocess.PIPE, text=True, env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
    )  # fmt: skip


def workers_of(number_of_parent: int) -> list[int]:
    """Ray's workers below a process and no other: somebody else may run Ray on this machine."""
    parents, names = {}, {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            names[int(path.name)] = (path / "cmdline").read_text()
            parents[int(path.name)] = int((path / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError, IndexError):
            continue  # it has ended since

    def below(number: int) -> bool:
        while number and number != number_of_parent:
            number = parents.get(number, 0)
        return number == number_of_parent

    return [number for number, name in names.items() if name.startswith(WORKER) and below(number)]


def test_two_workers_give_the_bytes_of_one_process(prepared, tmp_path):
    config, folder = prepared
    process = start(config, tmp_path)
    events = [json.loads(line) for line in present(process.stdout)]
    assert process.wait(60) == 0
    assert [event["done"] for event in events[:-1]] == list(range(0, 33, 2))
    assert contents(tmp_path / "output") == contents(folder)


@pytest.mark.skipif(sys.platform != "linux", reason="processes are found in /proc")
def test_a_killed_worker_is_replaced(prepared, tmp_path):
    config, folder = prepared
    process = start(config, tmp_path)
    killed = []
    for line in present(process.stdout):
        if not killed and json.loads(line).get("done", 0) >= 4:
            killed = workers_of(process.pid)[:1]
            assert killed
            os.kill(killed[0], signal.SIGKILL)
    assert process.wait(60) == 0 and killed
    assert contents(tmp_path / "output") == contents(folder)


@pytest.mark.skipif(sys.platform != "linux", reason="processes are found in /proc")
def test_d10_an_address_alone_uses_the_workers_of_the_whole_cluster(prepared, tmp_path):
    """Two nodes of two cores: three workers, as one core is left to Ray's own tasks."""
    from ray.cluster_utils import Cluster

    config, folder = prepared
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
    try:
        cluster.add_node(num_cpus=2)
        process = start(config, tmp_path, "--ray", str(cluster.address))
        assert process.stdout is not None
        most = 0
        for _ in process.stdout:
            most = max(most, len(workers_of(os.getpid())))
        assert process.wait(60) == 0
    finally:
        cluster.shutdown()
    assert most == 3
    assert contents(tmp_path / "output") == contents(folder)


def test_told_to_stop_it_leaves_whole_shards_only_and_goes_on_without_ray(prepared, tmp_path):
    config, folder = prepared
    process = start(config, tmp_path)
    for line in present(process.stdout):
        if json.loads(line).get("done", 0) >= 4:
            process.send_signal(signal.SIGTERM)
            break
    stopped = time.monotonic()
    present(process.stdout).read()
    assert process.wait(60) == 130 and time.monotonic() - stopped < 30
    output = tmp_path / "output"
    assert not (output / "manifest.json").exists()
    assert 2 <= len(list(output.glob("*.jsonl"))) < 16
    prepare_dataset(config, output)
    assert contents(output) == contents(folder)
