"""Choosing a portrait and clearing its background, judged on pictures whose right answer is known."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as functional

from slotid_core.errors import SlotIDError
from slotid_core.reference.decode.clip import shrink
from slotid_core.reference.faces.detector import Detector, find_detector
from slotid_core.reference.faces.face import Face, box_of
from slotid_core.reference.faces.measure import nose_between_eyes, sharpness, symmetry
from slotid_core.reference.portrait.background import neutralise
from slotid_core.reference.portrait.cut import OwnCut
from slotid_core.reference.portrait.select import select_portrait
from slotid_core.toy_world.motion import Motion
from slotid_core.toy_world.person import sample_person
from slotid_core.toy_world.render import draw, head_boxes, portrait_motion, reference_motion
from slotid_core.toy_world.scene import BACKGROUNDS, sample_scene

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


def moment(motion: Motion, **change: float) -> Motion:
    """One frame at rest, with some of its numbers changed."""
    return replace(motion, **{name: np.full(1, value) for name, value in change.items()})


# What somebody does, and the part of the score that must tell it.
MOMENTS = {
    "eyes_open": {"eye_open": 0.0},
    "frontal": {"yaw": 0.8},
    "neutral": {"mouth_open": 0.8},
}


def drawn_moments(seed: int, kinds: list[dict[str, float]]) -> torch.Tensor:
    """(T, 256, 256, 3): one held-out person in one place, a frame for each kind."""
    person = sample_person(1_000_700 + seed)
    scene, rest = sample_scene(seed), portrait_motion()[1]
    motions = [moment(rest, **kind) for kind in kinds]
    return draw([person] * len(kinds), [scene] * len(kinds), motions, 256)[:, 0]


@pytest.mark.parametrize("seed", range(5))
def test_open_eyes_a_frontal_head_and_a_mouth_at_rest_are_preferred(seed):
    kinds = [*MOMENTS.values(), {"yaw": 0.05}, {"eye_open": 0.0, "mouth_open": 0.8}, {"yaw": -0.05}]
    chosen = select_portrait(drawn_moments(seed, kinds), find_detector(choice="drawn"), candidates=6)
    assert chosen.frames[0] in (3, 5)
    assert not chosen.report["notes"] and not chosen.report["spoilt"]
    scores = {score["frame"]: score for score in chosen.report["candidates"]}
    for frame, part in enumerate(MOMENTS):
        if frame in scores:
            assert scores[frame][part] < scores[chosen.frames[0]][part] - 0.25, (part, scores)


def test_when_no_frame_is_good_the_least_bad_one_is_named():
    frames = drawn_moments(1, [{"yaw": 1.0}, {"yaw": 1.05, "eye_open": 0.0}, {"yaw": -1.0}])
    chosen = select_portrait(frames, find_detector(choice="drawn"))
    assert chosen.report["spoilt"]
    note = chosen.report["notes"][0]
    assert "No frame makes a good portrait" in note and "the head is turned" in note


def test_an_eye_taken_for_a_face_is_no_face(portrait_picture, detector):
    """Else the frame in which it is counts as one with a face, and the body below the eye is cut off in a line."""
    true = detector.detect
    calls = iter(range(100))

    def detect(pixels, smallest):
        faces = true(pixels, smallest)
        if next(calls) != 2:
            return faces
        left, top, right, _ = faces[0].box
        side = 0.4 * (right - left)
        return [replace(faces[0], box=(left + 0.3 * side, top + 0.3 * side, left + 1.3 * side, top + 1.3 * side))]

    clip = torch.stack([portrait_picture * 0.7] * 2 + [portrait_picture] + [portrait_picture * 0.7] * 2)
    chosen = select_portrait(clip, replace(detector, detect=detect), candidates=5)
    (odd,) = [score for score in chosen.report["candidates"] if score["frame"] == 2]
    assert not odd["face_found"]
    assert all(score["face_found"] for score in chosen.report["candidates"] if score is not odd)
    usual = select_portrait(clip, detector, candidates=5, rank=chosen.frames.index(2))
    assert (usual.mask[0, -8:] > 0.5).any()


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


@pytest.mark.parametrize("share", [0.8, 1.0, 1.25])
def test_boxes_of_any_detector_bring_little_of_the_background_along(share):
    """What is the same before every background is the person."""
    kept = []
    for seed in range(6):
        person = sample_person(1_000_100 + seed)
        scene, motion = reference_motion(person, seed, 5)
        scenes = [replace(scene, background=index) for index in range(len(BACKGROUNDS))]
        pictures = draw([person] * len(scenes), scenes, [motion.frames(0, 1)] * len(scenes), 128)[:, 0].float()
        true = (pictures - pictures[:1]).abs().amax((0, 3)) < 0.02
        box = head_boxes(scene, motion, 128)[0]
        middle, half = (box[:2] + box[2:]) / 2, share * (box[2:] - box[:2]) / 2
        face = box_of(np.concatenate([middle - half, middle + half]))
        mask = OwnCut().person_mask(pictures[scene.background], face) > 0.5
        kept.append(((mask & true).sum() / (mask | true).sum()).item())
    assert min(kept) > 0.9
    assert sum(kept) / len(kept) > 0.93
