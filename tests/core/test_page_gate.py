"""The gate that the page draws is the gate that samples: the same values on a grid, and the same texts refused."""

import itertools
import json
import shutil
import subprocess

import pytest
import torch

from slotid_core.comfy_runtime import PACK
from slotid_core.errors import SlotIDError
from slotid_core.systems.slot_id.gate import FAMILIES, GateSchedule

NODE = shutil.which("node")
SCRIPT = """
import { gateAt, problemOf } from "%s";
const { all, levels, doubtful } = JSON.parse(await new Response(process.stdin).text());
console.log(JSON.stringify({
  values: all.map((settings) => levels.map((level) => gateAt(settings, level))),
  refused: doubtful.map((settings) => problemOf(settings) !== ""),
}));
"""
CURVES = (((0.0, 0.0), (0.5, 0.3), (1.0, 1.0)), ((0.4, 0.7),), ((0.2, 0.1), (0.21, 0.9), (0.8, 0.9)))
DOUBTFUL = [
    dict(low=0.0, high=1.0, points=[[0, 0.5], [1, 0.4]]),
    dict(low=0.0, high=1.0, points=[[0.5, 0.1], [0.5, 0.4]]),
    dict(low=0.0, high=1.0, points=[[0, 0.1], [1.5, 0.4]]),
    dict(low=0.6, high=0.5, points=[[0, 0], [1, 1]]),
    dict(low=0.5, high=0.5, points=[[0, 0], [1, 1]]),
    dict(low=0.0, high=1.0, points=[[0, 0.2], [0.3, 0.2], [1, 0.2]]),
]

pytestmark = pytest.mark.skipif(NODE is None, reason="no Node.js on this machine")


def settings_grid() -> list[dict]:
    combinations = itertools.product(FAMILIES, ((0.0, 1.0), (0.2, 0.7)), ((0.5, 10.0), (0.3, 60.0)), (1.0, 5.0), CURVES)
    return [
        dict(family=family, low=low, high=high, midpoint=middle, steepness=steep, shift=shift, points=points)
        for family, (low, high), (middle, steep), shift, points in combinations
    ]


def accepts(settings: dict) -> bool:
    try:
        GateSchedule("points", settings["low"], settings["high"], points=tuple(map(tuple, settings["points"])))
    except SlotIDError:
        return False
    return True


def test_page_and_core_draw_the_same_gate():
    every, levels = settings_grid(), torch.linspace(0, 1, 41)
    doubtful = [settings | {"family": "points"} for settings in DOUBTFUL]
    given = json.dumps({"all": every, "levels": levels.tolist(), "doubtful": doubtful})
    script = SCRIPT % (PACK / "web" / "logic" / "gate.js").as_uri()
    command = [NODE, "--input-type=module", "-e", script]
    found = json.loads(subprocess.run(command, input=given, text=True, check=True, capture_output=True).stdout)
    ours = torch.stack([GateSchedule(**settings)(levels) for settings in every])
    torch.testing.assert_close(torch.tensor(found["values"]), ours, atol=2e-5, rtol=0)
    assert found["refused"] == [not accepts(settings) for settings in DOUBTFUL]
