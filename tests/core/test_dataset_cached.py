"""Cached samples read back: the same tensors, the right partner, and a word on what is missing."""

import json
import pickle
import tarfile
from dataclasses import replace

import numpy as np
import pytest
import torch
from dataset_settings import drawn, models
from safetensors.torch import load
from typed import present

from slotid_core.dataset.cached import CachedDataset
from slotid_core.dataset.config import FolderSource, PrepareConfig
from slotid_core.dataset.drawn_clips import drawn_pixels
from slotid_core.dataset.models import Encoders
from slotid_core.dataset.runner import prepare_dataset
from slotid_core.dataset.sources import list_clips
from slotid_core.errors import SlotIDError


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    return drawn(models(tmp_path_factory.mktemp("checkpoints")), people=2, clips_per_person=3)


@pytest.fixture(scope="module")
def folder(config, tmp_path_factory):
    folder = tmp_path_factory.mktemp("prepared")
    prepare_dataset(config, folder)
    return folder


def test_samples_are_what_encoding_them_directly_gives(config, folder):
    dataset, encoders = CachedDataset(folder), Encoders(config)
    clips = {clip.key: clip for clip in list_clips(config)}
    assert [sample.index for sample in dataset.samples] == list(range(6)) and len(dataset) == 6
    for index in (5, 0):
        sample = dataset.samples[index]
        clip = clips[sample.clip]
        assert (sample.person, sample.caption) == (clip.person, clip.caption)
        tensors, pixels = dataset.read(index), drawn_pixels(clip, config)
        assert {tensor.dtype for tensor in tensors.values()} == {torch.float32}
        assert torch.equal(tensors["text"], encoders.text_rows(clip.caption).float())
        assert sample.text_rows == len(tensors["text"])
        for name in ("video", "reference", "portrait"):
            assert torch.equal(tensors[name], encoders.latents(getattr(pixels, name)).float())


def test_only_what_is_named_is_returned(folder):
    dataset = CachedDataset(folder)
    assert set(dataset.read(2, ("text", "portrait"))) == {"text", "portrait"}
    assert dataset.read(2, ()) == {}  # for a refinement, which reads nothing of a partner
    assert torch.equal(dataset.read(2, ("video",))["video"], dataset.read(2)["video"])
    with pytest.raises(SlotIDError, match="'vidoe'"):
        dataset.read(2, ("vidoe",))


def test_a_reader_of_tar_files_finds_the_same(folder):
    dataset = CachedDataset(folder)
    for sample in dataset.samples:
        with tarfile.open(folder / sample.shard) as tar:
            tensors = load(present(tar.extractfile(f"{sample.key}.safetensors")).read())
        assert all(torch.equal(tensors[name].float(), tensor) for name, tensor in dataset.read(sample.index).items())


def test_it_travels_to_worker_processes(folder):
    dataset = pickle.loads(pickle.dumps(CachedDataset(folder)))
    assert torch.equal(dataset.read(1)["video"], CachedDataset(folder).read(1)["video"])


def test_partners_are_the_same_person_in_another_clip_each_in_turn(folder):
    dataset, rng = CachedDataset(folder), np.random.default_rng(0)
    assert sorted(index for found in dataset.by_person.values() for index in found) == list(range(6))
    for sample in dataset.samples:
        partners = {dataset.partner(sample.index, rng, same_clip=False) for _ in range(50)}
        assert partners == set(dataset.by_person[sample.person]) - {sample.index}
        assert dataset.partner(sample.index, rng, same_clip=True) == sample.index


def test_d12_windows_of_the_only_clip_are_partners(folder):
    """Where a person has another clip, a window of the same one is none."""
    dataset, rng = CachedDataset(folder), np.random.default_rng(0)
    first, second = dataset.by_person.values()
    clip_of = {index: f"{sample.person} {index == first[0]}" for index, sample in enumerate(dataset.samples)}
    dataset.samples = tuple(replace(sample, clip=clip_of[sample.index]) for sample in dataset.samples)

    def partners(index, same_clip=False):
        return {dataset.partner(index, rng, same_clip) for _ in range(50)}

    assert partners(second[0]) == set(second[1:])
    assert partners(second[0], same_clip=True) == {second[0]}
    assert partners(first[0]) == set(first[1:]) and partners(first[1]) == {first[0]}


def test_somebody_of_one_clip_is_their_own_partner(config, tmp_path):
    alone = drawn({"vae": config.vae, "text_encoder": config.text_encoder}, people=1, clips_per_person=1)
    prepare_dataset(alone, tmp_path)
    assert CachedDataset(tmp_path).partner(0, np.random.default_rng(0), same_clip=False) == 0


def test_the_hash_is_of_what_the_samples_hold(config, folder, tmp_path):
    assert CachedDataset(folder).manifest_hash == CachedDataset(folder).manifest["sha256"]
    other = drawn(
        {"vae": config.vae, "text_encoder": config.text_encoder}, people=2, clips_per_person=3, reference_frames=9
    )
    prepare_dataset(other, tmp_path)
    assert CachedDataset(tmp_path).manifest_hash != CachedDataset(folder).manifest_hash


def test_what_is_missing_is_named(config, folder, tmp_path):
    with pytest.raises(SlotIDError, match="no folder"):
        CachedDataset(tmp_path / "none")
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    dataset = CachedDataset(tmp_path)
    tar = tmp_path / dataset.samples[-1].shard
    tar.write_bytes(tar.read_bytes()[: dataset.samples[-1].offset + 100])
    with pytest.raises(SlotIDError, match="damaged"):
        dataset.read(5)
    with pytest.raises(SlotIDError, match="cut short"):
        CachedDataset(tmp_path)
    tar.unlink()
    with pytest.raises(SlotIDError, match="missing"):
        CachedDataset(tmp_path)
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(SlotIDError, match="cannot be read"):
        CachedDataset(tmp_path)
    (tmp_path / "manifest.json").write_text(json.dumps({"kind": "other", "version": 1}))
    with pytest.raises(SlotIDError, match="'other'"):
        CachedDataset(tmp_path)
    (tmp_path / "manifest.json").unlink()
    with pytest.raises(SlotIDError, match="not finished"):
        CachedDataset(tmp_path)


def test_a_data_set_of_failures_is_an_error(config, tmp_path):
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips" / "mute.mp4").write_bytes(b"x")
    source = FolderSource(str(tmp_path / "clips"))
    prepare_dataset(PrepareConfig(config.vae, config.text_encoder, folder=source), tmp_path / "output")
    with pytest.raises(SlotIDError, match="every clip failed"):
        CachedDataset(tmp_path / "output")
