"""Copying: 0 for the person drawn anew and for other pictures of them, 1 for the picture itself, whoever it is."""

import numpy as np
import pytest
import torch
from toy_family import ship_random_family

from slotid_core.dataset.augmentation import augmentations
from slotid_core.evaluation.copying import LAID_OUT_ANEW, Copying, best_match, copied, shown_picture
from slotid_core.evaluation.intervals import bootstrap
from slotid_core.evaluation.metrics import summarize
from slotid_core.evaluation.studio import Studio
from slotid_core.evaluation.subjects import subjects_of
from slotid_core.evaluation.usage import Usage
from slotid_core.evaluation.variants import chosen_rows
from slotid_core.systems.registry import SYSTEMS
from slotid_core.toy_world.person import DYNAMICS
from slotid_core.toy_world.render import render_clips

PEOPLE, SIZE, NAME = 4, (64, 64), "reference_picture"
ROW = chosen_rows(["full"], ["st_drc"])[0]


@pytest.fixture(scope="module")
def studio(tmp_path_factory):
    folder = tmp_path_factory.mktemp("family")
    ship_random_family(folder)
    return Studio(None, Usage(steps=2), folder)


@pytest.fixture(scope="module")
def copying(studio):
    return Copying(studio, subjects_of(0, PEOPLE, 1))


def stills(pictures: list[torch.Tensor]) -> torch.Tensor:
    """A picture (1, H, W, 3) of each person -> clips (people, 1, T, H, W, 3) in which nothing moves."""
    return torch.stack([picture.expand(5, -1, -1, -1)[None] for picture in pictures])


def share(copying, clips) -> float:
    return float(copied(copying.measure(ROW, clips)["copying"], np.ones((1, PEOPLE)))[0])


def test_a_pasted_picture_is_all_of_it_and_a_drawn_scene_nothing(copying):
    pasted = stills([copying.pictures(place, NAME, SIZE)[0] for place in range(PEOPLE)])
    drawn = torch.stack([render_clips([s.person], list(s.scenes)) for s in copying.subjects])
    assert share(copying, pasted) == pytest.approx(1.0, abs=1e-4)
    assert share(copying, drawn) == pytest.approx(0.0, abs=1e-4)
    assert 0.3 < share(copying, torch.lerp(drawn[:, :, :5], pasted, 0.5)) < 1.0
    low, high = bootstrap(copying.measure(ROW, pasted)["copying"], copied)
    assert low <= high == pytest.approx(1.0, abs=1e-3)


def test_another_picture_of_the_person_is_no_copy(studio):
    """As like the person as the picture is, and laid out in another way."""
    copying = Copying(studio, subjects_of(0, 12, 1))
    others = [laid_out_anew(studio, subject) for subject in copying.subjects]
    values = [copying.measure(ROW, stills([of[number] for of in others]))["copying"] for number in range(4)]
    low, high = bootstrap(np.concatenate(values, axis=1), copied)
    assert low < 0 < high and max(-low, high) < 0.4


def laid_out_anew(studio, subject):
    return augmentations(studio.pictures(subject, 2).face_picture, *SIZE, LAID_OUT_ANEW)


def test_a_picture_moved_a_little_or_of_another_colour_is_still_copied(copying):
    own = [copying.pictures(place, NAME, SIZE)[0] for place in range(PEOPLE)]
    moved = stills([picture.roll((2, -3), (1, 2)) for picture in own])
    tinted = stills([picture * torch.tensor([0.8, 0.9, 0.7]) + 0.1 for picture in own])
    assert share(copying, moved) > 0.85 and share(copying, tinted) == pytest.approx(1.0, abs=0.03)


def test_a_match_is_a_correlation():
    generator = torch.Generator().manual_seed(0)
    frame, other = torch.rand(2, 1, 40, 40, 3, generator=generator)
    match = best_match(torch.cat([frame, 1 - frame]), torch.cat([frame, other, frame.roll(3, 2)]))
    assert match[0, 0] == pytest.approx(1.0, abs=1e-5) and match[0, 2] == pytest.approx(1.0, abs=1e-5)
    assert match[:, 1].abs().max() < 0.2 and match[1, 0] < 0.2


def test_who_gets_the_figure(copying):
    """Systems that read a whole picture: not one that reads cut-out parts, and no row of no system."""
    shown = {name: shown_picture(name) for name in SYSTEMS}
    assert shown == {
        "slot_id": "portrait", "lynx": "face_picture", "st_drc": "reference_picture", "lavie_id": "",
    }  # fmt: skip
    clips = torch.rand(PEOPLE, 1, 5, 64, 64, 3, generator=torch.Generator().manual_seed(0))
    assert copying.measure(chosen_rows(["base"], [])[0], clips) == {}
    figures = summarize(
        "row", {"dynamics": np.full((PEOPLE, 1, len(DYNAMICS), 2), np.nan)} | copying.measure(ROW, clips)
    )
    assert figures["row.copying.low"] <= figures["row.copying"] <= figures["row.copying.high"]
    assert abs(figures["row.copying"]) < 0.2
