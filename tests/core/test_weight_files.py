"""What a weight file may hold: no endless loading, no NaN, no impossible number, and errors that name the file."""

import json

import pytest
import torch
from weight_files import LOADERS, good_file, put_header, spoil

from slotid_core.errors import SlotIDError
from slotid_core.weights import load_weights, save_weights

pytestmark = pytest.mark.timeout(60)  # what never ends must fail
WITH_HEADER = (
    "adapter", "identity", "lynx_reference", "st_drc", "st_drc_person", "lavie_id", "lavie_id_person",
    "checkpoint", "finder", "parts", "dit",
)  # fmt: skip


def refused(kind, path, said="") -> str:
    """The error, which must be ours, come soon, and name the file."""
    with pytest.raises(SlotIDError) as error:
        LOADERS[kind](path)
    assert path.name in str(error.value) and said in str(error.value), str(error.value)
    assert len(str(error.value)) < 1000
    return str(error.value)


@pytest.mark.parametrize("kind", LOADERS)
def test_a_good_file_of_each_kind_loads(kind, tmp_path):
    LOADERS[kind](good_file(kind, tmp_path))


def set_number(place: str, value):
    """A change of one number in a header; `place` has dots for what lies inside."""

    def change(header: dict) -> None:
        *parents, last = place.split(".")
        for parent in parents:
            header = header[parent]
        header[last] = value

    return change


# B4: endless loading from one number.


@pytest.mark.parametrize(
    "place",
    ["encoder.num_layers", "anchor.num_layers", "model_depth", "film_rank", "encoder.reader.num_slots", "model_width"],
)
def test_b4_a_large_number_in_an_adapters_header(place, tmp_path):
    path = good_file("adapter", tmp_path)
    spoil(path, header=set_number(f"config.{place}", 10**6))
    refused("adapter", path)


@pytest.mark.parametrize("number", [3, 200])
@pytest.mark.parametrize("stream", ["encoder", "anchor"])
def test_b4_layers_are_counted_before_they_are_built(stream, number, tmp_path):
    path = good_file("adapter", tmp_path)
    spoil(path, header=set_number(f"config.{stream}.num_layers", number))
    assert f"num_layers {number}" in refused("adapter", path, "blocks")


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("lynx", "layers.1000000.0.to_q.weight"),
        ("backbone", "blocks.100000.modulation"),
        ("dit", "blocks.1000000.modulation"),
        ("lynx", "layers.x.0"),
        ("backbone", "blocks.x.modulation"),
        ("backbone", "blocks.-1.modulation"),
        ("text_encoder", "encoder.block.100000.layer.0.layer_norm.weight"),
        ("lynx", f"layers.{'9' * 5000}.0"),
        ("lynx", f"blocks.{'9' * 5000}.cross_attn.ip_adapter.to_k_ip.weight"),
    ],
)
def test_b4_a_large_or_odd_number_in_a_tensors_name(kind, name, tmp_path):
    path = good_file(kind, tmp_path)
    spoil(path, tensors=lambda found: found.update({name: torch.zeros(1)}))
    refused(kind, path)


@pytest.mark.parametrize(
    ("kind", "name", "shape"),
    [
        ("vae", "decoder.head.0.gamma", (200_000, 1, 1, 1)),
        ("toy_vae", "decoder.head.0.gamma", (200_000, 1, 1, 1)),
        ("dit", "head.modulation", (1, 2, 256_000)),
        ("face_encoder", "input_layer.0.weight", (20_000, 3, 3, 3)),
        ("backbone", "head.modulation", (1, 2, 256_000)),
    ],
)
def test_b4_a_large_size_allocates_nothing(kind, name, shape, tmp_path):
    """Matrices of these widths would take tens to hundreds of gigabytes."""
    path = good_file(kind, tmp_path)
    spoil(path, tensors=lambda found: found.update({name: torch.zeros(shape)}))
    refused(kind, path)


# B5: NaN, infinity, impossible settings.


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("kind", LOADERS)
def test_b5_nan_and_infinity_in_one_weight(kind, value, tmp_path):
    path = good_file(kind, tmp_path)

    def change(found):
        largest = max((name for name in found if found[name].is_floating_point()), key=lambda n: found[n].numel())
        found[largest].view(-1)[-1] = value

    spoil(path, tensors=change)
    refused(kind, path, "NaN or infinity")


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2, torch.bfloat16, torch.float64])
def test_b5_nan_in_every_precision(dtype, tmp_path):
    path = good_file("lynx", tmp_path)
    name = "blocks.1.cross_attn.ip_adapter.to_k_ip.weight"

    def change(found):
        for key in [key for key in found if key.startswith("blocks") and ".ip_adapter.to_k_ip.weight" in key]:
            found[key] = found[key].to(dtype)
        wide = found[name].float()
        wide[0, 0] = float("nan")
        found[name] = wide.to(dtype)

    spoil(path, tensors=change)
    refused("lynx", path, "NaN or infinity")


IMPOSSIBLE = {
    "adapter": [
        ("temperature", float("nan")), ("temperature", 0), ("temperature", -1.0), ("temperature", None),
        ("temperature", "hot"), ("temperature", float("inf")), ("temperature", 1e30),
        ("config.model_depth", -3), ("config.model_depth", 0), ("config.encoder.num_heads", 0),
        ("config.encoder.num_heads", -2), ("config.anchor.num_heads", 0), ("config.encoder.width", 0),
        ("config.encoder.patch_size", [1, 0, 2]), ("config.encoder.patch_size", [1, 2]),
        ("config.encoder.reader.num_refinements", 0), ("config.encoder.reader.sinkhorn_iterations", 10**9),
        ("config.gate.shift", float("nan")), ("config.gate.steepness", float("nan")),
        ("config.gate.midpoint", float("nan")), ("config.gate.midpoint", 7.0), ("config.gate.steepness", 1e-30),
        ("config.gate.shift", float("inf")), ("config.reference_rate", float("nan")),
        ("config.reference_rate", float("inf")), ("config.reference_size", 0), ("config.reference_frames", -5),
        ("config.portrait_size", 10**9), ("config.film_fraction", float("nan")), ("config.lora.rank", 0),
        ("config.lora.alpha", float("nan")), ("config.lora.rank", 3), ("config.lora.targets", ["k"]),
        ("config.model_width", True), ("config.model_width", 1.5), ("config.model_width", None),
    ],
    "identity": [
        ("model_depth", -3), ("model_depth", 0), ("model_depth", 10**9), ("model_depth", 1), ("model_width", "64"),
        ("gate.shift", float("nan")), ("gate.steepness", float("nan")), ("gate.midpoint", float("nan")),
        ("gate.low", float("nan")), ("gate_mode", "other"), ("gate_mode", None), ("adapter_fingerprint", 7),
        ("source", None), ("gate", None), ("gate", []),
    ],
    "lynx_reference": [("source", []), ("source", None)],
    "st_drc": [
        ("config.model_depth", 10**6), ("config.model_depth", 0), ("config.model_width", 10**9),
        ("config.model_width", 64), ("config.lora.rank", 0), ("config.lora.rank", 3),
        ("config.lora.alpha", float("nan")),
        ("config.lora.targets", ["k"]), ("config.lora.targets", []), ("config.lora.tokens", "some"),
        ("config.layout.reference_attends", "other"), ("config.layout.spatial_shift", 2), ("config.layout", None),
    ],
    "st_drc_person": [("source", []), ("source", None)],
    "lavie_id": [
        ("config.model_depth", 10**6), ("config.model_width", 10**9), ("config.model_width", 64),
        ("config.vision.kind", "other"), ("config.vision.levels", []), ("config.vision.levels", [1, 0]),
        ("config.vision.side", 33), ("config.encoder.depth", 3), ("config.encoder.depth", 1000),
        ("config.encoder.num_tokens", 0), ("config.encoder.heads", 10**6), ("config.router.alpha", float("nan")),
        ("config.router.place", "middle"), ("config.router.routing", "uniform"), ("config.router", None),
        ("config.router.inner_width", 10**9),
    ],
    "lavie_id_person": [("source", []), ("source", None), ("adapter_fingerprint", 7)],
    "checkpoint": [("step", -1), ("step", "3"), ("step", None), ("step", 1e300), ("step", 2.5)],
}  # fmt: skip


@pytest.mark.parametrize(("kind", "place", "value"), [(k, *case) for k, cases in IMPOSSIBLE.items() for case in cases])
def test_b5_impossible_numbers_in_a_header(kind, place, value, tmp_path):
    path = good_file(kind, tmp_path)
    spoil(path, header=set_number(place, value))
    refused(kind, path)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("image_tokens", (64,)), ("image_tokens", (2, 2, 64)), ("video_tokens", (0, 3, 64)),
        ("video_film", (1, 9, 2, 64)), ("image_film", (1, 1, 3, 64)), ("image_film", (1, 1, 64)),
    ],
)  # fmt: skip
def test_b5_an_identitys_tensors_fit_each_other(name, shape, tmp_path):
    path = good_file("identity", tmp_path)
    spoil(path, tensors=lambda found: found.update({name: torch.zeros(shape)}))
    refused("identity", path)


def test_b5_an_identity_of_whole_numbers_is_none(tmp_path):
    path = good_file("identity", tmp_path)
    spoil(path, tensors=lambda found: found.update({name: t.to(torch.int32) for name, t in found.items()}))
    refused("identity", path)


# B11: what is said of odd headers and shapes.


@pytest.mark.parametrize("kind", WITH_HEADER)
@pytest.mark.parametrize(
    "text",
    [
        "", "[]", "null", "7", '"text"', "{", "[" * 100_000, '{"a":' * 100_000,
        '{"kind": "x", "version": 1, "more": ' + "[" * 100 + "]" * 100 + "}",
        '{"kind": null, "version": 1}', '{"version": 1}', '{"kind": "x", "version": ' + "9" * 6000 + "}",
        "\ud7ff\x00",
    ],
    ids=[
        "empty", "list", "null", "number", "text", "cut", "deep list", "deep", "nested", "no kind", "kind left out",
        "long number", "odd letters",
    ],
)  # fmt: skip
def test_b11_headers_that_are_none(kind, text, tmp_path):
    path = good_file(kind, tmp_path)
    put_header(path, text)
    refused(kind, path)


@pytest.mark.parametrize(
    "kind",
    ["adapter", "identity", "lynx_reference", "st_drc", "st_drc_person", "lavie_id", "lavie_id_person", "checkpoint"],
)
def test_b11_each_key_of_a_header_is_needed_or_has_a_default(kind, tmp_path):
    from safetensors import safe_open

    path = good_file(kind, tmp_path)
    with safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()["slotid"])
    for key in header:
        for value in ("left out", None, -7, "text", [], {}, 1e999):
            put = {name: entry for name, entry in header.items() if name != key or value != "left out"}
            if value != "left out":
                put[key] = value
            put_header(path, json.dumps(put))
            try:
                LOADERS[kind](path)
            except SlotIDError as error:
                assert path.name in str(error)


@pytest.mark.parametrize("version", ["1", None, -1, 1.5, [1], True, 10**30])
@pytest.mark.parametrize("kind", ["adapter", "identity"])
def test_b11_a_version_is_a_number(kind, version, tmp_path):
    path = good_file(kind, tmp_path)
    spoil(path, header=set_number("version", version))
    refused(kind, path, "version" if version != 10**30 else "bits")


def test_b11_a_header_has_a_longest_length(tmp_path):
    path = good_file("identity", tmp_path)
    spoil(path, header=set_number("source", {"report": "a" * 20_000_000}))
    refused("identity", path, "long")


@pytest.mark.parametrize(
    ("kind", "name", "shape"),
    [
        ("lynx", "layers.0.0.to_q.weight", (32, 64)), ("lynx", "latents", (8,)), ("lynx", "latents", (1, 0, 0)),
        ("lynx", "proj_out.weight", ()), ("lynx", "layers.0.1.1.weight", (0, 4)),
        ("lynx", "blocks.0.cross_attn.ip_adapter.to_k_ip.weight", (4,)),
        ("lynx", "blocks.0.cross_attn.ip_adapter.registers", (4,)),
        ("backbone", "head.modulation", (1, 2, 64)), ("backbone", "head.modulation", ()),
        ("backbone", "patch_embedding.weight", (3,)), ("backbone", "blocks.0.ffn.0.weight", ()),
        ("backbone", "head.head.weight", (3, 128)), ("face_encoder", "input_layer.0.weight", ()),
        ("face_encoder", "output_layer.3.weight", (0,)), ("vae", "decoder.head.0.gamma", ()),
        ("vae", "decoder.head.0.gamma", (0, 1, 1, 1)), ("text_encoder", "shared.weight", (3,)),
        ("text_encoder", "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight", (32, 0)),
        ("text_encoder", "encoder.block.0.layer.0.SelfAttention.q.weight", (7, 4096)),
        ("text_encoder", "spiece_model", (5,)), ("text_encoder", "spiece_model", (0,)),
        ("st_drc", "diffusion_model.blocks.0.self_attn.q.lora_A.weight", (4, 64)),
        ("st_drc", "diffusion_model.blocks.1.self_attn.v.alpha", (2,)),
        ("st_drc_person", "latents", (1, 16, 0, 4, 4)), ("st_drc_person", "latents", (1, 16, 1, 4)),
        ("lavie_id", "router.to_z.weight", (3,)), ("lavie_id", "encoder.latents", (1, 0, 32)),
        ("lavie_id_person", "tokens", (6, 4, 8)), ("lavie_id_person", "tokens", (1, 6, 0, 8)),
        ("lavie_id_person", "shown", (1, 6)), ("lavie_id_person", "shown", (1, 5)),
        ("st_drc_person", "latents", (1, 48, 1, 4, 4)), ("st_drc_person", "latents", (1, 16, 1, 4, 2000)),
        ("finder", "whole.weight", (3,)), ("parts", "head.weight", ()), ("dit", "head.modulation", ()),
    ],
)  # fmt: skip
def test_b11_shapes_that_cannot_be(kind, name, shape, tmp_path):
    path = good_file(kind, tmp_path)

    def change(found):
        assert name in found or kind == "lynx"
        found[name] = torch.zeros(shape, dtype=found[name].dtype if name in found else torch.float32)

    spoil(path, tensors=change)
    refused(kind, path)


@pytest.mark.parametrize("kind", LOADERS)
def test_b11_a_missing_tensor(kind, tmp_path):
    if kind == "checkpoint":
        pytest.skip("what a checkpoint must hold is known to the run that reads it")
    path = good_file(kind, tmp_path)
    from safetensors.torch import load_file

    for name in [min(load_file(path)), max(load_file(path))]:
        path = good_file(kind, tmp_path)
        spoil(path, tensors=lambda found, name=name: found.pop(name))
        refused(kind, path)


def test_b11_every_weight_file_goes_through_one_door():
    """Other readers of safetensors and of pickles would not check what this one checks."""
    from pathlib import Path

    root = Path(__file__).parents[2]
    readers = ("safe_open", "load_file", "torch.load(")
    # Our own caches, written and read by one command.
    others = {"reference_training/portraits.py", "reference_training/drawn_heads.py", "evaluation/graph/lab.py",
              "reference_training/train_drawn_faces.py"}  # fmt: skip
    found = set()
    for folder in (root / "slotid_core", root / "nodes"):
        for path in folder.rglob("*.py"):
            if any(reader in path.read_text() for reader in readers):
                found.add(path.relative_to(folder).as_posix())
    assert found - others == {"weights.py"}


def test_b11_what_is_written_can_be_read(tmp_path):
    """A training's figure may be NaN, which must not cost its weights; a header that nobody could read is refused."""
    path = tmp_path / "weights.safetensors"
    figures = {"loss": float("nan"), "all": [1.5, float("inf")], "least": -float("inf")}
    save_weights(path, {"a": torch.ones(1)}, {"kind": "some", "version": 1, "figures": figures})
    assert load_weights(path, "some", 1)[1]["figures"] == {"loss": None, "all": [1.5, None], "least": None}
    deep: dict = {}
    for _ in range(100):
        deep = {"deeper": deep}
    for more in (deep, {"a": "b" * 20_000_000}, {"a": 10**30}):
        with pytest.raises(SlotIDError, match="weights.safetensors cannot be written"):
            save_weights(path, {"a": torch.zeros(1)}, {"kind": "some", "version": 1, "more": more})
    assert load_weights(path, "some", 1)[0]["a"] == 1
