"""Windows that are too poor to learn from are left out, each with its faults, and counted."""

import json

import pytest
import torch
from dataset_settings import models
from likeness_clips import write_frames
from torchvision.transforms.functional import gaussian_blur

from slotid_core.comfy_runtime import PACK
from slotid_core.dataset.__main__ import main
from slotid_core.dataset.config import FolderSource, PrepareConfig, config_from_dict
from slotid_core.dataset.quality import counted
from slotid_core.dataset.shards import read_index
from slotid_core.errors import SlotIDError
from slotid_core.reference.decode.clip import read_clip

SIZES = {
    "frames": 33, "height": 64, "width": 64, "reference_size": 64, "portrait_size": 128, "clips_per_shard": 8,
    "device": "cpu", "short_side": 256, "detector": "drawn",
}  # fmt: skip


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """One person as filmed, out of focus, and without any movement."""
    folder = tmp_path_factory.mktemp("clips")
    frames = read_clip(str(PACK / "example_people" / "person_1000015.mp4"), 33, 0.0, 16.0, 256).frames
    out_of_focus = gaussian_blur(frames.movedim(-1, 1), [31, 31], [6.0, 6.0]).movedim(1, -1)
    changed = {"filmed": frames, "soft": out_of_focus, "still": frames[:1].expand_as(frames)}
    for name, pictures in changed.items():
        write_frames(folder / f"{name}.mp4", (pictures * 255).round().to(torch.uint8).numpy(), 16)
        (folder / f"{name}.txt").write_text("a person")
    return folder


def prepared(clips, folder, least: str) -> tuple[list[dict], list[dict]]:
    """Samples and failures, as the shard's index lists them."""
    files = models(folder / "models")
    settings = files | SIZES | {"folder": {"path": str(clips), "least_quality": least}}
    (folder / "settings.json").write_text(json.dumps(settings))
    main(["--config", str(folder / "settings.json"), "--output", str(folder / "data")])
    lines = read_index(folder / "data" / "shard-000000.jsonl")
    return [line for line in lines if "key" in line], [line for line in lines if "failed" in line]


def test_poor_windows_are_left_out_and_the_faults_are_counted(clips, tmp_path, capsys):
    samples, failed = prepared(clips, tmp_path, "usable")
    told = {line["clip"].partition("-")[0]: line["failed"] for line in failed}
    assert [line["key"].partition("-")[0] for line in samples] == ["filmed"] and told.keys() == {"soft", "still"}
    assert "left out for its quality (sharpness" in told["soft"] and "The face is soft" in told["soft"]
    assert "does not move" in told["still"]
    summary = capsys.readouterr().err.splitlines()[-1]
    assert summary.startswith("2 left out for its quality: ") and "sharpness 1" in summary and "change" in summary


def test_nothing_is_judged_by_default(clips, tmp_path):
    samples, failed = prepared(clips, tmp_path, "")
    assert len(samples) == 3 and not failed


def test_another_word_is_refused():
    with pytest.raises(SlotIDError, match="folder.least_quality is 'best'; choose one of usable, good"):
        PrepareConfig("vae", "text", folder=FolderSource("clips", least_quality="best"))
    with pytest.raises(SlotIDError, match="least_quality"):
        config_from_dict(PrepareConfig, {"vae": "v", "text_encoder": "t", "folder": {"path": "x", "least_quality": 3}})


def test_faults_are_counted_the_commonest_first():
    reasons = [
        "left out for its quality (exposure, sharpness): it is poor",
        "no face",
        "x left out for its quality (exposure): y",
    ]
    assert counted(reasons).startswith("2 left out for its quality: exposure 2, sharpness 1.")
    assert counted(["no face"]) == ""
