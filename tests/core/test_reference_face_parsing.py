"""facexlib's parsing networks, built by its own library with weights that the test makes."""

import pytest
import torch

from slotid_core.reference.faces.face import Detector, Face
from slotid_core.reference.portrait.background import neutralise
from slotid_core.reference.portrait.face_parsing import PARTS, FaceParser, find_face_parser
from slotid_core.reference.portrait.select import select_portrait

FACE = (40.0, 30.0, 80.0, 70.0)


def by_brightness(picture: torch.Tensor) -> torch.Tensor:
    """Logits under which bright pixels are skin and dark ones background."""
    logits = torch.full((1, PARTS, *picture.shape[-2:]), -50.0)
    bright = picture.mean(1) > 0.5
    logits[:, 0] = torch.where(bright, -20.0, 20.0)
    logits[:, 1] = -logits[:, 0]
    return logits


@pytest.mark.parametrize("size", [(96, 128), (256, 192)], ids=["wide", "tall"])
def test_the_mask_lies_where_the_network_saw_the_person(size):
    height, width = size
    frame = torch.zeros(height, width, 3)
    frame[20:90, 35:85] = 1
    frame[:4, -6:] = 1  # bright too, but far from the face
    mask = FaceParser("by brightness", by_brightness).person_mask(frame, FACE)
    assert mask.shape == (height, width)
    assert mask[25:85, 40:80].min() > 0.95
    assert mask[30:80, 95:105].max() < 0.05 and mask[:4, -6:].max() < 0.05
    assert torch.equal(neutralise(frame, mask, (0.5, 0.5, 0.5))[2, 2], torch.tensor([0.5, 0.5, 0.5]))


def test_a_face_at_the_border_keeps_the_frame_size():
    frame = torch.rand(64, 64, 3)
    for face in ((-10.0, -10.0, 20.0, 20.0), (50.0, 50.0, 80.0, 80.0), (0.0, 0.0, 64.0, 64.0)):
        assert FaceParser("by brightness", by_brightness).person_mask(frame, face).shape == (64, 64)


def test_without_a_file_nothing_is_said_and_colours_decide(tmp_path):
    assert find_face_parser((str(tmp_path),)) == (None, "")


def test_a_file_that_cannot_be_used_is_told_in_the_report(tmp_path):
    (tmp_path / "parsing_parsenet.pth").write_bytes(b"no weights")
    parser, reason = find_face_parser((str(tmp_path),))
    assert parser is None and "parsing_parsenet.pth" in reason
    one_face = Detector("given", lambda image, smallest: [Face(FACE)], working_side=128)
    chosen = select_portrait(torch.rand(1, 96, 128, 3), one_face, parser_models=(str(tmp_path),))
    assert chosen.report["background"] == "parts network" and reason in chosen.report["notes"]


@pytest.mark.parametrize("kind", ["ParseNet", "BiSeNet"])
def test_the_networks_of_facexlib_run_from_a_file(kind, tmp_path):
    parsing = pytest.importorskip("facexlib.parsing", reason="facexlib is not installed")
    path = tmp_path / f"parsing_{kind.lower()}.pth"
    path.write_bytes(b"a broken download")
    assert find_face_parser((str(tmp_path),))[0] is None
    torch.manual_seed(0)
    if kind == "ParseNet":
        network = parsing.ParseNet(in_size=512, out_size=512, parsing_ch=PARTS)
    else:
        network = parsing.BiSeNet(PARTS)
    torch.save(network.state_dict(), path)
    parser, reason = find_face_parser((str(tmp_path),))
    assert parser is not None and not reason and parser.name == f"facexlib {kind}"
    one_face = Detector("given", lambda image, smallest: [Face(FACE)], working_side=128)
    chosen = select_portrait(torch.rand(1, 96, 128, 3), one_face, parser_models=(str(tmp_path),))
    assert chosen.report["background"] == f"facexlib {kind}"
    assert chosen.mask.shape == (1, 96, 128) and 0 < chosen.mask.mean() < 1
