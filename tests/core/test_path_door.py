"""The door for paths: nothing that somebody wrote reaches beyond the folder that is meant, and names fit everywhere."""

import json
import os
from pathlib import Path

import pytest

from slotid_core.dataset.cached import CachedDataset
from slotid_core.dataset.config import ConsisIDSource, FolderSource
from slotid_core.dataset.consisid_source import consisid_clips
from slotid_core.dataset.folder_source import folder_clips
from slotid_core.errors import SlotIDError
from slotid_core.paths import MOST_BYTES, checked_name, free_path, inside


def put(path: Path, text: str = "not decoded here") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def root(tmp_path) -> Path:
    put(tmp_path / "root" / "a" / "one.mp4")
    put(tmp_path / "elsewhere" / "secret.mp4")
    put(tmp_path / "root_of_others" / "x.mp4")
    (tmp_path / "root" / "out").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "root" / "link.mp4").symlink_to(tmp_path / "elsewhere" / "secret.mp4")
    (tmp_path / "root" / "round").symlink_to(tmp_path / "root" / "a")
    return tmp_path / "root"


@pytest.mark.parametrize("name", ["a/one.mp4", "a/../a/one.mp4", "round/one.mp4", "", "a/none.mp4", "{root}/a/one.mp4"])
def test_b2_places_below_the_root_are_given_as_they_were_written(root, name):
    name = name.format(root=root)
    assert inside(root, name, "It", "Move it.") == root / name


@pytest.mark.parametrize(
    "name",
    ["..", "../elsewhere/secret.mp4", "a/../../elsewhere", "/etc/passwd", "out/secret.mp4", "link.mp4",
     "../root_of_others/x.mp4", "a\0.mp4", "\ud800.mp4/.."],
)  # fmt: skip
def test_b2_b11_places_outside_are_refused_whatever_leads_there(root, name):
    with pytest.raises(SlotIDError, match=r"^It: .* lies outside .* Move it\.$"):
        inside(root, name, "It", "Move it.")


@pytest.mark.parametrize("name", ["person", " Anna 2 ", "été", "a.b-c_d", "com10", "人", "x" * MOST_BYTES])
def test_b3_names_that_every_system_takes(name):
    assert checked_name(name, "an adapter") == name.strip()


@pytest.mark.parametrize(
    "name",
    ["", " ", ".", "..", "a/b", "a\\b", "../a", "a\0b", "C:x", "a:b", "a*", ".hidden", "-o", "ends.", "line\nbreak",
     "con", "CON.backup", "nul", "Com1", "lpt9.x", "com²", "x" * (MOST_BYTES + 1), "人" * 60, "\ud800"],
)  # fmt: skip
def test_b3_b11_names_that_some_system_does_not_take(name):
    with pytest.raises(SlotIDError, match="cannot be an adapter's name"):
        checked_name(name, "an adapter")


def test_b3_a_free_number_is_taken_and_broken_links_count(tmp_path):
    assert free_path(tmp_path, "ann", ".x").name == "ann.x"
    put(tmp_path / "ann.x"), put(tmp_path / "ann_2.x")
    (tmp_path / "ann_3.x").symlink_to(tmp_path / "nowhere")
    assert free_path(tmp_path, "ann", ".x").name == "ann_4.x"


def listed(path: Path, *videos: str) -> Path:
    return put(path, "\n".join(json.dumps({"video_path": video, "caption": "A nod."}) for video in videos))


def test_b2_a_list_names_only_clips_of_its_folder(root, tmp_path):
    names = ["a/one.mp4", "../elsewhere/secret.mp4", str(tmp_path / "elsewhere/secret.mp4"), "link.mp4", "a\0.mp4"]
    clips = folder_clips(FolderSource(str(listed(root / "list.jsonl", *names))))
    assert [bool(clip.failed) for clip in clips] == [False, True, True, True, True]
    assert all(f"line {number} of list.jsonl" in clips[number - 1].failed for number in (2, 3, 4, 5))
    assert all("set root" in clip.failed for clip in clips[1:])
    wider = folder_clips(FolderSource(str(root / "list.jsonl"), root=str(tmp_path)))
    assert [bool(clip.failed) for clip in wider] == [False, False, False, False, True]


def test_b2_links_in_a_folder_of_clips_do_not_lead_out(root, tmp_path):
    put(root / "a" / "one.txt", "A nod.")
    put(tmp_path / "elsewhere" / "diary.txt", "A secret.")
    put(root / "b" / "two.mp4")
    (root / "b" / "two.txt").symlink_to(tmp_path / "elsewhere" / "diary.txt")
    put(root / "link.txt", "A nod.")
    clips = {Path(clip.video).name: clip for clip in folder_clips(FolderSource(str(root)))}
    assert not clips["one.mp4"].failed
    assert "two.txt" in clips["two.mp4"].failed and "outside" in clips["two.mp4"].failed
    assert "secret" not in clips["two.mp4"].caption
    assert "link.mp4" in clips["link.mp4"].failed and "outside" in clips["link.mp4"].failed
    wider = folder_clips(FolderSource(str(root), root=str(tmp_path)))
    assert not any(clip.failed for clip in wider)


def test_b2_a_folder_is_known_by_a_relative_path_as_well(root, monkeypatch):
    put(root / "a" / "one.txt", "A nod.")
    monkeypatch.chdir(root.parent)
    clips = {Path(clip.video).name: clip for clip in folder_clips(FolderSource("root"))}
    assert not clips["one.mp4"].failed and clips["link.mp4"].failed


def consisid(root: Path, videos="videos", captions="c.json", annotations="anno", name="one.mp4") -> list:
    put(root / "videos" / "one.mp4"), put(root / "anno" / "refine_bbox_jsons" / "one.json", "{}")
    put(root / "c.json", json.dumps([{"path": name, "cap": "A nod."}]))
    put(root / "total_train_data.txt", f"{videos},{captions},{annotations}\n")
    return consisid_clips(ConsisIDSource(str(root)))


def test_b2_consisid_lists_name_only_files_of_their_folder(root, tmp_path):
    (good,) = consisid(root)
    assert not good.failed and good.boxes
    put(tmp_path / "elsewhere" / "c.json", '[{"path": "x.mp4", "cap": "A secret."}]')
    put(tmp_path / "elsewhere" / "refine_bbox_jsons" / "secret.json", "{}")
    elsewhere = tmp_path / "elsewhere"
    for column in ({"videos": elsewhere}, {"captions": elsewhere / "c.json"}, {"annotations": elsewhere},
                   {"videos": "../elsewhere"}, {"captions": "out/c.json"}):  # fmt: skip
        try:
            clips = consisid(root, **column)
        except SlotIDError as error:
            assert "Set root" in str(error)
        else:  # an end of the path that lies inside was found
            assert not any(
                "secret" in clip.caption or elsewhere in Path(clip.video).resolve().parents for clip in clips
            )
    for name in ("../../elsewhere/secret.mp4", str(elsewhere / "secret.mp4"), "../link.mp4", "a\0.mp4"):
        (clip,) = consisid(root, name=name)
        assert "outside" in clip.failed and not clip.boxes
    (root / "total_train_data.txt").unlink()
    put(elsewhere / "list.txt", "videos,c.json,anno\n")
    (root / "total_train_data.txt").symlink_to(elsewhere / "list.txt")
    with pytest.raises(SlotIDError, match="outside"):
        consisid_clips(ConsisIDSource(str(root)))


@pytest.mark.parametrize("name", ["../elsewhere/shard-000000", "{tmp}/elsewhere/shard-000000", "shard-000000"])
def test_b2_a_manifest_names_only_shards_of_its_folder(tmp_path, name):
    name = name.format(tmp=tmp_path)
    line = {"key": "k", "person": "p", "caption": "c", "clip": "c", "offset": 0, "size": 1, "text_rows": 1}
    for ending, text in ((".tar", "x" * 10240), (".jsonl", json.dumps(line) + "\n")):
        put(tmp_path / "elsewhere" / f"shard-000000{ending}", text)
    data = tmp_path / "data"
    data.mkdir()
    if name == "shard-000000":
        for ending in (".tar", ".jsonl"):
            (data / f"{name}{ending}").symlink_to(tmp_path / "elsewhere" / f"{name}{ending}")
    counts = {"samples": 1, "failed": 0, "text_rows": 1, "bytes": 10240}
    manifest = {"kind": "slotid_dataset", "version": 1, "sha256": "", "clips": 1, "people": 1, **counts}
    settings = {"vae": "v", "reference_size": 64, "reference_frames": 5, "portrait_size": 64}
    put(data / "manifest.json", json.dumps({**manifest, "config": settings, "shards": [{"name": name, **counts}]}))
    with pytest.raises(SlotIDError, match="lies outside|none of a preparation"):
        CachedDataset(data)
    if os.name != "nt" and name == "shard-000000":
        for ending in (".tar", ".jsonl"):
            (data / f"{name}{ending}").unlink()
            (tmp_path / "elsewhere" / f"{name}{ending}").rename(data / f"{name}{ending}")
        assert len(CachedDataset(data)) == 1
