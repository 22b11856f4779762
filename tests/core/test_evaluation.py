"""Rows of adapters compared: what each row draws, whom it is judged against, and how sure the figures are."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from proof import examples
from toy_family import ship_random_family
from training_settings import make_world, write_settings
from training_settings import settings as training_settings
from typed import present

from slotid_core.errors import SlotIDError
from slotid_core.evaluation import scales
from slotid_core.evaluation.estimators import mean
from slotid_core.evaluation.intervals import bootstrap, bootstrap_difference
from slotid_core.evaluation.levels import levels_of
from slotid_core.evaluation.metrics import Metrics, gap_closed, summarize
from slotid_core.evaluation.studio import TEXT_ROOM, Studio
from slotid_core.evaluation.subjects import described, stranger, subjects_of
from slotid_core.evaluation.train_variants import train_variants
from slotid_core.evaluation.usage import Reference, Usage
from slotid_core.evaluation.variants import chosen_rows, rows_of
from slotid_core.precision import cpu_has
from slotid_core.systems.slot_id import (
    AdapterConfig,
    ImageAnchorConfig,
    LoRAConfig,
    SlotIDAdapter,
    TemporalEncoderConfig,
)
from slotid_core.systems.slot_id.adapter import load_adapter, save_adapter
from slotid_core.systems.slot_id.baselines import MeanLatentEncoder
from slotid_core.toy_world.judges import reveals
from slotid_core.toy_world.person import DYNAMICS, HELD_OUT_FROM
from slotid_core.toy_world.scene import LOOK_AROUND
from slotid_core.wan import WanConfig, WanModel
from slotid_core.wan.lora import merge_lora, new_lora
from slotid_core.wan.text_encoder import LONGEST_PROMPT


@pytest.fixture(scope="module")
def studio(tmp_path_factory):
    """A family of random weights with an adapter in which nothing is zero."""
    folder = tmp_path_factory.mktemp("family")
    ship_random_family(folder)
    shape: dict[str, Any] = {"width": 64, "num_heads": 2, "global_width": 32}
    config = AdapterConfig.for_model(
        128, 2, encoder=TemporalEncoderConfig(128, **shape), anchor=ImageAnchorConfig(128, **shape),
        lora=LoRAConfig(rank=4, alpha=4.0),
    )  # fmt: skip
    adapter = SlotIDAdapter(config)
    torch.nn.init.normal_(present(adapter.film).up.weight, std=0.1)
    lora = present(config.lora)
    fresh = new_lora(lora.layers, lora.rank, lora.alpha, 128, 2)
    adapter.lora = {name: torch.randn_like(t) if "lora_B" in name else t for name, t in fresh.items()}
    save_adapter(folder / "full" / "adapter.safetensors", adapter)
    torch.set_num_threads(1)
    return Studio(folder, Usage(steps=2), folder)


@pytest.fixture(scope="module")
def clips(studio):
    subjects = subjects_of(0, 2, 1)
    return {name: studio.clips(row(name), subjects, 0) for name in ("base", "null", "full", "ground_truth")}


def row(name: str):
    return chosen_rows([name], ["slot_id"])[0]


def test_rows_differ_and_repeat(studio, clips):
    assert all(clip.shape == (2, 1, 17, 64, 64, 3) for clip in clips.values())
    assert torch.equal(studio.clips(row("full"), subjects_of(0, 2, 1), 0), clips["full"])
    names = list(clips)
    for first in names:
        for second in names[names.index(first) + 1 :]:
            assert (clips[first] - clips[second]).abs().max() > 1e-3, (first, second)


def test_bfloat16_draws_the_same_clips(studio, clips):
    faster = Studio(studio.adapters, studio.usage, studio.weights, "bfloat16")
    away = (faster.clips(row("full"), subjects_of(0, 2, 1), 0) - clips["full"]).abs().mean()
    assert (away > 0) == cpu_has(torch.bfloat16)  # elsewhere it stays with float32
    assert away < 0.1 * (clips["full"] - clips["base"]).abs().mean()


def test_several_adapters_show_one_person_at_once(studio, clips):
    subjects, path = subjects_of(0, 2, 1), studio.adapter_path("slot_id", "full")
    alone = studio.by_several([("slot_id", path)], subjects, 0, studio.usage)
    assert torch.allclose(alone, clips["full"], atol=1e-4)
    twice = studio.by_several([("slot_id", path), ("slot_id", path)], subjects, 0, studio.usage)
    assert (twice - alone).abs().max() > 1e-3


def test_who_is_drawn_matters_only_where_an_identity_is(studio):
    """The same noise and prompt with another person's reference."""
    ann, bob = subjects_of(0, 2, 1)
    swapped = [type(ann)(bob.person, bob.seed, ann.scenes, ann.prompts)]
    assert torch.equal(studio.clips(row("null"), [ann], 0), studio.clips(row("null"), swapped, 0))
    assert not torch.equal(studio.clips(row("full"), [ann], 0), studio.clips(row("full"), swapped, 0))


def test_an_identity_outside_its_part_of_sampling_is_none(studio, clips):
    subjects = subjects_of(0, 2, 1)
    path = studio.adapter_path("slot_id", "full")
    never = studio.generated("slot_id", path, subjects, 0, replace(studio.usage, start=1.0))
    late = studio.generated("slot_id", path, subjects, 0, replace(studio.usage, start=0.5))
    assert torch.allclose(never, clips["null"], atol=1e-5)
    assert (late - clips["null"]).abs().max() > 1e-3 and (late - clips["full"]).abs().max() > 1e-3


def test_the_shipped_adapter_draws_the_person_of_the_reference():
    subjects = subjects_of(5, 6, 1)
    studio = Studio(None, Usage(steps=10))
    metrics = Metrics(studio, subjects, 5)
    for name, low, high in (("base", -0.1, 0.1), ("full", 0.15, 1.0)):
        similarity = metrics.faces.embed_clips(studio.clips(row(name), subjects, 5).flatten(0, 1)) @ metrics.gallery.T
        own = similarity.diagonal().mean()
        others = (similarity.sum() - similarity.trace()) / (similarity.numel() - len(similarity))
        assert low < own - others < high, name


def test_a_worse_reference_changes_what_is_drawn(studio, clips):
    subjects, path = subjects_of(0, 2, 1), studio.adapter_path("slot_id", "full")
    for change in (
        {"reference": Reference(shuffled=True)},
        {"reference": Reference(frames=5)}, {"reference": Reference(blur=2.0)},
    ):  # fmt: skip
        drawn = studio.generated("slot_id", path, subjects, 0, replace(studio.usage, **change))
        assert (drawn - clips["full"]).abs().max() > 1e-4, change


def test_words_change_the_prompt_and_nothing_else(studio, clips, monkeypatch):
    subjects, asked = subjects_of(0, 2, 1), []
    for subject in subjects:
        worded = described(subject)
        assert replace(worded, prompts=subject.prompts) == subject and worded.prompts != subject.prompts
        assert len(studio.encoders.text_rows(worded.prompts[0])) < LONGEST_PROMPT - TEXT_ROOM
    sample = Studio.sample
    monkeypatch.setattr(Studio, "sample", lambda self, *given: asked.append(given[1:]) or sample(self, *given))
    drawn = studio.clips(row("described"), subjects, 0)
    plain = studio.clips(row("base"), [described(subject) for subject in subjects], 0)
    assert torch.equal(drawn, plain) and (drawn - clips["base"]).abs().max() > 1e-3
    assert asked[0] == asked[1]


def test_a_stranger_is_somebody_else_in_the_same_scenes(studio, clips):
    ann, bob = subjects_of(0, 2, 1)
    other = stranger(ann)
    assert other.scenes == ann.scenes and other.prompts == ann.prompts
    assert other.person not in (ann.person, bob.person) and other.seed not in (ann.seed, bob.seed)
    drawn = studio.clips(row("stranger"), [ann], 0)
    assert (drawn - clips["ground_truth"][:1]).abs().max() > 0.1


def test_the_reference_of_a_stranger_leaves_the_portrait(studio):
    (ann,) = subjects_of(0, 1, 1)
    names = ("reference", "portrait")
    own, mixed = (studio.conditions(ann, Reference(clip_of_a_stranger=other), names) for other in (False, True))
    theirs = studio.conditions(stranger(ann), Reference(), names)
    assert torch.equal(mixed["portrait"], own["portrait"]) and torch.equal(mixed["reference"], theirs["reference"])
    assert not torch.equal(mixed["reference"], own["reference"])


def test_a_users_reference_is_another_picture_of_the_same_person():
    """As the toy world's own recogniser sees it."""
    studio, subjects = Studio(None, Usage()), subjects_of(0, 3, 1)

    def embeddings(change: Reference) -> torch.Tensor:
        found = [studio.conditions(one, change, ("face_embedding",))["face_embedding"] for one in subjects]
        return torch.nn.functional.normalize(torch.cat(found).flatten(1), dim=1)

    alike = embeddings(Reference()) @ embeddings(Reference(as_user=True)).T
    assert 0.8 < alike.diagonal().min() < 0.999
    assert torch.equal(alike.argmax(1), torch.arange(3)) and (alike - 2 * torch.eye(3)).max() < 0.6


def test_latent_frames_are_shuffled_after_the_vae(studio):
    (ann,) = subjects_of(0, 1, 1)
    names = ("reference", "portrait")
    own, mixed = (studio.conditions(ann, Reference(latents_shuffled=shuffled), names) for shuffled in (False, True))
    assert torch.equal(mixed["portrait"], own["portrait"])
    frames, shuffled = (tensors["reference"][0].unbind(1) for tensors in (own, mixed))
    assert not torch.equal(own["reference"], mixed["reference"])
    assert {f.numpy().tobytes() for f in shuffled} == {f.numpy().tobytes() for f in frames}


@pytest.mark.parametrize("prompts", (3, 4))
def test_balanced_scenes_show_every_factor_but_sway_as_often(prompts):
    subjects = subjects_of(0, 8, prompts, balanced=True)
    actions = torch.tensor([[scene.action for scene in subject.scenes] for subject in subjects])
    shown = dict(zip(DYNAMICS, reveals(actions.flatten()).sum(0).tolist(), strict=True))
    assert shown.pop("sway") == 8 * prompts
    assert set(shown.values()) == {2 * prompts} == {(actions == LOOK_AROUND).sum().item()}
    if prompts == 4:
        assert all(len(set(row)) == 4 for row in actions.tolist())
    assert [subject.person for subject in subjects] == [subject.person for subject in subjects_of(0, 8, prompts)]


def test_references_are_worsened_as_asked():
    frames = torch.rand(17, 16, 16, 3, generator=torch.Generator().manual_seed(0)) * 0.5 + 0.25
    assert torch.equal(Reference().of_clip(frames, 0), frames)
    assert torch.equal(Reference(frames=5).of_clip(frames, 0), frames[:5])
    shuffled = Reference(shuffled=True).of_clip(frames, 0)
    assert not torch.equal(shuffled, frames)
    assert {f.numpy().tobytes() for f in shuffled} == {f.numpy().tobytes() for f in frames}
    blurred = Reference(blur=1.0).of_portrait(frames, 0)
    assert blurred.var() < 0.3 * frames.var() and torch.allclose(blurred.mean(), frames.mean(), atol=0.01)
    noisy = Reference(noise=0.05).of_portrait(frames, 0)
    assert (noisy - frames).std().item() == pytest.approx(0.05, rel=0.05)
    with pytest.raises(SlotIDError, match="4n"):
        Reference(frames=6)


def test_figures_and_their_intervals(studio, clips):
    metrics = Metrics(studio, subjects_of(0, 2, 1), 0)
    figures = {}
    for name, clip in clips.items():
        figures |= summarize(name, metrics.measure(clip))
    for name in ("similarity", "rank1", "action", "background", "clothes"):
        assert figures[f"full.{name}.low"] <= figures[f"full.{name}"] <= figures[f"full.{name}.high"]
    middle = figures | {"full.similarity": (figures["base.similarity"] + figures["ground_truth.similarity"]) / 2}
    assert gap_closed(middle, "full") == pytest.approx(0.5)


def test_a_row_without_an_adapter_is_refused(studio):
    assert not studio.has(row("anchor")) and studio.has(row("null"))
    with pytest.raises(SlotIDError, match="anchor"):
        studio.clips(row("anchor"), subjects_of(0, 1, 1), 0)
    with pytest.raises(SlotIDError, match="ceiling"):
        row("ceiling")
    variants = ["null", "oracle", "mean_latent", "anchor", "slots", "full"]
    assert [r.name for r in rows_of(["slot_id"])] == [
        "base", "described", *(f"slot_id.{v}" for v in variants), "stranger", "ground_truth",
    ]  # fmt: skip


@settings(max_examples=examples(15), deadline=None)
@given(st.integers(0, 50), st.integers(0, 50))
def test_people_of_two_seeds_are_others_and_none_is_trained_on(first, second):
    ours, theirs = ({subject.seed for subject in subjects_of(seed, 5, 2)} for seed in (first, second))
    assert min(ours) >= HELD_OUT_FROM
    assert first == second or not ours & theirs


def test_the_interval_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(0)
    hits = 0
    for trial in range(60):
        low, high = bootstrap(rng.normal(size=(40, 1)), mean, seed=trial)
        hits += low <= 0 <= high
    assert 50 <= hits <= 60  # 57 expected


def test_a_paired_interval_is_narrower_than_its_rows():
    rng = np.random.default_rng(0)
    people = rng.normal(size=(40, 1))
    better = people + 0.1 + 0.05 * rng.normal(size=(40, 1))
    low, high = bootstrap_difference(better, people, mean)
    assert 0.05 < low < 0.1 < high < 0.15
    assert bootstrap(people, mean)[1] - bootstrap(people, mean)[0] > 4 * (high - low)


@pytest.mark.parametrize("targets", [("k", "k"), (), ("ffn.0",), ("self_attn.w",)])
def test_layers_that_no_lora_can_have_are_refused(targets):
    with pytest.raises(SlotIDError, match="targets are some of q, k, v, o, self_attn.q"):
        LoRAConfig(targets=targets)


@pytest.mark.parametrize("layer", ["cross_attn.o", "self_attn.q"])
def test_merged_lora_is_the_layer_that_training_saw(layer):
    torch.manual_seed(0)
    model = WanModel(WanConfig(dim=128, ffn_dim=128, num_layers=2, num_heads=1))
    config = LoRAConfig(rank=4, alpha=2.0, targets=("k", "v", "o", "self_attn.q"))
    fresh = new_lora(config.layers, config.rank, config.alpha, 128, 2)
    lora = {name: torch.randn_like(t) if "lora" in name else t for name, t in fresh.items()}
    linear = model.get_submodule(f"blocks.1.{layer}")
    x, before = torch.randn(3, 128), linear.get_parameter("weight").detach().clone()
    expected = linear(x) + 0.5 * (
        x @ lora[f"diffusion_model.blocks.1.{layer}.lora_A.weight"].T
        @ lora[f"diffusion_model.blocks.1.{layer}.lora_B.weight"].T
    )  # fmt: skip
    merge_lora(model, lora)
    assert torch.allclose(linear(x), expected, atol=1e-4)
    merge_lora(model, lora, strength=-1.0)
    assert torch.allclose(linear.get_parameter("weight"), before, atol=1e-5)
    with pytest.raises(SlotIDError, match="blocks.1"):
        merge_lora(WanModel(WanConfig(dim=128, ffn_dim=128, num_layers=1, num_heads=1)), lora)


def test_rows_are_trained_each_with_its_own_streams(tmp_path):
    world = make_world(tmp_path / "world")
    config = write_settings(tmp_path / "config.json", training_settings(world, run={"steps": 2, "validate_every": 9}))
    assert train_variants(config, tmp_path / "rows", [], ["run.save_every=1"])
    names = ("full", "slots", "anchor", "mean_latent")
    adapters = {name: load_adapter(tmp_path / "rows" / name / "adapter.safetensors") for name in names}
    assert adapters["full"].encoder and adapters["full"].anchor
    assert adapters["slots"].anchor is None and adapters["anchor"].encoder is None
    assert isinstance(adapters["mean_latent"].encoder, MeanLatentEncoder)
    before = (tmp_path / "rows" / "full" / "adapter.safetensors").stat().st_mtime_ns
    assert train_variants(config, tmp_path / "rows", ["full"], [])
    assert (tmp_path / "rows" / "full" / "adapter.safetensors").stat().st_mtime_ns == before
    with pytest.raises(SlotIDError, match="null"):
        train_variants(config, tmp_path / "rows", ["null"], [])


def test_scales_in_both_orders_are_drawn_once_each_and_their_passes_counted(studio, monkeypatch, tmp_path):
    subjects, calls, sampled = subjects_of(0, 2, 1), [], []
    sample = scales.Studio.sample

    def counted(self, predict, has_person, jobs, seeds, usage):
        def counting(*given):
            calls.append(given)
            return predict(*given)

        before = len(calls)
        drawn = sample(self, counting, has_person, jobs, seeds, usage)
        sampled.append((usage.order, usage.text_scale, usage.identity_scale, (len(calls) - before) / usage.steps))
        return drawn

    monkeypatch.setattr(scales.Studio, "sample", counted)
    points, metrics = scales.grid([1.0, 4.0], [1.0, 4.0]), Metrics(studio, subjects, 0)
    figures = {}
    for point, values in scales.measured(studio, metrics, row("full"), subjects, 0, points):
        figures |= scales.flat(row("full"), point, values)
    assert len(points) == 8 and len(sampled) == scales.number_drawn(points) == 6
    for order, text, identity, count in sampled:
        assert count == figures[f"slot_id.full.{scales.Point(text, identity, order).key}.passes"]
        assert count == (2 if text == identity else 3)
    keys = {f"slot_id.full.{point.key}.{name}" for point in points for name in ("similarity.low", "prompt", "action")}
    assert keys <= figures.keys()
    orders = [figures[f"slot_id.full.{scales.Point(1.0, 4.0, order).key}.similarity"] for order in scales.ORDERS]
    assert orders[0] != orders[1]
    scales.save_map(figures, row("full"), points, tmp_path / "map.png")
    with Image.open(tmp_path / "map.png") as picture:
        colours = {picture.getpixel((scales.LABEL + 4 + scales.CELL * x, scales.GAP + 4)) for x in range(2)}
    assert len(colours) == 2


@pytest.mark.parametrize("listed", ["", "a", "1,-2", "1,nan", "99"])
def test_scales_that_are_none_are_refused(listed):
    with pytest.raises(SlotIDError, match="from 0 to 30"):
        scales.scales_of(listed)


def test_sampling_that_begins_late_keeps_what_was_drawn(studio):
    """Almost without noise the drawing comes back; from noise alone nothing of it is left."""
    subjects = subjects_of(0, 2, 1)
    drawn = studio.clips(row("ground_truth"), subjects, 0)
    late, early, whole = (
        studio.clips(row("base"), subjects, 0, usage=Usage(steps=2, begin=begin)) for begin in (0.001, 0.6, 1.0)
    )
    off = [(clips - drawn).abs().mean().item() for clips in (late, early, whole)]
    assert off[0] < 0.1 * off[1] and off[1] < off[2]
    assert torch.equal(whole, studio.clips(row("base"), subjects, 0))


@pytest.mark.parametrize("listed", ["", "0,1", "1.5", "high"])
def test_noise_levels_that_are_none_are_refused(listed):
    with pytest.raises(SlotIDError, match="Noise levels"):
        levels_of(listed)
    assert levels_of("0.55,1") == [1.0, 0.55]
