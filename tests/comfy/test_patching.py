"""How systems get onto a MODEL: what an installer learns of a call, how it wraps one, and clean latents changed."""

from types import SimpleNamespace

import pytest
import torch
from wan_models import LATENT, NEGATIVE, PROMPT, cfg_guider, load_wan, run_guider, sample, separate_passes

POSITIVE = frozenset({"positive"})
DEPTH, STEPS = 2, 3


@pytest.fixture(scope="module")
def patching(pack_module):
    return pack_module("nodes.shared.patching")


@pytest.fixture(scope="module")
def wan(pack_module):
    return pack_module("slotid_core.wan")


@pytest.fixture(scope="module")
def model(wan):
    return load_wan(wan, DEPTH)


@pytest.fixture
def record(patching):
    """A MODEL that writes down its calls."""

    def record(model, calls, start=0.0, end=1.0, wrap_call=None):
        def install(call):
            calls.append(call)
            return call.transformer_options

        return patching.add_to_calls(model, start, end, POSITIVE, install, wrap_call)

    return record


def test_a_call_says_who_when_and_how_large(model, record):
    calls = []
    sample(record(model, calls), latent={"samples": torch.zeros(1, 16, 3, 6, 10)})
    assert len(calls) == STEPS
    assert [call.grid for call in calls] == [(3, 3, 5)] * STEPS
    assert all(call.transformer is model.model.diffusion_model for call in calls)
    assert all(sorted(call.rows.tolist()) == [0, 1] and len(call.context) == 2 for call in calls)
    levels = [float(call.sigma) for call in calls]
    assert levels[0] == 1 and levels == sorted(levels, reverse=True)


def test_odd_sides_count_the_padded_tokens(patching):
    assert patching.token_grid(torch.zeros(1, 16, 3, 5, 7), (1, 2, 2)) == (3, 3, 4)


def test_a_run_has_one_name_that_all_systems_share_and_the_next_run_another(model, record):
    first, second = [], []
    patched = record(record(model, first), second)
    sample(patched)
    runs = {call.run for call in (*first, *second)}
    assert len(first) == len(second) == STEPS and len(runs) == 1
    sample(patched)
    assert len({call.run for call in (*first, *second)}) == 2


def test_passes_outside_of_any_run_share_nothing(model, record):
    calls = []
    options = {"wrappers": record(model, calls).wrappers}
    x, level = torch.zeros(1, 16, 1, 4, 4), torch.full((1,), 500.0)
    with torch.inference_mode():
        for _ in range(2):
            model.model.diffusion_model(x, level, PROMPT[0][0], transformer_options=options)
    assert calls[0].run != calls[1].run and calls[0].rows.tolist() == [1]


def test_rows_are_the_same_in_passes_of_their_own(model, record, monkeypatch):
    calls = []
    separate_passes(model, monkeypatch)
    sample(record(model, calls))
    assert sorted(call.rows.tolist() for call in calls) == [[0]] * STEPS + [[1]] * STEPS


def test_a_wrapped_call_changes_what_goes_in_and_what_comes_out(model, record):
    base, seen = sample(model), []

    def double(call, executor, arguments):
        seen.append(arguments.transformer_options is call.transformer_options)
        return 2 * arguments.run(executor)

    def pass_on(call, executor, arguments):
        return arguments.run(executor)

    assert torch.equal(sample(record(model, [], wrap_call=pass_on)), base)
    assert (sample(record(model, [], wrap_call=double)) - base).abs().max() > 1e-2
    assert seen == [True] * STEPS
    assert torch.equal(sample(record(model, [], start=0.999, end=1.0, wrap_call=pass_on)), base)


def test_a_call_is_wrapped_between_start_and_end_alone(model, record):
    wrapped = []

    def count(call, executor, arguments):
        wrapped.append(float(call.sigma))
        return arguments.run(executor)

    sample(record(model, [], end=0.5, wrap_call=count))
    early = len(wrapped)
    sample(record(model, [], start=0.5, wrap_call=count))
    assert 0 < early < STEPS and STEPS <= len(wrapped) <= STEPS + 1  # both ends belong to the range


@pytest.fixture
def change(pack_module):
    return pack_module("nodes.shared.clean_latents").change_clean_latents


def halved(clean, noise_level):
    return clean / 2


def test_clean_latents_are_changed_and_the_model_is_not(model, change):
    base = sample(model)
    assert torch.equal(sample(change(model, lambda clean, noise_level: clean, 0.0, 1.0)), base)
    patched = change(model, halved, 0.0, 1.0)
    assert (sample(patched) - base).abs().max() > 1e-2
    assert torch.equal(sample(patched), sample(patched)) and torch.equal(sample(model), base)


def test_clean_latents_are_changed_between_start_and_end_alone(model, change):
    levels = []

    def note(clean, noise_level):
        assert clean.shape == LATENT["samples"].shape and noise_level.shape == (1,)
        levels.append(float(noise_level))
        return clean

    sample(change(model, note, 0.0, 1.0))
    assert len(levels) == STEPS and levels[0] == 1
    levels.clear()
    sample(change(model, note, 0.0, 0.5))
    assert 0 < len(levels) < STEPS
    levels.clear()
    sample(change(model, note, 0.999, 1.0))
    assert not levels and torch.equal(sample(change(model, halved, 0.999, 1.0)), sample(model))


def test_the_last_clean_latents_are_the_result(model, change):
    """One step from noise to nothing: what `change` returns is what sampling returns."""
    wanted = torch.randn(1, 16, 3, 8, 8, generator=torch.Generator().manual_seed(8))
    patched = change(model, lambda clean, noise_level: wanted, 0.0, 1.0)
    result = run_guider(cfg_guider(patched), sigmas=torch.tensor([1.0, 0.0]))
    assert torch.allclose(model.model.process_latent_in(result), wanted, atol=1e-4)


def test_comfyuis_latents_inside_of_sampling_are_the_packs_normalised_ones(model, pack_module):
    latents = torch.randn(1, 16, 3, 8, 8)
    normalized = pack_module("slotid_core.wan.vae").normalize_latents(latents)
    assert torch.allclose(model.model.process_latent_in(latents), normalized, atol=1e-6)
    assert torch.allclose(model.model.process_latent_out(normalized), latents, atol=1e-5)


@pytest.mark.parametrize("order", ["text first", "identity first"])
def test_the_guider_changes_the_result_of_all_guidance(model, change, record, pack_module, order):
    """Not what the first of its two scales gives."""
    make = pack_module("nodes.sampling.guider").make_guider
    patched = record(model, [])
    plain = run_guider(make(patched, PROMPT, NEGATIVE, 5.0, 2.0, order), sigmas=torch.tensor([1.0, 0.0]))
    changed = change(patched, halved, 0.0, 1.0)
    result = run_guider(make(changed, PROMPT, NEGATIVE, 5.0, 2.0, order), sigmas=torch.tensor([1.0, 0.0]))
    process = model.model.process_latent_in
    assert torch.allclose(process(result), process(plain) / 2, atol=1e-4)


def test_clean_latents_of_another_model_are_refused(change):
    other = SimpleNamespace(model=SimpleNamespace(diffusion_model=torch.nn.Linear(1, 1)))
    with pytest.raises(ValueError, match="needs a Wan"):
        change(other, halved, 0.0, 1.0)


def test_area_conditionings_keep_their_sides(patching):
    """ComfyUI copies an area conditioning to the other side with its uuid; the copy must not count as positive."""
    conds = {"positive": [{"uuid": "a"}], "negative": [{"uuid": "b"}, {"uuid": "a"}]}
    names = patching.name_conditionings(conds)
    assert names["a"] == "positive" and names[conds["negative"][1]["uuid"]] == "negative"


def test_a_model_whose_blocks_cannot_be_reached_is_refused(pack_module):
    from comfy.ldm.wan.model import WanModel_S2V

    speech = SimpleNamespace(model=SimpleNamespace(diffusion_model=object.__new__(WanModel_S2V)))
    with pytest.raises(ValueError, match="S2V"):
        pack_module("nodes.shared.models").wan_shape(speech)


@pytest.mark.parametrize(("written", "expected"), [("all", range(8)), ("0-2, 5", [0, 1, 2, 5]), (" 7 ", [7])])
def test_blocks_are_parsed(pack_module, written, expected):
    assert pack_module("nodes.shared.inputs").parse_blocks(written, 8) == list(expected)


@pytest.mark.parametrize("written", ["8", "0-8", "x", "3-", "5-2", "-1"])
def test_impossible_blocks_are_refused(pack_module, written):
    with pytest.raises(ValueError, match="[Bb]lock"):
        pack_module("nodes.shared.inputs").parse_blocks(written, 8)
