"""The LaVieID adapter: vision network of its own, local encoder, local router and LoRA, in one file."""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ...config import config_to_dict, known_settings
from ...errors import SlotIDError
from ...reference.portrait.components import NAMES
from ...tensor_shapes import fill, floats
from ...wan.lora import PREFIX as LORA_PREFIX
from ...wan.lora import check_lora
from ...weights import load_weights, naming, save_weights
from .config import CALLED, FILES, AdapterConfig
from .local_encoder import LocalEncoder
from .router import LocalRouter
from .vision import PatchEncoder, See, VisionFeatures

KIND = "lavie_id_adapter"
VERSION = 1
COMPONENTS = len(NAMES)


@dataclass(frozen=True)
class AdapterHeader:
    """What an adapter's file says beside its tensors."""

    config: AdapterConfig


class LaVieIDAdapter(nn.Module):
    """What makes a model draw a person from the components of a face.

    Args:
        fingerprint: of content; equal content, equal fingerprint, whatever the file.

    Attributes:
        lora: LoRA tensors by their file keys; putting them on a model is the model loader's part.
    """

    def __init__(self, config: AdapterConfig, fingerprint: str = ""):
        super().__init__()
        self.config, self.fingerprint = config, fingerprint
        self.lora: dict[str, Tensor] = {}
        encoder = config.encoder
        self.vision = PatchEncoder(config.vision) if config.vision.kind == "own" else None
        self.encoder = LocalEncoder(encoder, config.vision)
        self.router = LocalRouter(
            config.router, COMPONENTS, encoder.num_tokens, encoder.token_width, config.model_width
        )

    @property
    def needs_file(self) -> bool:
        """Whether the vision network is frozen, with a file of its own."""
        return self.vision is None

    def tokens(self, pictures: Tensor, places: Tensor, face: Tensor | None = None, see: See | None = None) -> Tensor:
        """Tokens (B, M, L, D) of people's components.

        Args:
            pictures: (B, M, 3, S, S) in [0, 1], as `reference.portrait.components` cuts them.
            places: (B, M, 4): shown or not, middle x and y, side.
            face: (B, face width) embedding, if the encoder reads one.
            see: the vision network, if it is none of the adapter's own.

        Raises:
            SlotIDError: what the encoder needs is missing, or of another size.
        """
        config, people, count = self.config, len(pictures), pictures.shape[1]
        self._check(pictures, face, see)
        look = self.vision if self.vision is not None else see
        assert look is not None  # as `_check` has seen
        features: VisionFeatures = look(pictures.flatten(0, 1))
        parts = [features.pooled, places[..., 1:].flatten(0, 1).to(features.pooled)]
        if config.encoder.face_width:
            assert face is not None
            parts.insert(0, face.to(features.pooled).repeat_interleave(count, dim=0))
        return self.encoder(features.levels, torch.cat(parts, dim=1)).unflatten(0, (people, count))

    def _check(self, pictures: Tensor, face: Tensor | None, see: See | None) -> None:
        config = self.config
        wanted = (COMPONENTS, 3, config.vision.side, config.vision.side)
        if tuple(pictures.shape[1:]) != wanted:
            raise SlotIDError(
                f"The adapter reads components of shape {wanted}; got {tuple(pictures.shape[1:])}. Cut them at the "
                "adapter's size (vision.side)."
            )
        if self.vision is None and see is None:
            kind = config.vision.kind
            raise SlotIDError(f"This adapter looks at components with {CALLED[kind]}. Give it {FILES[kind]}.")
        found = 0 if face is None else face.shape[1]
        if config.encoder.face_width and found != config.encoder.face_width:
            raise SlotIDError(
                f"This adapter needs a face embedding of {config.encoder.face_width} numbers; got {found or 'none'}. "
                "Give the face encoder that it was trained with."
            )

    def check_model(self, width: int, depth: int) -> None:
        """
        Raises:
            SlotIDError: the video model has another width or depth.
        """
        config = self.config
        if (width, depth) != (config.model_width, config.model_depth):
            raise SlotIDError(
                f"This LaVieID adapter is for a video model of width {config.model_width} with {config.model_depth} "
                f"blocks; this MODEL has width {width} and {depth} blocks. Use the adapter of this model "
                "(Wan 1.3B: 1536 × 30, 14B: 5120 × 40)."
            )


def adapter_fingerprint(tensors: Mapping[str, Tensor], config: AdapterConfig) -> str:
    """SHA-256 over names, shapes, values and settings."""
    digest = hashlib.sha256(repr(sorted(config_to_dict(config).items())).encode())
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def save_adapter(
    path: str | os.PathLike, config: AdapterConfig, tensors: dict[str, Tensor], training: dict | None = None
) -> None:
    """Write an adapter's tensors: by parameter name, and its LoRA's by file key.

    Args:
        training: facts about how it was made; JSON-ready.
    """
    header = {"kind": KIND, "version": VERSION, "config": config_to_dict(config), "training": training or {}}
    save_weights(path, tensors, header)


def load_adapter(path: str | os.PathLike) -> LaVieIDAdapter:
    """Read an adapter, frozen, in float32 on the CPU.

    Raises:
        SlotIDError: not an adapter file, damaged, newer, with unknown settings or with tensors that do not fit.
    """
    tensors, header = load_weights(path, KIND, VERSION)
    lora = {name: tensor for name, tensor in tensors.items() if name.startswith(LORA_PREFIX)}
    own = {name: tensor for name, tensor in tensors.items() if name not in lora}
    with naming(path):
        config = known_settings(AdapterHeader, header).config
        layers, rank = (config.lora.layers, config.lora.rank) if config.lora else ((), 0)
        check_lora(lora, layers, rank, config.model_width, config.model_depth)
        with torch.device("meta"):
            adapter = LaVieIDAdapter(config, adapter_fingerprint(tensors, config))
        fill(adapter, floats(own), "a LaVieID adapter of these settings")
    adapter.lora = lora
    return adapter.eval().requires_grad_(False)
