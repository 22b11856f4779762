"""Runs LaVieID's networks on the device that ComfyUI chose for them."""

import comfy.model_management
import torch
from comfy.model_patcher import ModelPatcher

from ...slotid_core.errors import SlotIDError
from ...slotid_core.reference.faces.alignment import align_face
from ...slotid_core.reference.faces.detector import Detector
from ...slotid_core.reference.faces.face_encoder import load_face_encoder
from ...slotid_core.reference.portrait.components import Components
from ...slotid_core.reference.portrait.faces_of_clip import best_faces
from ...slotid_core.systems.lavie_id import LaVieIDAdapter
from ...slotid_core.systems.lavie_id.config import CALLED, FILES
from ...slotid_core.systems.lavie_id.vision import See, VisionFeatures, check_clip, clip_features, load_vision


def encode(
    adapter: LaVieIDAdapter, components: Components, face: torch.Tensor | None, clip_vision, eva_path: str = ""
) -> tuple[torch.Tensor, torch.Tensor]:
    """tokens (1, M, L, D) and shown (1, M), on the CPU.

    Raises:
        SlotIDError: the adapter needs a vision network or a face embedding, and it is not there, or is another.
    """
    see = None
    if adapter.config.vision.kind == "clip_vit_h" and clip_vision is not None:
        see = vision_of(adapter, clip_vision)
    if adapter.config.vision.kind == "eva02_clip_l" and eva_path:
        see = eva_of(adapter, eva_path)
    patcher = on_device(adapter)
    device = patcher.load_device
    pictures, places = (t[None].to(device, torch.float32) for t in (components.pictures, components.places))
    tokens = patcher.model.tokens(pictures, places, None if face is None else face.to(device), see)
    return tokens.cpu(), (components.places[None, :, 0] > 0.5).float()


def on_device(network: torch.nn.Module) -> ModelPatcher:
    patcher = ModelPatcher(
        network,
        load_device=comfy.model_management.get_torch_device(),
        offload_device=comfy.model_management.unet_offload_device(),
    )
    comfy.model_management.load_models_gpu([patcher], force_full_load=True)
    return patcher


def vision_of(adapter: LaVieIDAdapter, clip_vision) -> See:
    """ComfyUI's CLIP_VISION as the adapter's eyes."""
    vision, network = adapter.config.vision, clip_vision.model
    check_clip(network, vision)

    def see(pictures: torch.Tensor) -> VisionFeatures:
        comfy.model_management.load_model_gpu(clip_vision.patcher)
        device = clip_vision.load_device

        def run(pixels: torch.Tensor) -> torch.Tensor:
            return network(pixel_values=pixels, intermediate_output=-2)[2]

        found = clip_features(network, pictures.to(device), vision.levels, run)
        return VisionFeatures([level.to(pictures) for level in found.levels], found.pooled.to(pictures))

    return see


def eva_of(adapter: LaVieIDAdapter, path: str) -> See:
    """EVA02-CLIP-L of a file, which ComfyUI's CLIP_VISION does not know, as the adapter's eyes."""
    vision = adapter.config.vision
    patcher = on_device(load_vision(path, vision).float())

    def see(pictures: torch.Tensor) -> VisionFeatures:
        found = clip_features(patcher.model, pictures.to(patcher.load_device), vision.levels)
        return VisionFeatures([level.to(pictures) for level in found.levels], found.pooled.to(pictures))

    return see


def face_embedding(
    pictures: torch.Tensor, path: str, detector: Detector, on_missing: str, in_the_middle: bool = False
) -> torch.Tensor:
    """(1, W) of length 1, the mean of the pictures'. `in_the_middle`: as for `best_faces`."""

    def crop(picture: torch.Tensor) -> torch.Tensor:
        if in_the_middle:
            return best_faces(picture, detector, 1, on_missing, in_the_middle=True).embedding_crops[0]
        return align_face(picture, detector, on_missing).embedding_crop

    patcher = on_device(load_face_encoder(path))
    inputs = torch.stack([crop(picture[None]) for picture in pictures]).permute(0, 3, 1, 2) * 2 - 1
    found = patcher.model(inputs.to(patcher.load_device))
    return torch.nn.functional.normalize(found.mean(dim=0, keepdim=True), dim=1).cpu()


def check_needs(adapter: LaVieIDAdapter, clip_vision, has_encoder: bool, has_eva: bool = False) -> None:
    """
    Raises:
        SlotIDError: the adapter reads what is not connected.
    """
    kind = adapter.config.vision.kind
    if kind == "clip_vit_h" and clip_vision is None:
        raise SlotIDError(
            "This adapter looks at components with CLIP ViT-H. Load clip_vision_h.safetensors with Load CLIP "
            "Vision and connect it."
        )
    if kind == "eva02_clip_l" and not has_eva:
        raise SlotIDError(
            f"This adapter looks at components with {CALLED[kind]}. Put {FILES[kind]} into models/clip_vision and "
            "choose it as eva_clip."
        )
    if adapter.config.encoder.face_width and not has_encoder:
        raise SlotIDError(
            "This adapter reads a face embedding. Choose the face_encoder that it was trained with, usually "
            "recognition_arcface_ir_se50.pth in models/facexlib."
        )
