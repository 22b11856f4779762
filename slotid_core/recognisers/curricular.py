"""IR-101, the network of CurricularFace (Huang et al. 2020, arXiv 2004.00288), read from its published files.

ArcFace's improved residual network without squeeze-and-excitation (arXiv 1801.07698, section 3.2.2). Files differ in a
batch norm between the two convolutions and in the last norm's scale; the file's own names decide.
"""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from ..errors import SlotIDError
from ..tensor_shapes import count_numbered, fill, floats, shape_of
from ..weights import naming, read_pth, read_tensors

CURRICULAR_FILE = "glint360k_curricular_face_r101_backbone.bin"
STAGES = (3, 13, 30, 3)  # units of the 101-layer network; each stage halves the picture
MOST_UNITS = 100


class Unit(nn.Module):
    """x (B, C_in, H, W) -> (B, C_out, H / stride, W / stride)"""

    def __init__(self, channels_in: int, channels_out: int, stride: int, norm_between: bool):
        super().__init__()
        if channels_in == channels_out:
            self.shortcut_layer = nn.MaxPool2d(1, stride)
        else:
            self.shortcut_layer = nn.Sequential(
                nn.Conv2d(channels_in, channels_out, 1, stride, bias=False), nn.BatchNorm2d(channels_out)
            )
        self.res_layer = nn.Sequential(
            nn.BatchNorm2d(channels_in),
            nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=False),
            *([nn.BatchNorm2d(channels_out)] if norm_between else []),
            nn.PReLU(channels_out),
            nn.Conv2d(channels_out, channels_out, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(channels_out),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.shortcut_layer(x) + self.res_layer(x)


class ImprovedResNet(nn.Module):
    """crops (B, 3, 112, 112) in [-1, 1], RGB, aligned -> (B, 512), of any length."""

    def __init__(
        self, width: int = 64, stages: tuple[int, ...] = STAGES, norm_between: bool = True, last_scale: bool = False,
        embedding_width: int = 512,
    ):  # fmt: skip
        super().__init__()
        self.input_layer = nn.Sequential(
            nn.Conv2d(3, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.PReLU(width)
        )
        units, channels = [], width
        for stage, count in enumerate(stages):
            for index in range(count):
                units.append(Unit(channels, width * 2**stage, 2 if index == 0 else 1, norm_between))
                channels = width * 2**stage
        self.body = nn.Sequential(*units)
        side = 112 // 2 ** len(stages)
        self.output_layer = nn.Sequential(
            nn.BatchNorm2d(channels),
            nn.Identity(),  # dropout, in training
            nn.Flatten(),
            nn.Linear(channels * side**2, embedding_width),
            nn.BatchNorm1d(embedding_width, affine=last_scale),
        )

    def forward(self, crops: Tensor) -> Tensor:
        return self.output_layer(self.body(self.input_layer(crops)))


def load_curricular(path: Path) -> ImprovedResNet:
    """Float32 on the CPU, in evaluation mode.

    Raises:
        SlotIDError: the file is missing, damaged or of another network.
    """
    tensors = read_tensors(path)[0] if path.suffix == ".safetensors" else read_pth(path)
    with naming(path):
        network = ImprovedResNet(**_sizes(tensors))
        fill(network, floats(tensors), "CurricularFace's IR-101")
    return network.eval().requires_grad_(False)


def _sizes(tensors: Mapping[str, Tensor]) -> dict:
    width = shape_of(tensors, "input_layer.0.weight", 4)[0]
    units = count_numbered(tensors, "body.")
    if units > MOST_UNITS:
        raise SlotIDError(f"It has {units} units, more than any such network. Choose another file.")
    outs = [shape_of(tensors, f"body.{unit}.res_layer.1.weight", 4)[0] for unit in range(units)]
    stages = tuple(outs.count(width * 2**stage) for stage in range(len(STAGES)))
    return {
        "width": width,
        "stages": stages,
        "norm_between": "body.0.res_layer.5.weight" in tensors,
        "last_scale": "output_layer.4.weight" in tensors,
        "embedding_width": shape_of(tensors, "output_layer.3.weight", 2)[0],
    }
