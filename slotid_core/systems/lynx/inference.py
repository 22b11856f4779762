"""Lynx on our own Wan model: people from references, the prediction with a person, and what evaluation compares.

In ComfyUI the same injection is installed by the nodes.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

import torch
from torch import Tensor

from ...wan import WanModel
from ...wan.guidance import Predict
from ...wan.packing import grid_of
from ...wan.packing import predict as predict_packed
from ...wan.region import Region
from ...wan.together import Install
from ...weights import naming, read_tensors
from ..contract import Variant
from .adapter import LynxAdapter, build_adapter
from .injection import LynxCondition, install_lynx
from .layouts import holds
from .reference import read_features, side_by_side

FACE, PICTURE, GREY, PROMPT = "face_embedding", "face_picture", "grey_picture", "face_prompt"
# Of a clip in place of one picture: the mean of its best moments' embeddings, and the pictures of some of them.
CLIP_FACE, CLIP_PICTURES = "face_embedding_of_clip", "face_pictures_of_clip"
PICTURES_DIM = 6  # (B, K, 16, 1, h, w)
NOBODY = 0  # row of a branch


def branches_of(adapter: LynxAdapter, model: WanModel, conditions: Mapping[str, Tensor], rows: Tensor) -> LynxCondition:
    """Branches of nobody and of B people, and which row of the batch gets whom.

    Args:
        conditions: face_embedding (B, 512) for ID layers; face_picture (B, 16, 1, h, w), or (B, K, 16, 1, h, w) of K
            pictures, grey_picture (B, 16, 1, h, w) and face_prompt (B, M, 4096) for Ref layers.
        rows: (B,) int64: 0 for nobody, i + 1 for the i-th person.
    """
    face, reference = {}, {}
    if adapter.id_layers:
        people = conditions[FACE]
        face = adapter.face_branches(torch.cat([torch.zeros_like(people[:1]), people]))
    if adapter.ref_layers:
        reference = adapter.reference_branches(reference_features(model, conditions))
    return LynxCondition(rows, face, reference)


@torch.no_grad()
def reference_features(model: WanModel, conditions: Mapping[str, Tensor]) -> Tensor:
    """(1 + B, blocks, M, D): how the frozen base sees a grey picture and each face, at noise level 0.

    Of K pictures of a face there are K times as many tokens, and the grey picture's are repeated as often.
    """
    faces = conditions[PICTURE]
    count = faces.shape[1] if faces.dim() == PICTURES_DIM else 1
    pictures = torch.cat([conditions[GREY][:1], faces.flatten(0, 1) if faces.dim() == PICTURES_DIM else faces])
    prompt = conditions[PROMPT][:1].expand(len(pictures), -1, -1)
    context = torch.cat([prompt, torch.zeros_like(prompt[:, :1])], dim=1)
    dtype = model.patch_embedding.weight.dtype
    time = torch.zeros(len(pictures), device=pictures.device)
    padding_row = context.shape[1] - 1

    def look() -> None:
        with model.unshared():  # every process reads all of the reference
            model(pictures.to(dtype), time, context.to(dtype), padding_row=padding_row)

    return side_by_side(read_features(model, look), count)


def predict_velocity(
    model: WanModel, noisy: Tensor, noise_level: Tensor, context: Tensor, condition: LynxCondition
) -> Tensor:
    """Noise minus latents (B, 16, T, H, W); context (B, M, 4096), the last row standing for all padding."""
    return predict_velocities(model, [noisy], noise_level, context, condition)[0]


def predict_velocities(
    model: WanModel, noisy: Sequence[Tensor], noise_level: Tensor, context: Tensor, condition: LynxCondition
) -> list[Tensor]:
    """The same of B samples (1, 16, T, H, W) of any sizes, or of one batch, in one forward pass."""
    options = install_lynx({}, model, condition, range(model.config.num_layers))
    return predict_packed(model, noisy, noise_level, context, options)


def predictor(model: WanModel, adapter: LynxAdapter, conditions: Mapping[str, Tensor] | None) -> Predict:
    """The prediction for B people; rows without a person get Lynx's "nobody", as in its training. Without conditions,
    the bare model's.
    """
    count = next(len(tensor) for tensor in conditions.values()) if conditions else 0
    people = torch.arange(count) + 1
    everybody = branches_of(adapter, model, conditions, people) if conditions else LynxCondition(people)

    def predict(noisy: Tensor, noise_level: Tensor, context: Tensor, strength: Tensor | None) -> Tensor:
        rows = torch.full((len(noisy),), NOBODY, device=noisy.device)
        if strength is not None and conditions:
            rows = torch.where(strength > 0, people.to(noisy.device), NOBODY)
        condition = LynxCondition(rows, everybody.face, everybody.reference)
        return predict_velocity(model, noisy, noise_level, context, condition)

    return predict


REQUIRED = (FACE, PICTURE, GREY, PROMPT)


class LoadedAdapter:
    """An adapter file, ready for evaluation; see `contract.Adapter`."""

    required_tensors = REQUIRED

    def __init__(self, module: LynxAdapter):
        self.module = module

    def person(self, conditions: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        return conditions

    def prepare_model(self, model: WanModel) -> None:
        """Lynx leaves the base's weights as they are."""

    def predictor(self, model: WanModel, person: Mapping[str, Tensor] | None) -> Predict:
        return predictor(model, self.module, person)

    def install(self, model: WanModel, person: Mapping[str, Tensor], region: Region | None = None) -> Install:
        people = torch.arange(len(next(iter(person.values())))) + 1
        everybody = branches_of(self.module, model, person, people)

        def install(options: dict, noisy: Tensor, noise_level: Tensor, context: Tensor, strength: Tensor) -> dict:
            tokens = None if region is None else region.tokens(grid_of(noisy), noisy.device)
            rows = torch.where(strength > 0, people.to(noisy.device), NOBODY)
            condition = replace(everybody, rows=rows, region=tokens)
            return install_lynx(options, model, condition, range(model.config.num_layers))

        return install


class LynxInference:
    """See `contract.Inference`."""

    required_tensors = REQUIRED
    shipped_file = "lynx_adapter.safetensors"
    variants = MappingProxyType(
        {
            "id": Variant("id", ("adapter.has_ref=false",)),
            "ref": Variant("ref", ("adapter.has_id=false",)),
            "full": Variant("full"),
            "clip": Variant("full", reads=MappingProxyType({FACE: CLIP_FACE, PICTURE: CLIP_PICTURES})),
        }
    )

    def load(self, path: str | os.PathLike) -> LoadedAdapter:
        return LoadedAdapter(load_trained(path))


def load_trained(path: str | os.PathLike) -> LynxAdapter:
    """An adapter that was trained here: all parts in one file, each in a published layout."""
    tensors, _ = read_tensors(path)
    with naming(path):
        return build_adapter(
            resampler=tensors if "latents" in tensors else None,
            id_layers=tensors if holds(tensors, "ip") else None,
            ref_layers=tensors if holds(tensors, "ref") else None,
        )


def in_one_file(adapter_tensors: Iterable[tuple[str, Tensor]]) -> dict[str, Tensor]:
    """Tensors of a `LynxAdapter` by its own names -> the resampler's published keys and the repacked layers'."""
    tensors = {}
    for name, tensor in adapter_tensors:
        part, _, rest = name.partition(".")
        if part == "resampler":
            tensors[rest] = tensor
        else:
            block, _, what = rest.partition(".")
            tensors[layer_key(part, int(block), what)] = tensor
    return tensors


def layer_key(part: str, block: int, what: str) -> str:
    """`what` is "to_k.weight", "to_v.bias" or "registers" of an ID or Ref layer."""
    if part == "id_layers":
        inside, suffix = "cross_attn.ip_adapter", "ip"
    else:
        inside, suffix = "self_attn.ref_adapter", "ref"
    linear, dot, kind = what.partition(".")
    return f"blocks.{block}.{inside}.{linear}_{suffix}.{kind}" if dot else f"blocks.{block}.{inside}.{what}"


INFERENCE = LynxInference()
