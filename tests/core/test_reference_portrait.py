"""Choosing a portrait and clearing its background, judged on pictures whose right answer is known."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as functional

from slotid_core.errors import SlotIDError
from slotid_core.reference.decode.clip import shrink
from slotid_core.reference.faces.detector import Detector, find_detector
from slotid_core.reference.faces.face import Face
from slotid_core.reference.faces.measure import nose_between_eyes, sharpness, symmetry
from slotid_core.reference.portrait.background import neutralise, person_mask
from slotid_core.reference.portrait.select import select_portrait
from slotid_core.toy_world.person import sample_person
from slotid_core.toy_world.render import draw, head_boxes, reference_motion
from slotid_core.toy_world.scene import BACKGROUNDS

SIDE = 128


@pytest.fixture(scope="module")
def portrait_picture():
    pytest.importorskip("skimage")
    from skimage.data import astronaut

    return torch.from_numpy(shrink(astronaut()[:260, 90:350], SIDE)).float() / 255  # a real face: NASA, public domain


@pytest.fixture(scope="module")
def detector():
    pytest.importorskip("skimage")
    return find_detector(choice="cascade")


def blurred(picture: torch.Tensor, pixels: int) -> torch.Tensor:
    padded = functional.pad(picture.permute(2, 0, 1)[None], [pixels] * 4, mode="replicate")
    return functional.avg_pool2d(padded, 2 * pixels + 1, stride=1)[0].permute(1, 2, 0)


def test_the_sharp_and_well_lit_frame_wins(portrait_picture, detector):
    frames = [blurred(portrait_picture, 2), portrait_picture * 0.15, blurred(portrait_picture, 4)]
    for place in range(4):
        clip = torch.stack([*frames[:place], portrait_picture, *frames[place:]])
        chosen = select_portrait(clip, detector, candidates=4)
        assert chosen.frames[0] == place == chosen.report["frame"]
        assert len(chosen.frames) == len(set(chosen.frames)) == 4
        assert torch.equal(chosen.candidates[0], portrait_picture)


def with_expression(picture: torch.Tensor, eyes_shut: bool, mouth_open: bool) -> torch.Tensor:
    """The astronaut's portrait with skin painted over both eyes, or a dark hole over the mouth."""
    picture = picture.clone()
    rows, columns = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    skin = picture[60, 66]
    if eyes_shut:
        for x in (54, 78):
            picture[((columns - x) / 8) ** 2 + ((rows - 48) / 5) ** 2 < 1] = skin
    if mouth_open:
        picture[((columns - 66) / 7) ** 2 + ((rows - 74) / 6) ** 2 < 1] = 0.05
    return picture


def test_open_eyes_and_a_mouth_at_rest_are_preferred(portrait_picture):
    face = Face((38.0, 28.0, 94.0, 90.0))
    one_face = Detector("given", lambda image, smallest: [face.scaled(len(image) / SIDE)], working_side=128)
    kinds = [(True, False), (False, True), (False, False), (False, False), (True, True), (False, False)]
    clip = torch.stack([with_expression(portrait_picture, *kind) for kind in kinds])
    chosen = select_portrait(clip, one_face, candidates=6)
    assert chosen.frames[0] in (2, 3, 5)
    scores = {score["frame"]: score for score in chosen.report["candidates"]}
    for frame, (eyes_shut, mouth_open) in enumerate(kinds):
        if frame in scores:
            assert (scores[frame]["eyes_open"] < 0.6) == eyes_shut, scores[frame]
            assert (scores[frame]["neutral"] < 0.6) == mouth_open, scores[frame]


def test_another_candidate_can_be_asked_for(portrait_picture, detector):
    clip = torch.stack([blurred(portrait_picture, 3), portrait_picture])
    mask = torch.ones(1, SIDE, SIDE)
    assert torch.equal(select_portrait(clip, detector, rank=1, mask=mask).image[0], clip[0])
    with pytest.raises(SlotIDError, match="Candidate 2 was asked, but there are 2"):
        select_portrait(clip, detector, rank=2)


def test_a_turned_face_is_less_frontal_by_symmetry_and_by_landmarks():
    columns = torch.linspace(-1, 1, 96)
    frontal = (-((columns.abs() - 0.5) ** 2) * 20).exp().expand(96, 96)  # two eyes, evenly placed
    turned = (-((columns - 0.6) ** 2) * 20).exp().expand(96, 96) + columns
    assert symmetry(frontal) > 0.98 > symmetry(turned) + 0.2
    eyes = np.array([[30.0, 50], [70, 50]])
    looks = [nose_between_eyes(np.concatenate([eyes, [[x, 70]], eyes])) for x in (50, 60, 70, 90)]
    assert looks == sorted(looks, reverse=True) and looks[0] == 1 and looks[2] == looks[3] == 0


def test_sharpness_falls_with_blur_and_ignores_contrast():
    picture = torch.rand(SIDE, SIDE, 3)
    levels = [float(sharpness(blurred(picture, pixels)[..., 0])) for pixels in (0, 1, 2, 4)]
    assert levels == sorted(levels, reverse=True)
    assert sharpness(picture[..., 0] * 0.3) == pytest.approx(levels[0], rel=1e-3)


def drawn_person(seed: int) -> tuple[torch.Tensor, torch.Tensor, tuple]:
    """Head and shoulders of plain colours before a textured background: picture, true mask, face box."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:SIDE, :SIDE]
    x, y, radius = SIDE / 2 + rng.uniform(-8, 8), SIDE * 0.42, SIDE * rng.uniform(0.16, 0.2)
    head = np.hypot((columns - x) / radius, (rows - y) / (1.25 * radius)) < 1
    neck_and_shoulders = (rows > y + radius) & (np.abs(columns - x) < 0.5 * radius + 1.6 * (rows - y - radius))
    picture = np.full((SIDE, SIDE, 3), rng.uniform(0.1, 0.4, 3)) + rng.normal(0, 0.05, (SIDE, SIDE, 3))
    picture[neck_and_shoulders] = rng.uniform(0.5, 1.0, 3)
    picture[head] = (0.85, 0.65, 0.55)
    box = (x - 0.9 * radius, y - 0.9 * radius, x + 0.9 * radius, y + 0.9 * radius)
    return torch.from_numpy(picture).float().clamp(0, 1), torch.from_numpy(head | neck_and_shoulders), box


@pytest.mark.parametrize("seed", range(4))
def test_a_drawn_person_is_cut_out_along_its_outline(seed):
    picture, truth, box = drawn_person(seed)
    mask = person_mask(picture, box)
    assert mask.shape == truth.shape and mask.min() >= 0 and mask.max() <= 1
    found = mask > 0.5
    assert (found & truth).sum() / (found | truth).sum() > 0.9


def test_the_same_frame_gives_the_same_mask_and_a_flat_one_no_nan():
    picture, _, box = drawn_person(0)
    assert torch.equal(person_mask(picture, box), person_mask(picture, box))
    assert torch.isfinite(person_mask(torch.full((64, 64, 3), 0.5), (16, 16, 48, 48))).all()


def test_the_background_becomes_the_colour_and_the_person_stays():
    picture = torch.rand(32, 32, 3)
    mask = torch.zeros(32, 32)
    mask[8:24, 8:24] = 1
    result = neutralise(picture, mask, (1.0, 0.5, 0.0))
    assert torch.equal(result[8:24, 8:24], picture[8:24, 8:24])
    assert (result[0, 0] == torch.tensor([1.0, 0.5, 0.0])).all()


def test_without_a_face_the_middle_is_judged_and_that_is_said():
    blind = Detector("blind", lambda picture, smallest: [], working_side=64)
    chosen = select_portrait(torch.rand(5, 64, 64, 3), blind)
    assert chosen.image.shape == (1, 64, 64, 3) and "No face" in chosen.report["notes"][0]


def test_masks_that_do_not_fit_are_named():
    one_face = Detector("given", lambda picture, smallest: [Face((40, 40, 88, 88))], working_side=128)
    frames = torch.rand(5, SIDE, SIDE, 3)
    for mask, reason in [(torch.ones(3, 8, 8), "3, 8, 8"), (torch.full((1, 8, 8), float("nan")), "NaN")]:
        with pytest.raises(SlotIDError, match=reason):
            select_portrait(frames, one_face, mask=mask)
    per_frame = torch.arange(5).float()[:, None, None].expand(5, 16, 16) / 4  # another size is resized
    chosen = select_portrait(frames, one_face, mask=per_frame)
    assert chosen.mask.shape == (1, SIDE, SIDE)
    assert (chosen.mask - chosen.report["frame"] / 4).abs().max() < 1e-5


def test_a_generous_box_brings_little_of_the_background_along():
    """What is the same before every background is the person; the colours of a box around it are not all theirs."""
    kept = []
    for seed in range(8):
        person = sample_person(1_000_100 + seed)
        scene, motion = reference_motion(person, seed, 5)
        scenes = [replace(scene, background=index) for index in range(len(BACKGROUNDS))]
        pictures = draw([person] * len(scenes), scenes, [motion.frames(0, 1)] * len(scenes), 128)[:, 0].float()
        true = (pictures - pictures[:1]).abs().amax((0, 3)) < 0.02
        left, top, right, bottom = head_boxes(scene, motion, 128)[0]
        more = 0.1 * (right - left)
        mask = person_mask(pictures[scene.background], (left - more, top - more, right + more, bottom + more)) > 0.5
        mask, true = mask[: int(bottom)], true[: int(bottom)]
        kept.append(((mask & true).sum() / (mask | true).sum()).item())
    assert sum(kept) / len(kept) > 0.7  # 0.65 when the whole outline gave the person's colours
