"""The clip from left to right: pictures, where a face was seen, cuts, how good each window is, which one was taken."""

import numpy as np
import torch

from ..faces.best_window import Survey
from .drawing import ACCENT, FAINT, GOOD, INK, LINE, POOR, as_image, canvas, font, from_array

WIDTH, HEIGHT, LEFT, RIGHT = 960, 300, 64, 16
STRIP, FACES, CURVE = (40, 88), (94, 102), (116, 236)  # top and bottom, in pixels
LEAST_GAP = 0.02  # of the clip: scores further apart than that belong to different regions


def draw_timeline(survey: Survey) -> torch.Tensor:
    """A survey of a clip -> (1, 300, 960, 3)."""
    picture, pen = canvas(WIDTH, HEIGHT)
    best, origin = survey.best, 0.0 if survey.regions else survey.best.start_seconds
    span = max(survey.duration - origin, 1e-3)

    def across(seconds: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * min(1.0, max(0.0, (seconds - origin) / span))

    chosen = (across(best.start_seconds), max(across(best.end_seconds), across(best.start_seconds) + 3))
    parts = ", ".join(f"{name} {value:.2f}" for name, value in best.parts.items())
    taken = f"{best.start_seconds:.2f} to {best.end_seconds:.2f} s taken, {best.num_frames} frames"
    pen.text((LEFT, 6), taken + (f", score {best.total:.2f}" if parts else ", not searched"), fill=INK, font=font(15))
    pen.text((LEFT, 24), parts, fill=FAINT, font=font(11))
    _strip(picture, survey, across)
    for seconds, seen in survey.faces:
        x = across(seconds)
        pen.rectangle([x - 1, FACES[0], x + 1, FACES[1]], fill=GOOD if seen else POOR)
    pen.text((4, FACES[0] - 4), "face seen", fill=FAINT, font=font(11))
    pen.rectangle([chosen[0], CURVE[0], chosen[1], CURVE[1]], fill=(30, 62, 44), outline=GOOD)
    _curve(pen, survey, across)
    for seconds in survey.cuts:
        pen.line([across(seconds), STRIP[0], across(seconds), CURVE[1]], fill=POOR, width=2)
    _axis(pen, origin, span, across)
    legend = "blue: score of the window beginning here   green: the window taken   red line: cut   gaps: not examined"
    pen.text((LEFT, HEIGHT - 24), legend, fill=FAINT, font=font(11))
    return as_image(picture)


def _strip(picture, survey: Survey, across) -> None:
    right = 0.0
    for seconds, pixels in sorted(survey.pictures, key=lambda pair: pair[0]):
        small = from_array(pixels, STRIP[1] - STRIP[0])
        x = round(across(seconds))
        if x >= right and x + small.width <= WIDTH:
            picture.paste(small, (x, STRIP[0]))
            right = x + small.width + 2


def _curve(pen, survey: Survey, across) -> None:
    top, bottom = CURVE
    highest = max(window.total for window in survey.windows) or 1.0
    points = sorted((window.start_seconds, window.total) for window in survey.windows)
    gap = LEAST_GAP * survey.duration + 0.5
    places = [(across(seconds), bottom - (bottom - top - 6) * total / highest) for seconds, total in points]
    for (before, _), (after, _), first, second in zip(points, points[1:], places, places[1:], strict=False):
        if after - before < gap:
            pen.line([first, second], fill=ACCENT, width=2)
    for x, y in places if len(places) < 40 else []:
        pen.ellipse([x - 2, y - 2, x + 2, y + 2], fill=ACCENT)
    pen.line([LEFT, bottom, WIDTH - RIGHT, bottom], fill=LINE)
    pen.text((4, top), f"{highest:.2f}", fill=FAINT, font=font(11))
    pen.text((4, bottom - 10), "0", fill=FAINT, font=font(11))


def _axis(pen, origin: float, span: float, across) -> None:
    step = next((s for s in (0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600, 1800) if span / s <= 12), 3600)
    for seconds in np.arange(np.ceil(origin / step) * step, origin + span + 1e-6, step):
        x = across(seconds)
        pen.line([x, CURVE[1], x, CURVE[1] + 4], fill=FAINT)
        label = f"{seconds:g} s" if step < 60 else f"{seconds / 60:g} min"
        pen.text((min(x, WIDTH - 44), CURVE[1] + 6), label, fill=FAINT, font=font(11))
