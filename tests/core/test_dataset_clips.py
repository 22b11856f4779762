"""What is cut out of a clip: drawn people at their size, real ones by their boxes, windows that fit."""

import itertools
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from dataset_settings import drawn, models
from hypothesis import given
from hypothesis import strategies as st
from reference_clips import write_video

from slotid_core.dataset.cached import CachedDataset
from slotid_core.dataset.clip import Clip
from slotid_core.dataset.config import ConsisIDSource, FolderSource, PrepareConfig, ToyWorldSource
from slotid_core.dataset.drawn_clips import drawn_pixels
from slotid_core.dataset.models import Encoders
from slotid_core.dataset.pixels import fill
from slotid_core.dataset.prepare import Preparer
from slotid_core.dataset.real_clips import VideoFacts, probe, real_pixels, window_starts
from slotid_core.dataset.runner import prepare_dataset
from slotid_core.dataset.sources import list_clips
from slotid_core.errors import SlotIDError
from slotid_core.reference.faces.detector import find_detector
from slotid_core.wan.vae import WanVAE, WanVAEConfig, normalize_latents
from slotid_core.weights import save_weights

SAMPLE = Path(
    os.environ.get("SLOTID_CONSISID_SAMPLE", Path(__file__).parents[3] / "shared" / "data" / "consisid_sample")
)
MODELS: dict[str, Any] = {"vae": "toy_world", "text_encoder": "toy_world"}


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    return models(tmp_path_factory.mktemp("checkpoints"))


def test_drawn_samples_have_the_sizes_of_the_toy_world_and_are_the_same_again():
    config = PrepareConfig(**MODELS, toy_world=ToyWorldSource(2, clips_per_person=2))
    clips = list_clips(config)
    first, again, other = drawn_pixels(clips[0], config), drawn_pixels(clips[0], config), drawn_pixels(clips[1], config)
    assert first.video.shape == (17, 64, 64, 3)
    assert first.reference.shape == (65, 64, 64, 3) and first.portrait.shape == (1, 64, 64, 3)
    for name in ("video", "reference", "portrait"):
        pictures = getattr(first, name)
        assert torch.equal(pictures, getattr(again, name))
        assert name == "portrait" or not torch.equal(pictures, getattr(other, name))
        assert pictures.min() >= 0 and pictures.max() <= 1
    assert (first.portrait[0, :8, :8] > 0.98).all()  # a white background


def test_clips_of_a_person_share_as_many_references_as_asked(checkpoints, monkeypatch):
    source = ToyWorldSource(2, clips_per_person=3, references_per_person=2)
    config = PrepareConfig(**checkpoints, toy_world=source, reference_frames=5)
    own = PrepareConfig(**checkpoints, toy_world=ToyWorldSource(2, clips_per_person=3), reference_frames=5)
    encodings = []
    encode = Encoders.latents
    monkeypatch.setattr(Encoders, "latents", lambda self, frames: encodings.append(1) or encode(self, frames))
    prepare, prepare_own = Preparer(config), Preparer(own)
    shared = [prepare(clip).samples[0].tensors for clip in list_clips(config)]
    assert len(encodings) == 6 + 4 * 2  # every clip to learn; four face clips and their portraits
    alone = [prepare_own(clip).samples[0].tensors for clip in list_clips(own)]
    for number, sample in enumerate(shared):
        person, clip = divmod(number, 3)
        assert torch.equal(sample["video"], alone[number]["video"])
        for name in ("reference", "portrait"):
            assert torch.equal(sample[name], alone[3 * person + clip % 2][name])


def test_a_reference_of_the_same_clip_cannot_be_shared():
    config = PrepareConfig(**MODELS, toy_world=ToyWorldSource(1, reference="same clip", references_per_person=1))
    with pytest.raises(SlotIDError, match="references_per_person"):
        list_clips(config)


def test_a_reference_of_the_same_clip_or_out_of_order_differs_in_nothing_else():
    by_kind = {}
    for kind in ("other clip", "shuffled", "same clip"):
        config = PrepareConfig(**MODELS, toy_world=ToyWorldSource(1, reference=kind), reference_frames=17)
        by_kind[kind] = drawn_pixels(list_clips(config)[0], config)
    other, shuffled, same = by_kind.values()
    for pixels in (shuffled, same):
        assert torch.equal(pixels.video, other.video) and torch.equal(pixels.portrait, other.portrait)
        assert not torch.equal(pixels.reference, other.reference)
    frames = {frame.numpy().tobytes() for frame in other.reference}
    assert frames == {frame.numpy().tobytes() for frame in shuffled.reference}
    # The colours of the clip's own place, which another clip does not have.
    corners = [
        pixels.reference[:, :6, :6].mean((0, 1, 2)) - other.video[:, :6, :6].mean((0, 1, 2)) for pixels in (other, same)
    ]
    assert corners[1].abs().max() < 0.1 < corners[0].abs().max()


def test_the_head_fills_the_drawn_crop_as_a_face_trackers_does():
    """The crop is a square around the head with half a head on each side, or the whole picture if that is less."""
    config = PrepareConfig(**MODELS, toy_world=ToyWorldSource(20, clips_per_person=1), reference_frames=5)
    shares = [drawn_pixels(clip, config).facts["crop"]["square_pixels"] / 64 for clip in list_clips(config)]
    assert 0.65 < min(shares) < 0.85 and 0.95 < max(shares) <= 1.01 and len(set(shares)) > 5


@given(
    st.integers(16, 60), st.integers(16, 60), st.integers(8, 48), st.integers(8, 48), st.data(),
)  # fmt: skip
def test_a_cut_keeps_what_it_is_told_to_wherever_that_fits(height, width, wanted_height, wanted_width, data):
    scale = max(wanted_height / height, wanted_width / width)
    left = data.draw(st.floats(0, width - 2))
    top = data.draw(st.floats(0, height - 2))
    right = data.draw(st.floats(left + 1, min(width, left + 0.8 * wanted_width / scale + 1)))
    bottom = data.draw(st.floats(top + 1, min(height, top + 0.8 * wanted_height / scale + 1)))
    # Each pixel says where it is, so the result says what was kept.
    rows = torch.arange(height)[:, None].expand(-1, width) / height
    columns = torch.arange(width).expand(height, -1) / width
    frames = torch.stack([rows, columns, columns], dim=2)[None]
    cut = fill(frames, wanted_height, wanted_width, (left, top, right, bottom))
    assert cut.shape == (1, wanted_height, wanted_width, 3)
    slack = 2 + 2 / scale  # pixels of the frames: bicubic edges, and rounding to whole pixels
    if (right - left) * scale <= wanted_width:
        assert cut[..., 1].min() * width <= left + slack and cut[..., 1].max() * width >= right - 1 - slack
    if (bottom - top) * scale <= wanted_height:
        assert cut[..., 0].min() * height <= top + slack and cut[..., 0].max() * height >= bottom - 1 - slack
    middle = fill(frames, wanted_height, wanted_width)
    assert abs(float(middle[..., 0].mean()) - float(rows.mean())) * height < slack


@given(
    duration=st.floats(0.1, 60), windows=st.integers(1, 6), quads=st.integers(0, 20),
    rate=st.one_of(st.none(), st.floats(4, 30)),
)  # fmt: skip
def test_windows_lie_in_the_clip_and_do_not_overlap(duration, windows, quads, rate):
    config = PrepareConfig(
        **MODELS, folder=FolderSource("x"), frames=4 * quads + 1, windows_per_clip=windows, frames_per_second=rate
    )
    facts = VideoFacts(duration, 25.0, 100, 100)
    starts, length = window_starts(facts, config), config.frames / (rate or 25.0)
    assert 1 <= len(starts) <= windows
    assert all(later - earlier >= length - 1e-3 for earlier, later in itertools.pairwise(starts))
    if length <= duration:
        assert starts[0] >= 0 and starts[-1] + length <= duration + 1e-3
        assert abs(starts[0] - (duration - starts[-1] - length)) < 1e-2  # as much is left before as behind


def boxed_video(folder: Path, box=(30, 10, 66, 50), frames=24, boxed=None) -> PrepareConfig:
    """A video with ConsisID's annotations: one person's face in a box, a smaller one beside."""
    data = folder / "data"
    for name in ("videos", "captions", "refine_bbox_jsons"):
        (data / name).mkdir(parents=True, exist_ok=True)
    write_video(data / "videos" / "a.mp4", rate=16, frames=frames, size=(128, 96))
    (data / "captions" / "c.json").write_text(json.dumps([{"path": "a.mp4", "cap": "A person nods."}]))

    def entry(who, x1, y1, x2, y2):
        return {"confidence": 0.9, "box": {"x1": x1, "y1": y1, "x2": x2, "y2": y2}, "new_track_id": who}

    boxes = {
        str(i): {"face": [entry(2, 0, 0, 12, 12), entry(1, *box)], "head": [entry(1, *box)]}
        for i in (range(frames) if boxed is None else boxed)
    }
    (data / "refine_bbox_jsons" / "a.json").write_text(json.dumps(boxes))
    (folder / "total_train_data.txt").write_text("data/videos,data/captions/c.json,data")
    return PrepareConfig(
        **MODELS, consisid=ConsisIDSource(str(folder)), frames=9, height=48, width=64, reference_size=32,
        portrait_size=32, detector="cascade",
    )  # fmt: skip


def test_boxes_of_the_data_set_say_where_the_face_is(tmp_path):
    config = boxed_video(tmp_path, box=(50, 30, 86, 70))
    (clip,) = list_clips(config)
    facts = probe(clip.video)
    assert (facts.height, facts.width, facts.rate) == (96, 128, 16.0)
    pixels = real_pixels(clip, facts, 0.0, config, find_detector(choice="cascade"))
    assert pixels.video.shape == (9, 48, 64, 3)
    assert pixels.reference.shape == (9, 32, 32, 3) and pixels.portrait.shape == (1, 32, 32, 3)
    assert pixels.facts["detector"] == "data set's face boxes"
    assert pixels.facts["crop"]["subject"] == "1" and pixels.facts["crop"]["detection_rate"] == 1.0
    # 40 pixels of face and half as much on each side, around (68, 50): rows 10 to 90, columns 28 to 108
    picture = torch.from_numpy(np.array(_frame(clip.video)))[10:90, 28:108].float() / 255
    small = torch.nn.functional.interpolate(picture.permute(2, 0, 1)[None], size=(32, 32), mode="area")[0]
    assert (small.permute(1, 2, 0) - pixels.reference[0]).abs().mean() < 0.03


def _frame(path: str):
    import av

    with av.open(path) as container:
        return next(container.decode(video=0)).to_ndarray(format="rgb24")


@pytest.mark.parametrize(
    "settings, said",
    [
        ({"box": (30, 10, 50, 30)}, "20 pixels"),
        ({"boxed": range(1)}, "boxes nobody"),
        ({"frames": 6}, "of 9 frames"),
    ],
)
def test_a_window_that_shows_nobody_fails_with_its_reason(checkpoints, tmp_path, settings, said):
    config = replace(boxed_video(tmp_path, **settings), **checkpoints)
    prepared = Preparer(config)(list_clips(config)[0])
    assert not prepared.samples and len(prepared.failures) == 1 and said in prepared.failures[0]


def test_one_window_may_fail_while_another_is_kept(checkpoints, tmp_path):
    config = replace(boxed_video(tmp_path, boxed=range(10)), **checkpoints, windows_per_clip=2)
    prepared = Preparer(config)(list_clips(config)[0])
    assert len(prepared.samples) == 1 and prepared.samples[0].key.endswith("-00")
    assert prepared.failures[0].startswith("window 1: ")


def test_d12_windows_of_a_clip_that_nothing_groups_are_partners(checkpoints, tmp_path):
    """Each clip is a person of its own then, whose only other pictures are in its other windows."""
    config = replace(boxed_video(tmp_path), **checkpoints, windows_per_clip=2)
    assert config.consisid is not None and config.consisid.group_by == "none"
    prepare_dataset(config, tmp_path / "prepared")
    dataset, rng = CachedDataset(tmp_path / "prepared"), np.random.default_rng(0)
    assert [dataset.partner(index, rng, same_clip=False) for index in range(len(dataset))] == [1, 0]


def test_without_a_face_a_clip_fails(checkpoints, tmp_path):
    write_video(tmp_path / "grey.mp4", rate=16, frames=12, size=(128, 96))
    (tmp_path / "grey.txt").write_text("Grey.")
    config = PrepareConfig(**checkpoints, folder=FolderSource(str(tmp_path)), frames=5, detector="cascade")
    (reason,) = Preparer(config)(list_clips(config)[0]).failures
    assert "No face" in reason
    gone = Clip("k", "c", "p", str(tmp_path / "gone.mp4"))
    assert "no video file" in Preparer(config)(gone).failures[0]


def test_running_out_of_memory_is_no_failure_of_the_clip(checkpoints):
    config = drawn(checkpoints, height=2**20, width=2**20)
    with pytest.raises(SlotIDError, match="Memory ran out"):
        Preparer(config)(list_clips(config)[0])


def test_latents_are_normalised_and_of_the_pictures(checkpoints):
    config = drawn(checkpoints)
    (clip, *_), preparer = list_clips(config), Preparer(config)
    pixels, sample = drawn_pixels(clip, config), preparer(clip).samples[0]
    vae = preparer.encoders.vae
    by_hand = normalize_latents(vae.encode(pixels.video.permute(3, 0, 1, 2)[None] * 2 - 1))[0]
    assert torch.allclose(sample.tensors["video"].float(), by_hand, atol=2e-3)


@pytest.mark.skipif(not SAMPLE.is_dir(), reason="the sample is not beside this checkout (SLOTID_CONSISID_SAMPLE)")
def test_consisid_sample(tmp_path):
    """A real clip with a VAE of width 8: 17 frames of 240x360, two windows, and the woman's face in both."""
    torch.manual_seed(0)
    vae = tmp_path / "vae.safetensors"
    save_weights(vae, WanVAE(WanVAEConfig(width=8)).state_dict(), {"kind": "random_checkpoint"})
    settings = {**models(tmp_path), "vae": str(vae), "device": "cpu"}
    config = PrepareConfig(
        **settings, consisid=ConsisIDSource(str(SAMPLE)), frames=17, height=240, width=360, windows_per_clip=2,
        reference_size=64, portrait_size=64,
    )  # fmt: skip
    manifest = prepare_dataset(config, tmp_path / "output")
    assert (manifest["samples"], manifest["failed"], manifest["clips"]) == (2, 0, 1)
    dataset = CachedDataset(tmp_path / "output")
    tensors = dataset.read(1)
    assert tensors["video"].shape == (16, 5, 30, 45) and tensors["reference"].shape == (16, 5, 8, 8)
    assert dataset.samples[0].caption.startswith("The video features a woman")
    # An independent look: the detector finds a face in the middle of the crop that the boxes gave.
    (clip,), facts = list_clips(config), probe(list_clips(config)[0].video)
    detector = find_detector(choice="cascade")
    larger = replace(config, reference_size=256)
    pixels = real_pixels(clip, facts, window_starts(facts, config)[0], larger, detector)
    faces = detector.detect((pixels.reference[0].numpy() * 255).astype(np.uint8), 64)
    left, top, right, bottom = faces[0].box
    assert abs((left + right) / 2 - 128) < 32 and abs((top + bottom) / 2 - 128) < 40
    assert 64 < right - left < 200
