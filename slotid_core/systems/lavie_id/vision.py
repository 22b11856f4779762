"""What a vision network sees of a component: several levels of its features, and one vector for the whole.

Three networks: CLIP ViT-H/14, the one that Wan's image-to-video models use, in ComfyUI's key names; ConsisID's
EVA02-CLIP-L, in `eva_vision`; and a small patch encoder that is trained with the adapter, for the toy world.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from ...errors import SlotIDError
from ...tensor_shapes import count_numbered, fill, shape_of
from ...wan.attention import dot_product_attention
from ...weights import naming, read_tensors
from .config import CALLED, FILES, VisionConfig
from .eva_vision import EvaVision, load_eva

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_DEVIATION = (0.26862954, 0.26130258, 0.27577711)
CLIP_HEAD_WIDTH = 80  # of ViT-H


@dataclass(frozen=True)
class VisionFeatures:
    """levels: (N, T, width) each; pooled: (N, pooled width) of length 1."""

    levels: list[Tensor]
    pooled: Tensor


# Pictures (N, 3, S, S) in [0, 1] -> their features.
See = Callable[[Tensor], VisionFeatures]


class Block(nn.Module):
    """A pre-norm transformer block, with CLIP's names: x (N, T, D) -> (N, T, D)."""

    def __init__(self, width: int, heads: int, mlp_width: int):
        super().__init__()
        self.heads = heads
        self.layer_norm1 = nn.LayerNorm(width)
        self.self_attn = nn.ModuleDict(
            {name: nn.Linear(width, width) for name in ("q_proj", "k_proj", "v_proj", "out_proj")}
        )
        self.layer_norm2 = nn.LayerNorm(width)
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(width, mlp_width), "fc2": nn.Linear(mlp_width, width)})

    def forward(self, x: Tensor) -> Tensor:
        normed = self.layer_norm1(x)
        q, k, v = (
            rearrange(self.self_attn[name](normed), "n t (h d) -> n h t d", h=self.heads)
            for name in ("q_proj", "k_proj", "v_proj")
        )
        attended = rearrange(dot_product_attention(q, k, v), "n h t d -> n t (h d)")
        x = x + self.self_attn["out_proj"](attended)
        return x + self.mlp["fc2"](F.gelu(self.mlp["fc1"](self.layer_norm2(x))))


class PatchEncoder(nn.Module):
    """The vision network "own": pictures (N, 3, S, S) in [0, 1] -> features; every block's output is a level."""

    def __init__(self, config: VisionConfig):
        super().__init__()
        width = config.width
        self.patches = nn.Conv2d(3, width, config.patch, config.patch)
        self.positions = nn.Parameter(0.02 * torch.randn(1, (config.side // config.patch) ** 2, width))
        self.blocks = nn.ModuleList(Block(width, config.heads, 4 * width) for _ in config.levels)
        self.pool = nn.Linear(width, config.pooled_width)

    def forward(self, pictures: Tensor) -> VisionFeatures:
        x = rearrange(self.patches(pictures * 2 - 1), "n d h w -> n (h w) d") + self.positions
        levels = []
        for block in self.blocks:
            x = block(x)
            levels.append(x)
        return VisionFeatures(levels, F.normalize(self.pool(x.mean(dim=1)), dim=1))


class _Embeddings(nn.Module):
    def __init__(self, width: int, patch: int, side: int):
        super().__init__()
        self.class_embedding = nn.Parameter(torch.zeros(width))
        self.patch_embedding = nn.Conv2d(3, width, patch, patch, bias=False)
        self.position_embedding = nn.Embedding((side // patch) ** 2 + 1, width)

    def forward(self, pixels: Tensor) -> Tensor:
        patches = rearrange(self.patch_embedding(pixels), "n d h w -> n (h w) d")
        whole = self.class_embedding.expand(len(patches), 1, -1)
        return torch.cat([whole, patches], dim=1) + self.position_embedding.weight


class _Encoder(nn.Module):
    def __init__(self, width: int, depth: int, heads: int, mlp_width: int):
        super().__init__()
        self.layers = nn.ModuleList(Block(width, heads, mlp_width) for _ in range(depth))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return x


class _Vision(nn.Module):
    def __init__(self, width: int, depth: int, heads: int, mlp_width: int, patch: int, side: int):
        super().__init__()
        self.embeddings = _Embeddings(width, patch, side)
        self.pre_layrnorm = nn.LayerNorm(width)  # spelt as in the published files
        self.encoder = _Encoder(width, depth, heads, mlp_width)
        self.post_layernorm = nn.LayerNorm(width)

    def forward(self, pixels: Tensor) -> Tensor:
        return self.post_layernorm(self.encoder(self.pre_layrnorm(self.embeddings(pixels)))[:, 0])


class ClipVision(nn.Module):
    """CLIP's vision transformer: normalised pixels (N, 3, S, S) -> image embeddings (N, pooled width)."""

    def __init__(self, width: int, depth: int, heads: int, mlp_width: int, patch: int, side: int, pooled_width: int):
        super().__init__()
        self.vision_model = _Vision(width, depth, heads, mlp_width, patch, side)
        self.visual_projection = nn.Linear(width, pooled_width, bias=False)

    def forward(self, pixels: Tensor) -> Tensor:
        return self.visual_projection(self.vision_model(pixels))


def clip_features(
    model: nn.Module, pictures: Tensor, levels: Sequence[int], run: Callable[[Tensor], Tensor] | None = None
) -> VisionFeatures:
    """Features of a frozen CLIP, ours or ComfyUI's, or of EVA02-CLIP: what enters the blocks `levels`.

    Args:
        pictures: (N, 3, S, S) in [0, 1], of the side that the network takes.
        run: normalised pixels -> image embeddings; `model` itself by default.
    """
    mean, deviation = (pictures.new_tensor(values).view(1, 3, 1, 1) for values in (CLIP_MEAN, CLIP_DEVIATION))
    seen: dict[int, Tensor] = {}

    def note(level: int):
        # A copy, as ComfyUI's blocks add to their input in place.
        return lambda module, inputs: seen.__setitem__(level, inputs[0].detach().clone())

    layers: Any = model.get_submodule("blocks" if isinstance(model, EvaVision) else "vision_model.encoder.layers")
    hooks = [layers[level].register_forward_pre_hook(note(level)) for level in levels]
    try:
        with torch.no_grad():
            pooled = (run or model)((pictures - mean) / deviation)
    finally:
        for hook in hooks:
            hook.remove()
    return VisionFeatures([seen[level].to(pictures) for level in levels], F.normalize(pooled.to(pictures), dim=1))


def load_vision(path: str | os.PathLike, config: VisionConfig) -> nn.Module:
    """The frozen network of the settings, in the precision of the file.

    Raises:
        SlotIDError: the file is missing, damaged, or of another network.
    """
    if config.kind != "eva02_clip_l":
        return load_clip(path, config)
    model = load_eva(path, config.heads)
    with naming(path):
        check_clip(model, config)
    return model


def seen_by(clip: nn.Module, config: VisionConfig) -> See:
    """A frozen network of ours as an adapter's eyes, in its own precision."""
    dtype = next(clip.parameters()).dtype

    def see(pictures: Tensor) -> VisionFeatures:
        with torch.autocast(pictures.device.type, enabled=False):
            return clip_features(clip, pictures.to(dtype), config.levels)

    return see


def check_clip(model: nn.Module, config: VisionConfig) -> None:
    """
    Raises:
        SlotIDError: the vision network is not the one that the adapter was trained with.
    """
    tensors = dict(model.named_parameters())
    position, projection = "vision_model.embeddings.position_embedding.weight", "visual_projection.weight"
    blocks = "vision_model.encoder.layers."
    if isinstance(model, EvaVision):
        position, projection, blocks = "pos_embed", "head.weight", "blocks."
    depth = count_numbered(tensors, blocks)
    tokens, width = tensors[position].shape[-2:] if position in tensors else (0, 0)
    pooled = tensors[projection].shape[0] if projection in tensors else width
    wanted = (config.width, config.pooled_width, (config.side // config.patch) ** 2 + 1)
    if (width, pooled, tokens) != wanted or depth <= max(config.levels):
        raise SlotIDError(
            f"The adapter was trained with a vision network of width {wanted[0]}, {wanted[1]} pooled numbers and "
            f"{wanted[2]} tokens; this one has {width}, {pooled} and {tokens}, in {depth} blocks. Give it "
            f"{FILES[config.kind]}, of {CALLED[config.kind]}."
        )


def load_clip(path: str | os.PathLike, config: VisionConfig) -> ClipVision:
    """ComfyUI's clip_vision_h.safetensors, frozen, in the precision of the file.

    Raises:
        SlotIDError: the file is missing, damaged, or of another network.
    """
    tensors, _ = read_tensors(path)
    with naming(path):
        inside = "vision_model.encoder.layers."
        patch_shape = shape_of(tensors, "vision_model.embeddings.patch_embedding.weight", 4)
        tokens, width = shape_of(tensors, "vision_model.embeddings.position_embedding.weight", 2)
        mlp_width = shape_of(tensors, f"{inside}0.mlp.fc1.weight", 2)[0]
        depth = count_numbered(tensors, inside)
        heads = config.heads
        pooled_width = shape_of(tensors, "visual_projection.weight", 2)[0]
        if width % heads or round((tokens - 1) ** 0.5) ** 2 != tokens - 1:
            raise SlotIDError(f"It has width {width} and {tokens} tokens, which no CLIP has. Choose another file.")
        side = patch_shape[2] * round((tokens - 1) ** 0.5)
        with torch.device("meta"):
            model = ClipVision(width, depth, heads, mlp_width, patch_shape[2], side, pooled_width)
        names = model.state_dict()
        fill(model, {name: tensor for name, tensor in tensors.items() if name in names}, "a CLIP vision network")
        check_clip(model, config)
    return model.eval().requires_grad_(False)
