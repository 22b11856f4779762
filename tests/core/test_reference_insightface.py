"""insightface and YuNet for real: their own libraries load ONNX models of the right signatures, made here.

The models are no face networks but simple ones whose answer is known: the detector finds pure red (the first person's
colour) and pure green squares, and the recogniser's embedding is the mean colour of the aligned crop.
"""

import importlib.util
import json
import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from typed import present

from slotid_core.errors import SlotIDError
from slotid_core.reference.faces import detector as detectors
from slotid_core.reference.faces.face_clip import make_face_clip
from slotid_core.reference.faces.yunet import _by_onnxruntime, _by_opencv
from slotid_core.reference.report.quality import judge_reference

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

HEIGHT, WIDTH, SQUARE = 240, 320, 64
LANDMARKS = np.array([[-12, -10], [12, -10], [0, 2], [-9, 13], [9, 13]], float)  # around the face's centre, in pixels


def tensor(name: str, values) -> "onnx.TensorProto":
    return onnx.numpy_helper.from_array(np.asarray(values, np.float32), name)


def write(path, nodes, inputs, outputs, constants):
    kind = onnx.TensorProto.FLOAT
    graph = onnx.helper.make_graph(
        nodes,
        "test",
        [onnx.helper.make_tensor_value_info(name, kind, shape) for name, shape in inputs],
        [onnx.helper.make_tensor_value_info(name, kind, ["rows", width]) for name, width in outputs],
        constants,
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, str(path))


def saturation_score(node, constants, stride: int):
    """|red - green| minus blue, averaged over a face's area around each cell, as a logit and as a score."""
    constants += [
        tensor("difference", np.array([[[[1.0]], [[-1.0]], [[0.0]]]])),
        tensor("blue", np.array([[[[0.0]], [[0.0]], [[1.0]]]])),
    ]
    node("Conv", ["picture", "difference"], ["signed"])
    node("Abs", ["signed"], ["colored"])
    node("Conv", ["picture", "blue"], ["bluish"])
    node("Sub", ["colored", "bluish"], ["contrast"])
    side = 96  # pixels of the 640 wide network input, in which a 64 pixel face is 128 wide
    pad = (side - stride) // 2
    node("AveragePool", ["contrast"], ["pooled"], kernel_shape=[side, side], strides=[stride, stride], pads=[pad] * 4)


def write_scrfd(path):
    """Nine outputs as insightface's det_10g: scores, boxes (in strides), landmarks for strides 8, 16 and 32."""
    nodes, constants, outputs = [], [], []

    def node(kind, inputs, made, **settings):
        nodes.append(onnx.helper.make_node(kind, inputs, made, **settings))

    saturation_score(node, constants, 32)
    face = SQUARE * 2 / 2 / 32  # half a face in strides of the network's input, which is twice the picture
    points = (LANDMARKS * 2 / 32).ravel()
    constants += [
        tensor("gain", 20.0), tensor("offset", 2.75), tensor("none", np.zeros((1, 1))),
        tensor("box", np.full((1, 4), face)), tensor("points", points[None]),
        onnx.numpy_helper.from_array(np.array([-1, 1]), "column"),
    ]  # fmt: skip
    node("Sub", ["pooled", "offset"], ["shifted"])
    node("Mul", ["shifted", "gain"], ["logit"])
    node("Sigmoid", ["logit"], ["map"])
    node("Transpose", ["map"], ["last"], perm=[0, 2, 3, 1])
    node("Reshape", ["last", "column"], ["single"])
    node("Concat", ["single", "single"], ["pair"], axis=1)  # two anchors for each cell
    node("Reshape", ["pair", "column"], ["score_32"])
    for stride, cells in ((8, 80 * 80 * 2), (16, 40 * 40 * 2)):
        constants += [tensor(f"zeros_{stride}", np.zeros((cells, 1)))]
        node("Identity", [f"zeros_{stride}"], [f"score_{stride}"])
    for stride in (8, 16, 32):
        for name, width in (("box", 4), ("points", 10)):
            constants.append(tensor(f"ones_{name}_{stride}", np.ones((1, width))))
            node("Mul", [f"score_{stride}", f"ones_{name}_{stride}"], [f"wide_{name}_{stride}"])
            node("Mul", [f"wide_{name}_{stride}", "none"], [f"empty_{name}_{stride}"])
            node("Add", [f"empty_{name}_{stride}", name], [f"{name}_{stride}"])
    for name, width in (("score", 1), ("box", 4), ("points", 10)):
        outputs += [(f"{name}_{stride}", width) for stride in (8, 16, 32)]
    write(path, nodes, [("picture", [1, 3, "height", "width"])], outputs, constants)


def write_yunet(path):
    """Twelve outputs as face_detection_yunet_2023mar: class, object, box and landmarks for strides 8, 16 and 32."""
    nodes, constants, outputs = [], [], []

    def node(kind, inputs, made, **settings):
        nodes.append(onnx.helper.make_node(kind, inputs, made, **settings))

    scale = 320 / HEIGHT  # YuNet works best at that height, and gets pictures of it
    size = np.log(SQUARE * scale / 8)
    constants += [
        tensor("difference", np.array([[[[0.0]], [[-1.0]], [[1.0]]]]) / 255),  # the picture is BGR
        tensor("blue", np.array([[[[1.0]], [[0.0]], [[0.0]]]]) / 255),
        tensor("gain", [20.0]), tensor("offset", [-16.0]), tensor("none", [0.0]), tensor("one", [1.0]),
        tensor("box", np.array([[[0.5, 0.5, size, size]]])),
        tensor("points", (LANDMARKS * scale / 8 + 0.5).reshape(1, 1, 10)),
        onnx.numpy_helper.from_array(np.array([1, -1, 1]), "column"),
    ]  # fmt: skip
    node("Conv", ["picture", "difference"], ["signed"])
    node("Abs", ["signed"], ["colored"])
    node("Conv", ["picture", "blue"], ["bluish"])
    node("Sub", ["colored", "bluish"], ["contrast"])
    for stride in (8, 16, 32):
        side = 64 if stride == 8 else stride
        settings = {"kernel_shape": [side] * 2, "strides": [stride] * 2, "pads": [(side - stride) // 2] * 4}
        node("AveragePool", ["contrast"], [f"pooled_{stride}"], **settings)
        node("Mul", [f"pooled_{stride}", "gain" if stride == 8 else "none"], [f"scaled_{stride}"])
        node("Add", [f"scaled_{stride}", "offset"], [f"logit_{stride}"])
        node("Sigmoid", [f"logit_{stride}"], [f"map_{stride}"])
        node("Transpose", [f"map_{stride}"], [f"last_{stride}"], perm=[0, 2, 3, 1])
        node("Reshape", [f"last_{stride}", "column"], [f"cls_{stride}"])
        node("Mul", [f"cls_{stride}", "none"], [f"empty_{stride}"])
        node("Add", [f"empty_{stride}", "one"], [f"obj_{stride}"])
        node("Add", [f"empty_{stride}", "box"], [f"bbox_{stride}"])
        node("Add", [f"empty_{stride}", "points"], [f"kps_{stride}"])
    for name, width in (("cls", 1), ("obj", 1), ("bbox", 4), ("kps", 10)):
        outputs += [(f"{name}_{stride}", width) for stride in (8, 16, 32)]
    kind = onnx.TensorProto.FLOAT
    graph = onnx.helper.make_graph(
        nodes, "test", [onnx.helper.make_tensor_value_info("picture", kind, [1, 3, "height", "width"])],
        [onnx.helper.make_tensor_value_info(name, kind, [1, "cells", width]) for name, width in outputs], constants,
    )  # fmt: skip
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)], ir_version=8), str(path))


def write_recogniser(path):
    """(N, 3, 112, 112) -> the mean colour, in 512 numbers."""
    nodes = [
        onnx.helper.make_node("GlobalAveragePool", ["picture"], ["pooled"]),
        onnx.helper.make_node("Flatten", ["pooled"], ["colors"]),
        onnx.helper.make_node("MatMul", ["colors", "spread"], ["embedding"]),
    ]
    spread = np.random.default_rng(0).normal(size=(3, 512))
    write(path, nodes, [("picture", ["n", 3, 112, 112])], [("embedding", 512)], [tensor("spread", spread)])


@pytest.fixture(scope="module")
def pack(tmp_path_factory):
    """models/insightface with a pack of any name, and beside detector and recogniser a model that is neither."""
    pytest.importorskip("insightface")
    folder = tmp_path_factory.mktemp("insightface") / "models" / "anybodys_pack"
    folder.mkdir(parents=True)
    write_scrfd(folder / "det_test.onnx")
    write_recogniser(folder / "w_test.onnx")
    (folder / "genderage.onnx").write_bytes(b"not loaded at all")
    return folder.parents[1]


def people(frames: int = 9, swap: int | None = None) -> torch.Tensor:
    """A red square that walks right and a green one that stands; they change places at frame `swap`."""
    clip = torch.full((frames, HEIGHT, WIDTH, 3), 0.2)
    for index in range(frames):
        places = [(20 + 4 * index, 40), (220, 120)]
        if swap is not None and index >= swap:
            places.reverse()
        for (left, top), color in zip(places, ((1.0, 0, 0), (0, 1.0, 0)), strict=True):
            clip[index, top : top + SQUARE, left : left + SQUARE] = torch.tensor(color)
    return clip


def test_insightface_finds_follows_and_names_itself(pack):
    detector = detectors.find_detector([pack])
    assert "insightface det_test" in detector.name and "w_test" in detector.name
    clip = people()
    found = make_face_clip(clip, detector, size=64, every=2)
    assert found.report["people"] == 2 and found.report["detection_rate"] == 1.0
    assert found.report["detector"] == detector.name
    box = present(found.boxes)[8]
    assert np.abs((box[:2] + box[2:]) / 2 - (20 + 32 + 32, 72)).max() < 20  # cells are 16 pixels apart
    center = found.clip[4, 24:40, 24:40].mean(dim=(0, 1))
    assert center[0] > 0.8 and center[1] < 0.2


def test_a_picture_of_the_person_chooses_the_subject(pack):
    detector = detectors.find_detector([pack], "insightface")
    for color in (0, 1):
        picture = torch.full((1, HEIGHT, WIDTH, 3), 0.2)
        picture[0, 80:144, 120:184] = torch.eye(3)[color]
        found = make_face_clip(people(), detector, size=64, subject_image=picture)
        assert found.clip[4, 24:40, 24:40].mean(dim=(0, 1)).argmax() == color
    only_green = people()
    only_green[:, :, :120] = 0.2
    red = torch.full((1, HEIGHT, WIDTH, 3), 0.2)
    red[0, 80:144, 120:184] = torch.tensor([1.0, 0, 0])
    with pytest.raises(SlotIDError, match="Nobody in the clip"):
        make_face_clip(only_green, detector, subject_image=red)


def test_embeddings_follow_the_person_and_not_the_place(pack):
    clip = people(12, swap=6)
    found = make_face_clip(clip, detectors.find_detector([pack]), size=64, every=1, smoothing=0)
    middle = found.clip[[1, 10], 28:36, 28:36].mean(dim=(1, 2))
    assert (middle.argmax(dim=-1) == middle[0].argmax()).all()


def test_landmarks_give_the_pose_in_degrees(pack):
    clip = people()[:, :, 100:]  # the green one, who looks straight ahead
    report = judge_reference(clip, detectors.find_detector([pack])).report
    assert report["pose"]["method"] == "five landmarks"
    assert np.abs(report["pose"]["yaw_degrees"]).max() < 10
    assert any("turns" in text for text in report["missing"])


def test_a_broken_model_is_named_and_auto_falls_back_once(tmp_path, caplog):
    pytest.importorskip("insightface")
    pytest.importorskip("skimage")
    (tmp_path / "det_broken.onnx").write_bytes(b"no network")
    with pytest.raises(SlotIDError, match="det_broken.onnx does not load"):
        detectors.find_detector([tmp_path], "insightface")
    detectors._announce_fallback.cache_clear()
    with caplog.at_level(logging.WARNING):
        assert "cascade" in detectors.find_detector([tmp_path]).name
        detectors.find_detector([tmp_path])
    assert len([record for record in caplog.records if "det_broken" in record.message]) == 1
    write_recogniser(tmp_path / "det_broken.onnx")
    with pytest.raises(SlotIDError, match="no face detector|not a face detector"):
        detectors.find_detector([tmp_path], "insightface")


def test_yunet_finds_both_people_and_their_landmarks(tmp_path):
    pytest.importorskip("cv2")
    write_yunet(tmp_path / "face_detection_yunet_test.onnx")
    detector = detectors.find_detector([tmp_path])
    assert detector.name.startswith("YuNet face_detection_yunet_test")
    found = make_face_clip(people(), detector, size=64, every=2)
    assert found.report["people"] == 2 and found.report["detection_rate"] == 1.0
    box = present(found.boxes)[8]
    assert np.abs((box[:2] + box[2:]) / 2 - (20 + 32 + 32, 72)).max() < 20  # cells are 8 pixels apart
    larger = torch.nn.functional.interpolate(people()[:1].permute(0, 3, 1, 2), size=(320, 320 * WIDTH // HEIGHT))
    faces = detector.detect((larger[0].permute(1, 2, 0).numpy() * 255).astype(np.uint8), 16)
    assert len(faces) == 2
    for face in faces:
        centre = (np.array(face.box[:2]) + face.box[2:]) / 2
        assert np.abs(present(face.landmarks) - centre - LANDMARKS * 320 / HEIGHT).max() < 1


def test_a_broken_yunet_file_is_named(tmp_path):
    pytest.importorskip("cv2")
    with pytest.raises(SlotIDError, match="no .*yunet.*.onnx lies in"):
        detectors.find_detector([tmp_path], "yunet")
    (tmp_path / "face_detection_yunet_broken.onnx").write_bytes(b"no network")
    with pytest.raises(SlotIDError, match="face_detection_yunet_broken.onnx does not load"):
        detectors.find_detector([tmp_path], "yunet")


def test_yunet_runs_in_onnxruntime_as_in_opencv(tmp_path):
    pytest.importorskip("cv2")
    write_yunet(tmp_path / "yunet_test.onnx")
    picture = (people()[4].numpy() * 255).astype(np.uint8)
    picture = np.kron(picture, np.ones((2, 2, 1), np.uint8))[: round(2 * 0.85 * HEIGHT)]  # no multiple of 32
    by_opencv, by_onnxruntime = (make(tmp_path / "yunet_test.onnx") for make in (_by_opencv, _by_onnxruntime))
    assert by_onnxruntime.name == "YuNet yunet_test (onnxruntime)"
    assert_same_faces(by_opencv.detect(picture, 16), by_onnxruntime.detect(picture, 16), 0.01)


def assert_same_faces(first, second, pixels):
    assert len(first) == len(second) > 0
    for one, other in zip(first, second, strict=True):
        assert np.abs(np.subtract(one.box, other.box)).max() < pixels and abs(one.score - other.score) < 0.01
        assert np.abs(one.landmarks - other.landmarks).max() < pixels


REAL = Path(__file__).parents[3] / "shared" / "data"


@pytest.mark.skipif(not (REAL / "models").is_dir(), reason="the real YuNet file is not beside this checkout")
def test_the_real_yunet_file_finds_real_faces_by_either_library():
    from PIL import Image

    file = REAL / "models" / "yunet_n_dynamic.onnx"
    by_onnxruntime = _by_onnxruntime(file)
    marks = json.loads((REAL / "portraits" / "landmarks.json").read_text())
    for name, points in sorted(marks.items())[::17]:
        picture = np.asarray(Image.open(REAL / "portraits" / f"{name}.jpg").convert("RGB"))
        faces = by_onnxruntime.detect(picture, 32)
        assert len(faces) == 1
        points = np.array(points)
        assert (points.min(axis=0) < faces[0].landmarks).all() and (faces[0].landmarks < points.max(axis=0)).all()
        if importlib.util.find_spec("cv2"):
            assert_same_faces(_by_opencv(file).detect(picture, 32), faces, 0.5)
