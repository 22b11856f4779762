"""Heights at which the nodes of a workflow's columns stand, found by trying: no link behind a node.

Columns are given (`tools/template_layouts.py`), so that links run from left to right. In a column nodes stand below one
another, so that none is over another; their order and the gaps between them are changed one at a time, and a change is
kept if it is better, or not much worse while it is early (simulated annealing). The same seed gives the same places.

    python -m tools.graph_layout [name ...]     # minutes; `tools/build_workflows.py` uses the heights that are kept
"""

import json
import math
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from slotid_core.comfy_runtime import PACK
from tools.graph_geometry import NEAR, NOTE, TITLE, around, links_behind_nodes, rect_of, socket_heights, spline
from tools.template_layouts import GAP, LAYOUTS, NOTE_WIDTH, Layout, Stage

PLACES = Path(__file__).with_name("template_places.json")  # heights by template and node

GRID = 20
BETWEEN = 24  # below a node, before the next one's title
CLEAR = 6  # of links around nodes
HIDDEN, BELOW, LENGTH, HEIGHT = 100.0, 2.0, 0.05, 0.02  # what faults cost
WARM, COLD = 300.0, 1.0
STEPS, TRIES = 16_000, 2
FLOOR = 1180  # lower than this a small window does not show at half size
ROUND, HEADING = 10, 36  # of a group around its nodes, and above them for its title
WINDOW = (1366, 690)  # what a laptop's screen leaves for the canvas
SIDE_BAR, MENU, EDGE = 62, 130, 6  # pixels of it that are covered at the left and the top, or kept free
SMALLEST, LARGEST = 0.6, 0.62  # below, the canvas leaves text out


@dataclass(frozen=True)
class Box:
    """A node of known size whose column begins at x; sockets are measured below its upper edge."""

    id: int
    x: float
    width: float
    height: float
    inputs: list[float]
    outputs: list[float]


def place(boxes: list[Box], links: list[tuple], note: Box, low: float, seed: int) -> tuple[dict, float]:
    """Height of each box by id, and what its faults cost; `note` begins at the height `low`.

    Args:
        links: (source, output, target, input).
    """
    trial = _Trial(boxes, links, note)
    draw = np.random.default_rng(seed)
    order, gaps = list(range(len(boxes))), np.zeros(len(boxes) + 1)
    gaps[-1] = low
    cost, faulty = trial.cost(trial.heights(order, gaps))
    best, least = (order, gaps), cost
    for step in range(STEPS):
        warmth = WARM * (COLD / WARM) ** (step / STEPS)
        changed, gap = list(order), gaps.copy()
        one = int(draw.choice(faulty) if len(faulty) and draw.random() < 0.6 else draw.integers(len(gaps)))
        if draw.random() < 0.35 and (peers := trial.peers[one]):
            i, j = order.index(one), order.index(int(draw.choice(peers)))
            changed[i], changed[j] = changed[j], changed[i]
        else:
            reach = float(draw.choice([GRID, 3 * GRID, 10 * GRID, 30 * GRID]))
            gap[one] = max(0.0, round((gap[one] + draw.uniform(-reach, reach)) / GRID) * GRID)
            gap[-1] = min(gap[-1], FLOOR - note.height)
        now, troubled = trial.cost(trial.heights(changed, gap))
        if now < cost or draw.random() < math.exp((cost - now) / warmth):
            order, gaps, cost, faulty = changed, gap, now, troubled
            if cost < least:
                best, least = (order, gaps), cost
    heights = trial.heights(*best)
    return {box.id: float(height) for box, height in zip((*boxes, note), heights, strict=True)}, least


class _Trial:
    def __init__(self, boxes: list[Box], links: list[tuple], note: Box):
        self.boxes, self.note = boxes, note
        places = {box.id: place for place, box in enumerate(boxes)}
        self.peers = [
            [other for other, peer in enumerate(boxes) if peer.x == box.x and peer is not box] for box in (*boxes, note)
        ]
        self.peers[-1] = []
        self.x0 = np.array([box.x for box in (*boxes, note)])
        self.x1 = self.x0 + [box.width for box in (*boxes, note)]
        self.tall = np.array([box.height for box in (*boxes, note)])
        self.sources = np.array([places[source] for source, *_ in links])
        self.targets = np.array([places[target] for _, _, target, _ in links])
        self.out = np.array([boxes[places[source]].outputs[slot] for source, slot, _, _ in links])
        self.into = np.array([boxes[places[target]].inputs[slot] for _, _, target, slot in links])

    def heights(self, order: list[int], gaps: np.ndarray) -> np.ndarray:
        """Of the boxes and the note; those that would be over the note go below it."""
        free: dict[float, float] = {}
        found = np.empty(len(self.boxes) + 1)
        found[-1] = low = gaps[-1]
        for one in order:
            box = self.boxes[one]
            at = free.get(box.x, 0.0) + gaps[one]
            beside = box.x + box.width <= self.note.x or self.note.x + self.note.width <= box.x
            below = low + self.note.height
            if not beside and at - TITLE < below + BETWEEN and low - TITLE < at + box.height + BETWEEN:
                at = math.ceil((below + BETWEEN + TITLE) / GRID) * GRID
            found[one] = at
            free[box.x] = math.ceil((at + box.height + TITLE + BETWEEN) / GRID) * GRID
        return found

    def cost(self, y: np.ndarray) -> tuple[float, np.ndarray]:
        """And which boxes have a part in links behind nodes."""
        top, bottom = y - TITLE, y + self.tall
        start = np.stack([self.x1[self.sources], y[self.sources] + self.out], 1)
        end = np.stack([self.x0[self.targets], y[self.targets] + self.into], 1)
        points = spline(np.stack([start, end], 1))[:, :, None]
        inside = (
            (points[..., 0] > self.x0 + NEAR) & (points[..., 0] < self.x1 - NEAR)
            & (points[..., 1] > top - CLEAR) & (points[..., 1] < bottom + CLEAR)
        )  # fmt: skip
        behind = inside.sum(1)
        link, hider = behind.nonzero()
        faulty = np.unique(np.concatenate([self.sources[link], self.targets[link], hider]))
        cost = HIDDEN * len(link) + 10.0 * behind.sum() + BELOW * np.maximum(bottom - FLOOR, 0.0).sum()
        return float(cost + LENGTH * np.abs(start[:, 1] - end[:, 1]).sum() + HEIGHT * y.sum()), faulty


def arranged(graph: dict, layout: Layout, heights: dict[int, float] | None = None) -> dict:
    """{"places": of each node, "groups": of each stage}, of a serialized graph whose nodes have the sizes they need.

    Without heights they are searched.
    """
    nodes = {node["id"]: node for node in graph["nodes"]}
    (note,) = (node for node in graph["nodes"] if node["type"] == NOTE)
    left, right = columns_of(layout, nodes)
    first, last, low, tall = layout.note
    edges = (-GAP - NOTE_WIDTH, -GAP) if first < 0 else (left[first], right[last])
    beneath = Box(note["id"], edges[0], edges[1] - edges[0], tall, [], [])
    boxes = [
        Box(number, x, end - x, nodes[number]["size"][1], *socket_heights(nodes[number]))
        for x, end, ids in zip(left, right, layout.columns, strict=True)
        for number in ids
    ]
    if heights is None:
        links = [(source, out, target, into) for _, source, out, target, into, _ in graph["links"]]
        tries = (place(boxes, links, beneath, low, seed) for seed in range(TRIES))
        heights, _ = min(tries, key=lambda tried: tried[1])
    places = [
        {"id": box.id, "pos": [box.x, heights[box.id]], "size": [box.width, box.height]} for box in (*boxes, beneath)
    ]
    return {"places": places, "groups": [_group(stage, layout, places) for stage in layout.stages]}


def columns_of(layout: Layout, nodes: dict) -> tuple[list[float], list[float]]:
    """Left and right edge of each column."""
    left, right, x = [], [], 0.0
    for ids in layout.columns:
        left.append(x)
        right.append(x + max(nodes[number]["size"][0] for number in ids))
        x = right[-1] + GAP
    return left, right


def _group(stage: Stage, layout: Layout, places: list[dict]) -> dict:
    inside = {number for ids in layout.columns[stage.first : stage.last + 1] for number in ids}
    rect = around((rect_of(one) for one in places if one["id"] in inside), ROUND)
    bounding = [rect.x0, rect.y0 - HEADING, rect.x1 - rect.x0, rect.y1 - rect.y0 + HEADING]
    return {"title": stage.title, "color": stage.colour, "bounding": bounding}


def opening(workflow: dict, layout: Layout) -> dict:
    """The scale and place at which the note, the first input, the prompt and the result are in a small window; where
    text could not be read then, the left part of the graph at the smallest scale at which it can."""
    wanted = [node for node in workflow["nodes"] if node["id"] in layout.seen or node["type"] == NOTE]
    edges = around(map(rect_of, wanted))
    room_x, room_y = WINDOW[0] - SIDE_BAR - EDGE, WINDOW[1] - MENU - EDGE
    fits = min(room_x / (edges.x1 - edges.x0), room_y / (edges.y1 - edges.y0))
    scale = round(min(LARGEST, max(SMALLEST, fits)), 3)
    return {"scale": scale, "offset": [SIDE_BAR / scale - edges.x0, MENU / scale - edges.y0]}


def known_places(name: str) -> dict[int, float] | None:
    found = json.loads(PLACES.read_text()).get(name) if PLACES.exists() else None
    return found and {int(number): height for number, height in found.items()}


def main(names: list[str]) -> int:
    """Search the heights of templates that are built already, and keep them where there are fewer faults."""
    known = json.loads(PLACES.read_text()) if PLACES.exists() else {}
    for name in names or LAYOUTS:
        graph = json.loads((PACK / "workflows" / f"{name}.json").read_text())
        before = len(links_behind_nodes(graph))
        found = {one["id"]: one for one in arranged(graph, LAYOUTS[name])["places"]}
        for node in graph["nodes"]:
            node |= {"pos": found[node["id"]]["pos"], "size": found[node["id"]]["size"]}
        after = len(links_behind_nodes(graph))
        print(f"{name}: {after} links behind nodes, before {before}", flush=True)
        if after < before or name not in known:
            known[name] = {str(number): one["pos"][1] for number, one in sorted(found.items())}
            PLACES.write_text(json.dumps(known, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
