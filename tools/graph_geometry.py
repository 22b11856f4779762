"""Where the nodes and links of a workflow lie on ComfyUI's canvas, in its units, and what is over what.

A node's `pos` is the corner below its title. Links are the canvas's splines. Nodes 2.0 draws the same places, a little
larger.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

TITLE = 30
SLOT = 20  # between sockets
WIDGET, WIDGET_MARGIN = 24, 6  # between widgets, and above the first
BEND = 0.25  # how far a spline goes straight on, of the distance of its ends
SAMPLES = np.linspace(0.0, 1.0, 34)[1:-1]
NEAR = 2  # a link may touch this much of a node's edge
NOTE = "MarkdownNote"


@dataclass(frozen=True)
class Rect:
    """From (x0, y0) to (x1, y1); a node's includes its title."""

    x0: float
    y0: float
    x1: float
    y1: float

    def overlaps(self, other: "Rect") -> bool:
        return self.x0 < other.x1 and other.x0 < self.x1 and self.y0 < other.y1 and other.y0 < self.y1

    def holds(self, other: "Rect") -> bool:
        return self.x0 <= other.x0 and self.y0 <= other.y0 and other.x1 <= self.x1 and other.y1 <= self.y1


@dataclass(frozen=True)
class Link:
    """From one socket to another; `kind` is the type of what goes along it."""

    source: int
    target: int
    start: tuple[float, float]
    end: tuple[float, float]
    kind: str


def rect_of(node: dict) -> Rect:
    (x, y), (width, height) = node["pos"], node["size"]
    return Rect(x, y - TITLE, x + width, y + height)


def around(rects: Iterable[Rect], room: float = 0.0) -> Rect:
    rects = list(rects)
    return Rect(
        min(rect.x0 for rect in rects) - room,
        min(rect.y0 for rect in rects) - room,
        max(rect.x1 for rect in rects) + room,
        max(rect.y1 for rect in rects) + room,
    )


def socket_heights(node: dict) -> tuple[list[float], list[float]]:
    """How far below `pos` the inputs and outputs of a node are; an input that is a widget as well is at the widget."""
    inputs, outputs = node.get("inputs", []), node.get("outputs", [])
    sockets = [entry for entry in inputs if "widget" not in entry]
    widgets = [entry for entry in inputs if "widget" in entry]
    first_widget = SLOT * max(len(sockets), len(outputs)) + WIDGET_MARGIN
    heights = [SLOT * 0.7 + SLOT * sockets.index(entry) if entry in sockets else first_widget for entry in inputs]
    heights = [
        height + WIDGET * (widgets.index(entry) + 0.5) if entry in widgets else height
        for height, entry in zip(heights, inputs, strict=True)
    ]
    return heights, [SLOT * (0.7 + place) for place in range(len(outputs))]


def links_of(workflow: dict) -> list[Link]:
    nodes = {node["id"]: node for node in workflow["nodes"]}
    found = []
    for _, source, out, target, into, kind in workflow["links"]:
        a, b = nodes[source], nodes[target]
        start = (a["pos"][0] + a["size"][0], a["pos"][1] + socket_heights(a)[1][out])
        end = (b["pos"][0], b["pos"][1] + socket_heights(b)[0][into])
        found.append(Link(source, target, start, end, kind))
    return found


def spline(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Points of links from start to end, both [links, 2]: [links, points, 2]."""
    reach = BEND * np.hypot(*(end - start).T)[:, None] * np.array([1.0, 0.0])
    corners = [start, start + reach, end - reach, end]
    t = SAMPLES[None, :, None]
    weights = [(1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3]
    parts = [weight * corner[:, None] for weight, corner in zip(weights, corners, strict=True)]
    return np.sum(parts, axis=0)


def overlaps(workflow: dict) -> list[tuple]:
    """Pairs of nodes that lie over one another."""
    nodes = workflow["nodes"]
    return [
        (first["id"], second["id"])
        for place, first in enumerate(nodes)
        for second in nodes[place + 1 :]
        if rect_of(first).overlaps(rect_of(second))
    ]


def links_behind_nodes(workflow: dict) -> list[tuple]:
    """(source, target, node that hides a part of the link)."""
    links = links_of(workflow)
    points = spline(np.array([link.start for link in links]), np.array([link.end for link in links]))
    hidden = []
    for node in workflow["nodes"]:
        rect = rect_of(node)
        inside = (
            (points[..., 0] > rect.x0 + NEAR) & (points[..., 0] < rect.x1 - NEAR)
            & (points[..., 1] > rect.y0 + NEAR) & (points[..., 1] < rect.y1 - NEAR)
        )  # fmt: skip
        hidden += [
            (link.source, link.target, node["id"])
            for link, at in zip(links, np.any(inside, axis=1).tolist(), strict=True)
            if at
        ]
    return hidden


def view(workflow: dict, width: float, height: float, left: float = 0.0, top: float = 0.0) -> Rect:
    """What of the canvas a window of that size shows at opening, beside a bar at its left and one at its top."""
    ds = workflow["extra"]["ds"]
    scale, (dx, dy) = ds["scale"], ds["offset"]
    return Rect(left / scale - dx, top / scale - dy, width / scale - dx, height / scale - dy)
