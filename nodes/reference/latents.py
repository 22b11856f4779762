"""Face clip and portrait through ComfyUI's VAE, with the checks that keep a wrong VAE from giving wrong latents."""

import torch

from ...slotid_core.errors import SlotIDError
from ...slotid_core.reference.decode.window import largest_window
from ...slotid_core.reference.faces.crop import resized
from ...slotid_core.reference.faces.face_clip import check_frames

WAN_CHANNELS = 16


def encode_reference(
    vae, face_clip: torch.Tensor, portrait: torch.Tensor, progress
) -> tuple[torch.Tensor, torch.Tensor]:
    """(T, H, W, 3) and (1, H, W, 3) -> (1, 16, (T-1)/4 + 1, H/8, W/8) and (1, 16, 1, H/8, W/8)."""
    for name, pixels in (("face_clip", face_clip), ("portrait", portrait)):
        check_sides(name, pixels)
    frames = face_clip[: largest_window(len(face_clip))]
    latents = []
    for done, pixels in enumerate((frames, portrait[:1])):
        progress(done, 2)
        latents.append(encode_frames(vae, pixels))
    progress(2, 2)
    return latents[0], latents[1]


def scaled_to(name: str, pixels: torch.Tensor, side: int) -> torch.Tensor:
    """Square frames (T, H, H, 3) -> (T, side, side, 3), averaged where they shrink."""
    check_frames(pixels)
    height, width = pixels.shape[1:3]
    if height != width:
        raise SlotIDError(f"{name} is {width}x{height}; an adapter reads squares, as Track Face cuts them.")
    return pixels if height == side else resized(pixels[..., :3], side)


def encode_frames(vae, pixels: torch.Tensor) -> torch.Tensor:
    """4n+1 frames (T, H, W, 3) -> (1, 16, (T-1)/4 + 1, H/8, W/8), by Wan 2.1's VAE or an error."""
    _check_vae(vae)
    latent = vae.encode(pixels[:, :, :, :3])
    _check_latent(latent, pixels)
    return latent


def check_sides(name: str, pixels: torch.Tensor) -> None:
    check_frames(pixels)
    height, width = pixels.shape[1:3]
    if height % 16 or width % 16:
        raise SlotIDError(
            f"{name} is {width}x{height}; both sides must be multiples of 16. "
            "Set size in Track Face to one, such as 256."
        )


def _check_vae(vae) -> None:
    """Hunyuan's VAE makes latents of the very same shape, so shape alone is not enough."""
    channels = getattr(vae, "latent_channels", None)
    if channels != WAN_CHANNELS:
        raise SlotIDError(_wrong_vae(f"its latents have {channels} channels instead of {WAN_CHANNELS}"))
    kind = type(getattr(vae, "first_stage_model", None))
    if kind.__module__.startswith("comfy.ldm.") and not kind.__module__.startswith("comfy.ldm.wan."):
        raise SlotIDError(_wrong_vae(f"it is a {kind.__module__.split('.')[2]} {kind.__name__}"))


def _check_latent(latent: torch.Tensor, pixels: torch.Tensor) -> None:
    frames, height, width = pixels.shape[:3]
    expected = (1, WAN_CHANNELS, (frames - 1) // 4 + 1, height // 8, width // 8)
    if tuple(latent.shape) != expected:
        raise SlotIDError(_wrong_vae(f"it made latents of shape {tuple(latent.shape)} where Wan's are {expected}"))
    if not torch.isfinite(latent).all():
        raise SlotIDError(
            "The VAE gave NaN or infinite latents. Start ComfyUI with --fp32-vae, or load the VAE file again."
        )


def _wrong_vae(reason: str) -> str:
    return f"This is not Wan 2.1's VAE: {reason}. Load wan_2.1_vae.safetensors (Wan 2.2 14B uses it too)."
