"""How a sampling step grows: seconds and memory against output frames, slots, people, reference length and stacked
systems, each beside what arithmetic asks for.

Two blocks of width 512 on a CPU in float32, one sample. Everything is told as a multiple of the axis's first point. The
limit of time is the floating-point operations of `training.cost`, of one forward pass, with what a system adds; that of
memory is what the feed-forward layers have alive. `python -m benchmarks.cost_growth --plot FILE` draws it.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmarks.live_bytes import LiveBytes
from benchmarks.paired import Ratio
from slotid_core.systems.lynx import AttentionBranch, LynxCondition, install_lynx
from slotid_core.systems.slot_id import GateSchedule, Identity
from slotid_core.systems.slot_id.inference import LoadedAdapter
from slotid_core.systems.st_drc import LayoutConfig, ReferenceCondition, install_reference
from slotid_core.training.cost import Work, operations
from slotid_core.wan import WanConfig, WanModel
from slotid_core.wan.region import box
from slotid_core.wan.together import Install, together

SHAPE = WanConfig(dim=512, ffn_dim=2048, num_layers=2, num_heads=4)
HEIGHT, WIDTH, FRAMES, ROWS = 24, 24, 5, 64  # latents; rows of the prompt
SLOTS, ANCHORS, PICTURE_TOKENS = 8, 2, 144
REPEATS = 5


@dataclass(frozen=True)
class Step:
    """A sampling step: what is in it."""

    frames: int = FRAMES
    slots: int = 0  # of each person
    people: int = 1
    pictures: int = 0  # that Lynx's Ref layers read of a person's clip
    appended: bool = False  # ST-DRC's reference, as one latent frame more

    @property
    def tokens(self) -> int:
        return (self.frames + self.appended) * HEIGHT * WIDTH // 4

    def operations(self) -> float:
        """Floating-point operations that nobody can do without."""
        added = self.people * (self.slots + ANCHORS) if self.slots else 0
        whole = operations(SHAPE, Work(self.tokens, passes=(1, 0), recomputes=False, text_rows=ROWS + added))
        whole -= 2 * added * SHAPE.dim * (SHAPE.text_dim + SHAPE.dim)  # which are embedded already
        return whole + SHAPE.num_layers * 4 * self.tokens * self.pictures * PICTURE_TOKENS * SHAPE.dim

    def bytes(self) -> float:
        """Of the hidden layer before and behind its activation, and of the tokens."""
        return 4 * self.tokens * (2 * SHAPE.ffn_dim + SHAPE.dim)


def identity(model: WanModel, step: Step, number: int) -> Install:
    film, depth, dim = torch.randn(2, 1, SHAPE.num_layers, 2, SHAPE.dim), SHAPE.num_layers, SHAPE.dim
    tokens = torch.randn(1, ANCHORS, dim), torch.randn(1, step.slots, dim)
    person = Identity(*tokens, film[0], film[1], dim, depth, GateSchedule())
    width = 1 / step.people
    region = None if step.people == 1 else box(number * width, 0, width, 1)
    return LoadedAdapter.install(object.__new__(LoadedAdapter), model, person, region)


def branches(model: WanModel, step: Step) -> Install:
    keys = step.pictures * PICTURE_TOKENS
    made = {
        index: AttentionBranch(*torch.randn(2, 1, keys, SHAPE.dim), is_normalized=True)
        for index in range(SHAPE.num_layers)
    }

    def install(options: dict, noisy, noise_level, context, strength) -> dict:
        condition = LynxCondition(torch.zeros(1, dtype=torch.long), {}, made)
        return install_lynx(options, model, condition, range(SHAPE.num_layers))

    return install


def reference(model: WanModel) -> Install:
    def install(options: dict, noisy, noise_level, context, strength) -> dict:
        condition = ReferenceCondition(torch.ones(1, 16, 1, *noisy.shape[3:]), LayoutConfig())
        frames, height, width = noisy.shape[2:]
        return install_reference(options, model, condition, (frames, height // 2, width // 2), noisy)

    return install


def call_of(model: WanModel, step: Step) -> Callable[[], torch.Tensor]:
    people = [identity(model, step, number) for number in range(step.people)] if step.slots else []
    people += [branches(model, step)] if step.pictures else []
    people += [reference(model)] if step.appended else []
    noisy, context = torch.randn(1, 16, step.frames, HEIGHT, WIDTH), torch.randn(1, ROWS, SHAPE.text_dim)
    predict = together(model, people)
    one = torch.ones(1)
    return lambda: predict(noisy, 0.5 * one, context, one)


AXES: dict[str, dict[str, Step]] = {
    "latent frames": {str(n): Step(frames=n, slots=SLOTS) for n in (3, 5, 9, 13)},
    "slots": {str(n): Step(slots=n) for n in (4, 16, 64, 256)},
    "people": {str(n): Step(slots=SLOTS, people=n) for n in (1, 2, 3, 4)},
    "reference pictures": {str(n): Step(pictures=n) for n in (1, 2, 4, 8)},
    "stacked systems": {
        "Slot-ID": Step(slots=SLOTS), "+ Lynx": Step(slots=SLOTS, pictures=1),
        "+ ST-DRC": Step(slots=SLOTS, pictures=1, appended=True),
    },
}  # fmt: skip


@torch.inference_mode()
def measured() -> Iterator[tuple[str, str, dict[str, float]]]:
    """Axis, point, and multiples of the axis's first point: seconds, operations, peak, bytes."""
    torch.manual_seed(0)
    model = WanModel(SHAPE).eval()
    for axis, points in AXES.items():
        calls = {name: call_of(model, step) for name, step in points.items()}
        best = dict.fromkeys(calls, float("inf"))
        for _ in range(REPEATS):  # in turn, so that a drift of the machine's speed hits all
            for name, call in calls.items():
                start = time.process_time()
                call()
                best[name] = min(best[name], time.process_time() - start)
        peaks = {}
        for name, call in calls.items():
            with LiveBytes() as live:
                call()
            peaks[name] = live.peak
        first = next(iter(points))
        for name, step in points.items():
            yield axis, name, {
                "seconds": best[name] / best[first],
                "operations": step.operations() / points[first].operations(),
                "peak": peaks[name] / peaks[first],
                "bytes": step.bytes() / points[first].bytes(),
            }  # fmt: skip


def run() -> list[Ratio]:
    """Growth from each axis's first point to its last, over that of the limit; 1 is all that arithmetic asks for."""
    last = {axis: (point, growth) for axis, point, growth in measured()}
    ratios = []
    for axis, (point, growth) in last.items():
        for what, limit in (("seconds", "operations"), ("peak", "bytes")):
            over = growth[what] / growth[limit]
            ratios.append(Ratio(f"a step's {what} up to {point} {axis}: growth / of {limit}", over, over, over))
    return ratios


def plot(path: Path) -> None:
    from matplotlib.figure import Figure

    found: dict[str, dict[str, dict[str, float]]] = {}
    for axis, point, growth in measured():
        print(f"{axis:<20} {point:<10}", " ".join(f"{name} {value:6.3f}" for name, value in growth.items()))
        found.setdefault(axis, {})[point] = growth
    figure = Figure(figsize=(3 * len(found), 5), layout="constrained")
    axes = figure.subplots(2, len(found))
    for column, (axis, points) in enumerate(found.items()):
        for row, (what, limit) in enumerate((("seconds", "operations"), ("peak", "bytes"))):
            place = axes[row][column]
            place.plot(list(points), [growth[what] for growth in points.values()], "o-", label=what)
            place.plot(list(points), [growth[limit] for growth in points.values()], "k--", label=f"{limit}, arithmetic")
            place.set_ylim(bottom=0)
            place.set_title(axis)
            place.legend()
    figure.savefig(path, dpi=80)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--plot", type=Path, required=True, help="picture to write")
    plot(parser.parse_args().plot)
