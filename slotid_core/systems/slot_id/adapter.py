"""The Slot-ID adapter: both encoders, FiLM, gate and LoRA for one video model, in one file."""

import hashlib
import os
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor, nn

from ...config import known_settings
from ...errors import SlotIDError
from ...ranges import Range, check_ranges
from ...tensor_shapes import count_numbered, fill, floats
from ...wan.lora import PREFIX as LORA_PREFIX
from ...wan.lora import check_lora
from ...weights import load_weights, naming, save_weights
from .baselines import ConvPoolEncoder, FactorEncoder, MeanLatentEncoder
from .config import AdapterConfig
from .film import LowRankFiLM
from .gate import GateSchedule
from .identity import GateMode, Identity
from .image_anchor import ImageAnchor
from .stream import IdentityStream
from .temporal_encoder import TemporalIdentityEncoder

KIND = "slot_id_adapter"
VERSION = 1
LAYERS = {"slots": "blocks.", "mean_latent": "", "conv_pool": "layers.", "factors": ""}  # of an encoder, by their names
ENCODERS = {
    "slots": TemporalIdentityEncoder,
    "mean_latent": MeanLatentEncoder,
    "conv_pool": ConvPoolEncoder,
    "factors": FactorEncoder,
}


@dataclass(frozen=True)
class AdapterHeader:
    """What an adapter's file says beside its tensors.

    Attributes:
        temperature: of the encoder's assignments; None where there is no encoder.
    """

    config: AdapterConfig
    temperature: Annotated[float, Range(1e-4, 1e4)] | None

    def __post_init__(self):
        check_ranges(self)
        if self.config.encoder is not None and self.temperature is None:
            raise SlotIDError("Its encoder has no temperature. Choose another file.")


class SlotIDAdapter(nn.Module):
    """Turns reference latents into streams, and streams into an identity.

    `lora` holds the LoRA tensors by their file keys; applying them to a model is the model loader's part.
    """

    def __init__(self, config: AdapterConfig):
        super().__init__()
        self.config = config
        self.encoder = ENCODERS[config.encoder.architecture](config.encoder) if config.encoder else None
        self.anchor = ImageAnchor(config.anchor) if config.anchor else None
        norm = nn.LayerNorm if config.normalize_tokens else nn.Identity
        self.video_norm, self.image_norm = norm(config.model_width), norm(config.model_width)
        self.film = None
        if config.num_film_blocks:
            self.film = LowRankFiLM(config.global_width, config.film_rank, config.num_film_blocks, config.model_width)
        self.lora: dict[str, Tensor] = {}
        self.fingerprint = ""

    def forward(self, clip_latents: Tensor, portrait_latents: Tensor) -> Identity:
        """Reference latents (B, C, T, H, W) and portrait latents (B, C, 1, H, W) -> the identities of a batch."""
        return self.identity(*self.streams(clip_latents, portrait_latents))

    def streams(
        self, clip_latents: Tensor, portrait_latents: Tensor
    ) -> tuple[IdentityStream | None, IdentityStream | None]:
        """What the clip and the portrait say, None for a stream that this adapter does not have."""
        video = self.encoder(clip_latents) if self.encoder is not None else None
        image = self.anchor(portrait_latents) if self.anchor is not None else None
        return video, image

    def identity(
        self,
        video: IdentityStream | None,
        image: IdentityStream | None,
        gate: GateSchedule | None = None,
        gate_mode: GateMode | None = None,
        source: dict | None = None,
    ) -> Identity:
        """Join the streams. A missing stream is left out, and the other then speaks at every noise level."""
        evidence = image if video is None else video
        if evidence is None:
            raise SlotIDError("An identity needs slots, anchors, or both. Connect at least one stream.")
        gate = gate or self.config.gate
        if video is None or image is None:
            only = 0.0 if image is None else 1.0
            gate = GateSchedule("constant", low=only, high=only)
        image_tokens, image_film = self._tokens_and_film(image, self.image_norm, evidence)
        video_tokens, video_film = self._tokens_and_film(video, self.video_norm, evidence)
        return Identity(
            image_tokens=image_tokens, video_tokens=video_tokens, image_film=image_film, video_film=video_film,
            model_width=self.config.model_width, model_depth=self.config.model_depth, gate=gate,
            gate_mode=gate_mode or self.config.gate_mode, adapter_fingerprint=self.fingerprint, source=source or {},
            adapter_has_lora=bool(self.lora),
        )  # fmt: skip

    def _tokens_and_film(
        self, stream: IdentityStream | None, norm: nn.Module, like: IdentityStream
    ) -> tuple[Tensor, Tensor]:
        """Tokens (B, N, D) and FiLM (B, blocks, 2, D) of a stream; None gives no tokens and zeros, made as `like`."""
        if stream is None:
            width, tokens = self.config.model_width, like.tokens
            batch = tokens.shape[0]
            return tokens.new_zeros(batch, 0, width), tokens.new_zeros(batch, self.config.num_film_blocks, 2, width)
        tokens = norm(stream.tokens)
        if tokens.shape[-1] != self.config.model_width:
            raise SlotIDError(
                f"The stream has tokens of width {tokens.shape[-1]}, this adapter {self.config.model_width}. "
                "Encode the reference with the same adapter."
            )
        if self.film is None:
            return tokens, tokens.new_zeros(tokens.shape[0], 0, 2, self.config.model_width)
        return tokens, self.film(stream.global_vector)


def adapter_fingerprint(tensors: dict[str, Tensor], config: AdapterConfig) -> str:
    """SHA-256 over names, shapes, values and configuration: equal content, equal fingerprint, whatever the file."""
    digest = hashlib.sha256(repr(sorted(config.as_dict().items())).encode())
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def save_adapter(path: str | os.PathLike, adapter: SlotIDAdapter, training: dict | None = None) -> None:
    """Write the adapter. `training` are facts about how it was made (config, data hash, steps); JSON-ready."""
    header = {
        "kind": KIND,
        "version": VERSION,
        "config": adapter.config.as_dict(),
        "temperature": adapter.encoder.temperature if adapter.encoder else None,
        "training": training or {},
    }
    save_weights(path, {**adapter.state_dict(), **adapter.lora}, header)


def load_adapter(path: str | os.PathLike) -> SlotIDAdapter:
    """Read an adapter in float32 on the CPU, in evaluation mode.

    Raises:
        SlotIDError: not an adapter file, damaged, newer, with unknown settings or with tensors that do not fit.
    """
    tensors, header = load_weights(path, KIND, VERSION)
    lora = {name: tensor for name, tensor in tensors.items() if name.startswith(LORA_PREFIX)}
    weights = {name: tensor for name, tensor in tensors.items() if name not in lora}
    with naming(path):
        said = known_settings(AdapterHeader, header)
        config = said.config
        check_layers(weights, config)
        if lora:
            own = config.lora
            check_lora(lora, own.layers if own else (), own.rank if own else 0, config.model_width, config.model_depth)
        with torch.device("meta"):
            adapter = SlotIDAdapter(config)
        fill(adapter, floats(weights), "an adapter of the sizes that its header says")
    if adapter.encoder is not None and said.temperature is not None:
        adapter.encoder.temperature = said.temperature
    adapter.lora, adapter.fingerprint = lora, adapter_fingerprint(tensors, config)
    return adapter.eval().requires_grad_(False)


def check_layers(weights: dict[str, Tensor], config: AdapterConfig) -> None:
    """Raises a SlotIDError unless a file has as many layers as its settings say."""
    layers = {} if config.anchor is None else {"anchor.blocks.": config.anchor.num_layers}
    if config.encoder is not None and (name := LAYERS[config.encoder.architecture]):
        layers[f"encoder.{name}"] = config.encoder.num_layers
    for prefix, said in layers.items():
        if (held := count_numbered(weights, prefix)) != said:
            raise SlotIDError(f"Its header says num_layers {said}, but it holds {held} of {prefix[:-1]}.")
