"""Where the nodes and links of a workflow lie on ComfyUI's canvas, in its units, and what is over what.

A node's `pos` is the corner below its title. Links are the canvas's splines. Nodes 2.0 draws the same places, a little
larger.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from einops import rearrange

TITLE = 30
SLOT = 20  # between sockets
WIDGET, WIDGET_MARGIN = 24, 6  # between widgets, and above the first
BEND = 0.25  # how far a spline goes straight on, of the distance of its ends
MOST_BEND = 20  # and how far at a reroute: the default of the page's setting
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
    """From one socket to another, through places of reroutes; `kind` is the type of what goes along it."""

    id: int
    source: int
    target: int
    start: tuple[float, float]
    end: tuple[float, float]
    kind: str
    through: tuple[tuple[float, float], ...] = ()

    @property
    def stops(self) -> np.ndarray:
        return np.array([self.start, *self.through, self.end])


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
    for number, source, out, target, into, kind in workflow["links"]:
        a, b = nodes[source], nodes[target]
        start = (a["pos"][0] + a["size"][0], a["pos"][1] + socket_heights(a)[1][out])
        end = (b["pos"][0], b["pos"][1] + socket_heights(b)[0][into])
        found.append(Link(number, source, target, start, end, kind, _reroutes_of(workflow, number)))
    return found


def _reroutes_of(workflow: dict, link: int) -> tuple[tuple[float, float], ...]:
    """Places of a link's reroutes from its start to its end; a file names the last, and each names the one before."""
    extra = workflow.get("extra") or {}
    known = {reroute["id"]: reroute for reroute in extra.get("reroutes") or []}
    last = {one["id"]: one["parentId"] for one in extra.get("linkExtensions") or []}
    found, at = [], last.get(link)
    while at is not None:
        found.append(tuple(known[at]["pos"]))
        at = known[at].get("parentId")
    return tuple(reversed(found))


def spline(stops: np.ndarray) -> np.ndarray:
    """Points of links as the canvas draws them: [links, stops, 2] to [links, points, 2].

    Stops are the two sockets, and reroutes between them. A link leaves and reaches a socket from left to right, and
    goes through a reroute in the direction between that from the stop before and that to the next.
    """
    steps = np.diff(stops, axis=1)
    reach = BEND * np.hypot(steps[..., 0], steps[..., 1])  # [links, stops - 1]
    angle = np.arctan2(steps[..., 1], steps[..., 0])
    through = (angle[:, :-1] + angle[:, 1:]) / 2
    through += np.where(np.abs(angle[:, :-1] - angle[:, 1:]) > np.pi, np.pi, 0.0)
    level = np.zeros_like(angle[:, :1])
    leave, arrive = np.concatenate([level, through], 1), np.concatenate([through, level], 1)
    out, into = reach.copy(), reach.copy()
    out[:, 1:], into[:, :-1] = np.minimum(out[:, 1:], MOST_BEND), np.minimum(into[:, :-1], MOST_BEND)
    first, last = stops[:, :-1], stops[:, 1:]
    corners = [first, first + _along(out, leave), last - _along(into, arrive), last]
    t = SAMPLES[None, None, :, None]
    weights = [(1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3]
    parts = [weight * corner[:, :, None] for weight, corner in zip(weights, corners, strict=True)]
    return rearrange(np.sum(parts, axis=0), "link segment point xy -> link (segment point) xy")


def _along(reach: np.ndarray, angle: np.ndarray) -> np.ndarray:
    return reach[..., None] * np.stack([np.cos(angle), np.sin(angle)], -1)


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
    rects = [(node["id"], rect_of(node)) for node in workflow["nodes"]]
    return [
        (link.source, link.target, number)
        for link in links_of(workflow)
        for number, rect in rects
        if hidden(spline(link.stops[None]), rect, -NEAR)[0]
    ]


def hidden(points: np.ndarray, rect: Rect, room: float = 0.0) -> np.ndarray:
    """Which of the links, [links, points, 2], have a point in the rectangle, made larger by `room` on each side."""
    x, y = points[..., 0], points[..., 1]
    inside = (x > rect.x0 - room) & (x < rect.x1 + room) & (y > rect.y0 - room) & (y < rect.y1 + room)
    return np.any(inside, axis=1)


def view(workflow: dict, width: float, height: float, left: float = 0.0, top: float = 0.0) -> Rect:
    """What of the canvas a window of that size shows at opening, beside a bar at its left and one at its top."""
    ds = workflow["extra"]["ds"]
    scale, (dx, dy) = ds["scale"], ds["offset"]
    return Rect(left / scale - dx, top / scale - dy, width / scale - dx, height / scale - dy)
