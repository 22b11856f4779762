"""Background-removal networks as ONNX files, made here: bright pixels are a person, in the network's own units."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from slotid_core.errors import SlotIDError
from slotid_core.reference.portrait.onnx_matting import BIREFNET, ISNET, MODNET, U2NET, Kind, find_matting, kind_of

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

FACE = (40.0, 30.0, 80.0, 70.0)


def write(path: Path, kind: Kind, side, sigmoid: bool = True, channels: int = 3, half: bool = False) -> None:
    """The mean of the channels, put back into [0, 1] with the kind's own mean and deviation, steeply thresholded."""
    of = onnx.TensorProto.FLOAT16 if half else onnx.TensorProto.FLOAT
    numbers = np.float16 if half else np.float32
    weights = (np.array(kind.deviation[:channels] + (1.0,) * (channels - 3)) / channels).reshape(1, channels, 1, 1)
    offset = float(np.mean(kind.mean)) - 0.5
    constants = [
        onnx.numpy_helper.from_array(np.asarray(values, numbers), name)
        for name, values in (("weights", weights), ("offset", [offset]), ("gain", [60.0]))
    ]
    nodes = [
        onnx.helper.make_node("Conv", ["picture", "weights"], ["mean"]),
        onnx.helper.make_node("Add", ["mean", "offset"], ["centred"]),
        onnx.helper.make_node("Mul", ["centred", "gain"], ["logit"]),
        onnx.helper.make_node("Sigmoid" if sigmoid else "Identity", ["logit"], ["alpha"]),
    ]
    graph = onnx.helper.make_graph(
        nodes, "test", [onnx.helper.make_tensor_value_info("picture", of, [1, channels, *side])],
        [onnx.helper.make_tensor_value_info("alpha", of, [1, 1, *side])], constants,
    )  # fmt: skip
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, str(path))


@pytest.mark.parametrize(
    ("name", "kind", "side", "sigmoid", "half"),
    [
        ("u2net_human_seg", U2NET, (320, 320), True, False),
        ("isnet-general-use", ISNET, (1024, 1024), True, True),
        ("modnet_photographic", MODNET, ("height", "width"), True, False),
        ("BiRefNet-portrait", BIREFNET, (1024, 1024), False, False),
        ("some_network", MODNET, ("height", "width"), True, False),
    ],
)
def test_each_network_gets_its_own_units_and_gives_a_mask_of_the_frame(name, kind, side, sigmoid, half, tmp_path):
    write(tmp_path / f"{name}.onnx", kind, side, sigmoid, half=half)
    matting, reason = find_matting((str(tmp_path),))
    assert matting is not None and reason == "" and matting.name == f"{kind.title} ({name})"
    frame = torch.full((96, 128, 3), 0.38)
    frame[20:90, 35:85] = 0.62  # on either side of one half: units of another network would shift the threshold
    frame[:8, -8:] = 0.62  # as bright, but no part of the person
    mask = matting.person_mask(frame, FACE)
    assert mask.shape == (96, 128) and mask.min() >= 0 and mask.max() <= 1
    assert mask[26:84, 41:79].min() > 0.95
    assert mask[40:80, 100:].max() < 0.05 and mask[:8, -8:].max() < 0.05


def test_the_name_tells_the_family_and_else_the_side():
    assert kind_of("BiRefNet-DIS-epoch_590", 1024) == BIREFNET and kind_of("RMBG-2.0", 1024) == BIREFNET
    assert kind_of("RMBG_1.4", 1024) == ISNET and kind_of("silueta", 320) == U2NET
    assert kind_of("model", 320) == U2NET and kind_of("model", 1024) == ISNET and kind_of("model", None) == MODNET


def test_without_a_file_nothing_is_said(tmp_path):
    assert find_matting((str(tmp_path), str(tmp_path / "missing"))) == (None, "")


def test_files_that_cannot_be_used_are_named_and_the_next_is_taken(tmp_path):
    (tmp_path / "a_broken.onnx").write_bytes(b"no network")
    (tmp_path / "birefnet.safetensors").write_bytes(b"ComfyUI's own")
    write(tmp_path / "four.onnx", MODNET, ("height", "width"), channels=4)
    matting, reason = find_matting((str(tmp_path),))
    assert matting is None
    assert "a_broken.onnx does not load" in reason and "four.onnx takes" in reason
    assert "birefnet.safetensors" in reason and "Remove Background" in reason
    write(tmp_path / "modnet.onnx", MODNET, ("height", "width"))
    found, reason = find_matting((str(tmp_path),))
    assert found is not None and reason == ""


def test_a_network_that_fails_on_a_picture_says_so(tmp_path):
    write(tmp_path / "modnet.onnx", MODNET, ("height", 96))  # 96 by 96 at most: the constant below is of that width
    model = onnx.load(str(tmp_path / "modnet.onnx"))
    model.graph.input[0].type.tensor_type.shape.dim[3].ClearField("dim_value")
    model.graph.input[0].type.tensor_type.shape.dim[3].dim_param = "width"
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.ones((1, 1, 96, 96), np.float32), "fixed"))
    model.graph.node[2].input[1] = "fixed"
    onnx.save(model, str(tmp_path / "modnet.onnx"))
    matting, _ = find_matting((str(tmp_path),))
    assert matting is not None
    with pytest.raises(SlotIDError, match="modnet.onnx fails on a picture of"):
        matting.person_mask(torch.rand(96, 128, 3), FACE)


REAL = Path(os.environ.get("SLOTID_MATTING", "no_such_file"))
PORTRAIT = Path(__file__).parents[3] / "shared" / "data" / "portraits" / "001_neutral.jpg"


@pytest.mark.skipif(not (REAL.is_file() and PORTRAIT.is_file()), reason="no real network is given (SLOTID_MATTING)")
def test_a_real_network_cuts_a_real_person_out():
    from PIL import Image

    matting, reason = find_matting((str(REAL.parent),))
    assert matting is not None, reason
    frame = torch.from_numpy(np.asarray(Image.open(PORTRAIT).convert("RGB")).copy()).float() / 255
    mask = matting.person_mask(frame, (150.0, 150.0, 350.0, 400.0))
    assert mask[180:380, 190:310].min() > 0.9 and mask[:250, :80].max() < 0.1 and mask[:250, -80:].max() < 0.1
