"""The frozen models of a preparation: Wan's VAE and text encoder, from files or from the toy world."""

import torch
from torch import Tensor

from ..errors import SlotIDError
from ..model_files import model_file
from ..precision import fast_dtype
from ..wan.text_encoder import TextEncoder
from ..wan.vae import WanVAE, normalize_latents
from ..wan.vae_chunks import encode_in_chunks
from ..weights import naming, read_tensors
from .config import PrepareConfig


class Encoders:
    """Pixels and captions to what a sample stores."""

    def __init__(self, config: PrepareConfig):
        self.device = pick_device(config.device)
        # The first kernel that is quick enough differs from run to run, and so would its last digits.
        torch.backends.cudnn.benchmark = False
        self.vae_dtype = fast_dtype(getattr(torch, config.vae_dtype), self.device)
        self.vae = load_vae(config.vae).to(device=self.device, dtype=self.vae_dtype)
        # As asked on any device: half precision is there for umT5-XXL's 23 GB, whatever it takes.
        self.text = load_text_encoder(config.text_encoder, getattr(torch, config.text_encoder_dtype), self.device)

    @torch.inference_mode()
    def latents(self, frames: Tensor) -> Tensor:
        """(T, H, W, 3) in [0, 1] -> normalised latents (16, (T+3)/4, H/8, W/8), float16 on the CPU."""
        pixels = frames.permute(3, 0, 1, 2)[None].to(device=self.device, dtype=self.vae_dtype) * 2 - 1
        return _stored(normalize_latents(encode_in_chunks(self.vae, pixels).float())[0], "the VAE")

    @torch.inference_mode()
    def text_rows(self, caption: str) -> Tensor:
        """Caption -> (M, 4096) of real tokens only, float16 on the CPU."""
        return _stored(self.text.encode(caption), "the text encoder")


def pick_device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.device(name)
    except RuntimeError as error:
        raise SlotIDError(f"There is no device {name!r} ({error}). Choose auto, cpu, cuda or cuda:1.") from error


def load_vae(path: str) -> WanVAE:
    """Frozen, in float32.

    Raises:
        SlotIDError: no such file, or not a Wan 2.1 VAE.
    """
    file = model_file(path, "vae")
    if not file.is_file():
        raise SlotIDError(f"There is no VAE file {path}. Give the path of wan_2.1_vae.safetensors, or toy_world.")
    with naming(file):
        return WanVAE.from_state_dict(read_tensors(file)[0])


def load_text_encoder(path: str, dtype: torch.dtype, device: torch.device) -> TextEncoder:
    return TextEncoder.from_file(model_file(path, "text_encoder"), dtype, device)


def _stored(tensor: Tensor, maker: str) -> Tensor:
    tensor = tensor.to(device="cpu", dtype=torch.float16).contiguous()
    if not torch.isfinite(tensor).all():
        raise SlotIDError(f"{maker} gave NaN or values beyond float16; try float32 for it")
    return tensor
