"""The toy text encoder is not trained: a random vector a word tells words apart; the video model learns the rest."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from .captions import caption, known_words
from .descriptions import describe, some_factors
from .family import WEIGHTS, has_part, read_part
from .person import sample_person
from .scene import sample_scene
from .text_encoder import looking_at_neighbours, text_encoder_weights, train_tokenizer, with_vectors_of


@dataclass(frozen=True)
class TextEncoderSettings:
    captions: int = 4000
    vocab_size: int = 1024  # at most; words of captions and the 256 bytes need fewer
    seed: int = 0
    start_from: str = "shipped"  # whose words keep their vectors: a folder of weights, or nobody's if empty


def make_text_encoder(settings: TextEncoderSettings | None = None) -> dict[str, Tensor]:
    settings = settings or TextEncoderSettings()
    tokenizer = train_tokenizer(map(sentence, range(settings.captions)), settings.vocab_size, known_words())
    weights = looking_at_neighbours(text_encoder_weights(tokenizer, vocabulary_size(tokenizer), settings.seed))
    known = WEIGHTS if settings.start_from == "shipped" else Path(settings.start_from)
    if settings.start_from and has_part("text_encoder", known):
        return with_vectors_of(weights, read_part("text_encoder", known)[0])
    return weights


def sentence(seed: int) -> str:
    """A caption; every other one describes its person."""
    person, scene, rng = sample_person(seed), sample_scene(seed), np.random.default_rng((seed, 53))
    factors = some_factors(person, scene, rng, at_most=8) if seed % 2 else ()
    return caption(scene, seed, describe(person, rng, factors))


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
