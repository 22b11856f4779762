"""Long videos in evaluation: windows, chained pieces, what is measured over time, and the command."""

import itertools
import json

import numpy as np
import pytest
import torch
from toy_family import ship_random_family

from slotid_core.errors import SlotIDError
from slotid_core.evaluation import long_videos
from slotid_core.evaluation.__main__ import main
from slotid_core.evaluation.long_clips import Length, LongStudio, held, noise_of, windowed
from slotid_core.evaluation.over_time import CURVES, OverTime, differences, flat, summary
from slotid_core.evaluation.subjects import subjects_of
from slotid_core.evaluation.usage import Usage
from slotid_core.evaluation.variants import chosen_rows
from slotid_core.systems.lavie_id.temporal import TemporalConfig, TemporalModule, save_temporal
from slotid_core.systems.lavie_id.temporal.file import random_temporal
from slotid_core.wan.sampling import euler

SHORT = Length(frames=8, window=5, overlap=2)


@pytest.fixture(scope="module")
def family(tmp_path_factory):
    folder = tmp_path_factory.mktemp("family")
    ship_random_family(folder)
    torch.set_num_threads(1)
    return folder


def studio_of(family, way, refiner=None) -> LongStudio:
    studio = LongStudio(None, Usage(steps=1), family)
    studio.length, studio.way, studio.refiner = SHORT, way, refiner
    return studio


@pytest.mark.parametrize(("frames", "window", "overlap"), [(9, 5, 2), (5, 5, 4), (81, 5, 2), (10, 5, 1), (7, 2, 1)])
def test_windows_cover_every_frame_and_share_at_least_the_overlap(frames, window, overlap):
    starts = Length(frames, window, overlap).starts()
    assert starts[0] == 0 and starts[-1] + window == frames
    assert all(first + window - second >= overlap for first, second in itertools.pairwise(starts))


@pytest.mark.parametrize(("frames", "window", "overlap"), [(9, 5, 5), (4, 5, 2), (9, 1, 1)])
def test_windows_that_cannot_be_are_refused(frames, window, overlap):
    with pytest.raises(SlotIDError):
        Length(frames, window, overlap)


def test_a_prediction_that_sees_one_frame_is_the_same_by_windows():
    """What does not look at other frames cannot tell that it was shown windows."""

    def predict(noisy, noise_level, context, strength):
        return 3 * noisy + noise_level.view(-1, 1, 1, 1, 1)

    noisy, level = torch.randn(2, 16, 8, 4, 4), torch.tensor([0.3, 0.6])
    expected = predict(noisy, level, None, None)
    assert torch.allclose(windowed(predict, SHORT)(noisy, level, torch.zeros(2, 1, 8), None), expected, atol=1e-5)


def test_held_frames_arrive_where_they_should_and_the_others_see_them():
    known, noise, seen = torch.randn(1, 16, 2, 8, 8), noise_of([3], 5), []

    def predict(noisy, noise_level, context, strength):
        seen.append((noise_level.item(), noisy[:, :, :2].clone()))
        return torch.ones_like(noisy)

    prediction = held(predict, known, noise)
    latents = euler(lambda x, level: prediction(x, level, torch.zeros(1, 1, 8), None), noise, 5, 3.0)
    assert torch.allclose(latents[:, :, :2], known, atol=1e-5)
    for level, shown in seen:
        assert torch.allclose(shown, torch.lerp(known, noise[:, :, :2], level), atol=1e-5)


def test_pieces_go_on_from_the_last_frames_and_refined_ones_from_refined_ones(family):
    subjects, row = subjects_of(0, 1, 1), chosen_rows(["base"], ["slot_id"])[0]
    plain, windows = (studio_of(family, way).clips(row, subjects, 0) for way in ("chained", "windows"))
    assert plain.shape == windows.shape == (1, 1, 29, 64, 64, 3)
    assert not torch.allclose(plain, windows)
    idle = studio_of(family, "chained", TemporalModule(TemporalConfig(width=32, heads=2, layers=1)))
    assert torch.equal(idle.clips(row, subjects, 0), plain), "a new module changes nothing"
    refined = studio_of(family, "chained", random_temporal()).clips(row, subjects, 0)
    assert torch.equal(refined[:, :, 0], plain[:, :, 0]) and not torch.allclose(refined[:, :, 17:], plain[:, :, 17:])


class Faces(torch.nn.Module):
    """Whoever is white is one person, whoever is black another."""

    def forward(self, frames):
        light = frames.mean((1, 2, 3))
        return torch.stack([light, 1 - light], dim=1)


def test_what_is_measured_over_time():
    judge = OverTime(Faces(), torch.tensor([[1.0, 0.0]]))
    clip = torch.ones(1, 1, 33, 8, 8, 3)
    steady = judge.curves(clip)
    assert set(steady) == set(CURVES) and all(values.shape == (1, 1, 9) for values in steady.values())
    assert np.allclose(steady["similarity"], 1) and np.allclose(steady["consistency"][..., 1:], 1)
    assert all(np.nanmax(np.abs(steady[name])) == 0 for name in ("flicker", "detail", "colour"))
    fading = clip * torch.linspace(1, 0, 33).view(1, 1, -1, 1, 1, 1)
    faded = summary(judge.curves(fading), looks=2)
    assert faded["drift.similarity"][0, 0] < -0.8 and faded["drift.colour"][0, 0] > 0.8
    assert abs(faded["flicker"][0, 0]) < 1e-6, "steady change does not flicker"
    flickering = clip.clone()
    flickering[:, :, 1::2] = 0.5
    assert judge.curves(flickering)["flicker"][0, 0, 1:] == pytest.approx(0.5)
    pattern = clip.clone()
    pattern[..., ::2, :] = 0.0
    assert (judge.curves(pattern)["detail"] > 0.9).all()


def test_figures_have_intervals_and_gains_are_paired():
    values = {"similarity": np.array([[0.1], [0.5], [0.9]])}
    better = {"similarity": values["similarity"] + 0.1}
    figures = flat("base.windows", values)
    assert figures["base.windows.similarity"] == pytest.approx(0.5)
    assert figures["base.windows.similarity.low"] < 0.3 < 0.7 < figures["base.windows.similarity.high"]
    gain = differences("gain", better, values)
    assert [gain[f"gain.similarity{end}"] for end in ("", ".low", ".high")] == pytest.approx([0.1] * 3)


def test_the_command(family, tmp_path, monkeypatch):
    module = random_temporal()
    save_temporal(tmp_path / "module.safetensors", module.config, module.state_dict())
    monkeypatch.setattr(long_videos, "LongStudio", lambda *args, **named: LongStudio(*args, **named, weights=family))
    arguments = ["long", "--rows", "base", "--refiner", str(tmp_path / "module.safetensors"), "--frames", "8"]
    arguments += ["--identities", "2", "--steps", "1", "--json", str(tmp_path / "figures.json")]
    arguments += ["--curves", str(tmp_path / "curves.png"), "--sheet", str(tmp_path / "sheet.png")]
    assert main(arguments) == 0
    figures = json.loads((tmp_path / "figures.json").read_text())
    for way in ("windows", "chained"):
        for kind in ("", ".refined", ".gain"):
            assert f"base.{way}{kind}.drift.similarity.low" in figures
        refined, plain = (figures[f"base.{way}{kind}.flicker"] for kind in (".refined", ""))
        assert figures[f"base.{way}.gain.flicker"] == pytest.approx(refined - plain)
    assert all((tmp_path / name).stat().st_size > 5000 for name in ("curves.png", "sheet.png"))


@pytest.mark.parametrize(
    ("name", "value", "said"), [("--ways", "sideways", "no way"), ("--rows", "ground_truth", "cannot drift")]
)
def test_what_there_is_not_is_refused(name, value, said):
    with pytest.raises(SlotIDError, match=said):
        main(["long", name, value])
