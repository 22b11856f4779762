"""Adapter and identity files: exact round trips, honest errors, nothing half-written."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import TINY_WIDTH, random_identity
from safetensors.torch import load_file, save_file
from typed import present

from slotid_core.config import config_from_dict, config_to_dict
from slotid_core.errors import SlotIDError
from slotid_core.systems.slot_id import (
    AdapterConfig,
    GateSchedule,
    Identity,
    ImageAnchorConfig,
    LoRAConfig,
    SlotIDAdapter,
    SlotReaderConfig,
    TemporalEncoderConfig,
    load_adapter,
    save_adapter,
)
from slotid_core.wan.lora import new_lora
from slotid_core.weights import read_header


def small_config(**settings) -> AdapterConfig:
    width: dict[str, Any] = {"width": 32, "num_heads": 2, "global_width": 16}
    reader = SlotReaderConfig(num_slots=3, routing="softmax")
    return AdapterConfig.for_model(
        TINY_WIDTH,
        4,
        encoder=TemporalEncoderConfig(TINY_WIDTH, reader=reader, **width),
        anchor=ImageAnchorConfig(TINY_WIDTH, **width),
        gate=GateSchedule("points", points=((0.0, 0.1), (1.0, 0.9))),
        lora=LoRAConfig(rank=4, targets=("k", "v", "o")),
        **settings,
    )


def small_adapter(seed: int = 0, **settings) -> SlotIDAdapter:
    torch.manual_seed(seed)
    adapter = SlotIDAdapter(small_config(**settings))
    torch.nn.init.normal_(present(adapter.film).up.weight)
    present(adapter.encoder).temperature = 0.35
    adapter.lora = fresh_lora(adapter)
    return adapter.eval().requires_grad_(False)


def fresh_lora(adapter: SlotIDAdapter) -> dict[str, torch.Tensor]:
    config = present(adapter.config.lora)
    return new_lora(config.layers, config.rank, config.alpha, TINY_WIDTH, 4)


def encode(adapter: SlotIDAdapter) -> Identity:
    generator = torch.Generator().manual_seed(1)
    clip = torch.randn(1, 16, 5, 8, 8, generator=generator)
    portrait = torch.randn(1, 16, 1, 8, 8, generator=generator)
    return adapter.identity(present(adapter.encoder)(clip), present(adapter.anchor)(portrait), source={"frames": 17})


def test_adapter_round_trip_gives_the_same_identity(tmp_path):
    adapter, path = small_adapter(), tmp_path / "adapter.safetensors"
    save_adapter(path, adapter, training={"steps": 7})
    loaded = load_adapter(path)
    assert loaded.config == adapter.config and present(loaded.encoder).temperature == 0.35
    assert set(loaded.lora) == set(adapter.lora)
    before, after = encode(adapter), encode(loaded)
    for name, tensor in adapter.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor)
    for name in ("image_tokens", "video_tokens", "image_film", "video_film"):
        # The same weights elsewhere in memory may be multiplied by another kernel.
        torch.testing.assert_close(getattr(before, name), getattr(after, name), rtol=1e-5, atol=1e-6)


def test_fingerprint_follows_content_and_not_the_file(tmp_path):
    paths = [tmp_path / name for name in ("a.safetensors", "b.safetensors", "c.safetensors")]
    for path, seed, steps in zip(paths, (0, 0, 1), (1, 2, 1), strict=True):
        save_adapter(path, small_adapter(seed), training={"steps": steps})
    a, b, c = (load_adapter(path).fingerprint for path in paths)
    assert a == b != c


def test_the_references_rate_is_kept_and_a_file_without_one_reads_at_wans(tmp_path):
    silent, known = tmp_path / "silent.safetensors", tmp_path / "known.safetensors"
    save_adapter(silent, small_adapter())
    save_adapter(known, small_adapter(reference_rate=12.0))
    assert load_adapter(silent).config.reads_at == 16 and load_adapter(silent).config.reference_rate is None
    assert load_adapter(known).config.reads_at == 12
    assert load_adapter(known).fingerprint != load_adapter(silent).fingerprint
    assert "reference_rate" not in read_header(silent, "slot_id_adapter", 1)["config"]  # earlier releases read it
    for rate in (0.0, -16.0, float("nan")):
        with pytest.raises(SlotIDError, match="reference_rate must be above 0"):
            small_config(reference_rate=rate)


def test_fingerprints_of_files_from_before_rates_are_what_they_were():
    """Identities made then name these."""
    fixtures = Path(__file__).parents[1] / "fixtures" / "7fc280a"
    expected = {"full": "17b1221c15c71f10", "anchor_only": "429ff1a18fd0ba0f", "mean_latent": "d2362e71233c54ea"}
    assert {name: load_adapter(fixtures / f"slot_id_{name}.safetensors").fingerprint for name in expected} == expected


def test_identity_round_trip_is_exact_and_small_at_14b(tmp_path):
    path = tmp_path / "identities" / "ann.safetensors"
    identity = replace(random_identity(), adapter_fingerprint="abc", source={"clip": "ann.mp4", "faces": 1})
    identity.save(path)
    loaded = Identity.load(path)
    for name in ("image_tokens", "video_tokens", "image_film", "video_film"):
        assert torch.equal(getattr(identity, name), getattr(loaded, name))
    assert loaded.gate == identity.gate and loaded.source == identity.source

    big = Identity(
        torch.randn(1, 2, 5120), torch.randn(1, 6, 5120), torch.randn(1, 20, 2, 5120), torch.randn(1, 20, 2, 5120),
        model_width=5120, model_depth=40, gate=GateSchedule(),
    )  # fmt: skip
    big.save(path)
    assert path.stat().st_size < 2_000_000


def test_single_stream_identity_needs_no_other():
    adapter = small_adapter()
    clip = torch.randn(1, 16, 5, 8, 8)
    identity = adapter.identity(present(adapter.encoder)(clip), None)
    assert identity.num_tokens == 3
    condition = identity.condition(torch.tensor([0.9]), torch.ones(1))
    assert torch.allclose(condition.rows.tokens, identity.video_tokens)
    with pytest.raises(SlotIDError, match="at least one stream"):
        adapter.identity(None, None)


def test_film_is_linear_so_blending_vectors_is_blending_streams():
    film = present(small_adapter().film)
    a, b = torch.randn(2, 1, 16)
    assert torch.allclose(film(0.3 * a + 0.7 * b), 0.3 * film(a) + 0.7 * film(b), atol=1e-5)


def test_new_film_and_lora_change_nothing():
    adapter = SlotIDAdapter(small_config())
    assert present(adapter.film)(torch.randn(1, 16)).abs().max() == 0
    lora = fresh_lora(adapter)
    assert len(lora) == 4 * 3 * 3
    assert all(tensor.abs().max() == 0 for name, tensor in lora.items() if "lora_B" in name)
    assert all(tensor.item() == 16.0 for name, tensor in lora.items() if name.endswith("alpha"))


def corrupt(path, how):
    if how == "truncated":
        path.write_bytes(path.read_bytes()[:-100])
    elif how == "text":
        path.write_text("not a safetensors file")
    elif how == "foreign":
        save_file({"x": torch.zeros(1)}, path)
    elif how == "nan":
        tensors = load_file(path)
        next(iter(tensors.values())).fill_(float("nan"))
        save_file(tensors, path, metadata=header_of(path))
    elif how == "newer":
        metadata = header_of(path)
        header = json.loads(metadata["slotid"]) | {"version": 99}
        save_file(load_file(path), path, metadata={"slotid": json.dumps(header)})
    elif how == "unknown key":
        metadata = header_of(path)
        header = json.loads(metadata["slotid"])
        header["gate" if "gate" in header else "config"]["wobble"] = 1
        save_file(load_file(path), path, metadata={"slotid": json.dumps(header)})
    elif how == "missing":
        path.unlink()


def header_of(path):
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        return file.metadata()


MESSAGES = {
    "truncated": "damaged", "text": "cannot be read", "foreign": "not one of this pack's", "nan": "NaN",
    "newer": "version 99", "unknown key": "'wobble'", "missing": "There is no file",
}  # fmt: skip


@pytest.mark.parametrize("how", MESSAGES)
@pytest.mark.parametrize("kind", ["adapter", "identity"])
def test_bad_files_are_explained(tmp_path, kind, how):
    path = tmp_path / "file.safetensors"
    if kind == "adapter":
        save_adapter(path, small_adapter())
    else:
        random_identity().save(path)
    corrupt(path, how)
    with pytest.raises(SlotIDError) as error:
        (load_adapter if kind == "adapter" else Identity.load)(path)
    assert MESSAGES[how] in str(error.value)


def test_an_identity_is_no_adapter(tmp_path):
    path = tmp_path / "ann.safetensors"
    random_identity().save(path)
    with pytest.raises(SlotIDError, match="'identity' where a 'slot_id_adapter'"):
        load_adapter(path)


def test_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "ann.safetensors"
    random_identity().save(path)
    before = path.read_bytes()
    with pytest.raises(TypeError):
        replace(random_identity(seed=2), source={"bad": object()}).save(path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["ann.safetensors"]


def test_config_round_trip_and_unknown_keys():
    config = small_config()
    values = json.loads(json.dumps(config_to_dict(config)))
    assert config_from_dict(AdapterConfig, values) == config
    values["encoder"]["reader"]["num_slot"] = 3
    with pytest.raises(SlotIDError, match="'num_slot'"):
        config_from_dict(AdapterConfig, values)


def test_a_setting_of_another_type_is_named():
    assert config_from_dict(GateSchedule, {"low": "1e-1"}).low == 0.1  # as YAML reads it
    for name, value in [("low", "little"), ("low", True), ("family", "square")]:
        with pytest.raises(SlotIDError, match=f"^{name} .*{value}"):
            config_from_dict(GateSchedule, {name: value})
    with pytest.raises(SlotIDError, match="num_slots must be of type int; got 2.5"):
        config_from_dict(SlotReaderConfig, {"num_slots": 2.5})
