"""How Lynx gets onto a ComfyUI MODEL: attention branches whose keys and values ComfyUI counts and moves as it
does a model's weights."""

import uuid
from collections.abc import Iterable, Mapping

import comfy.model_management
import torch
from comfy.model_patcher import ModelPatcher
from torch import nn

from ...slotid_core.systems.lynx import AttentionBranch, LynxCondition, install_lynx
from ...slotid_core.wan.hooks.regions import TokenRegion
from ...slotid_core.wan.region import Region
from ..shared.models import check_attention
from ..shared.patching import Call, add_to_calls
from ..shared.regions import check_region, tokens_of_calls


class HeldBranch(nn.Module):
    """One branch in a form that ComfyUI's memory management knows."""

    def __init__(self, branch: AttentionBranch, dtype: torch.dtype):
        super().__init__()
        self.key = nn.Parameter(branch.key.to("cpu", dtype), requires_grad=False)
        self.value = nn.Parameter(branch.value.to("cpu", dtype), requires_grad=False)
        self.is_normalized = branch.is_normalized

    def branch(self) -> AttentionBranch:
        return AttentionBranch(self.key, self.value, self.is_normalized)


class HeldBranches(nn.Module):
    def __init__(self, face: Mapping[int, AttentionBranch], reference: Mapping[int, AttentionBranch], dtype):
        super().__init__()
        self.face = nn.ModuleDict({str(block): HeldBranch(branch, dtype) for block, branch in face.items()})
        self.reference = nn.ModuleDict({str(block): HeldBranch(branch, dtype) for block, branch in reference.items()})

    def condition(
        self, rows: torch.Tensor, id_scale: float, ref_scale: float, region: TokenRegion | None
    ) -> LynxCondition:
        face, reference = (
            {int(block): held.branch() for block, held in branches.items()} for branches in (self.face, self.reference)
        )
        return LynxCondition(rows, face, reference, id_scale, ref_scale, region)


def hold(
    model: ModelPatcher, face: Mapping[int, AttentionBranch], reference: Mapping[int, AttentionBranch]
) -> ModelPatcher:
    """Keys and values in the precision in which `model` computes, for `apply_lynx`."""
    dtype = model.model.manual_cast_dtype or model.model.get_dtype()
    return ModelPatcher(
        HeldBranches(face, reference, dtype),
        load_device=comfy.model_management.get_torch_device(),
        offload_device=comfy.model_management.unet_offload_device(),
    )


def apply_lynx(
    model: ModelPatcher,
    held: ModelPatcher,
    id_scale: float,
    ref_scale: float,
    start_percent: float,
    end_percent: float,
    blocks: Iterable[int],
    cond_names: frozenset[str],
    region: Region | None = None,
) -> ModelPatcher:
    """A clone of `model` with Lynx's person in the conditionings named `cond_names` and its "nobody" in the others.

    Args:
        held: branches of two rows, nobody and the person; see `hold`.
        id_scale, ref_scale: 0 leaves that branch out; both at 0, the model is bit-identical.
        region: the part of the frame that shows the person, or nobody; the rest is the model's own. None for all.

    Raises:
        SlotIDError: a model whose attentions no branch can join.
    """
    check_attention(model)
    check_region(model, region)
    blocks, tokens = tuple(blocks), tokens_of_calls(region)

    def draw_person(call: Call) -> dict:
        condition = held.model.condition(call.rows.long(), id_scale, ref_scale, tokens(call))
        return install_lynx(call.transformer_options, call.transformer, condition, blocks)

    patched = add_to_calls(model, start_percent, end_percent, cond_names, draw_person)
    patched.set_additional_models(f"lynx_{uuid.uuid4().hex}", [held])
    return patched
