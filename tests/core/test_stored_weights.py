"""Bases as people have them on disk: eight bits with scales in either of ComfyUI's ways, INT8, and GGUF."""

import json
import sys

import numpy as np
import pytest
import torch
from every_system import BLOCKS, make_people, settings_of
from safetensors.torch import save_file

from slotid_core.errors import SlotIDError
from slotid_core.training.backbone import EightBitLinear, load_backbone, meta_backbone
from slotid_core.training.config import BackboneConfig, config_from_settings
from slotid_core.training.loop import Trainer
from slotid_core.training.processes import start_processes
from slotid_core.training.stored_weights import FORMATS
from slotid_core.wan import WanConfig, WanModel

SHAPE = WanConfig(dim=128, ffn_dim=256, num_layers=2, num_heads=1)


@pytest.fixture(scope="module")
def whole():
    torch.manual_seed(0)
    return WanModel(SHAPE).state_dict()


def is_matrix(name: str, tensor: torch.Tensor) -> bool:
    return name.startswith("blocks.") and name.endswith(".weight") and tensor.ndim == 2


def in_eight_bits(whole: dict, kind: str) -> tuple[dict, dict]:
    """What a file of a kind holds, and what it stands for, multiplied out here."""
    file, meant = {}, {}
    for name, tensor in whole.items():
        if not is_matrix(name, tensor):
            file[name] = meant[name] = tensor.clone()
            continue
        layer = name.removesuffix(".weight")
        if kind == "int8_tensorwise":
            scale = tensor.abs().amax(dim=1, keepdim=True) / 127
            values = (tensor / scale).round().to(torch.int8)
        else:
            scale = tensor.abs().amax() / torch.finfo(FORMATS[kind.removesuffix(" bytes")]).max
            values = (tensor / scale).to(FORMATS[kind.removesuffix(" bytes")])
        meant[name] = values.float() * scale
        settings = json.dumps({"format": kind.removesuffix(" bytes")}).encode()
        file[f"{layer}.comfy_quant"] = torch.tensor(list(settings), dtype=torch.uint8)
        file[f"{layer}.weight_scale"], file[f"{layer}.input_scale"] = scale, torch.ones(())
        file[name] = values.view(torch.uint8) if kind.endswith("bytes") else values
    return file, meant


def scaled_first(whole: dict) -> tuple[dict, dict]:
    """ComfyUI's first way: `scale_weight`, a mark for the file, and a prefix before every name."""
    file, meant = in_eight_bits(whole, "float8_e4m3fn")
    renamed = {
        name.replace(".weight_scale", ".scale_weight").replace(".input_scale", ".scale_input"): value
        for name, value in file.items()
        if not name.endswith("comfy_quant")
    }
    marked = renamed | {"scaled_fp8": torch.zeros(2, dtype=torch.float8_e4m3fn)}
    return {f"model.diffusion_model.{name}": value for name, value in marked.items()}, meant


@pytest.fixture(params=["scaled_fp8", "plain fp8", *FORMATS, "float8_e4m3fn bytes"])
def stored(request, whole, tmp_path):
    if request.param == "scaled_fp8":
        file, meant = scaled_first(whole)
    elif request.param == "plain fp8":
        file = {k: v.to(torch.float8_e4m3fn) if is_matrix(k, v) else v for k, v in whole.items()}
        meant = {name: value.float() for name, value in file.items()}
    else:
        file, meant = in_eight_bits(whole, request.param)
    path = tmp_path / "model.safetensors"
    save_file(file, path)
    return path, file, meant


def test_a_wide_model_is_what_the_file_stands_for(stored):
    path, _, meant = stored
    model = load_backbone(BackboneConfig(str(path), dtype="float32")).state_dict()
    assert model.keys() == meant.keys() and all(torch.equal(model[name], meant[name]) for name in meant)
    assert meta_backbone(BackboneConfig(str(path))).config == SHAPE


def test_eight_bits_stay_those_of_the_file_and_compute_as_they_should(stored):
    path, file, meant = stored
    model = load_backbone(BackboneConfig(str(path), dtype="float8_e4m3fn"))
    layers = {name: module for name, module in model.named_modules() if isinstance(module, EightBitLinear)}
    assert len(layers) == sum(is_matrix(name, value) for name, value in meant.items())
    given = {name.removeprefix("model.diffusion_model."): value for name, value in file.items()}
    for name, layer in layers.items():
        assert torch.equal(layer.weight.view(torch.uint8), given[f"{name}.weight"].view(torch.uint8)), name
        x = torch.randn(3, layer.in_features, dtype=torch.bfloat16, requires_grad=True)
        out, wide = layer(x), meant[f"{name}.weight"]
        expected = x.float() @ wide.T + (0 if layer.bias is None else layer.bias.float())
        assert (out - expected).abs().max() < 0.02 * expected.abs().max(), name
        (gradient,) = torch.autograd.grad(out.sum(), x)
        assert (gradient - wide.sum(0)).abs().max() < 0.02 * wide.sum(0).abs().max(), name


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda file: file.update({"blocks.0.self_attn.q.comfy_quant": told("nvfp4")}), "stored as nvfp4.*bf16"),
        (
            lambda file: file.update({"blocks.0.self_attn.q.comfy_quant": told("int8_tensorwise", convrot=True)}),
            "int8_tensorwise, rotated",
        ),
        (lambda file: file.update({"blocks.0.self_attn.q.weight_scale": torch.tensor(np.nan)}), "NaN or infinity"),
        (lambda file: file.update({"blocks.0.self_attn.q.weight_scale": torch.ones(7)}), r"shape \(7,\).*128 rows"),
        (lambda file: file.pop("blocks.0.self_attn.q.weight"), "no such matrix in eight bits"),
        (
            lambda file: file.update({"blocks.0.self_attn.q.comfy_quant": torch.zeros(3, dtype=torch.uint8)}),
            "of its formats cannot be read",
        ),
    ],
)
def test_what_cannot_be_read_is_refused(whole, tmp_path, change, message):
    file, _ = in_eight_bits(whole, "float8_e4m3fn")
    change(file)
    save_file(file, tmp_path / "model.safetensors")
    with pytest.raises(SlotIDError, match=f"model.safetensors.*{message}"):
        load_backbone(BackboneConfig(str(tmp_path / "model.safetensors")))


def told(name: str, **more) -> torch.Tensor:
    return torch.tensor(list(json.dumps({"format": name, **more}).encode()), dtype=torch.uint8)


def write_gguf(path, whole: dict, architecture: str = "wan") -> dict:
    """Matrices of blocks in Q8_0, the rest in float32, as converters write them; returns what it stands for."""
    gguf = pytest.importorskip("gguf")
    writer, meant = gguf.GGUFWriter(path, architecture), {}
    for name, tensor in whole.items():
        values = tensor.numpy()
        if tensor.ndim > 4:
            writer.add_array(f"comfy.gguf.orig_shape.{name}", list(values.shape))
            values = values.reshape(-1, values.shape[-1])
        if is_matrix(name, tensor):
            kind = gguf.GGMLQuantizationType.Q8_0
            packed = gguf.quantize(values, kind)
            writer.add_tensor(name, packed, raw_dtype=kind)
            meant[name] = torch.from_numpy(gguf.dequantize(packed, kind))
        else:
            writer.add_tensor(name, values)
            meant[name] = tensor
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return meant


def test_a_gguf_is_what_its_own_reader_makes_of_it(whole, tmp_path):
    path = tmp_path / "model.gguf"
    meant = write_gguf(path, whole)
    model = load_backbone(BackboneConfig(str(path), dtype="float32")).state_dict()
    assert model.keys() == meant.keys() and all(torch.equal(model[name], meant[name]) for name in meant)
    assert meta_backbone(BackboneConfig(str(path))).config == SHAPE
    small = load_backbone(BackboneConfig(str(path), dtype="float8_e4m3fn"))
    layer = small.get_submodule("blocks.0.self_attn.q")
    assert isinstance(layer, EightBitLinear) and small.patch_embedding.weight.dtype == torch.bfloat16
    wide = layer.weight.float() * layer.scale
    assert (wide - meant["blocks.0.self_attn.q.weight"]).abs().max() < wide.abs().max() / 16


def test_a_missing_reader_is_named(whole, tmp_path, monkeypatch):
    write_gguf(tmp_path / "model.gguf", whole)
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(SlotIDError, match="model.gguf is missing: pip install gguf"):
        load_backbone(BackboneConfig(str(tmp_path / "model.gguf")))


def test_a_gguf_of_another_model_and_a_damaged_one_are_refused(whole, tmp_path):
    write_gguf(tmp_path / "other.gguf", whole, "flux")
    with pytest.raises(SlotIDError, match="other.gguf holds a model of flux"):
        load_backbone(BackboneConfig(str(tmp_path / "other.gguf")))
    (tmp_path / "damaged.gguf").write_bytes(b"GGUF" + bytes(20))
    with pytest.raises(SlotIDError, match="damaged.gguf"):
        load_backbone(BackboneConfig(str(tmp_path / "damaged.gguf")))


@pytest.mark.parametrize("kind", ["float8_e4m3fn", "int8_tensorwise"])
def test_a_swapped_run_on_it_is_the_same_to_the_bit(tmp_path, kind):
    people = make_people(tmp_path / "people")
    path = tmp_path / "model.safetensors"
    model = load_backbone(BackboneConfig(settings_of("slot_id", people)["model"]["path"], dtype="float32"))
    save_file(in_eight_bits(model.state_dict(), kind)[0], path)
    figures = []
    for swapped in (0, BLOCKS):
        given = {
            "path": str(path), "dtype": "float8_e4m3fn", "compute_dtype": "bfloat16", "activation_checkpointing": True,
            "swapped_blocks": swapped,
        }  # fmt: skip
        values = settings_of("slot_id", people, model=given, run={"steps": 3, "batch": 2})
        trainer = Trainer(config_from_settings(values), tmp_path / "run", start_processes())
        figures.append([trainer.step(n, trainer.batches.rows(n, range(2)), stopping=False)[0] for n in range(2)])
    assert figures[0] == figures[1]
