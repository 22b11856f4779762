"""IR-SE50, the face recognition network whose embedding Lynx was trained with, from facexlib's published file.

ArcFace's improved residual network of 50 layers with squeeze-and-excitation (arXiv 1801.07698, section 3.2.2, and
1709.01507). Names follow the file's keys. The judge of a result should be another network than this one.
"""

import os
from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...errors import SlotIDError
from ...tensor_shapes import fill, floats, shape_of
from ...weights import naming, read_pth, read_tensors

FILE_NAME = "recognition_arcface_ir_se50.pth"
INPUT_SIZE = 112
STAGES = (3, 4, 14, 3)  # units; each stage halves the picture
SQUEEZE = 16
SIZES = (("input_layer.0.weight", 4), ("output_layer.3.weight", 2))  # tensors that tell both widths, and their axes


class SqueezeExcitation(nn.Module):
    """x (B, C, H, W), each channel weighed by what all channels are on average."""

    def __init__(self, channels: int):
        super().__init__()
        hidden = max(1, channels // SQUEEZE)
        self.fc1 = nn.Conv2d(channels, hidden, 1, bias=False)
        self.fc2 = nn.Conv2d(hidden, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.fc2(self.fc1(x.mean((2, 3), keepdim=True)).relu()).sigmoid()


class Unit(nn.Module):
    """x (B, C_in, H, W) -> (B, C_out, H / stride, W / stride)"""

    def __init__(self, channels_in: int, channels_out: int, stride: int):
        super().__init__()
        self.stride = stride
        self.shortcut_layer = None
        if channels_in != channels_out:
            self.shortcut_layer = nn.Sequential(
                nn.Conv2d(channels_in, channels_out, 1, stride, bias=False), nn.BatchNorm2d(channels_out)
            )
        self.res_layer = nn.Sequential(
            nn.BatchNorm2d(channels_in),
            nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=False),
            nn.PReLU(channels_out),
            nn.Conv2d(channels_out, channels_out, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(channels_out),
            SqueezeExcitation(channels_out),
        )

    def forward(self, x: Tensor) -> Tensor:
        short = x[:, :, :: self.stride, :: self.stride] if self.shortcut_layer is None else self.shortcut_layer(x)
        return short + self.res_layer(x)


class FaceEncoder(nn.Module):
    """crops (B, 3, 112, 112) in [-1, 1], RGB, aligned -> (B, embedding_width) of length 1.

    Args:
        width: channels of the first stage; 64 in the published file.
    """

    def __init__(self, width: int = 64, embedding_width: int = 512):
        super().__init__()
        self.input_layer = nn.Sequential(
            nn.Conv2d(3, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.PReLU(width)
        )
        units, channels = [], width
        for stage, count in enumerate(STAGES):
            for index in range(count):
                units.append(Unit(channels, width * 2**stage, stride=2 if index == 0 else 1))
                channels = width * 2**stage
        self.body = nn.Sequential(*units)
        side = INPUT_SIZE // 2 ** len(STAGES)
        self.output_layer = nn.Sequential(
            nn.BatchNorm2d(channels),
            nn.Identity(),  # dropout, in training
            nn.Flatten(),
            nn.Linear(channels * side**2, embedding_width),
            nn.BatchNorm1d(embedding_width),
        )

    def forward(self, crops: Tensor) -> Tensor:
        # Lynx hands this network BGR.
        return F.normalize(self.output_layer(self.body(self.input_layer(crops.flip(1)))), dim=1)


def load_face_encoder(path: str | os.PathLike) -> FaceEncoder:
    """Read facexlib's .pth, or the same tensors as safetensors; float32 on the CPU, in evaluation mode.

    Raises:
        SlotIDError: the file is missing, damaged or of another network.
    """
    path = Path(path)
    tensors = read_tensors(path)[0] if path.suffix == ".safetensors" else _read_pth(path)
    if "input_layer.0.weight" not in tensors or "output_layer.3.weight" not in tensors:
        raise SlotIDError(f"{path.name} is not facexlib's IR-SE50. The file is called {FILE_NAME}.")
    with naming(path):
        width, embedding_width = (shape_of(tensors, *place)[0] for place in SIZES)
        with torch.device("meta"):
            encoder = FaceEncoder(width, embedding_width)
        fill(encoder, floats(tensors), "facexlib's IR-SE50")
    return encoder.eval().requires_grad_(False)


def _read_pth(path: Path) -> Mapping[str, Tensor]:
    if not path.is_file():
        raise SlotIDError(f"There is no file {path.name!r} in {path.parent}. Put facexlib's {FILE_NAME} there.")
    return read_pth(path)
