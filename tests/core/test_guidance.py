"""Guidance with two scales: orders, passes, and refinements of the steps."""

import pytest
import torch

from slotid_core.errors import SlotIDError
from slotid_core.wan.guidance import OFF, ORDERS, Refinement, guided_latents, projected, sample_guided

STEPS = 4


class Counting:
    """A prediction that is linear in the noisy latents and differs with prompt and person."""

    def __init__(self):
        self.calls = []

    def __call__(self, noisy, noise_level, context, strength):
        has_text, has_person = bool(context.any()), strength is not None and bool(strength.any())
        self.calls.append((has_text, has_person))
        return noisy - 0.3 * has_text - 0.2 * has_person * noisy.roll(1, 3)


def sample(**settings):
    predict = Counting()
    noise = torch.randn(2, 16, 3, 4, 4, generator=torch.Generator().manual_seed(1))
    context = torch.ones(2, 3, 8)
    return sample_guided(predict, noise, context, torch.zeros(1, 8), steps=STEPS, **settings), predict.calls


@pytest.mark.parametrize("order", ORDERS)
def test_equal_scales_are_ordinary_guidance_in_two_passes(order):
    equal, calls = sample(text_scale=4.0, identity_scale=4.0, order=order)
    almost, more = sample(text_scale=4.0, identity_scale=4.0 + 1e-6, order=order)
    assert torch.allclose(equal, almost, atol=1e-4)
    assert set(calls) == {(False, False), (True, True)} and len(calls) == 2 * STEPS
    middle = (True, False) if order == "text first" else (False, True)
    assert set(more) == {(False, False), middle, (True, True)} and len(more) == 3 * STEPS


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("scales", [(2.0, 5.0), (5.0, 2.0), (3.0, 3.0)])
def test_the_steps_are_those_of_the_formula(order, scales):
    generator = torch.Generator().manual_seed(2)
    empty, text, person, full = torch.randn(4, 2, 16, 3, 4, 4, generator=generator)
    text_scale, person_scale = scales
    if order == "text first":
        middle, first, second = text, text_scale, person_scale
    else:
        middle, first, second = person, person_scale, text_scale
    expected = empty + first * (middle - empty) + second * (full - middle)
    assert torch.allclose(guided_latents(empty, middle, full, first, second, OFF), expected, atol=1e-6)
    if text_scale == person_scale:
        ordinary = guided_latents(empty, None, full, first, second, OFF)
        assert torch.allclose(ordinary, empty + text_scale * (full - empty), atol=1e-6)
        assert torch.allclose(expected, ordinary, atol=1e-5)


def test_without_anybody_there_are_two_passes():
    _, calls = sample(has_person=False, text_scale=3.0, identity_scale=7.0)
    assert set(calls) == {(False, False), (True, False)} and len(calls) == 2 * STEPS


def test_a_step_is_projected_frame_by_frame():
    step, towards = torch.randn(2, 2, 16, 3, 4, 4, generator=torch.Generator().manual_seed(3))
    across = projected(step, towards, Refinement(parallel=0.0))
    assert (across * towards).sum((1, 3, 4)).abs().max() < 1e-4
    assert torch.allclose(step - across, projected(step, towards, OFF) - across)
    half = projected(step, towards, Refinement(parallel=0.5))
    assert torch.allclose(half, (step + across) / 2, atol=1e-6)
    limited = projected(step, towards, Refinement(norm_limit=2.0))
    assert torch.allclose(limited.square().sum((1, 3, 4)).sqrt(), torch.full((2, 3), 2.0), atol=1e-4)
    assert torch.allclose(projected(step, towards, Refinement(norm_limit=1e5)), step, atol=1e-6)


def test_rescaling_gives_the_spread_of_the_full_prediction():
    empty, full = torch.randn(2, 2, 16, 3, 4, 4, generator=torch.Generator().manual_seed(4))
    guided = guided_latents(empty, None, full, 0.0, 8.0, Refinement(rescale=1.0))
    assert torch.allclose(guided.std((1, 2, 3, 4)), full.std((1, 2, 3, 4)), atol=1e-4)
    assert torch.equal(guided_latents(empty, None, full, 0.0, 8.0, OFF), empty + 8.0 * (full - empty))


def test_a_refinement_that_changes_nothing_samples_the_same():
    plain, _ = sample(text_scale=2.0, identity_scale=5.0)
    same, calls = sample(text_scale=2.0, identity_scale=5.0, refinement=Refinement(norm_limit=1e5))
    assert torch.allclose(plain, same, atol=1e-4) and len(calls) == 3 * STEPS
    changed, _ = sample(text_scale=2.0, identity_scale=5.0, refinement=Refinement(parallel=0.0))
    assert not torch.allclose(plain, changed, atol=1e-2)


@pytest.mark.parametrize("settings", [{"parallel": -0.1}, {"rescale": 1.5}, {"norm_limit": float("nan")}])
def test_refinements_have_ranges(settings):
    with pytest.raises(SlotIDError, match=next(iter(settings))):
        Refinement(**settings)
