"""Likeness of videos: figures as published, faults found at their frames, runs that go on, pages that tell."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from likeness_clips import ANN, BOB, REAL, drawn, write_frames
from PIL import Image, ImageFilter

from slotid_core.errors import SlotIDError
from slotid_core.evaluation.__main__ import main
from slotid_core.evaluation.likeness.face_scores import doubtful_frames, face_figures, published
from slotid_core.evaluation.likeness.frame_scores import frame_scores
from slotid_core.evaluation.likeness.frames import Frames, read_video
from slotid_core.evaluation.likeness.jobs import jobs_of_folders, whose
from slotid_core.evaluation.likeness.page import spans
from slotid_core.evaluation.likeness.people import person_of
from slotid_core.evaluation.likeness.score import score_video
from slotid_core.evaluation.likeness.track import Track, follow, indices_of
from slotid_core.recognisers.curricular import ImprovedResNet, load_curricular
from slotid_core.recognisers.recogniser import Recogniser
from slotid_core.recognisers.recognisers import find_recogniser, find_recognisers

CALIBRATED = Recogniser("one", "", lambda frame: [], stranger=0.2, same=0.8, threshold=0.5)


@pytest.fixture(scope="module")
def toy():
    return find_recogniser("toy")


@pytest.fixture(scope="module")
def dlib():
    pytest.importorskip("dlib")
    return find_recogniser("dlib")


@pytest.fixture(scope="module")
def real():
    if not REAL.is_dir():
        pytest.skip("no real clips beside the repository")
    return REAL


def track_of(cosine) -> Track:
    cosine = np.array(cosine, dtype=float)
    count = len(cosine)
    return Track(np.arange(count), np.arange(count) / 10, cosine, [None] * count, np.full(count, np.nan))


def opens2v_oracle(cosine, looks: int, drop: bool) -> float:
    """FaceSim as its script counts it, a frame after the other."""
    chosen = [int(at) for at in np.linspace(0, len(cosine) - 1, min(looks, len(cosine)))]
    scores = []
    for at in dict.fromkeys(chosen):
        if not np.isnan(cosine[at]):
            score = max(0.0, cosine[at])
            if not drop or score != 0.0:
                scores.append(score)
    return sum(scores) / len(scores) if scores else float("nan")


@given(st.lists(st.one_of(st.floats(-1, 1), st.just(float("nan"))), min_size=1, max_size=90), st.booleans())
def test_published_figures_are_those_of_a_plain_loop(cosine, drop):
    for looks in (32, 16):
        expected = opens2v_oracle(cosine, looks, drop)
        assert published(track_of(cosine), len(cosine), looks, drop) == pytest.approx(expected, nan_ok=True)


def test_frames_without_a_face_and_zeros_are_counted_beside():
    figures = face_figures(track_of([0.8, np.nan, -0.2, 0.6]), 4, CALIBRATED)
    assert figures["similarity"] == pytest.approx(0.4)
    assert figures["detected"] == 0.75 and figures["zeros"] == pytest.approx(1 / 3)
    assert figures["with_missing"] == pytest.approx(1.4 / 4)
    assert figures["opens2v"] == pytest.approx(1.4 / 3) and figures["opens2v_dropped"] == pytest.approx(0.7)
    assert figures["worst_frame"] == 2 and figures["calibrated"] == pytest.approx(0.2 / 0.6)
    nothing = face_figures(track_of([np.nan] * 4), 4, CALIBRATED)
    assert nothing["detected"] == nothing["with_missing"] == 0 and np.isnan(nothing["similarity"])


def test_drift_is_the_slope_of_a_line():
    figures = face_figures(track_of(0.9 - 0.05 * np.arange(30) / 10), 30, CALIBRATED)
    assert figures["drift"] == pytest.approx(-0.05)
    assert figures["end_minus_start"] < -0.05


def test_a_swapped_face_is_found_where_it_is(toy):
    """Ten frames of Bob in Ann's clip, by the toy world's recogniser."""
    pixels = drawn(ANN, 3, 45)
    person = person_of("ann", toy, list(drawn(ANN, 8)[::8]))
    pixels[20:30] = drawn(BOB, 3, 45)[20:30]
    (track,) = follow(Frames(pixels, 16), [person], toy, indices_of(45, -1))
    found = set(doubtful_frames(track, toy).tolist())
    assert len(found & set(range(20, 30))) >= 9 and len(found - set(range(20, 30))) <= 1


def spoilt(pixels: np.ndarray, how: str) -> np.ndarray:
    changed = pixels.copy()
    for at in range(30, 40):
        if how == "blurred":
            radius = pixels.shape[1] / 60
            changed[at] = np.asarray(Image.fromarray(pixels[at]).filter(ImageFilter.GaussianBlur(radius)))
        else:
            changed[at] = pixels[29] if how == "frozen" else pixels[at][:, ::-1]
    return changed


@pytest.mark.parametrize("how", ["blurred", "frozen", "mirrored"])
def test_a_fault_of_ten_frames_is_found_on_a_real_clip(real, how):
    pixels = read_video(real / "faces" / "d0.mp4").pixels[:60]
    scores = frame_scores(Frames(spoilt(pixels, how), 25))
    found = {name: getattr(scores, f"{name}_frames")().tolist() for name in ("blurred", "frozen", "mirrored")}
    assert found.pop(how) == list(range(30, 40))
    assert not any(found.values())
    whole = frame_scores(Frames(pixels, 25))
    assert not any(len(getattr(whole, f"{name}_frames")()) for name in ("blurred", "frozen", "mirrored"))


def test_a_real_face_swapped_for_ten_frames_is_found_by_a_real_recogniser(real, dlib):
    pixels = read_video(real / "faces" / "d0.mp4").pixels[:60].copy()
    other = read_video(real / "faces" / "d10.mp4").pixels[:60]
    size = (pixels.shape[2], pixels.shape[1])
    person = person_of("d0", dlib, list(pixels[:20:5]))
    for at in range(30, 40):
        pixels[at] = np.asarray(Image.fromarray(other[at]).resize(size))
    (track,) = follow(Frames(pixels, 25), [person], dlib, np.arange(24, 46))
    assert doubtful_frames(track, dlib).tolist() == list(range(30, 40))


def test_real_people_are_told_apart(real, dlib):
    """Neutral and smiling of eight people: the least alike pair of one person is above any of two."""
    vectors = [
        [person_of(number, dlib, [np.array(Image.open(real / "portraits" / f"{number}_{look}.jpg"))]).vector
         for number in ("001", "002", "003", "004", "005", "006", "007", "008")] for look in ("neutral", "smiling")
    ]  # fmt: skip
    cosine = np.array(vectors[0]) @ np.array(vectors[1]).T
    others = cosine[~np.eye(8, dtype=bool)]
    assert np.diag(cosine).min() > dlib.threshold > others.max()


def test_several_people_get_a_face_each(toy):
    pixels = np.concatenate([drawn(ANN, 3, 9), drawn(BOB, 4, 9)], axis=2)
    people = [person_of(name, toy, list(drawn(seed, 8)[::8])) for name, seed in (("bob", BOB), ("ann", ANN))]
    bob, ann = follow(Frames(pixels, 16), people, toy, np.arange(9))
    boxes = [(b, a) for b, a in zip(bob.boxes, ann.boxes, strict=True) if b and a]
    assert len(boxes) >= 7 and all(b[0] >= 128 > a[0] for b, a in boxes)


def test_what_conditioned_a_video_is_marked_and_in_no_mean(toy):
    clip = Frames(drawn(ANN, 3, 9), 16)
    people = {"toy": [person_of("ann", toy, list(drawn(ANN, 8)[::8]))]}
    judged = score_video(clip, people, [toy]).figures
    marked = score_video(clip, people, [toy], conditioned=["toy"]).figures
    assert "likeness" in judged and "likeness" not in marked
    assert marked["conditioned.toy.similarity"] == judged["toy.similarity"] and "toy.similarity" not in marked


def test_a_network_that_is_not_there_is_named_with_where_to_get_it(tmp_path):
    with pytest.raises(SlotIDError, match="glint360k_curricular_face_r101_backbone.bin was not found.*published at"):
        find_recogniser("curricular", [tmp_path])
    with pytest.raises(SlotIDError, match="no recogniser 'nobody'"):
        find_recogniser("nobody")
    try:
        found, missing = find_recognisers([], [tmp_path])
        assert {"arcface", "ir_se50"} <= missing.keys() and found
    except SlotIDError as error:
        assert "pip install face-recognition-models" in str(error)


@pytest.mark.parametrize("norm_between", [True, False])
def test_a_file_says_which_network_it_is(tmp_path, norm_between):
    torch.manual_seed(0)
    network = ImprovedResNet(4, (1, 2, 1, 1), norm_between, last_scale=norm_between, embedding_width=16).eval()
    torch.save(network.state_dict(), tmp_path / "net.bin")
    crops = torch.rand(2, 3, 112, 112)
    assert torch.equal(load_curricular(tmp_path / "net.bin")(crops), network(crops))


def test_whose_video_it_is():
    known = {"ann": [], "ann_lee": [], "bob": []}
    from pathlib import Path

    assert whose(Path("ann_lee_3.mp4"), known) == ["ann_lee"] and whose(Path("ann_3.mp4"), known) == ["ann"]
    assert whose(Path("bob/x.mp4"), known) == ["bob"] and whose(Path("ann+bob_1.mp4"), known) == ["ann", "bob"]
    assert whose(Path("annabel.mp4"), known) == []
    assert spans([3, 4, 5, 9]) == "3-5, 9"


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """Two rows: the right people, and each one's videos with the other's face."""
    folder = tmp_path_factory.mktemp("videos")
    for name, seed, other in (("ann", ANN, BOB), ("bob", BOB, ANN)):
        write_frames(folder / "people" / f"{name}.mp4", drawn(seed, 8, 17))
        write_frames(folder / "right" / f"{name}_1.mp4", drawn(seed, 3, 17))
        write_frames(folder / "wrong" / f"{name}_1.mp4", drawn(other, 3, 17))
    return folder, run(folder)


def run(folder, *more):
    main([
        "videos", "--videos", str(folder / "right"), "--videos", str(folder / "wrong"),
        "--references", str(folder / "people"), "--recognisers", "toy", "--folder", str(folder / "kept"),
        "--json", str(folder / "f.json"), "--page", str(folder / "f.html"), "--markdown", str(folder / "f.md"), *more,
    ])  # fmt: skip
    return json.loads((folder / "f.json").read_text())


def test_the_command_ranks_rows_and_writes_a_page(ran):
    folder, figures = ran
    assert figures["right.toy.similarity"] > 0.5 > figures["wrong.toy.similarity"]
    assert (
        figures["right.toy.similarity.low"] <= figures["right.toy.similarity"] <= figures["right.toy.similarity.high"]
    )
    page = (folder / "f.html").read_text()
    assert page.count("<figure>") == 4 and page.count("<polyline") >= 4 and "src=" not in page
    assert "| right | 2 |" in (folder / "f.md").read_text()


def test_what_is_kept_is_not_scored_again(ran, monkeypatch):
    folder, figures = ran
    (folder / "people" / "ann.mp4").rename(folder / "people" / "ann_again.mp4")
    (folder / "people" / "ann_again.mp4").rename(folder / "people" / "ann.mp4")
    monkeypatch.setattr("slotid_core.evaluation.likeness.command.score_video", lambda *_: pytest.fail("scored again"))
    assert run(folder) == figures


def test_another_video_of_the_same_name_is_scored(ran):
    folder, figures = ran
    write_frames(folder / "right" / "ann_1.mp4", drawn(BOB, 3, 17))
    assert run(folder)["right.toy.similarity"] < figures["right.toy.similarity"]
    with pytest.raises(SlotIDError, match="Nobody of ann, bob belongs to eve_1.mp4"):
        write_frames(folder / "other" / "eve_1.mp4", drawn(BOB, 3, 5))
        jobs_of_folders([folder / "other"], folder / "people", {})
