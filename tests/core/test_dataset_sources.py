"""What is found in folders, lists, ConsisID's layout and the toy world, odd files included."""

import json
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slotid_core.dataset.clip import key_of
from slotid_core.dataset.config import ConsisIDSource, FolderSource, PrepareConfig, ToyWorldSource, read_config
from slotid_core.dataset.sources import list_clips, plan_shards
from slotid_core.errors import SlotIDError
from slotid_core.toy_world.captions import asked_for
from slotid_core.toy_world.person import HELD_OUT_FROM
from slotid_core.toy_world.scene import sample_scene

MODELS: dict[str, Any] = {"vae": "toy_world", "text_encoder": "toy_world"}


def folder_config(path, group_by="none", **settings) -> PrepareConfig:
    return PrepareConfig(**MODELS, folder=FolderSource(str(path), group_by), **settings)


def put(path: Path, data: bytes | str = b"not decoded here") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def test_a_folder_gives_every_video_and_says_what_is_wrong(tmp_path):
    put(tmp_path / "anna" / "one.mp4"), put(tmp_path / "anna" / "one.txt", "\ufeffA person\n nods. ")
    put(tmp_path / "anna" / "one.MOV")
    put(tmp_path / "ben" / "two.x.webm"), put(tmp_path / "ben" / "two.x.txt", "")
    put(tmp_path / "ben" / "three.mkv")
    put(tmp_path / "four.avi"), put(tmp_path / "four.txt", b"\xff\xfe\x00")
    put(tmp_path / "notes.txt", "no video"), put(tmp_path / ".cache" / "five.mp4"), put(tmp_path / "._six.mp4")
    clips = {Path(clip.video).name: clip for clip in list_clips(folder_config(tmp_path, "folder"))}
    assert set(clips) == {"one.mp4", "one.MOV", "two.x.webm", "three.mkv", "four.avi"}
    assert clips["one.mp4"].caption == "A person nods." and not clips["one.mp4"].failed
    assert clips["one.mp4"].person == clips["one.MOV"].person == "anna" and clips["three.mkv"].person == "ben"
    assert clips["four.avi"].person == clips["four.avi"].key
    for name, reason in (("two.x.webm", "empty"), ("three.mkv", "no three.txt"), ("four.avi", "UTF-8")):
        assert reason in clips[name].failed
    alone = list_clips(folder_config(tmp_path))
    assert len({clip.person for clip in alone}) == len(alone)


def test_a_list_gives_every_line_and_says_what_is_wrong(tmp_path):
    lines = [
        '{"video_path": "a/one.mp4", "caption": "A nod.", "person": "anna"}',
        '{"video_path": "a/one.mp4", "caption": "The same, in other words."}',
        '{"video_path": "/elsewhere/two.mp4", "caption": " ", "person": 7}',
        "",
        '{"video_path": "b/three.mp4"}',
        "[1, 2]",
        '{"video_path": 3, "caption": "x"}',
        "{cut off",
    ]
    clips = list_clips(folder_config(put(tmp_path / "list.jsonl", "\n".join(lines)), "folder"))
    good = [clip for clip in clips if not clip.failed]
    assert {(clip.caption, clip.person, Path(clip.video)) for clip in good} == {
        ("A nod.", "anna", tmp_path / "a/one.mp4"),
        ("The same, in other words.", "a", tmp_path / "a/one.mp4"),
    }
    bad = [clip for clip in clips if clip.failed]
    assert len(bad) == 5
    assert {number for number in "5678" if any(f"line {number} " in clip.failed for clip in bad)} == set("5678")
    assert any("empty caption" in clip.failed and clip.person == "7" for clip in bad)


@given(st.dictionaries(st.text(st.characters(), max_size=120), st.text(), min_size=1))
def test_any_list_gives_usable_unique_keys_and_one_clip_a_line(tmp_path_factory, captions):
    lines = [json.dumps({"video_path": name, "caption": caption}) for name, caption in captions.items()]
    path = put(tmp_path_factory.mktemp("list") / "list.jsonl", "\n".join(lines))
    clips = list_clips(folder_config(path))
    assert len({clip.key for clip in clips}) == len(clips) == len(captions)
    for clip in clips:
        # webdataset splits a member's name at the first dot, and a short header holds 100 bytes
        assert clip.key.isascii() and "." not in clip.key and "/" not in clip.key and len(clip.key) < 80
        if not re.search("[\0\ud800-\udfff]", clip.video):  # of which a name cannot be made
            end = Path(os.path.normpath(clip.video))
            inside = end == path.parent or path.parent in end.parents
            assert bool(clip.failed) == (not clip.caption or not inside)


@given(st.text(), st.text())
def test_keys_differ_where_identifiers_do(one, other):
    assert (key_of("name", one) == key_of("name", other)) == (one == other)


def consisid(folder: Path, prefix: str, cap="A person nods.", names=("vid1_segment_0_9.mp4", "vid1_segment_9_20.mp4")):
    data = folder / "dataname"
    put(data / "captions" / "c.json", json.dumps([{"path": name, "cap": cap, "fps": 30.0} for name in names]))
    for name in names[:1]:
        put(data / "videos" / name)
        put(data / "refine_bbox_jsons" / f"{Path(name).stem}.json", "{}")
    put(
        folder / "total_train_data.txt",
        f"{prefix}dataname/videos,{prefix}dataname/captions/c.json,{prefix}dataname\n\n",
    )
    return folder


@pytest.mark.parametrize("prefix", ["", "somebody/elses/folder/"])
@pytest.mark.parametrize("cap", ["A person nods.", ["A person nods.", "again"]])
def test_consisid_paths_are_found_with_or_without_their_prefix(tmp_path, prefix, cap):
    consisid(tmp_path, prefix, cap)
    for path in (tmp_path, tmp_path / "total_train_data.txt"):
        clips = list_clips(PrepareConfig(**MODELS, consisid=ConsisIDSource(str(path), group_by="video")))
        found, missing = sorted(clips, key=lambda clip: bool(clip.failed))
        assert Path(found.video).is_file() and Path(found.boxes).is_file() and found.caption == "A person nods."
        assert "there is no video" in missing.failed and not missing.boxes
        assert found.person == missing.person == "vid1"
    alone = list_clips(PrepareConfig(**MODELS, consisid=ConsisIDSource(str(tmp_path))))
    assert len({clip.person for clip in alone}) == 2


def test_consisid_says_what_cannot_be_found(tmp_path):
    with pytest.raises(SlotIDError, match="total_train_data.txt"):
        list_clips(PrepareConfig(**MODELS, consisid=ConsisIDSource(str(tmp_path))))
    put(tmp_path / "total_train_data.txt", "videos,captions.json,anno")
    with pytest.raises(SlotIDError, match="Set root"):
        list_clips(PrepareConfig(**MODELS, consisid=ConsisIDSource(str(tmp_path))))
    put(tmp_path / "total_train_data.txt", "videos,captions.json")
    with pytest.raises(SlotIDError, match="2 columns"):
        list_clips(PrepareConfig(**MODELS, consisid=ConsisIDSource(str(tmp_path))))
    consisid(tmp_path, "")
    put(tmp_path / "dataname" / "captions" / "c.json", '[{"cap": "no path"}]')
    with pytest.raises(SlotIDError, match="path and cap"):
        list_clips(PrepareConfig(**MODELS, consisid=ConsisIDSource(str(tmp_path))))


def test_drawn_people_have_captions_of_their_scenes_and_a_side_of_the_border():
    config = PrepareConfig(**MODELS, toy_world=ToyWorldSource(4, first=7, clips_per_person=3))
    clips = list_clips(config)
    assert len(clips) == 12 and {clip.person_seed for clip in clips} == {7, 8, 9, 10}
    assert len({clip.person for clip in clips}) == 4
    assert len({clip.caption for clip in clips}) > 6 and all(len(asked_for(clip.caption)) == 3 for clip in clips)
    held_out = ToyWorldSource(2, first=HELD_OUT_FROM, clips_per_person=1)
    assert all(c.person_seed >= HELD_OUT_FROM for c in list_clips(replace(config, toy_world=held_out)))
    with pytest.raises(SlotIDError, match="held out"):
        list_clips(replace(config, toy_world=ToyWorldSource(2, first=HELD_OUT_FROM - 1)))
    with pytest.raises(SlotIDError, match="at least 1"):
        list_clips(replace(config, toy_world=ToyWorldSource(0)))


def test_no_two_drawn_clips_share_a_scene():
    from slotid_core.dataset.toy_world_source import scene_seed

    seeds = {scene_seed(person, number, part) for person in range(40) for number in range(5) for part in (0, 1)}
    assert len(seeds) == 400
    assert len({sample_scene(seed).light for seed in seeds}) == 400


@given(people=st.integers(1, 30), per_shard=st.integers(1, 9))
def test_the_plan_has_every_clip_once_in_order(people, per_shard):
    config = PrepareConfig(**MODELS, toy_world=ToyWorldSource(people, clips_per_person=2), clips_per_shard=per_shard)
    plan = plan_shards(config)
    keys = [clip.key for shard in plan for clip in shard.clips]
    assert keys == sorted(keys) and len(set(keys)) == 2 * people
    assert [shard.number for shard in plan] == list(range(len(plan)))
    assert all(len(shard.clips) == per_shard for shard in plan[:-1]) and len(plan[-1].clips) <= per_shard


def test_an_empty_source_is_an_error(tmp_path):
    with pytest.raises(SlotIDError, match="no clip"):
        list_clips(folder_config(tmp_path))
    with pytest.raises(SlotIDError, match="neither a folder nor"):
        list_clips(folder_config(tmp_path / "none"))


def test_settings_are_read_strictly_from_yaml_and_json(tmp_path):
    values = {**MODELS, "toy_world": {"people": 2}, "frames": 9, "detector_models": ["a"]}
    assert read_config(put(tmp_path / "a.json", json.dumps(values))) == read_config(
        put(tmp_path / "a.yaml", "vae: toy_world\ntext_encoder: toy_world\ntoy_world: {people: 2}\nframes: 9\n"
            "detector_models: [a]\n")
    )  # fmt: skip
    config = read_config(tmp_path / "a.json")
    assert (config.frames, config.height, config.reference_frames, config.reference_size) == (9, 64, 65, 64)
    real = folder_config("clips")
    assert (real.frames, real.reference_frames, real.reference_size, real.portrait_size) == (65, 65, 256, 512)
    for text, said in (
        ("vae: x\nfraems: 5", "fraems"),
        ("vae: [", "not valid"),
        ("just words", "no settings"),
        ("vae: x", "text_encoder"),
    ):
        with pytest.raises(SlotIDError, match=said):
            read_config(put(tmp_path / "b.yaml", text))
    with pytest.raises(SlotIDError, match="cannot be read"):
        read_config(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    "wrong",
    [
        {"frames": 16}, {"frames": "17"}, {"height": 250}, {"reference_size": True}, {"frames_per_second": 0},
        {"clips_per_shard": 0}, {"vae_dtype": "int8"}, {"margin": 0.0}, {"reference_frames": 69}, {"short_side": 1.5},
    ],
)  # fmt: skip
def test_settings_out_of_range_are_named(wrong):
    with pytest.raises(SlotIDError, match=next(iter(wrong))):
        folder_config("clips", **wrong)


def test_exactly_one_source():
    with pytest.raises(SlotIDError, match="No source"):
        PrepareConfig(**MODELS)
    with pytest.raises(SlotIDError, match="More than one"):
        PrepareConfig(**MODELS, folder=FolderSource("a"), toy_world=ToyWorldSource(1))
