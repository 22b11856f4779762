"""A small Lynx with random weights, made on demand for a small video model.

It proves the plumbing: what it makes of a face is noise. The full variant is
written in the official layout and the lite one repacked, so that both are read.
"""

import os
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ...reference.faces.face_encoder import FaceEncoder
from ...weights import save_weights
from .layouts import LITE_STRIDE, WHERE
from .resampler import Resampler, ResamplerConfig

SEED, VERSION = 0, 2
LITE_TOKEN_WIDTH, NUM_TOKENS, NUM_REGISTERS, ENCODER_WIDTH = 128, 16, 16, 8


@dataclass(frozen=True)
class LynxPaths:
    """The files of both variants, as they are published, and a face encoder."""

    full_id_layers: Path
    full_resampler: Path
    ref_layers: Path
    lite_id_layers: Path
    lite_resampler: Path
    face_encoder: Path

    @classmethod
    def inside(cls, folder: str | os.PathLike) -> "LynxPaths":
        names = ("full_id_layers", "full_resampler", "ref_layers", "lite_id_layers", "lite_resampler", "face_encoder")
        return cls(*(Path(folder) / f"random_v{VERSION}_lynx_{name}.safetensors" for name in names))


def random_lynx(folder: str | os.PathLike, model_width: int, model_depth: int) -> LynxPaths:
    """Paths of the family in `folder`; what is missing is made, the same for everybody."""
    paths = LynxPaths.inside(folder)
    makers = {
        paths.full_id_layers: lambda: _layers(
            "ip", range(model_depth), model_width, model_width, bias=True, num_registers=NUM_REGISTERS
        ),
        paths.full_resampler: lambda: _resampler(model_width),
        paths.ref_layers: lambda: _layers("ref", range(model_depth), model_width, model_width, bias=True),
        paths.lite_id_layers: lambda: repack(
            _layers("ip", range(0, model_depth, LITE_STRIDE), LITE_TOKEN_WIDTH, model_width, bias=False), "ip"
        ),
        paths.lite_resampler: lambda: _resampler(LITE_TOKEN_WIDTH),
        paths.face_encoder: lambda: FaceEncoder(ENCODER_WIDTH).state_dict(),
    }
    with torch.random.fork_rng(devices=[]):
        for path, make in makers.items():
            if not path.exists():
                torch.manual_seed(SEED)
                save_weights(path, make(), {"kind": "random_checkpoint", "version": VERSION})
    return paths


def repack(tensors: dict[str, Tensor], part: str) -> dict[str, Tensor]:
    """Keys `{block}.name` -> those of the repacked layout."""
    return {f"blocks.{key.split('.', 1)[0]}.{WHERE[part]}.{key.split('.', 1)[1]}": t for key, t in tensors.items()}


def _layers(
    part: str, blocks: range, token_width: int, model_width: int, bias: bool, num_registers: int = 0
) -> dict[str, Tensor]:
    tensors = {}
    for block in blocks:
        for name in (f"to_k_{part}", f"to_v_{part}"):
            tensors[f"{block}.{name}.weight"] = (torch.randn(model_width, token_width) / token_width**0.5).half()
            if bias:
                tensors[f"{block}.{name}.bias"] = (0.1 * torch.randn(model_width)).half()
        if num_registers:
            tensors[f"{block}.registers"] = (torch.randn(1, num_registers, token_width) / token_width**0.5).half()
    return tensors


def _resampler(output_width: int) -> dict[str, Tensor]:
    return Resampler(ResamplerConfig(128, 2, 2, NUM_TOKENS, output_width=output_width, mlp_width=256)).state_dict()
