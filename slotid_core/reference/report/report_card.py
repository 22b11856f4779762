"""One picture that says how good a reference is and what to film instead."""

import textwrap

import torch

from .advice import compared, percent
from .drawing import ACCENT, FAINT, FAIR, GOOD, INK, LINE, POOR, as_image, canvas, font, from_array
from .quality import BADLY_LIT, COMMON_COVER, FULL_TRACK, ONE_SIDED, SOFT, STIFF, Quality

WIDTH, EDGE, PICTURE, ROW = 960, 24, 168, 26
VERDICT = {"good": GOOD, "usable": FAIR, "poor": POOR}
# Label, fact, where the bar is full, the value that is good enough, whether more is better.
BARS = (
    ("face seen", "face_seen", 1.0, FULL_TRACK, True),
    ("change of pose and expression", "change", 0.7, STIFF, True),
    ("sharpness", "sharpness", 0.7, SOFT, True),
    ("exposure", "exposure", 1.0, BADLY_LIT, True),
    ("light from one side", "side_light", 0.6, ONE_SIDED, False),
    ("covered for a moment", "covered", 0.5, COMMON_COVER, False),
)


def draw_card(clip: torch.Tensor, quality: Quality) -> torch.Tensor:
    """(T, H, W, 3) and what was found in it -> (1, height, 960, 3); the height depends on how much there is to say."""
    lines = _lines(quality)
    height = 70 + PICTURE + 30 + ROW * len(BARS) + 34 + 18 * len(lines) + EDGE
    picture, pen = canvas(WIDTH, height)
    facts = quality.facts
    pen.rectangle([0, 0, WIDTH, 8], fill=VERDICT[facts["verdict"]])
    pen.text((EDGE, 20), f"Reference: {facts['verdict']}", fill=VERDICT[facts["verdict"]], font=font(26))
    pen.text((EDGE + 230, 22), _summary(facts), fill=INK, font=font(13))
    pen.text((EDGE + 230, 40), _where(facts), fill=FAINT, font=font(12))
    left = EDGE
    if quality.portrait is not None:
        shown = from_array((quality.portrait[..., :3] * 255).round().byte().cpu().numpy(), PICTURE)
        picture.paste(shown, (left, 70))
        verdict = facts["portrait"]["verdict"]
        pen.rectangle([left, 70, left + shown.width - 1, 70 + PICTURE - 1], outline=VERDICT[verdict], width=2)
        of = f", frame {facts['portrait']['frame']}" if "frame" in facts["portrait"] else ""
        pen.text((left + 2, 72 + PICTURE), f"portrait{of}: {verdict}", fill=VERDICT[verdict], font=font(11))
        left += shown.width + 12
    for number, index in enumerate(quality.pictures):
        frame = from_array((clip[index, ..., :3] * 255).round().byte().cpu().numpy(), PICTURE)
        if left + frame.width > WIDTH - EDGE:
            break
        picture.paste(frame, (left, 70))
        label = f"{'most usual' if number == 0 else 'differs most'}, frame {index}"
        pen.text((left + 2, 72 + PICTURE), label, fill=FAINT, font=font(11))
        left += frame.width + 12
    top = 70 + PICTURE + 30
    for number, bar in enumerate(BARS):
        _bar(pen, top + ROW * number, facts, *bar)
    top += ROW * len(BARS) + 20
    for text, color in lines:
        pen.text((EDGE, top), text, fill=color, font=font(13))
        top += 18
    return as_image(picture)


def _bar(pen, top: int, facts: dict, label: str, fact: str, full: float, enough: float, more_is_better: bool) -> None:
    value = facts[fact]
    good = value >= enough if more_is_better else value <= enough
    start, end = EDGE + 230, WIDTH - EDGE - 60
    pen.text((EDGE, top + 2), label, fill=INK, font=font(13))
    pen.rectangle([start, top + 4, end, top + 16], fill=LINE)
    pen.rectangle(
        [start, top + 4, start + (end - start) * min(1.0, value / full), top + 16], fill=GOOD if good else FAIR
    )
    mark = start + (end - start) * min(1.0, enough / full)
    pen.line([mark, top + 1, mark, top + 19], fill=INK, width=2)
    pen.text((end + 10, top + 2), compared(value, enough), fill=INK if good else FAIR, font=font(13))


def _summary(facts: dict) -> str:
    parts = [f"{facts['frames']} frames", f"movement {percent(facts['motion_energy_percent'])}"]
    if facts["people"] is not None:
        parts.append(f"{facts['people']} {'person' if facts['people'] == 1 else 'people'}")
    if facts["face_pixels"] is not None:
        parts.append(f"face {facts['face_pixels']:.0f} pixels")
    if facts["crop_jitter_percent"] is not None:
        jitter = facts["crop_jitter_percent"]
        parts.append("the crop stands still" if jitter == 0 else f"crop jitter {percent(jitter)}")
    return "   ".join(parts)


def _where(facts: dict) -> str:
    parts = [facts["detector"]]
    if "start_seconds" in facts["window"]:
        parts.append(f"{facts['window']['start_seconds']:.2f} to {facts['window']['end_seconds']:.2f} s of the clip")
    pose = facts["pose"]
    if "yaw_degrees" in pose:
        parts.append(
            f"yaw {pose['yaw_degrees'][0]:.0f}° to {pose['yaw_degrees'][1]:.0f}°, "
            f"pitch {pose['pitch_degrees'][0]:.0f}° to {pose['pitch_degrees'][1]:.0f}°"
        )
    return "   ".join(parts)


def _lines(quality: Quality) -> list[tuple[str, tuple[int, int, int]]]:
    if not quality.advice:
        return [("Nothing is missing that can be measured here.", GOOD)]
    lines = []
    for item in quality.advice:
        lines += [(text, POOR if item.serious else FAIR) for text in textwrap.wrap(item.missing, 125)]
        lines += [("    " + text, ACCENT) for text in textwrap.wrap(item.remedy, 120)]
    return lines
