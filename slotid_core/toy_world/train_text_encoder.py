"""The toy text encoder is not trained: a random vector a word tells words apart; the video model learns the rest."""

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from .captions import caption, known_words
from .scene import sample_scene
from .text_encoder import text_encoder_weights, train_tokenizer


@dataclass(frozen=True)
class TextEncoderSettings:
    captions: int = 4000
    vocab_size: int = 512  # at most; words of captions and the 256 bytes need fewer
    seed: int = 0


def make_text_encoder(settings: TextEncoderSettings | None = None) -> dict[str, Tensor]:
    settings = settings or TextEncoderSettings()
    sentences = (caption(sample_scene(seed), seed) for seed in range(settings.captions))
    tokenizer = train_tokenizer(sentences, settings.vocab_size, known_words())
    return text_encoder_weights(tokenizer, vocabulary_size(tokenizer), settings.seed)


def vocabulary_size(tokenizer: bytes) -> int:
    import sentencepiece

    return sentencepiece.SentencePieceProcessor(model_proto=tokenizer).get_piece_size()


def train_text_encoder(folder: Path, settings: TextEncoderSettings, device: str = "cpu") -> None:
    """Nothing to do; `finish_text_encoder` makes it in a second."""


def finish_text_encoder(folder: Path, settings: TextEncoderSettings, seed: int):
    weights = make_text_encoder(settings)
    return (
        weights,
        0,
        {"text_encoder_words": float(len(known_words())), "text_encoder_tokens": len(weights["shared.weight"])},
    )
