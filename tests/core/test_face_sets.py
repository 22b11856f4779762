"""Fréchet distances of faces: the formula against the libraries', whose faces are compared, and what is refused."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from likeness_clips import ANN, BOB, drawn, write_frames

from slotid_core.errors import SlotIDError
from slotid_core.evaluation.__main__ import main
from slotid_core.evaluation.likeness.face_crops import face_crops
from slotid_core.evaluation.likeness.face_sets import Inception, frechet_distance
from slotid_core.evaluation.likeness.networks import NEEDED


def normal(seed: int, count: int, width: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    return random.normal(size=(count, width)) @ random.normal(size=(width, width)) + random.normal(size=width)


@given(st.integers(2, 40), st.integers(2, 40), st.integers(1, 12), st.integers(0, 1000))
def test_the_distance_is_that_of_the_published_formula(first, second, width, seed):
    """By the eigenvalues of the covariances' product, also where faces are fewer than features."""
    one, other = normal(seed, first, width), normal(seed + 1, second, width)
    covariances = [np.atleast_2d(np.cov(features, rowvar=False)) for features in (one, other)]
    roots = np.sqrt(np.linalg.eigvals(covariances[0] @ covariances[1]).astype(complex)).real.sum()
    expected = np.square(one.mean(0) - other.mean(0)).sum() + sum(map(np.trace, covariances)) - 2 * roots
    assert frechet_distance(one, other) == pytest.approx(expected, rel=1e-4, abs=1e-4)
    assert frechet_distance(one, one) == pytest.approx(0, abs=1e-6 * np.trace(covariances[0]))


def test_the_distance_is_that_of_torchmetrics_and_torch_fidelity():
    torchmetrics, fidelity = (pytest.importorskip(n) for n in ("torchmetrics.image.fid", "torch_fidelity.metric_fid"))

    class Pixels(torch.nn.Module):
        num_features = 12

        def forward(self, pictures):
            return pictures.flatten(1).double() / 64

    metric = torchmetrics.FrechetInceptionDistance(feature=Pixels(), input_img_size=(3, 2, 2)).set_dtype(torch.float64)
    sets = [torch.randint(0, top, (50, 3, 2, 2), generator=torch.Generator().manual_seed(top)) for top in (200, 256)]
    for pictures, real in zip(sets, (True, False), strict=True):
        metric.update(pictures.byte(), real=real)
    features = [Pixels()(pictures) for pictures in sets]
    ours = frechet_distance(*(one.numpy() for one in features))
    assert ours == pytest.approx(float(metric.compute()), abs=1e-4)
    statistics = [fidelity.fid_features_to_statistics(one) for one in features]
    (theirs,) = fidelity.fid_statistics_to_metric(*statistics, verbose=False).values()
    assert ours == pytest.approx(theirs, abs=1e-4)


def test_a_crop_is_a_square_of_the_frame_around_the_face():
    frame = np.zeros((100, 200, 3), np.uint8)
    frame[40:60, 140:160] = 255
    (middle,) = face_crops([frame], [(140, 40, 160, 60)])
    assert middle.shape == (299, 299, 3) and middle[149, 149, 0] == 255 and middle[10, 10, 0] == 0
    assert (middle[..., 0] > 127).mean() == pytest.approx(1 / 1.3**2, abs=0.02)
    (corner,) = face_crops([frame], [(150, -20, 210, 40)])  # a box beyond the frame is moved, not padded
    assert corner.shape == (299, 299, 3) and (corner[..., 0] > 127).mean() > 0.04
    assert face_crops([], []).shape == (0, 299, 299, 3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    base = tmp_path_factory.mktemp("faces")
    for name, seed in (("ann", ANN), ("bob", BOB)):
        write_frames(base / "people" / f"{name}.mp4", drawn(seed, 8, 17))
        write_frames(base / "theirs" / f"{name}_1.mp4", drawn(seed, 3, 17))
        write_frames(base / "others" / f"{name}_1.mp4", drawn(seed + 40, 3, 17))
    return base


def run(folder, *more) -> dict:
    rows = [part for row in ("theirs", "others") for part in ("--videos", str(folder / row))]
    main([
        "videos", *rows, "--references", str(folder / "people"), "--recognisers", "toy", "--folder",
        str(folder / "kept"), "--json", str(folder / "f.json"), "--markdown", str(folder / "f.md"), *more,
    ])  # fmt: skip
    return json.loads((folder / "f.json").read_text())


def test_faces_of_the_people_are_nearer_than_those_of_others(folder):
    figures = run(folder)
    key = "toy.face_frechet"
    assert 0 < figures[f"theirs.{key}"] < 0.7 * figures[f"others.{key}"]
    assert 28 <= figures[f"theirs.{key}.faces"] <= 34 and 28 <= figures[f"theirs.{key}.reference_faces"] <= 32
    assert run(folder) == figures  # from what was kept
    text = (folder / "f.md").read_text()
    assert f"| theirs.{key} |" in text and "`face_fid`: weights-inception-2015-12-05-6726825d.pth was not found" in text
    marked = run(folder, "--conditioned", "toy")
    assert marked[f"theirs.conditioned.{key}"] == figures[f"theirs.{key}"] and f"theirs.{key}" not in marked


def test_face_fid_is_of_torch_fidelitys_network(tmp_path, monkeypatch):
    """On random weights, which need no download, and few frames, as the network is large."""
    published = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3")
    torch.manual_seed(0)
    with monkeypatch.context() as patched:
        patched.setattr(published.FeatureExtractorInceptionV3, "load_state_dict", lambda *_: None)
        torch.save({}, tmp_path / "empty.pth")
        network = published.FeatureExtractorInceptionV3(
            "random", ["2048"], feature_extractor_weights_path=str(tmp_path / "empty.pth")
        )
    torch.save(network.state_dict(), tmp_path / NEEDED["face_fid"].file)
    for folder, scene in (("people", 8), ("theirs", 3), ("others", 4)):
        write_frames(tmp_path / folder / "ann.mp4", drawn(ANN, scene, 3))
    figures = run(tmp_path, "--models", str(tmp_path))
    assert (
        figures["theirs.face_fid"] > 0 and figures["theirs.face_fid.faces"] == figures["theirs.toy.face_frechet.faces"]
    )
    crops = face_crops([drawn(ANN, 3, 1)[0]], [(30, 30, 90, 90)])
    expected = network(torch.from_numpy(crops).movedim(-1, 1))[0].numpy()
    assert np.array_equal(Inception(tmp_path / NEEDED["face_fid"].file).features(crops), expected)


def test_a_file_that_is_no_inception_is_refused(tmp_path):
    pytest.importorskip("torch_fidelity")
    torch.save({"weight": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(SlotIDError, match="is not torch-fidelity's Inception"):
        Inception(tmp_path / "other.pth")
