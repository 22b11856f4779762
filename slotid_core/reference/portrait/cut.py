"""What cuts the person out: a background-removal network in a model folder, facexlib's parsing, or our own."""

from typing import Protocol

import torch

from ..faces.face import Box
from .face_parsing import find_face_parser
from .onnx_matting import find_matting
from .parts import find_parts


class Cut(Protocol):
    """`person_mask`: a frame (H, W, 3) in [0, 1] and the face in it -> (H, W) in [0, 1], 1 = person."""

    @property
    def name(self) -> str: ...

    def person_mask(self, frame: torch.Tensor, face: Box) -> torch.Tensor: ...


class OwnCut:
    """The parts network that ships with the pack."""

    name = "parts network"

    def person_mask(self, frame: torch.Tensor, face: Box) -> torch.Tensor:
        return find_parts(frame[None], [face]).alpha[0]


def find_cut(parser_models: tuple[str, ...], matting_models: tuple[str, ...]) -> tuple[Cut, list[str]]:
    """The first of these that is there, and why files that lie there are not used."""
    reasons = []
    for find, folders in ((find_matting, matting_models), (find_face_parser, parser_models)):
        found, reason = find(folders)
        reasons += [reason] if reason else []
        if found is not None:
            return found, reasons
    return OwnCut(), reasons
