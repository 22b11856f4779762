"""The Lynx adapter: resampler, ID layers and Ref layers, and what they make of a face for a video model.

Keys and values of the added attention depend on the face alone, so they are projected once, before sampling; the
large projections never need to stay on the GPU beside the video model.
"""

import logging
import os
from collections.abc import Callable, Mapping
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...errors import SlotIDError
from ...tensor_shapes import fill, floats
from ...wan.hooks.attention import AttentionBranch
from ...weights import naming, read_tensors
from .layouts import TITLES, AdapterLayers, read_layers
from .resampler import Resampler, ResamplerConfig

LITE_KEY_EPS = 1e-5
Variant = Literal["full", "lite", "none"]
Progress = Callable[[int, int], None]


class KeyValueLayer(nn.Module):
    """Keys and values of one block's added attention: tokens (B, M, W) -> two of (B, M + registers, D).

    Weights may lie in any precision and on any device: each is brought to the tokens for one product.
    """

    def __init__(self, token_width: int, model_width: int, bias: bool, num_registers: int = 0):
        super().__init__()
        self.to_k = nn.Linear(token_width, model_width, bias=bias)
        self.to_v = nn.Linear(token_width, model_width, bias=bias)
        self.registers = None
        if num_registers:
            self.registers = nn.Parameter(torch.randn(1, num_registers, token_width) / model_width**0.5)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        if self.registers is not None:
            registers = self.registers.to(tokens).expand(tokens.shape[0], -1, -1)
            tokens = torch.cat([tokens, registers], dim=1)
        return _project(self.to_k, tokens), _project(self.to_v, tokens)


class LynxAdapter(nn.Module):
    """Any of the three parts may be missing; ID layers need the resampler.

    Args:
        id_layers, ref_layers: block number -> layer.
        variant: of the ID layers. "full" normalises their keys with the block's own text-key norm, "lite" with a plain
            RMS norm.
    """

    def __init__(
        self,
        resampler: Resampler | None,
        id_layers: Mapping[int, KeyValueLayer],
        ref_layers: Mapping[int, KeyValueLayer],
        variant: Variant,
    ):
        super().__init__()
        self.resampler, self.variant = resampler, variant
        self.id_layers = nn.ModuleDict({str(block): layer for block, layer in id_layers.items()})
        self.ref_layers = nn.ModuleDict({str(block): layer for block, layer in ref_layers.items()})

    def face_branches(self, embeddings: Tensor, progress: Progress | None = None) -> dict[int, AttentionBranch]:
        """Cross-attention branches by block.

        Args:
            embeddings: (R, face_width), one person per row; zeros are Lynx's "nobody".
        """
        if self.resampler is None or embeddings.shape[-1] != self.resampler.config.face_width:
            raise SlotIDError(
                f"A face embedding of width {embeddings.shape[-1]} does not fit this Lynx adapter. Load a resampler, "
                "and make the embedding with Lynx Face Embedding."
            )
        tokens = self.resampler(embeddings.to(self.resampler.latents).unsqueeze(1)).to(embeddings.device)
        branches = {}
        for block, layer in layers_by_block(self.id_layers).items():
            key, value = layer(tokens)
            if self.variant == "lite":
                key = F.rms_norm(key, key.shape[-1:], eps=LITE_KEY_EPS)
            branches[block] = AttentionBranch(key, value, is_normalized=self.variant == "lite")
            _report(progress, len(branches), len(self.id_layers))
        return branches

    def reference_branches(
        self, features: Tensor, progress: Progress | None = None, device: torch.device | None = None
    ) -> dict[int, AttentionBranch]:
        """Self-attention branches by block, of reference features (R, blocks, M, D), one person per row."""
        if self.ref_layers and max(map(int, self.ref_layers)) >= features.shape[1]:
            raise SlotIDError(
                f"The reference was encoded with a model of {features.shape[1]} blocks, but the Ref adapter has "
                f"{len(self.ref_layers)}. Encode it with the model that the adapter belongs to (Wan 2.1 14B)."
            )
        branches = {}
        for block, layer in layers_by_block(self.ref_layers).items():
            key, value = layer(features[:, block].to(device or features.device, torch.float32))
            branches[block] = AttentionBranch(key, value, is_normalized=False)
            _report(progress, len(branches), len(self.ref_layers))
        return branches

    def check_model(self, model_width: int, model_depth: int) -> None:
        """Every layer must find its block; the count is logged.

        Raises:
            SlotIDError: the model has another width or too few blocks.
        """
        found = []
        for title, modules in ((f"{self.variant} ID", self.id_layers), ("Ref", self.ref_layers)):
            layers = layers_by_block(modules)
            if not layers:
                continue
            widths = {layer.to_k.out_features for layer in layers.values()}
            if widths != {model_width} or max(layers) >= model_depth:
                raise SlotIDError(
                    f"Lynx's {title} adapter is for a video model of width {max(widths)} with at least "
                    f"{1 + max(layers)} blocks; this MODEL has width {model_width} and {model_depth} blocks. "
                    "The published weights fit Wan 2.1 T2V 14B (5120 x 40)."
                )
            found.append(f"{title} adapter on {len(layers)} of {model_depth} blocks")
        logging.info("Lynx: %s", ", ".join(found))


def layers_by_block(layers: nn.ModuleDict) -> dict[int, KeyValueLayer]:
    """The ID or Ref layers of an adapter by block number."""
    return {int(block): layer for block, layer in layers.items() if isinstance(layer, KeyValueLayer)}


def read_adapter(
    resampler: str | os.PathLike | None,
    id_layers: str | os.PathLike | None,
    ref_layers: str | os.PathLike | None,
) -> LynxAdapter:
    """`build_adapter` of up to three files, whose names its errors have."""
    paths = (resampler, id_layers, ref_layers)
    parts = [None if path is None else read_tensors(path)[0] for path in paths]
    with naming(" + ".join(os.path.basename(path) for path in paths if path is not None)):
        return build_adapter(*parts)


def build_adapter(
    resampler: Mapping[str, Tensor] | None,
    id_layers: Mapping[str, Tensor] | None,
    ref_layers: Mapping[str, Tensor] | None,
) -> LynxAdapter:
    """An adapter of the tensors of up to three files, in either published layout; nothing is copied.

    Raises:
        SlotIDError: a file of the wrong kind, without one matching layer, or parts that do not fit each other.
    """
    id_read = read_layers(id_layers, "ip") if id_layers is not None else None
    ref_read = read_layers(ref_layers, "ref") if ref_layers is not None else None
    module = None
    if resampler is not None:
        config = ResamplerConfig.from_state_dict(resampler)
        with torch.device("meta"):
            module = Resampler(config)
        # What is trained here holds the layers of the blocks in the same file.
        own = floats({name: tensor for name, tensor in resampler.items() if not name.startswith("blocks.")})
        fill(module, own, "Lynx's resampler")
    variant: Variant = "none"
    if id_read is not None:
        variant = "full" if id_read.has_registers else "lite"
        if module is None:
            raise SlotIDError("ID layers need their resampler. Choose its file as well.")
        needed = next(iter(id_read.blocks.values()))["to_k.weight"].shape[1]
        if module.config.output_width != needed:
            raise SlotIDError(
                f"The resampler gives tokens of width {module.config.output_width}, but the {variant} ID layers take "
                f"{needed}. Choose the {variant} resampler (full: 5120, lite: 2048)."
            )
    if not (id_read or ref_read):
        raise SlotIDError("No Lynx layers were given. Choose ID layers, Ref layers, or both.")
    adapter = LynxAdapter(module, _build(id_read), _build(ref_read), variant)
    return adapter.eval().requires_grad_(False)


def _build(layers: AdapterLayers | None) -> dict[int, KeyValueLayer]:
    built: dict[int, KeyValueLayer] = {}
    if layers is None:
        return built
    for block, tensors in sorted(layers.blocks.items()):
        width, token_width = tensors["to_k.weight"].shape
        num_registers = tensors["registers"].shape[1] if "registers" in tensors else 0
        with torch.device("meta"):
            layer = KeyValueLayer(token_width, width, "to_k.bias" in tensors, num_registers)
        fill(layer, tensors, f"layer {block} of Lynx's {TITLES[layers.part]}")
        built[block] = layer
    return built


def _project(linear: nn.Linear, tokens: Tensor) -> Tensor:
    # First to the device, then to the precision: half the way for half-precision weights.
    weight = linear.weight.to(tokens.device).to(tokens.dtype)
    bias = None if linear.bias is None else linear.bias.to(tokens.device).to(tokens.dtype)
    return F.linear(tokens, weight, bias)


def _report(progress: Progress | None, done: int, total: int) -> None:
    if progress:
        progress(done, total)
