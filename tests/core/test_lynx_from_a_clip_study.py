"""The study of knowing a person by a clip: its figures and its page."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from slotid_core.errors import SlotIDError
from slotid_core.recognisers.recogniser import Recogniser, unit
from slotid_core.reference.faces.drawn_faces import find_drawn_faces
from slotid_core.reference.faces.face import Face
from studies.lynx_from_a_clip import __main__ as command
from studies.lynx_from_a_clip import measure as of_study
from studies.lynx_from_a_clip.measure import WAYS, interval, measure, separation
from studies.lynx_from_a_clip.page import page


def colours() -> Recogniser:
    """Who somebody is says the mean colour of a frame."""

    def look(frame: np.ndarray) -> list[Face]:
        return [Face((0.0, 0.0, 9.0, 9.0), 1.0, embedding=unit(frame.mean(axis=(0, 1)) - 100.0))]

    return Recogniser("colours", "the mean colour", look)


def clip(colour: tuple[int, int, int], seed: int) -> np.ndarray:
    """Frames of a colour, each off by an amount of its own."""
    rng = np.random.default_rng(seed)
    frames = np.array(colour) + rng.integers(-25, 25, (13, 1, 1, 3))
    return np.broadcast_to(frames, (13, 48, 48, 3)).clip(0, 255).astype(np.uint8)


@pytest.fixture(autouse=True)
def moments(monkeypatch):
    """Which moments are the best is tested where they are chosen."""
    monkeypatch.setattr(of_study, "best_faces", lambda *given, **more: SimpleNamespace(frames=(0, 3, 6, 9, 12)))


def test_a_clip_says_more_than_one_of_its_frames():
    people = [("red", (200, 60, 60)), ("green", (60, 200, 60)), ("blue", (60, 60, 200)), ("grey", (140, 140, 150))]
    pairs = [(name, clip(colour, n), clip(colour, 50 + n)) for n, (name, colour) in enumerate(people)]
    figures = measure("real", pairs, colours(), find_drawn_faces())
    assert figures["real.people"] == 4 and figures["real.unseen"] == 0 and figures["real.moments"] == 40
    assert figures["real.clip.same"] > figures["real.middle_frame.same"]
    assert figures["real.clip_minus_middle_frame"] == pytest.approx(
        figures["real.clip.same"] - figures["real.middle_frame.same"]
    )
    assert all(figures[f"real.{way.replace(' ', '_')}.separation"] > 1 for way in WAYS)
    text = page(figures | {"real.recogniser": "colours"})
    assert f"{figures['real.clip.same']:.3f}" in text and "by colours" in text
    assert text.count("Not measured yet") == 1, "the toy world's part"


def test_a_recogniser_that_sees_nobody_is_named():
    blind = Recogniser("blind", "sees nobody", lambda frame: [])
    pairs = [("ann", clip((9, 9, 9), 0), clip((9, 9, 9), 1))]
    with pytest.raises(SlotIDError, match="finds nobody"):
        measure("real", pairs, blind, find_drawn_faces())


def test_separation_and_interval():
    near = np.array([[0.9, 0.1], [0.2, 0.8]])
    assert separation(near) == pytest.approx(0.7 / np.sqrt((0.05**2 + 0.05**2) / 2))
    low, high = interval(np.full(9, 0.25))
    assert low == high == pytest.approx(0.25)


def test_parts_that_are_not_run_keep_their_figures(tmp_path, monkeypatch):
    monkeypatch.setattr(command, "measured", lambda part, options: {f"{part}.unseen": 1})
    for part in ("toy", "real"):
        monkeypatch.setattr(command, "page", lambda figures: json.dumps(figures))
        assert command.main(["--parts", part, "--output", str(tmp_path)]) == 0
    assert json.loads((tmp_path / "lynx_from_a_clip.md").read_text()) == {"toy.unseen": 1, "real.unseen": 1}
