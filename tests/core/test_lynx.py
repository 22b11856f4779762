"""Lynx on our own Wan: rows, scales, training, files in both layouts at full size, faces, and what is refused."""

import json
import re
import struct
from collections.abc import Sequence
from pathlib import Path

import lynx_waves as waves
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from typed import instance, present

from slotid_core.errors import SlotIDError
from slotid_core.reference.faces.alignment import (
    ARCFACE,
    align_face,
    landmarks_from_box,
    reference_template,
    similarity,
    warp,
)
from slotid_core.reference.faces.detector import Detector
from slotid_core.reference.faces.face import Face
from slotid_core.reference.faces.face_encoder import FaceEncoder, load_face_encoder
from slotid_core.systems.lynx import LynxCondition, ReferenceFeatures, build_adapter, install_lynx
from slotid_core.systems.lynx.layouts import read_layers
from slotid_core.systems.lynx.random_checkpoints import random_lynx
from slotid_core.weights import read_tensors

BLOCKS = range(waves.DEPTH)


def full_with_reference():
    return build_adapter(waves.wave_resampler(waves.WIDTH).state_dict(), waves.full_id_layers(), waves.ref_layers())


def condition(adapter, rows, id_scale=1.0, ref_scale=1.0, features=None):
    embeddings = torch.cat([torch.zeros(1, waves.FACE), waves.face_embedding()])
    features = waves.wave(2, waves.DEPTH, 16, waves.WIDTH, phase=4.0) if features is None else features
    return LynxCondition(
        torch.tensor(rows), adapter.face_branches(embeddings), adapter.reference_branches(features), id_scale, ref_scale
    )


def run(model, lynx_condition, blocks: Sequence[int] = BLOCKS):
    x, timestep, text = waves.video_inputs()
    count = len(lynx_condition.rows)
    options = install_lynx({}, model, lynx_condition, blocks)
    return model(
        x.expand(count, -1, -1, -1, -1), timestep.expand(count), text.expand(count, -1, -1), transformer_options=options
    )


def test_scale_zero_is_bit_identical_and_rows_are_their_own():
    model, adapter = waves.wave_wan(), full_with_reference()
    base = model(*waves.video_inputs())
    assert torch.equal(run(model, condition(adapter, [1], 0.0, 0.0)), base)
    assert torch.equal(run(model, condition(adapter, [1]), blocks=[]), base)
    both = run(model, condition(adapter, [0, 1]))
    for row in (0, 1):
        alone = run(model, condition(adapter, [row]))
        assert torch.allclose(both[row : row + 1], alone, atol=1e-5)
        assert (alone - base).abs().max() > 1e-2
    assert (both[0] - both[1]).abs().max() > 1e-2


def test_only_the_chosen_blocks_have_it():
    model, adapter = waves.wave_wan(), full_with_reference()
    some, every = run(model, condition(adapter, [1]), blocks=[1]), run(model, condition(adapter, [1]))
    assert (some - every).abs().max() > 1e-2
    assert set(install_lynx({}, model, condition(adapter, [1]), [1])["patches_replace"]["dit"]) == {("double_block", 1)}


def test_gradients_reach_every_layer_also_with_checkpointing():
    """What training needs: the same injection, on our model, keeps autograd."""
    model, adapter = waves.wave_wan(), full_with_reference().requires_grad_(True)
    gradients = []
    for checkpointing in (False, True):
        model.activation_checkpointing = checkpointing
        adapter.zero_grad()
        run(model, condition(adapter, [1, 0])).square().mean().backward()
        gradients.append({name: present(p.grad).clone() for name, p in adapter.named_parameters()})
    for name, gradient in gradients[0].items():
        assert gradient.abs().max() > 0, name
        assert torch.allclose(gradient, gradients[1][name], atol=1e-5), name


# Shapes of the published files, from the official code: name -> shape, for one block.
FULL_ID: dict[str, tuple[int, ...]] = {"registers": (1, 16, 5120)}
FULL_ID |= {f"to_{x}_ip.weight": (5120, 5120) for x in "kv"} | {f"to_{x}_ip.bias": (5120,) for x in "kv"}
LITE_ID = {f"to_{x}_ip.weight": (5120, 2048) for x in "kv"}
REF = {f"to_{x}_ref.weight": (5120, 5120) for x in "kv"} | {f"to_{x}_ref.bias": (5120,) for x in "kv"}


def sparse_file(path: Path, shapes: dict[str, tuple[int, ...]]) -> Path:
    """A float16 safetensors file of zeros that takes no room on the disk."""
    header, offset = {}, 0
    for name, shape in shapes.items():
        size = 2 * int(np.prod(shape))
        header[name] = {"dtype": "F16", "shape": list(shape), "data_offsets": [offset, offset + size]}
        offset += size
    encoded = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(encoded)) + encoded)
        file.truncate(8 + len(encoded) + offset)
    return path


def resampler_shapes(output_width: int) -> dict[str, tuple[int, ...]]:
    shapes = {"latents": (1, 16, 1280), "proj_in.weight": (1280, 512), "proj_in.bias": (1280,)}
    shapes |= {"proj_out.weight": (output_width, 1280), "proj_out.bias": (output_width,)}
    shapes |= {f"norm_out.{kind}": (output_width,) for kind in ("weight", "bias")}
    for layer in range(4):
        shapes |= {f"layers.{layer}.0.{n}.{kind}": (1280,) for n in ("norm1", "norm2") for kind in ("weight", "bias")}
        shapes |= {f"layers.{layer}.0.{n}.weight": (1280, 1280) for n in ("to_q", "to_out")}
        shapes |= {f"layers.{layer}.0.to_kv.weight": (2560, 1280)}
        shapes |= {f"layers.{layer}.1.0.{kind}": (1280,) for kind in ("weight", "bias")}
        shapes |= {f"layers.{layer}.1.1.weight": (5120, 1280), f"layers.{layer}.1.3.weight": (1280, 5120)}
    return shapes


@pytest.mark.parametrize("layout", ["official", "repacked"])
@pytest.mark.parametrize("variant", ["full", "lite"])
def test_files_of_the_published_shapes_load_and_match_every_layer(tmp_path, caplog, variant, layout):
    """40 + 40 layers of the full variant (8.4 GB), 20 of the lite one; sparse on disk, and never read whole."""
    id_shapes, count = (FULL_ID, 40) if variant == "full" else (LITE_ID, 20)
    stride = 40 // count
    if layout == "official":
        ids = {f"{i}.{name}": shape for i in range(count) for name, shape in id_shapes.items()}
        refs = {f"{i}.{name}": shape for i in range(40) for name, shape in REF.items()}
    else:
        ids = {
            f"blocks.{i * stride}.cross_attn.ip_adapter.{name}": shape
            for i in range(count)
            for name, shape in id_shapes.items()
        }
        refs = {f"blocks.{i}.self_attn.ref_adapter.{name}": shape for i in range(40) for name, shape in REF.items()}
    files = {
        "resampler": resampler_shapes(5120 if variant == "full" else 2048), "id_layers": ids, "ref_layers": refs,
    }  # fmt: skip
    read = {
        name: read_tensors(sparse_file(tmp_path / f"{name}.safetensors", shapes))[0] for name, shapes in files.items()
    }
    adapter = build_adapter(**read)
    assert adapter.variant == variant
    assert sorted(map(int, adapter.id_layers)) == list(range(0, 40, stride)) and len(adapter.ref_layers) == 40
    loaded = sum(tensor.numel() for tensor in adapter.state_dict().values())
    assert loaded == sum(int(np.prod(shape)) for shapes in files.values() for shape in shapes.values())
    with caplog.at_level("INFO"):
        adapter.check_model(5120, 40)
    assert f"{variant} ID adapter on {count} of 40 blocks, Ref adapter on 40 of 40 blocks" in caplog.text


def test_a_file_in_which_nothing_matches_or_of_another_kind_is_refused():
    resampler = waves.wave_resampler(waves.WIDTH).state_dict()
    for tensors, said in (
        ({"blocks.0.cross_attn.k.weight": torch.zeros(2, 2)}, "No layer.*blocks.0.cross_attn.k.weight"),
        ({}, "empty"),
        (waves.ref_layers(), "holds the Ref adapter"),
        (resampler, "resampler"),
    ):
        with pytest.raises(SlotIDError, match=said):
            read_layers(tensors, "ip")
    with pytest.raises(SlotIDError, match="holds the ID adapter"):
        build_adapter(None, None, waves.full_id_layers())
    with pytest.raises(SlotIDError, match="no Lynx resampler"):
        build_adapter(waves.ref_layers(), waves.full_id_layers(), None)
    with pytest.raises(SlotIDError, match="need their resampler"):
        build_adapter(None, waves.full_id_layers(), None)
    with pytest.raises(SlotIDError, match="tokens of width 256.*lite ID layers take 96"):
        build_adapter(resampler, waves.lite_id_layers(), None)
    with pytest.raises(SlotIDError, match="No Lynx layers"):
        build_adapter(resampler, None, None)
    damaged = waves.full_id_layers()
    damaged["2.to_k_ip.weight"] = damaged["2.to_k_ip.weight"][:8]
    with pytest.raises(SlotIDError, match="damaged or mixed: layer 2"):
        read_layers(damaged, "ip")


def test_a_model_of_another_size_is_refused():
    with pytest.raises(SlotIDError, match="width 256 with at least 4 blocks.*1536 and 30"):
        full_with_reference().check_model(1536, 30)
    with pytest.raises(SlotIDError, match="at least 4 blocks"):
        full_with_reference().check_model(waves.WIDTH, 3)
    with pytest.raises(SlotIDError, match="2 blocks"):
        full_with_reference().reference_branches(torch.zeros(1, 2, 16, waves.WIDTH))
    with pytest.raises(SlotIDError, match="width 512 does not fit"):
        full_with_reference().face_branches(torch.zeros(1, 512))


def test_half_precision_files_are_projected_in_the_precision_of_the_face():
    halves = {name: tensor.half() for name, tensor in waves.full_id_layers().items()}
    resampler = waves.wave_resampler(waves.WIDTH).state_dict()
    exact, rounded = (build_adapter(resampler, layers, None) for layers in (waves.full_id_layers(), halves))
    one, other = (adapter.face_branches(waves.face_embedding())[1] for adapter in (exact, rounded))
    assert other.key.dtype == torch.float32
    assert 0 < (one.key - other.key).abs().max() < 1e-2


def test_reference_file_comes_back_and_other_files_are_refused(tmp_path):
    features = waves.wave(2, 3, 4, 8, phase=5.0).bfloat16()
    path = tmp_path / "ann.safetensors"
    ReferenceFeatures(features, {"crop": "256x256"}).save(path)
    again = ReferenceFeatures.load(path)
    assert torch.equal(again.features, features) and again.source == {"crop": "256x256"}
    assert (again.model_depth, again.model_width) == (3, 8)
    assert [file.name for file in tmp_path.iterdir()] == ["ann.safetensors"]
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(SlotIDError, match="damaged"):
        ReferenceFeatures.load(path)
    with pytest.raises(SlotIDError, match="There is no file"):
        ReferenceFeatures.load(tmp_path / "bob.safetensors")
    with pytest.raises(SlotIDError, match="not one of this pack's"):
        ReferenceFeatures.load(sparse_file(tmp_path / "x.safetensors", {"features": (2, 3, 4, 8)}))
    with pytest.raises(SlotIDError, match=re.escape("got (1, 3, 4, 8)")):
        ReferenceFeatures(features[:1])


@given(turn=st.floats(-3, 3), scale=st.floats(0.2, 5), shift=st.tuples(st.floats(-300, 300), st.floats(-300, 300)))
def test_similarity_recovers_a_rotation_scale_and_shift(turn, scale, shift):
    matrix = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    moved = ARCFACE @ matrix.T + shift
    found = similarity(ARCFACE, moved)
    assert np.allclose(found[:, :2], matrix, atol=1e-8) and np.allclose(found[:, 2], shift, atol=1e-6)


def test_similarity_of_noisy_points_is_scikit_images():
    from skimage.transform import SimilarityTransform

    points = ARCFACE * 2.5 + np.random.default_rng(0).normal(0, 3, ARCFACE.shape) + [40, -7]
    expected = SimilarityTransform.from_estimate(points, ARCFACE).params[:2]
    assert np.allclose(similarity(points, ARCFACE), expected, atol=1e-9)


def test_warp_moves_whole_pixels_exactly_and_is_black_outside():
    image = torch.rand(40, 50, 3)
    out = warp(image, np.array([[1.0, 0, -5], [0, 1, -3]]), 30)
    assert torch.allclose(out, image[3:33, 5:35], atol=1e-6)
    outside = warp(image, np.array([[1.0, 0, 20], [0, 1, 0]]), 40)
    assert (outside[:, :20] == 0).all() and torch.allclose(outside[:, 20:], image[:, :20], atol=1e-6)


def detector_of(*faces: Face) -> Detector:
    return Detector("made up", lambda image, smallest: list(faces), working_side=300)


def test_faces_land_on_the_template():
    """A white dot at each landmark comes out where ArcFace has it, and in the wider crop where Lynx has it."""
    points = (ARCFACE * 1.7 + [60, 40]).round()
    picture = torch.zeros(1, 300, 400, 3)
    for x, y in points.astype(int):
        picture[0, y - 1 : y + 2, x - 1 : x + 2] = 1
    face = Face((100.0, 80, 260, 270), 1.0, points)
    aligned = align_face(picture, detector_of(face))
    assert aligned.embedding_crop.shape == (112, 112, 3) and aligned.reference_crop.shape == (256, 256, 3)
    for crop, template in ((aligned.embedding_crop, ARCFACE), (aligned.reference_crop, reference_template())):
        for x, y in template:
            assert crop[round(y) - 1 : round(y) + 2, round(x) - 1 : round(x) + 2].max() > 0.5
    assert aligned.report["notes"] == []


def test_the_largest_face_without_landmarks_is_taken_and_said():
    small, large = Face((0.0, 0, 50, 50)), Face((100.0, 100, 250, 250))
    aligned = align_face(torch.rand(1, 300, 300, 3), detector_of(small, large))
    assert np.allclose(aligned.landmarks, landmarks_from_box((100, 100, 250, 250)))
    assert any("2 faces" in note for note in aligned.report["notes"])
    assert any("no landmarks" in note for note in aligned.report["notes"])


def test_no_face_is_an_error_or_the_middle():
    picture = torch.rand(1, 200, 300, 3)
    with pytest.raises(SlotIDError, match="No face was found"):
        align_face(picture, detector_of())
    assert "middle" in align_face(picture, detector_of(), on_missing="skip").report["notes"][0]
    with pytest.raises(SlotIDError, match="One picture"):
        align_face(picture.expand(2, -1, -1, -1), detector_of())


def test_face_encoder_reads_both_file_kinds_and_sees_colours_the_other_way_round(tmp_path):
    torch.manual_seed(0)
    encoder = FaceEncoder(width=8).eval()
    for module in encoder.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            present(module.running_mean).normal_(0, 0.1)
            present(module.running_var).uniform_(0.5, 1.5)
    torch.save(encoder.state_dict(), tmp_path / "recognition_arcface_ir_se50.pth")
    from safetensors.torch import save_file

    save_file(encoder.state_dict(), tmp_path / "arcface.safetensors")
    crops = torch.rand(2, 3, 112, 112) * 2 - 1
    with torch.no_grad():
        expected = encoder(crops)
        for name in ("recognition_arcface_ir_se50.pth", "arcface.safetensors"):
            assert torch.allclose(load_face_encoder(tmp_path / name)(crops), expected, atol=1e-6)
        assert not torch.allclose(encoder(crops.flip(1)), expected, atol=1e-3)
        convolution = instance(encoder.input_layer[0], torch.nn.Conv2d)
        turned = torch.conv2d(crops, convolution.weight.flip(1), padding=1)
        assert torch.allclose(convolution(crops.flip(1)), turned, atol=1e-5)
    assert torch.allclose(expected.norm(dim=1), torch.ones(2))


def test_face_encoder_has_the_published_files_keys_and_shapes():
    """Key counts and sizes of facexlib's file: 24 units, 43.8 M parameters without the statistics."""
    with torch.device("meta"):
        state = FaceEncoder().state_dict()
    assert state["body.3.shortcut_layer.0.weight"].shape == (128, 64, 1, 1)
    assert "body.0.shortcut_layer.0.weight" not in state
    assert state["body.23.res_layer.5.fc2.weight"].shape == (512, 32, 1, 1)
    assert state["output_layer.3.weight"].shape == (512, 512 * 7 * 7)
    assert {key.split(".")[1] for key in state if key.startswith("body.")} == {str(i) for i in range(24)}


def test_damaged_and_harmful_encoder_files_are_refused(tmp_path):
    class Harmful:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "harm",))

    path = tmp_path / "arcface.pth"
    for garbage in (b"", b"a broken download", b"PK\x03\x04 cut short"):
        path.write_bytes(garbage)
        with pytest.raises(SlotIDError, match="arcface.pth cannot be read"):
            load_face_encoder(path)
    torch.save({"input_layer.0.weight": Harmful()}, path)
    with pytest.raises(SlotIDError, match="cannot be read"):
        load_face_encoder(path)
    assert not (tmp_path / "harm").exists()
    path.write_bytes(b"not a file of weights")
    with pytest.raises(SlotIDError, match="cannot be read"):
        load_face_encoder(path)
    torch.save({"weight": torch.zeros(2)}, path)
    with pytest.raises(SlotIDError, match="not facexlib's"):
        load_face_encoder(path)
    with pytest.raises(SlotIDError, match="There is no file"):
        load_face_encoder(tmp_path / "missing.pth")


def test_the_random_lynx_is_the_same_for_everybody_and_loads(tmp_path):
    first, second = random_lynx(tmp_path / "a", 256, 5), random_lynx(tmp_path / "b", 256, 5)
    assert first.full_id_layers.read_bytes() == second.full_id_layers.read_bytes()
    assert first.face_encoder.read_bytes() == second.face_encoder.read_bytes()
    full, resampler = (read_tensors(path)[0] for path in (first.full_id_layers, first.full_resampler))
    lite, lite_resampler = (read_tensors(path)[0] for path in (first.lite_id_layers, first.lite_resampler))
    assert build_adapter(resampler, full, read_tensors(first.ref_layers)[0]).variant == "full"
    assert sorted(build_adapter(lite_resampler, lite, None).id_layers) == ["0", "2", "4"]
    assert load_face_encoder(first.face_encoder)(torch.zeros(1, 3, 112, 112)).shape == (1, 512)
