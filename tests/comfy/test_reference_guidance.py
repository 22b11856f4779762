"""Guidance over the references of core's own nodes, against a rendering of the published formulas in float64."""

import comfy.latent_formats
import comfy.samplers
import numpy as np
import pytest
import torch
from comfy.patcher_extension import WrappersMP
from wan_models import NEGATIVE, PROMPT, cfg_guider, load_wan, run_guider

ONE_STEP = torch.tensor([0.9, 0.0])
TEXT, REFERENCE = 4.0, 4.5  # Bernini-R's scales


@pytest.fixture(scope="module")
def guider_module(pack_module):
    return pack_module("nodes.sampling.guider")


@pytest.fixture(scope="module")
def model(pack_module):
    return load_wan(pack_module("slotid_core.wan"), depth=1)


def pictures(seed=7):
    return torch.randn(1, 16, 2, 8, 8, generator=torch.Generator().manual_seed(seed))


def with_values(conditioning, **values):
    return [[text, {**had, **values}] for text, had in conditioning]


def streams():
    """Positive and negative with references, the same without, by core's names, as Phantom's node makes them."""
    nothing = comfy.latent_formats.Wan21().process_out(torch.zeros_like(pictures()))
    given = [with_values(conditioning, time_dim_concat=pictures()) for conditioning in (PROMPT, NEGATIVE)]
    none = [with_values(conditioning, time_dim_concat=nothing) for conditioning in (PROMPT, NEGATIVE)]
    return *given, *none


def clean(guider):
    """The guided estimate of the first step, in the space of the model."""
    noted = []
    run_guider(guider, callback=lambda step, denoised, x, total: noted.append(denoised), sigmas=ONE_STEP)
    return noted[0].double().numpy()


def alone(model, conditioning):
    return clean(cfg_guider(model, conditioning, conditioning, cfg=1.0))


def projected(step, towards, eta, limit):
    """Adaptive projected guidance frame by frame, over channels and places (arXiv 2410.02416, algorithm 1)."""
    axes = (1, 3, 4)
    norm = np.sqrt((step**2).sum(axes, keepdims=True))
    step = step * np.minimum(1.0, limit / norm)
    unit = towards / np.sqrt((towards**2).sum(axes, keepdims=True))
    parallel = (step * unit).sum(axes, keepdims=True) * unit
    return (step - parallel) + eta * parallel


def counted(model, seen):
    def wrapper(executor, x, *args, **kwargs):
        seen.append(x.shape[0])
        return executor(x, *args, **kwargs)

    spied = model.clone()
    spied.add_wrapper_with_key(WrappersMP.DIFFUSION_MODEL, "count", wrapper)
    return spied


@pytest.mark.parametrize("limit", [50.0, 0.05])  # Bernini's, and one that these small steps reach
@pytest.mark.parametrize("order", ["identity first", "text first"])
def test_projected_guidance_over_references(guider_module, model, monkeypatch, order, limit):
    """identity first at these settings is Bernini-R's: u + w_I APG(u_ref - u) + w_TI APG(c_ref - u_ref)."""
    full, person, text, empty = streams()
    refined = guider_module.SlotIDRefineGuidance.execute(model, 0.5, limit, 0.0).args[0]
    seen, predicted, predict = [], [], comfy.samplers.calc_cond_batch

    def noted(*args):
        predicted[:] = predict(*args)
        return list(predicted)

    guider = guider_module.make_guider(counted(refined, seen), full, person, TEXT, REFERENCE, order)
    with monkeypatch.context() as patch:
        patch.setattr(comfy.samplers, "calc_cond_batch", noted)
        ours = clean(guider)
    u, middle, c_ref = (one.double().numpy() for one in predicted)
    first, second = (REFERENCE, TEXT) if order == "identity first" else (TEXT, REFERENCE)
    expected = u + first * projected(middle - u, middle, 0.5, limit)
    expected = expected + second * projected(c_ref - middle, c_ref, 0.5, limit)
    assert np.abs(expected - (u + first * (middle - u) + second * (c_ref - middle))).max() > 1e-3, "projection acts"
    assert np.abs(ours - expected).max() < 2e-6 * np.abs(expected).max()
    assert guider.passes == sum(seen) == 3
    for stream, conditioning in ((u, empty), (middle, person if order == "identity first" else text), (c_ref, full)):
        assert np.abs(stream - alone(model, conditioning)).max() < 1e-3 * np.abs(stream).max()


def test_references_are_the_persons_place_whatever_the_negative_has(guider_module, model):
    """Core's nodes give the negative with references or without; the streams are the same."""
    full, person, _, empty = streams()
    results = [
        clean(guider_module.make_guider(model, full, negative, TEXT, REFERENCE, "identity first"))
        for negative in (person, empty, NEGATIVE)
    ]
    assert np.array_equal(results[0], results[1])
    plain = alone(model, empty)
    expected = plain + REFERENCE * (alone(model, person) - plain) + TEXT * (alone(model, full) - alone(model, person))
    assert np.abs(results[0] - expected).max() < 1e-3 * np.abs(expected).max()


@pytest.mark.parametrize(("scales", "passes"), [((4.0, 4.0), 2), ((1.0, 3.0), 2), ((1.0, 1.0), 1), ((3.0, 2.0), 3)])
def test_passes_are_left_out_where_nothing_differs(guider_module, model, scales, passes):
    full, person, _, _ = streams()
    seen = []
    guider = guider_module.make_guider(counted(model, seen), full, person, *scales, "text first")
    run_guider(guider, sigmas=ONE_STEP)
    assert sum(seen) == guider.passes == passes


def test_the_middle_difference_is_used_for_several_steps(guider_module, model):
    full, person, _, _ = streams()
    sigmas, results, counts = torch.tensor([1.0, 0.9, 0.7, 0.4, 0.0]), [], []
    for every in (1, 2, 4):
        seen = []
        patched = guider_module.SlotIDRefineGuidance.execute(counted(model, seen), 1.0, 0.0, 0.0, every).args[0]
        guider = guider_module.make_guider(patched, full, person, TEXT, REFERENCE, "identity first")
        results.append(run_guider(guider, sigmas=sigmas))
        counts.append(sum(seen))
        assert torch.equal(results[-1], run_guider(guider, sigmas=sigmas)), "a second run starts anew"
    assert counts == [12, 10, 9]
    assert torch.equal(results[0], run_guider(
        guider_module.make_guider(model, full, person, TEXT, REFERENCE, "identity first"), sigmas=sigmas))  # fmt: skip
    distance = [(result - results[0]).abs().mean() for result in results]
    assert 0 < distance[1] < distance[2]


def test_an_interrupted_run_leaves_nothing_to_the_next(guider_module, model):
    """Guiders live as long as the graph's cache, and a run may begin at the noise level where another was stopped."""
    full, person, _, _ = streams()
    sigmas = torch.tensor([0.9, 0.5, 0.0])
    patched = guider_module.SlotIDRefineGuidance.execute(model, 1.0, 0.0, 0.0, 4).args[0]
    guider, fresh = (guider_module.make_guider(patched, full, person, TEXT, REFERENCE, "text first") for _ in range(2))

    def stop(*_):
        raise InterruptedError

    with pytest.raises(InterruptedError):
        run_guider(guider, callback=stop, sigmas=torch.tensor([1.0, 0.5, 0.0]))
    assert torch.equal(run_guider(guider, sigmas=sigmas), run_guider(fresh, sigmas=sigmas))


def test_nobody_at_all_is_refused(guider_module, model):
    with pytest.raises(Exception, match="no references"):
        guider_module.make_guider(model, PROMPT, NEGATIVE, TEXT, REFERENCE, "text first")
