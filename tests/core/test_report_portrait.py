"""What the report says of one portrait, with the truth of drawn heads in place of the network's reading."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from spoilt_portraits import KINDS, spoilt

from slotid_core.errors import SlotIDError
from slotid_core.reference.faces.face import Detector, Face, box_of
from slotid_core.reference.portrait.parts import NONE, Parts
from slotid_core.reference.report import portrait_quality as limits
from slotid_core.reference.report.advice import compared, percent
from slotid_core.reference.report.cut_quality import cut_facts, straight_edges
from slotid_core.reference.report.portrait_quality import Seen, judge_portrait
from slotid_core.reference.report.quality import judge_reference
from slotid_core.reference.report.report_card import draw_card
from slotid_core.toy_world.canvas import BACKGROUND, BODY, BROWS
from slotid_core.toy_world.motion import Motion
from slotid_core.toy_world.person import HELD_OUT_FROM, sample_person
from slotid_core.toy_world.render import draw_parts, head_boxes
from slotid_core.toy_world.scene import sample_scene

SIDE = 256
NAMED = dict(
    zip(
        KINDS,
        ("hair_lost person_lost", "background_kept", "eyes_seen", "turn", "portrait_sharpness", "portrait_dark"),
        strict=True,
    )
)


def drawn(number: int, kind: str):
    """Frame, mask, box, and the truth of what each pixel shows."""
    rng = np.random.default_rng(number)
    person, scene = sample_person(HELD_OUT_FROM + number), sample_scene(number)
    pose = (1.0 if kind == "profile" else 0.0, 0.0, 0.0, 0.1, 0.1, 0.0, 0.0, 0.0 if kind == "blink" else 1.0, 0.0)
    motion = Motion(*(np.array([value]) for value in pose))
    frames, shares = draw_parts([person], [scene], [motion], SIDE)
    shares = shares[0, 0].permute(2, 0, 1)
    named = torch.cat([shares[BACKGROUND : BODY + 1].sum(dim=0, keepdim=True), shares[BROWS:]])
    parts = Parts((1 - shares[BACKGROUND])[None], named[None])
    box = box_of(head_boxes(scene, motion, SIDE)[0])
    made = spoilt(frames[0, 0].permute(2, 0, 1), parts.alpha[0], box, kind, rng)
    return made, Seen(parts.parts[0], [parts])


@pytest.mark.parametrize("number", range(4))
@pytest.mark.parametrize("kind", ("good", *KINDS))
def test_each_fault_is_named_and_what_is_good_is_not_faulted(kind, number):
    made, seen = drawn(number, kind)
    quality = judge_portrait(made.frame, made.mask, made.box, seen)
    found = {item.fact for item in quality.advice}
    if kind == "good":
        assert not found and quality.verdict == "good"
    else:
        assert found & set(NAMED[kind].split()) and quality.verdict != "good"
    assert all(item.missing and item.remedy for item in quality.advice)
    json.dumps(quality.facts)


def test_a_small_face_and_a_head_at_the_border_are_told():
    made, seen = drawn(0, "good")
    small = judge_portrait(made.frame, made.mask, made.box, seen, face_pixels=40.0)
    assert {item.fact for item in small.advice} == {"portrait_pixels"}
    shift = -int(made.box[1]) - 4  # the head's upper end leaves the picture
    frame, mask = torch.roll(made.frame, shift, 0), torch.roll(made.mask, shift, 0)
    mask[shift:] = 0
    alpha, parts = (torch.roll(part, shift, -2) for part in (seen.views[0].alpha, seen.views[0].parts))
    alpha[:, shift:], parts[:, :, shift:], parts[:, NONE, shift:] = 0, 0, 1
    moved, box = Parts(alpha, parts), (made.box[0], made.box[1] + shift, made.box[2], made.box[3] + shift)
    found = {item.fact for item in judge_portrait(frame, mask, box, Seen(moved.parts[0], [moved])).advice}
    assert "border" in found


def test_views_that_disagree_are_unsure():
    made, seen = drawn(1, "good")
    half = seen.views[0].alpha.clone()
    half[:, :, : int(made.box[0] + made.box[2]) // 2] = 0
    facts = cut_facts(made.mask, made.box, [seen.views[0], Parts(half, seen.views[0].parts)])
    assert facts.unsure > 0.3 and cut_facts(made.mask, made.box, [seen.views[0], seen.views[0]]).unsure == 0


def test_straight_runs_count_along_rows_and_columns_and_round_edges_do_not():
    rows, columns = np.mgrid[:100, :100]
    everywhere = np.ones((100, 100), dtype=bool)
    square = (abs(rows - 50) < 30) & (abs(columns - 50) < 20)
    assert straight_edges(square, everywhere, 10) == 2 * 39 + 2 * 59
    round_edge = np.hypot(rows - 50, columns - 50) < 30
    assert straight_edges(round_edge, everywhere, 16) == 0
    assert straight_edges(everywhere, everywhere, 10) == 0  # the picture's border is no outline


@given(st.floats(0, 1), st.sampled_from([0.05, 0.2, 0.36, 0.5, 0.8]), st.integers(0, 3))
def test_a_shown_number_is_on_the_same_side_of_its_limit(value, limit, digits):
    shown = float(compared(value, limit, digits))
    assert (shown < limit) == (value < limit) and (shown > limit) == (value > limit)
    assert abs(shown - value) <= 0.5 * 10**-digits + 1e-12


def test_what_is_not_nothing_is_not_shown_as_nothing():
    assert percent(0.0) == "0.00%" and percent(0.003) == "under 0.01%" and percent(1.234) == "1.23%"


def test_a_fog_around_the_head_is_told():
    made, seen = drawn(2, "good")
    fog = (seen.views[0].alpha[0] < 0.05) & (torch.arange(SIDE)[:, None] < made.box[3])
    mask = torch.where(fog & (torch.arange(SIDE) < made.box[0]), torch.tensor(0.4), made.mask)
    found = {item.fact for item in judge_portrait(made.frame, mask, made.box, seen).advice}
    assert "unsure" in found


def clip_of(number: int = 0) -> tuple[torch.Tensor, Detector]:
    made, _ = drawn(number, "good")
    share = tuple(value / SIDE for value in made.box)
    detector = Detector("given", lambda image, smallest: [Face(box_of(s * len(image) for s in share))], SIDE)
    return made.frame.expand(9, -1, -1, -1).clone(), detector


def test_the_portrait_is_judged_on_the_frame_it_was_cut_out_of_and_shown_on_the_card():
    clip, detector = clip_of()
    made, _ = drawn(0, "hair cut off")
    portrait = torch.lerp(torch.ones(3), clip[4], made.mask[..., None])[None]
    report = {"frame": 4, "background": "graph cut"}
    given_mask = judge_reference(
        clip, detector, portrait=report, portrait_image=portrait, portrait_mask=made.mask[None]
    )
    read_off = judge_reference(clip, detector, portrait=report, portrait_image=portrait)
    for quality in (given_mask, read_off):
        assert {"hair_lost", "person_lost"} & {item.fact for item in quality.advice}
        assert quality.report["portrait"]["frame"] == 4 and quality.report["portrait"]["verdict"] == "poor"
        assert quality.report["verdict"] == "poor"
        json.dumps(quality.report)
    without = judge_reference(clip, detector, portrait=report)
    assert without.portrait is None and "verdict" not in without.report["portrait"]
    with_portrait, plain = (draw_card(clip, quality)[0] for quality in (given_mask, without))
    shown = with_portrait[70:238, 24:192]
    small = torch.nn.functional.interpolate(portrait.permute(0, 3, 1, 2), size=(168, 168), mode="area")[0]
    assert (shown - small.permute(1, 2, 0)).abs().mean() < 0.05 < (plain[70:238, 24:192] - shown).abs().mean()


def test_a_portrait_of_another_size_is_judged_by_itself_and_a_mask_of_another_size_is_refused():
    clip, detector = clip_of()
    larger = torch.nn.functional.interpolate(clip[:1].permute(0, 3, 1, 2), scale_factor=1.5).permute(0, 2, 3, 1)
    quality = judge_reference(clip, detector, portrait={"frame": 4}, portrait_image=larger)
    assert "hair_lost" not in quality.report["portrait"] and "eyes_seen" in quality.report["portrait"]
    with pytest.raises(SlotIDError, match="portrait_mask has shape"):
        judge_reference(clip, detector, portrait_image=larger, portrait_mask=torch.ones(1, SIDE, SIDE))


def test_the_help_page_has_the_limits_of_the_code():
    page = (Path(__file__).parents[2] / "web" / "start" / "docs" / "SlotIDReferenceReport.md").read_text()
    rows = {row.split("|")[1].strip(): row for row in page.splitlines() if row.startswith("| ")}
    for fact, limit in (
        ("eyes_seen", limits.SHUT),
        ("gaze", limits.ASIDE),
        ("turn", limits.TURNED),
        ("bright_parts", limits.DIM),
        ("face_pixels", limits.SMALL),
        ("hair_lost", limits.HAIR_LOST),
        ("person_lost", limits.PERSON_LOST),
        ("background_kept", limits.BACKGROUND_KEPT),
        ("unsure, veiled", limits.UNSURE),
        ("straight", limits.STRAIGHT),
        ("border", limits.BORDER),
    ):
        assert f" {limit} " in rows[fact] or f" {limit};" in rows[fact], fact


def test_the_card_does_not_contradict_its_marks():
    clip, detector = clip_of()
    quality = judge_reference(clip, detector, tracking={"detection_rate": 0.7999, "crop_jitter_percent": 0.001})
    assert any("79.99%" in item.missing for item in quality.advice if item.fact == "face_seen")
    assert draw_card(clip, quality).shape[2] == 960
