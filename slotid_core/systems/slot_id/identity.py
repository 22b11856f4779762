"""An identity: everything that a video model needs to draw one person, in one small file."""

import os
from dataclasses import dataclass, field, fields, replace
from typing import Literal

import torch
from torch import Tensor

from ...config import config_to_dict, known_settings, shown
from ...errors import SlotIDError
from ...ranges import Depth, Width, check_ranges
from ...wan.hooks.text_rows import TextRows
from ...weights import load_weights, naming, save_weights
from .gate import GateSchedule
from .injection import IdentityCondition

KIND = "identity"
VERSION = 1
TENSORS = ("image_tokens", "video_tokens", "image_film", "video_film")
GateMode = Literal["paper", "lerp_to_padding"]


@dataclass(frozen=True)
class IdentityHeader:
    """What an identity's file says beside its tensors; see `Identity`."""

    model_width: Width
    model_depth: Depth
    gate: GateSchedule
    gate_mode: GateMode
    adapter_fingerprint: str
    source: dict
    adapter_has_lora: bool | None = None

    __post_init__ = check_ranges


@dataclass(frozen=True)
class Identity:
    """Both streams of one person (B = 1), or of a training batch.

    The gate is applied when the noise level is known, so both streams are kept apart.

    Attributes:
        image_tokens: (B, K, D) anchors of the portrait; K may be 0.
        video_tokens: (B, S, D) slots of the clip; S may be 0.
        image_film, video_film: (B, F, 2, D), γ and β of each stream for the last F blocks; F may be 0.
        model_width, model_depth: the video model that the tokens were made for.
        gate_mode: "paper" scales the tokens by the gate. "lerp_to_padding" moves each row from padding to token
            instead, because Wan normalises keys, which undoes most of a scaling.
        adapter_fingerprint: which adapter made it, by content.
        source: facts about the reference, for people; JSON-ready.
        adapter_has_lora: whether that adapter belongs on the model as well; None in files that do not say it.
    """

    image_tokens: Tensor
    video_tokens: Tensor
    image_film: Tensor
    video_film: Tensor
    model_width: Width
    model_depth: Depth
    gate: GateSchedule
    gate_mode: GateMode = "paper"
    adapter_fingerprint: str = ""
    source: dict = field(default_factory=dict)
    adapter_has_lora: bool | None = None

    def __post_init__(self):
        if self.gate_mode not in ("paper", "lerp_to_padding"):
            raise SlotIDError(f"gate_mode is 'paper' or 'lerp_to_padding'; got {self.gate_mode!r}.")
        check_ranges(self)
        for name in TENSORS:
            tensor, axes = getattr(self, name), 3 if name.endswith("tokens") else 4
            if tensor.dim() != axes or not tensor.is_floating_point() or (axes == 4 and tensor.shape[2] != 2):
                form = "(people, tokens, width)" if axes == 3 else "(people, blocks, 2, width)"
                raise SlotIDError(f"Identity: {name} has shape {tuple(tensor.shape)}; it must be numbers of {form}.")
            if tensor.shape[-1] != self.model_width:
                raise SlotIDError(f"Identity: {name} has width {tensor.shape[-1]}; the model's is {self.model_width}.")

        people = {len(getattr(self, name)) for name in TENSORS}
        film = {self.image_film.shape[1], self.video_film.shape[1]}
        if len(people) > 1 or len(film) > 1 or max(film) > self.model_depth:
            shapes = {name: tuple(getattr(self, name).shape) for name in TENSORS}
            raise SlotIDError(f"Identity: the tensors do not fit each other and {self.model_depth} blocks: {shapes}.")

    @property
    def num_tokens(self) -> int:
        return self.image_tokens.shape[1] + self.video_tokens.shape[1]

    @property
    def film_start(self) -> int:
        """Index of the first modulated block."""
        return self.model_depth - self.video_film.shape[1]

    def to(self, device: torch.device, dtype: torch.dtype) -> "Identity":
        return replace(self, **{name: getattr(self, name).to(device, dtype) for name in TENSORS})

    def condition(
        self, noise_level: Tensor, strength: Tensor, token_mask: Tensor | None = None, gate: Tensor | None = None
    ) -> IdentityCondition:
        """What the blocks need at one step.

        Args:
            noise_level: (B,) in [0, 1], 1 = pure noise.
            strength: (B,), 0 = no identity in that row of the batch, 1 = as trained.
            token_mask: (B, N) of 0 and 1, tokens kept by training's token dropout; all by default.
            gate: (B,) w in place of the schedule's, NaN where the schedule holds; for training with one stream alone.
        """
        dtype = torch.promote_types(self.image_tokens.dtype, self.video_tokens.dtype)
        w = self.gate(noise_level)
        w = (w if gate is None else torch.where(gate.isnan(), w, gate)).to(dtype).unsqueeze(1)  # (B, 1)
        strength = strength.to(dtype).unsqueeze(1)  # (B, 1)
        num_images, num_slots = self.image_tokens.shape[1], self.video_tokens.shape[1]
        weight = torch.cat([w.expand(-1, num_images), (1 - w).expand(-1, num_slots)], dim=1)  # (B, N)
        tokens = torch.cat([self.image_tokens, self.video_tokens], dim=1)  # (B or 1, N, D)
        amount = strength.expand_as(weight)
        if self.gate_mode == "paper":
            tokens = tokens * weight.unsqueeze(2)
        else:
            amount = amount * weight
        if token_mask is not None:
            amount = amount * token_mask.to(dtype)
        # Under autocast a norm gives float32 tokens where FiLM's linear layers give bfloat16.
        w, strength = (value[:, :, None, None].to(self.video_film.dtype) for value in (w, strength))
        film = strength * torch.lerp(self.video_film, self.image_film.to(w.dtype), w)  # (B, F, 2, D)
        return IdentityCondition(TextRows(tokens, amount), film, self.film_start)

    def save(self, path: str | os.PathLike) -> None:
        header = {
            "kind": KIND, "version": VERSION, "model_width": self.model_width, "model_depth": self.model_depth,
            "gate": config_to_dict(self.gate), "gate_mode": self.gate_mode,
            "adapter_fingerprint": self.adapter_fingerprint, "source": self.source,
            "adapter_has_lora": self.adapter_has_lora,
        }  # fmt: skip
        tensors = {name: getattr(self, name) for name in TENSORS}
        save_weights(path, tensors, header)

    @classmethod
    def load(cls, path: str | os.PathLike) -> "Identity":
        tensors, header = load_weights(path, KIND, VERSION)
        if set(tensors) != set(TENSORS):
            raise SlotIDError(
                f"{os.path.basename(path)} lacks tensors of an identity; it has {shown(sorted(tensors))}."
            )
        with naming(path):
            said = known_settings(IdentityHeader, header)
            identity = cls(**tensors, **{entry.name: getattr(said, entry.name) for entry in fields(said)})
            if len(identity.video_tokens) != 1:
                raise SlotIDError(f"It holds {len(identity.video_tokens)} people, where one is needed.")
            return identity
