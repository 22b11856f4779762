"""Tiny checkpoints with random weights, in Wan's exact format, made on demand.

They prove the plumbing: the files load as a 14B model's do and run the same code. What they draw is noise.
"""

import os
from dataclasses import dataclass
from pathlib import Path

import torch

from ..wan import WanConfig, WanModel
from ..wan.vae import WanVAE, WanVAEConfig
from ..weights import save_weights
from .text_encoder import text_encoder_weights, train_tokenizer

WIDTH, DEPTH, SEED = 256, 5, 0
KIND, VERSION = "random_checkpoint", 2
# Enough text for a small vocabulary; bytes cover the rest.
SENTENCES = (
    "A woman smiles and nods in a sunny kitchen, wearing a red sweater.",
    "A man talks and turns his head on a beach at dusk, wearing a blue shirt.",
    "A person with glasses laughs in a library.",
)


@dataclass(frozen=True)
class CheckpointPaths:
    """The family: text-to-video and image-to-video transformers, VAE, text encoder."""

    t2v: Path
    i2v: Path
    vae: Path
    text_encoder: Path

    @classmethod
    def inside(cls, folder: str | os.PathLike) -> "CheckpointPaths":
        names = ("t2v", "i2v", "vae", "text_encoder")
        return cls(*(Path(folder) / f"random_v{VERSION}_{name}.safetensors" for name in names))


def random_checkpoints(folder: str | os.PathLike) -> CheckpointPaths:
    """Paths of the family in `folder`; what is missing is made, the same for everybody."""
    paths = CheckpointPaths.inside(folder)
    makers = {
        paths.t2v: lambda: _transformer(WanConfig(WIDTH, 512, DEPTH, WIDTH // 128)),
        paths.i2v: lambda: _transformer(WanConfig(WIDTH, 512, DEPTH, WIDTH // 128, in_dim=36, has_image_tokens=True)),
        paths.vae: lambda: WanVAE(WanVAEConfig(width=8)).state_dict(),
        paths.text_encoder: _text_encoder,
    }
    with torch.random.fork_rng(devices=[]):
        for path, make in makers.items():
            if not path.exists():
                torch.manual_seed(SEED)
                save_weights(path, make(), {"kind": KIND, "version": VERSION})
    return paths


def _transformer(config: WanConfig) -> dict[str, torch.Tensor]:
    return {name: tensor.half() for name, tensor in WanModel(config).state_dict().items()}


def _text_encoder() -> dict[str, torch.Tensor]:
    import sentencepiece

    tokenizer = train_tokenizer(SENTENCES, vocab_size=320)
    vocab_size = sentencepiece.SentencePieceProcessor(model_proto=tokenizer).get_piece_size()
    weights = text_encoder_weights(tokenizer, vocab_size, SEED)
    return {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in weights.items()}
