"""The gate schedule."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from slotid_core.errors import SlotIDError
from slotid_core.systems.slot_id import GateSchedule
from slotid_core.wan.sampling import noise_levels

unit = st.floats(0, 1)


@st.composite
def schedules(draw):
    low, high = sorted([draw(unit), draw(unit)])
    family = draw(st.sampled_from(["constant", "linear", "cosine", "sigmoid", "points"]))
    if family == "points":
        levels = sorted(draw(st.sets(st.integers(0, 100), min_size=1, max_size=6)))
        weights = sorted(draw(st.lists(unit, min_size=len(levels), max_size=len(levels))))
        return GateSchedule("points", points=tuple((a / 100, b) for a, b in zip(levels, weights, strict=True)))
    shape = {"midpoint": draw(unit), "steepness": draw(st.floats(0.5, 50)), "shift": draw(st.floats(1, 12))}
    return GateSchedule(family, low, high, **shape)


@given(schedules())
def test_gate_stays_in_range_and_never_falls_with_noise(gate):
    w = gate(torch.linspace(0, 1, 101))
    assert w.min() >= -1e-6 and w.max() <= 1 + 1e-6
    assert w.diff().min() >= -1e-5


@pytest.mark.parametrize("family", ["linear", "cosine", "sigmoid"])
def test_ends_are_low_and_high(family):
    gate = GateSchedule(family, 0.2, 0.9)
    assert torch.allclose(gate(torch.tensor([0.0, 1.0])), torch.tensor([0.2, 0.9]), atol=1e-6)


@pytest.mark.parametrize("shift", [1.0, 3.0, 8.0])
def test_a_shifted_gate_is_the_same_curve_over_the_steps_of_a_shifted_schedule(shift):
    steps = noise_levels(20, shift)
    laid_over_steps = GateSchedule("cosine", shift=shift)(steps)
    torch.testing.assert_close(laid_over_steps, GateSchedule("cosine")(torch.linspace(1, 0, 21)), atol=1e-6, rtol=1e-5)


def test_points_interpolate():
    gate = GateSchedule("points", points=((0.2, 0.1), (0.6, 0.5), (0.8, 1.0)))
    w = gate(torch.tensor([0.0, 0.2, 0.4, 0.6, 0.7, 1.0]))
    assert torch.allclose(w, torch.tensor([0.1, 0.1, 0.3, 0.5, 0.75, 1.0]), atol=1e-6)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"family": "stairs"}, "'stairs'"),
        ({"low": 0.8, "high": 0.2}, "low=0.8"),
        ({"family": "points", "points": ((0.5, 0.9), (0.6, 0.1))}, "never falls"),
        ({"family": "points"}, "pairs"),
        ({"family": "sigmoid", "steepness": 0.0}, "steepness"),
        ({"shift": 0.5}, "shift must lie between 1 and 1000; got 0.5"),
    ],
)
def test_impossible_gates_are_named(settings, message):
    with pytest.raises(SlotIDError) as error:
        GateSchedule(**settings)
    assert message in str(error.value)


def test_points_may_be_whole_numbers():
    gate = GateSchedule("points", points=((0, 0), (1, 1)))
    assert torch.equal(gate(torch.tensor([0.0, 0.25, 1.0])), torch.tensor([0.0, 0.25, 1.0]))
