"""Reroutes that lead links around nodes, where no heights of the nodes leave a way.

Reroutes lie between columns. Of the ways with one or two of them that no node hides, a link takes the shortest, where a
reroute counts as a detour. The page keeps reroutes beside the graph: what the server is asked for stays the same.
"""

import numpy as np

from tools.graph_geometry import Link, Rect, hidden, links_behind_nodes, links_of, rect_of, spline

GRID = 20
CLEAR = 8  # of a link around nodes
BESIDE = 60  # how far above and below all nodes a link may go
APART, FAR = 24, 100  # between reroutes of two links, and between two of one that are below one another
DETOUR = 300  # what a reroute may save in length
AT_ONCE = 512  # ways that are tried together


def reroutes_of(workflow: dict, between: list[float]) -> list[dict]:
    """Reroutes as the page's files have them, for the links that nodes hide; `between` are places between columns.

    Raises:
        SystemExit: a link finds no way.
    """
    behind = {(source, target) for source, target, _ in links_behind_nodes(workflow)}
    rects = [rect_of(node) for node in workflow["nodes"]]
    made: list[dict] = []
    for link in links_of(workflow):
        if (link.source, link.target) not in behind:
            continue
        taken = np.array([one["pos"] for one in made]).reshape(-1, 2)
        for place, stop in enumerate(way(link, rects, between, taken)):
            number = len(made) + 1
            made.append({"id": number, "pos": stop, "linkIds": [link.id]} | ({"parentId": number - 1} if place else {}))
    return made


def way(link: Link, rects: list[Rect], between: list[float], taken: np.ndarray) -> list[list[float]]:
    """The reroutes of one link, from its start to its end; none of them near those that are taken, [places, 2]."""
    low, high = min(rect.y0 for rect in rects) - BESIDE, max(rect.y1 for rect in rects) + BESIDE
    columns = [x for x in between if link.start[0] < x < link.end[0]]
    heights = np.arange(np.floor(low / GRID), np.ceil(high / GRID) + 1) * GRID
    places = np.array([(x, y) for x in columns for y in heights])
    places = places[(np.abs(places[:, None] - taken[None]).max(-1) >= APART).all(1)]
    (x, y), (next_x, next_y) = places.T[:, :, None], places.T[:, None, :]
    onward, upright = x < next_x, (x == next_x) & (np.abs(y - next_y) > FAR)
    best, least = None, np.inf
    for tried in (places[:, None], _pairs(places, onward), _pairs(places, upright)):
        ends = [np.broadcast_to(end, (len(tried), 1, 2)) for end in (link.start, link.end)]
        stops = np.concatenate([ends[0], tried, ends[1]], 1)
        cost = np.hypot(*np.diff(stops, axis=1).transpose(2, 0, 1)).sum(1) + DETOUR * tried.shape[1]
        order = cost.argsort(kind="stable")
        order = order[cost[order] < least]
        for part in np.array_split(order, len(order) // AT_ONCE + 1):
            points = spline(stops[part])
            free = ~np.any([hidden(points, rect, CLEAR) & _other(link, rect) for rect in rects], axis=0)
            if free.any():
                found = part[free.argmax()]
                best, least = tried[found].tolist(), cost[found]
                break
    if best is None:
        raise SystemExit(f"The link from node {link.source} to node {link.target} finds no way around the nodes.")
    return best


def _pairs(places: np.ndarray, joined: np.ndarray) -> np.ndarray:
    """[pairs, 2, 2] of the places that are joined, [places, places]."""
    first, second = np.nonzero(joined)
    return np.stack([places[first], places[second]], 1)


def _other(link: Link, rect: Rect) -> bool:
    """Whether the rectangle is of neither of the link's own nodes, at whose edges it ends."""
    (x, y), (end_x, end_y) = link.start, link.end
    return not (x == rect.x1 and rect.y0 < y < rect.y1) and not (end_x == rect.x0 and rect.y0 < end_y < rect.y1)
