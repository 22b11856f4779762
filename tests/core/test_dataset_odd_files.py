"""Manifests, indexes and notes of a preparation that say something odd: each is named, none raises as it comes."""

import json

import pytest
import torch
from dataset_settings import drawn, models

from slotid_core.dataset.cached import CachedDataset
from slotid_core.dataset.ray_runner import room_for_workers
from slotid_core.dataset.runner import failures, prepare_dataset
from slotid_core.errors import SlotIDError
from slotid_core.evaluation.graph.records import Records
from slotid_core.evaluation.subjects import subjects_of

ODD = ["null", "[]", "1", '"x"', "{}", "{", "", "[" * 100_000, "\x00"]
SPOIL_MANIFEST = {
    "version": ["1", None, True, [], 2, -1],
    "config": [None, [], {}, {"vae": 3}],
    "shards": [None, {}, [None], [[]], [{}], [{"name": "shard-000000"}]],
    "sha256": [None, 3],
}
SPOIL_SHARD = {"name": [None, 3, "../shard-000000", "/etc/passwd", ""], "bytes": [None, "1", -1, True, 1.5]}
SPOIL_LINE = {
    "key": [None, 1], "person": [None, {}], "caption": [None, []], "clip": [None], "offset": [None, "0", -1, 1.5, True],
    "size": [None, -1, "x"], "text_rows": [None, "x"],
}  # fmt: skip


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("prepared")
    config = drawn(models(tmp_path_factory.mktemp("models")), people=1, clips_per_person=1)
    prepare_dataset(config, folder)
    return config, {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def folder(prepared, tmp_path):
    for name, content in prepared[1].items():
        (tmp_path / name).write_bytes(content)
    return tmp_path


def refused(folder, where: str) -> None:
    with pytest.raises(SlotIDError) as error:
        CachedDataset(folder)
    assert where in str(error.value) and len(str(error.value)) < 500


@pytest.mark.parametrize("name", ["manifest.json", "shard-000000.jsonl"])
def test_b11_a_file_that_holds_something_else_is_named(folder, name):
    for content in ODD:
        if name.endswith("l") and not content:
            continue  # an index of no samples is one of which every clip failed
        (folder / name).write_text(content)
        refused(folder, name)


def test_b11_a_manifest_with_an_odd_value_is_named(folder):
    good = json.loads((folder / "manifest.json").read_text())
    for name, values in SPOIL_MANIFEST.items():
        for value in values:
            (folder / "manifest.json").write_text(json.dumps(good | {name: value}))
            refused(folder, "manifest.json")
    for name, values in SPOIL_SHARD.items():
        for value in values:
            (folder / "manifest.json").write_text(json.dumps(good | {"shards": [good["shards"][0] | {name: value}]}))
            refused(folder, "manifest.json")
    del good["sha256"]
    (folder / "manifest.json").write_text(json.dumps(good))
    refused(folder, "sha256")


def test_b11_an_index_with_an_odd_value_is_named(folder):
    good = json.loads((folder / "shard-000000.jsonl").read_text())
    for name, values in SPOIL_LINE.items():
        for value in values:
            (folder / "shard-000000.jsonl").write_text(json.dumps(good | {name: value}) + "\n")
            refused(folder, f"line 1 of {folder / 'shard-000000.jsonl'} has {name}")
    manifest = {"shards": [{"name": "shard-000000", "failed": 1}]}
    (folder / "shard-000000.jsonl").write_text('{"failed": 3}\n')
    with pytest.raises(SlotIDError, match="line 1 of"):
        failures(folder, manifest)


def test_b11_odd_notes_of_a_preparation_are_named(prepared, folder):
    for content in [*ODD, '{"version": 1}', '{"version": 1, "config": null}', '{"version": 1, "config": {}}']:
        (folder / "preparation.json").write_text(content)
        with pytest.raises(SlotIDError):
            prepare_dataset(prepared[0], folder)


def test_b11_odd_records_of_an_evaluation_are_named(tmp_path):
    subject = subjects_of(0, 1, 1)[0]
    records = Records(tmp_path, {"seed": 0})
    for content in [*ODD, '{"error": 1, "seconds": 1}', '{"error": "", "seconds": "x"}']:
        records.person(subject).mkdir(exist_ok=True)
        (records.person(subject) / "0.json").write_text(content)
        with pytest.raises(SlotIDError):
            records.read(subject, 0)
    for content in ODD:
        if content != "{}":
            (tmp_path / "settings.json").write_text(content)
            with pytest.raises(SlotIDError, match="settings.json"):
                Records(tmp_path, {"seed": 0})


@pytest.mark.parametrize(
    ("resources", "on_gpu", "workers"),
    [({"CPU": 8.0}, False, 7), ({"CPU": 1.0}, False, 1), ({}, False, 1), ({"CPU": 32.0, "GPU": 4.0}, True, 4),
     ({"CPU": 32.0, "GPU": 4.0}, False, 31)],
)  # fmt: skip
def test_d10_a_cluster_has_room_for_a_worker_a_core_or_a_gpu(resources, on_gpu, workers):
    assert room_for_workers(resources, on_gpu) == workers
