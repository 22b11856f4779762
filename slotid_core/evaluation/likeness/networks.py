"""Scores of whole frames by published networks, each loaded from a folder where its files lie, and never downloaded.

A folder is as its makers publish it on Hugging Face: config.json, model.safetensors or pytorch_model.bin, and
tokenizer.json for texts. Networks are built by transformers and torchvision.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ...errors import SlotIDError
from ...tensor_shapes import fill
from ...weights import read_pth
from .consistency import consistency, dynamic_degree, frames_at
from .face_sets import FACE_FID, Inception
from .frames import Frames, evenly

IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
OPENAI = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
SIDE, BATCH = 224, 16
XCLIP_FRAMES, CLIP_FRAMES = 8, 16
TEXT_LENGTH = 77
LEAST_FOR_RAFT = 128  # pixels: below, torchvision's RAFT has nothing left to shrink


@dataclass(frozen=True)
class Network:
    """What a score needs: its folder's or file's name, and where that is published."""

    file: str
    where: str


NEEDED = {
    "subject_consistency": Network("dino-vitb16", "huggingface.co/facebook/dino-vitb16"),
    "background_consistency": Network("clip-vit-base-patch32", "huggingface.co/openai/clip-vit-base-patch32"),
    "clip_score": Network("clip-vit-base-patch32", "huggingface.co/openai/clip-vit-base-patch32"),
    "xclip": Network("xclip-base-patch32", "huggingface.co/microsoft/xclip-base-patch32"),
    "dynamic_degree": Network("raft_large_C_T_SKHT_V2-ff5fadd5.pth", "download.pytorch.org/models"),
    FACE_FID: Network("weights-inception-2015-12-05-6726825d.pth", "github.com/toshas/torch-fidelity/releases, v0.2.0"),
}
NETWORK_FIGURES = {
    "subject_consistency": "VBench's: DINO features of each frame against the frame before and the first",
    "background_consistency": "VBench's: the same with CLIP's features",
    "clip_score": "mean cosine of 16 frames and the prompt by CLIP ViT-B/32; a logit is a hundred times that",
    "xclip": "cosine of 8 frames and the prompt by X-CLIP",
    "xclip_half": "(1 + xclip) / 2, which fits the size of published values; no paper says that it is meant",
    "dynamic_degree": "VBench's rule, 1 if a video moves, on torchvision's RAFT instead of the original's weights",
}


class Networks:
    """The networks that lie in some folders; `missing` says of the others where they are published."""

    def __init__(self, folders: Sequence[Path]):
        self.places: dict[str, Path] = {}
        self.missing: dict[str, str] = {}
        for name, needed in NEEDED.items():
            found = [place for folder in folders for place in sorted(Path(folder).rglob(needed.file))]
            if found:
                self.places[name] = found[0]
            else:
                self.missing[name] = (
                    f"{needed.file} was not found. It is published at {needed.where}; name its folder with --models."
                )

    def figures(self, frames: Frames, prompt: str) -> dict[str, float]:
        """`video.<figure>` of every network that is there; those of the prompt where there is one."""
        found: dict[str, float] = {}
        if "subject_consistency" in self.places:
            found["subject_consistency"] = consistency(self.dino(frames))
        if "background_consistency" in self.places:
            found["background_consistency"] = consistency(self.clip(frames, range(len(frames))))
        if "dynamic_degree" in self.places:
            found["dynamic_degree"] = dynamic_degree(frames_at(frames, 8), self.flow)
        if prompt and "clip_score" in self.places:
            pictures = self.clip(frames, evenly(len(frames), CLIP_FRAMES))
            found["clip_score"] = float((pictures @ self.clip_text(prompt)).mean())
        if prompt and "xclip" in self.places:
            found["xclip"] = self.xclip(frames, prompt)
            found["xclip_half"] = (1 + found["xclip"]) / 2
        return {f"video.{name}": value for name, value in found.items()}

    @torch.inference_mode()
    def dino(self, frames: Frames) -> Tensor:
        """(T, D) unit vectors: the class token behind the last norm. Short side 224, not cropped."""
        model = load_dino(self.places["subject_consistency"])
        parts = []
        for start in range(0, len(frames), BATCH):
            pictures = pictures_of(frames, range(start, min(start + BATCH, len(frames))), IMAGENET, "bilinear", False)
            parts.append(model(pictures, interpolate_pos_encoding=True).last_hidden_state[:, 0])
        return F.normalize(torch.cat(parts), dim=-1)

    @torch.inference_mode()
    def clip(self, frames: Frames, indices) -> Tensor:
        """(N, D) unit vectors of CLIP's image side."""
        model, chosen = self._clip, list(indices)
        parts = []
        for start in range(0, len(chosen), BATCH):
            pictures = pictures_of(frames, chosen[start : start + BATCH], OPENAI, "bicubic", True)
            parts.append(model.visual_projection(model.vision_model(pictures).pooler_output))
        return F.normalize(torch.cat(parts), dim=-1)

    @torch.inference_mode()
    def clip_text(self, prompt: str) -> Tensor:
        """(D,) unit vector."""
        model = self._clip
        tokens = tokens_of(self.places["clip_score"], prompt)
        return F.normalize(model.text_projection(model.text_model(**tokens).pooler_output)[0], dim=-1)

    @torch.inference_mode()
    def xclip(self, frames: Frames, prompt: str) -> float:
        folder = self.places["xclip"]
        model = load_transformer(folder, "XCLIP")
        pictures = pictures_of(frames, evenly(len(frames), XCLIP_FRAMES), IMAGENET, "bilinear", True)
        if len(pictures) < XCLIP_FRAMES:
            pictures = pictures[torch.arange(XCLIP_FRAMES).clamp(max=len(pictures) - 1)]
        out = model(pixel_values=pictures[None], **tokens_of(folder, prompt))
        return float(out.logits_per_video[0, 0] / model.logit_scale.exp())

    @cached_property
    def _clip(self) -> Any:
        return load_transformer(self.places["background_consistency"], "CLIP")

    @cached_property
    def inception(self) -> Inception | None:
        """The network of face FID; None where its file or its package is not there, which `missing` then says."""
        if FACE_FID not in self.places:
            return None
        try:
            return Inception(self.places[FACE_FID])
        except SlotIDError as error:
            self.missing[FACE_FID] = str(error)
            return None

    @cached_property
    def flow(self) -> Callable[[Tensor, Tensor], Tensor]:
        """Frames (1, 3, H, W) in [0, 255] -> flow (2, H, W) in pixels."""
        from torchvision.models.optical_flow import raft_large

        model = raft_large(weights=None)
        fill(model, read_pth(self.places["dynamic_degree"]), "torchvision's RAFT", copy=True)
        model.eval().requires_grad_(False)

        @torch.inference_mode()
        def between(first: Tensor, second: Tensor) -> Tensor:
            height, width = first.shape[-2:]
            pad = (0, max(-width % 8, LEAST_FOR_RAFT - width), 0, max(-height % 8, LEAST_FOR_RAFT - height))
            one, two = (F.pad(frame / 127.5 - 1, pad, mode="replicate") for frame in (first, second))
            return model(one, two, num_flow_updates=20)[-1][0, :, :height, :width]

        return between


def pictures_of(frames: Frames, indices, norm: tuple, interpolation: str, crop: bool) -> Tensor:
    """(N, 3, H, W) as VBench's transforms make them: short side 224 without antialiasing, then normalised."""
    from torchvision.transforms import InterpolationMode
    from torchvision.transforms.functional import center_crop, normalize, resize

    pixels = torch.from_numpy(frames.pixels[list(indices)]).movedim(-1, 1)
    pixels = resize(pixels, [SIDE], InterpolationMode(interpolation), antialias=False)
    pixels = center_crop(pixels, [SIDE, SIDE]) if crop else pixels
    return normalize(pixels.float() / 255, list(norm[0]), list(norm[1]))


def tokens_of(folder: Path, text: str) -> dict[str, Tensor]:
    from tokenizers import Tokenizer

    file = folder / "tokenizer.json"
    if not file.is_file():
        raise SlotIDError(f"{file} is missing. Copy all files of {folder.name} from where it is published.")
    tokenizer = Tokenizer.from_file(str(file))
    tokenizer.enable_truncation(TEXT_LENGTH)
    encoded = tokenizer.encode(text)
    return {"input_ids": torch.tensor([encoded.ids]), "attention_mask": torch.tensor([encoded.attention_mask])}


def load_dino(folder: Path) -> Any:
    return load_transformer(folder, "ViT", pooling=False)


@lru_cache(maxsize=4)
def load_transformer(folder: Path, kind: str, pooling: bool = True) -> Any:
    """A model of transformers from a folder that is there; with `local_files_only` nothing is asked of the network.

    Raises:
        SlotIDError: the folder is incomplete, or of another model.
    """
    try:
        import transformers
    except ImportError as error:
        raise SlotIDError(f"transformers is not installed ({error}). pip install transformers") from error
    options: dict[str, Any] = {} if pooling else {"add_pooling_layer": False}
    try:
        model, told = getattr(transformers, f"{kind}Model").from_pretrained(
            folder, local_files_only=True, output_loading_info=True, **options
        )
    except (OSError, ValueError, RuntimeError) as error:
        reason = (str(error).splitlines() or [""])[0]
        raise SlotIDError(
            f"{folder.name} does not load ({reason}). Copy all of it from where it is published."
        ) from error
    if told["missing_keys"]:
        raise SlotIDError(f"{folder.name} has no tensor {sorted(told['missing_keys'])[0]!r}. Copy it again.")
    return model.float().eval().requires_grad_(False)
