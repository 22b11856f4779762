"""ST-DRC's parts: positions, what a pass installs, its files, and the augmentations of a reference."""

import itertools
import math

import pytest
import torch
from conftest import TINY_DEPTH, TINY_WIDTH, tiny_wan

from slotid_core.dataset.augmentation import AugmentationSettings, augmentations
from slotid_core.errors import SlotIDError
from slotid_core.reference.portrait.canvas import on_canvas
from slotid_core.systems.st_drc import (
    AdapterConfig,
    LayoutConfig,
    LoRAConfig,
    Person,
    ReferenceCondition,
    install_reference,
    load_adapter,
    save_adapter,
)
from slotid_core.systems.st_drc.inference import LoadedAdapter, predict_velocity
from slotid_core.systems.st_drc.injection import embed_pictures, reference_rotary
from slotid_core.systems.st_drc.random_checkpoints import random_adapter
from slotid_core.wan.hooks.cache import RunCache

LAYOUT = LayoutConfig()


def places_of(grid, pictures, height, width, layout=LAYOUT):
    """(time, y, x) of each reference token, as the method figure counts them."""
    t, h, w = grid
    places = []
    for picture, y, x in itertools.product(range(pictures), range(height), range(width)):
        time = t + picture if layout.temporal_place else picture
        places.append((time, y + h, x + w) if layout.spatial_shift else (time, y, x))
    return places


def rotation_at(place, head_width):
    """Wan's rotation angles at one place, one number for each pair of channels: time first, then height and width."""
    third = 2 * (head_width // 6)
    angles = []
    for position, channels in zip(place, (head_width - 2 * third, third, third), strict=True):
        angles += [position / 10000 ** (2 * pair / channels) for pair in range(channels // 2)]
    return angles


@pytest.mark.parametrize("head_width", [128, 64])
@pytest.mark.parametrize(
    ("grid", "pictures", "size"),
    [((3, 3, 4), 1, (3, 4)), ((1, 2, 2), 1, (2, 2)), ((5, 4, 4), 3, (4, 4)), ((21, 3, 5), 2, (3, 5)),
     ((2, 3, 3), 1, (5, 2))],
)  # fmt: skip
@pytest.mark.parametrize("layout", [LAYOUT, LayoutConfig(spatial_shift=False), LayoutConfig(temporal_place=False)])
def test_every_reference_token_is_where_the_figure_has_it(grid, pictures, size, layout, head_width):
    rotary = reference_rotary(grid, (pictures, *size), layout, head_width)
    places = places_of(grid, pictures, size[0], size[1], layout)
    assert rotary.shape == (1, len(places), 1, head_width // 2, 2, 2)
    for token, place in enumerate(places):
        for pair, angle in enumerate(rotation_at(place, head_width)):
            expected = torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
            assert torch.allclose(rotary[0, token, 0, pair], expected, atol=1e-5)


def test_the_figures_own_numbers():
    """Three latent frames of 3 x 4 tokens: the reference covers [3, 6) x [4, 8) at time 3."""
    places = places_of((3, 3, 4), 1, 3, 4)
    assert places[0] == (3, 3, 4) and places[3] == (3, 3, 7) and places[-1] == (3, 5, 7)


def inputs(batch=2, frames=3):
    generator = torch.Generator().manual_seed(3)
    noisy = torch.randn(batch, 16, frames, 4, 6, generator=generator)
    context = torch.randn(batch, 9, 4096, generator=generator)
    return noisy, torch.linspace(0.9, 0.4, batch), context


def pictures(seed=1, batch=1, count=1, height=4, width=6):
    return torch.randn(batch, 16, count, height, width, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def predict(model, condition, args=None):
    noisy, level, context = args or inputs()
    return predict_velocity(model, noisy, level, context, condition)


def test_without_a_reference_or_at_scale_zero_nothing_is_installed():
    model = tiny_wan()
    base = predict(model, None)
    for condition in (
        ReferenceCondition(pictures(), LAYOUT, scale=0.0),
        ReferenceCondition(pictures(), LAYOUT, rows=torch.zeros(2)),
    ):
        assert install_reference({}, model, condition, (3, 2, 3), inputs()[0]) == {}
        assert torch.equal(predict(model, condition), base)
    assert (predict(model, ReferenceCondition(pictures(), LAYOUT)) - base).abs().max() > 1e-3


@pytest.mark.parametrize("attends", ["all", "itself"])
def test_rows_with_and_without_a_reference_are_as_if_alone(attends):
    model, layout = tiny_wan(), LayoutConfig(reference_attends=attends)
    base, people = predict(model, None), pictures(batch=2)
    mixed = predict(model, ReferenceCondition(people, layout, torch.tensor([1.0, 0.0])))
    assert torch.allclose(mixed[1], base[1], atol=1e-5)
    alone = predict(model, ReferenceCondition(people[:1], layout), tuple(value[:1] for value in inputs()))
    assert torch.allclose(mixed[0], alone[0], atol=1e-5)
    assert not torch.allclose(mixed[0], base[0], atol=1e-3)


@pytest.mark.parametrize(
    "change",
    [{"spatial_shift": False}, {"temporal_place": False}, {"modulation": "shared"}, {"reference_attends": "itself"},
     {"reads_text": False}],
)  # fmt: skip
def test_every_setting_of_the_layout_changes_the_prediction(change):
    model = tiny_wan()
    usual = predict(model, ReferenceCondition(pictures(), LAYOUT))
    assert (predict(model, ReferenceCondition(pictures(), LayoutConfig(**change))) - usual).abs().max() > 1e-5


def test_several_pictures_of_one_person_each_have_a_place():
    model, two = tiny_wan(), pictures(count=2)
    both = predict(model, ReferenceCondition(two, LAYOUT))
    assert (predict(model, ReferenceCondition(two[:, :, :1], LAYOUT)) - both).abs().max() > 1e-4
    assert (predict(model, ReferenceCondition(two.flip(2), LAYOUT)) - both).abs().max() > 1e-5
    places = places_of((3, 2, 3), 2, 2, 3)
    assert len(set(places)) == len(places)


def test_keys_of_a_constant_reference_are_kept_for_a_run():
    model = tiny_wan()
    layout = LayoutConfig(reference_attends="itself", reads_text=False)
    condition, cache = ReferenceCondition(pictures(), layout), RunCache()
    noisy, level, context = inputs()
    for run in ("one", "one", "two"):
        cache.start(run)
        options = install_reference({}, model, condition, (3, 2, 3), noisy, cache, "key")
        with torch.no_grad():
            kept = model(noisy, 1000 * level, context, transformer_options=options, padding_row=8)
        assert torch.allclose(kept, predict(model, condition), atol=1e-5)
    assert cache.num_bytes == TINY_DEPTH * 2 * 6 * TINY_WIDTH * 4
    other = install_reference({}, model, condition, (2, 2, 3), noisy, cache, "key")
    shorter = noisy[:, :, :2]
    with torch.no_grad():
        window = model(shorter, 1000 * level, context, transformer_options=other, padding_row=8)
    assert torch.allclose(window, predict(model, condition, (shorter, level, context)), atol=1e-5)


def test_an_image_to_video_model_gets_a_reference_as_it_gets_a_first_frame():
    model, picture = tiny_wan(in_dim=36), pictures()
    tokens, grid = embed_pictures(model, picture, torch.zeros(1))
    with torch.no_grad():
        by_hand = model.patch_embedding(torch.cat([picture, torch.ones_like(picture[:, :4]), picture], dim=1))
    assert grid == (1, 2, 3) and torch.allclose(tokens, by_hand.flatten(2).transpose(1, 2), atol=1e-6)
    with pytest.raises(SlotIDError, match="takes 48 channels"):
        embed_pictures(tiny_wan(in_dim=48), picture, torch.zeros(1))


@pytest.mark.parametrize("tokens", ["all", "reference"])
def test_an_adapters_file_gives_what_was_saved(tokens, tmp_path):
    adapter = random_adapter(TINY_WIDTH, TINY_DEPTH, LayoutConfig(reference_attends="itself"), tokens=tokens)
    save_adapter(tmp_path / "adapter.safetensors", adapter)
    read = load_adapter(tmp_path / "adapter.safetensors")
    assert read.config == adapter.config and read.lora.keys() == adapter.lora.keys()
    assert all(torch.equal(read.lora[name], tensor) for name, tensor in adapter.lora.items())
    assert bool(read.merged_lora) == (tokens == "all") and bool(read.token_lora) == (tokens == "reference")

    model, base = tiny_wan(), predict(tiny_wan(), None)
    loaded = LoadedAdapter(read)
    loaded.prepare_model(model)
    noisy, level, context = inputs()
    with torch.no_grad():
        nobody = loaded.predictor(model, pictures(batch=2))(noisy, level, context, None)
        somebody = loaded.predictor(model, pictures(batch=2))(noisy, level, context, torch.ones(2))
    assert torch.equal(nobody, base) == (tokens == "reference")
    assert (somebody - nobody).abs().max() > 1e-3


def test_lora_of_reference_tokens_alone_is_the_merged_one_where_no_video_token_is_changed():
    """With its own attention and no video in it, a reference sees the same layers either way."""
    layout = LayoutConfig(reference_attends="itself")
    apart = random_adapter(TINY_WIDTH, TINY_DEPTH, layout, tokens="reference", targets=("o",))
    condition = ReferenceCondition(pictures(), layout, lora=apart.token_lora)
    changed, plain = predict(tiny_wan(), condition), predict(tiny_wan(), ReferenceCondition(pictures(), layout))
    assert (changed - plain).abs().max() > 1e-4


@pytest.mark.parametrize(
    ("settings", "said"),
    [({"targets": ()}, "targets"), ({"targets": ("q", "q")}, "targets"), ({"targets": ("ffn",)}, "targets"),
     ({"rank": 0}, "rank"), ({"alpha": float("nan")}, "alpha")],
)  # fmt: skip
def test_settings_that_cannot_be_are_refused(settings, said):
    with pytest.raises(SlotIDError, match=said):
        LoRAConfig(**settings)


def test_a_model_of_another_size_is_refused():
    adapter = random_adapter(TINY_WIDTH, TINY_DEPTH)
    for width, depth in ((TINY_WIDTH, 5), (256, TINY_DEPTH)):
        with pytest.raises(SlotIDError, match="for a video model of width 128 with 4 blocks"):
            adapter.check_model(width, depth)
    with pytest.raises(SlotIDError, match="model_width"):
        AdapterConfig(0, 4)


def test_a_persons_file_and_several_pictures(tmp_path):
    one, other = Person(pictures(1), {"name": "one"}), Person(pictures(2), {"name": "other"})
    both = one.with_others([other])
    assert both.latents.shape[2] == 2 and both.pixels == (48, 32)
    both.save(tmp_path / "person.safetensors")
    read = Person.load(tmp_path / "person.safetensors")
    assert torch.equal(read.latents, both.latents) and read.source == both.source
    with pytest.raises(SlotIDError, match="one size; these have 32x32, 48x32"):
        one.with_others([Person(pictures(width=4))])
    for latents in (pictures()[0], pictures(count=17), pictures().long(), torch.zeros(2, 16, 1, 4, 4)):
        with pytest.raises(SlotIDError, match="pictures"):
            Person(latents)
    with pytest.raises(SlotIDError, match="NaN"):
        Person(pictures() * float("nan")).save(tmp_path / "none.safetensors")


def face(height=40, width=32):
    generator = torch.Generator().manual_seed(7)
    return torch.rand(1, height, width, 3, generator=generator)


NONE = {"colour": 0.0, "flip": 0.0, "pose": 0.0, "layout": 0.0, "background": 0.0}


def test_augmentations_are_a_function_of_the_picture():
    settings = AugmentationSettings(count=3)
    first, again = (augmentations(face(), 32, 48, settings) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert all(one.shape == (1, 32, 48, 3) and one.min() >= 0 and one.max() <= 1 for one in first)
    assert not torch.equal(first[0], first[1])
    more = augmentations(face(), 32, 48, AugmentationSettings(count=5))
    assert all(torch.equal(a, b) for a, b in zip(first, more, strict=False)), "their number changes none of them"


def test_without_any_change_an_augmentation_is_the_picture():
    (same,) = augmentations(face(), 32, 48, AugmentationSettings(count=1, **NONE))
    assert torch.allclose(same, on_canvas(face(), 32, 48), atol=1e-5)


@pytest.mark.parametrize("change", NONE)
def test_each_change_acts_alone(change):
    plain = on_canvas(face(), 32, 48)
    (changed,) = augmentations(face(), 32, 48, AugmentationSettings(count=1, **{**NONE, change: 1.0}))
    assert (changed - plain).abs().max() > 0.01
    if change == "flip":
        assert torch.allclose(changed.flip(2), plain, atol=0.02)


def test_a_picture_lies_whole_on_its_canvas():
    canvas = on_canvas(torch.zeros(1, 40, 20, 3), 32, 64)
    dark = (canvas[0, :, :, 0] < 0.5).nonzero()
    assert dark[:, 0].min() == 0 and dark[:, 0].max() == 31, "all of its height"
    assert dark[:, 1].min() == 24 and dark[:, 1].max() == 39, "in the middle"
    assert canvas[0, 0, 0].tolist() == [1, 1, 1]
    picture = face(32, 48)
    assert on_canvas(picture, 32, 48) is picture
