"""A text encoder of umT5's form, small enough to ship: one thin layer, its sentencepiece model inside the file."""

import io
from collections.abc import Iterable

import torch
from torch import Tensor

from ..wan.text_encoder import distance_buckets

TEXT_WIDTH = 4096
NUM_HEADS, HEAD_DIM, FFN_DIM = 2, 8, 32
RELATIVE_BUCKETS = 32
# Beside this bias, what small queries add to the logits decides nothing.
NEIGHBOUR_BIAS, QUERY_SCALE = 8.0, 0.05


def umt5_config(vocab_size: int) -> dict:
    """Settings under which ComfyUI builds its umT5 at this size; width 4096 is Wan's and cannot change."""
    return {
        "num_layers": 1, "d_model": TEXT_WIDTH, "d_ff": FFN_DIM, "num_heads": NUM_HEADS, "d_kv": HEAD_DIM,
        "vocab_size": vocab_size,
    }  # fmt: skip


def train_tokenizer(sentences: Iterable[str], vocab_size: int, whole_words: Iterable[str] = ()) -> bytes:
    """A serialized sentencepiece model; bytes stand in for what it has not seen, so any prompt can be encoded.

    `whole_words`, in lower case, are one token each, and then upper case is read as lower.
    """
    import sentencepiece

    pieces = [f"\N{LOWER ONE EIGHTH BLOCK}{word}" for word in whole_words]
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(sentences), model_writer=model, vocab_size=vocab_size, hard_vocab_limit=False,
        byte_fallback=True, pad_id=0, eos_id=1, unk_id=2, bos_id=-1, num_threads=1, minloglevel=2,
        normalization_rule_name="nmt_nfkc_cf" if pieces else "nmt_nfkc",
        user_defined_symbols=pieces,
    )  # fmt: skip
    return model.getvalue()


def text_encoder_weights(tokenizer: bytes, vocab_size: int, seed: int) -> dict[str, Tensor]:
    """Random weights under umT5's keys, with the tokenizer as `spiece_model`.

    A fixed random embedding tells words apart, which is all that a model trained on it needs; the thin layer adds a
    little of the neighbours.
    """
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int, std: float) -> Tensor:
        return std * torch.randn(*shape, generator=generator)

    inner = NUM_HEADS * HEAD_DIM
    block = "encoder.block.0.layer"
    weights = {
        "shared.weight": normal(vocab_size, TEXT_WIDTH, std=1.0),
        "encoder.final_layer_norm.weight": torch.ones(TEXT_WIDTH),
        f"{block}.0.layer_norm.weight": torch.ones(TEXT_WIDTH),
        f"{block}.1.layer_norm.weight": torch.ones(TEXT_WIDTH),
        f"{block}.0.SelfAttention.relative_attention_bias.weight": normal(RELATIVE_BUCKETS, NUM_HEADS, std=0.5),
        f"{block}.0.SelfAttention.o.weight": normal(TEXT_WIDTH, inner, std=inner**-0.5),
        f"{block}.1.DenseReluDense.wo.weight": normal(TEXT_WIDTH, FFN_DIM, std=FFN_DIM**-0.5),
    }
    for name in "qkv":
        weights[f"{block}.0.SelfAttention.{name}.weight"] = normal(inner, TEXT_WIDTH, std=TEXT_WIDTH**-0.5)
    for name in ("wi_0", "wi_1"):
        weights[f"{block}.1.DenseReluDense.{name}.weight"] = normal(FFN_DIM, TEXT_WIDTH, std=TEXT_WIDTH**-0.5)
    weights["spiece_model"] = torch.frombuffer(bytearray(tokenizer), dtype=torch.uint8).clone()
    return weights


def looking_at_neighbours(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """`weights` whose thin layer adds to each word a mark of the word before it (head 0) and behind it (head 1).

    "brown" is then not the same row in "brown hair" as in "brown eyes". Cross-attention to these rows knows no
    positions, and could not bind an adjective to its noun otherwise.
    """
    attention = "encoder.block.0.layer.0.SelfAttention"
    return {
        **weights,
        f"{attention}.relative_attention_bias.weight": neighbour_bias(),
        f"{attention}.q.weight": QUERY_SCALE * weights[f"{attention}.q.weight"],
    }


def neighbour_bias() -> Tensor:
    """Position biases (buckets, heads): head 0 looks one token back, head 1 one ahead."""
    bias = torch.zeros(RELATIVE_BUCKETS, NUM_HEADS)
    buckets = distance_buckets(2, RELATIVE_BUCKETS)
    bias[buckets[1, 0], 0] = bias[buckets[0, 1], 1] = NEIGHBOUR_BIAS
    return bias


def with_vectors_of(weights: dict[str, Tensor], known: dict[str, Tensor]) -> dict[str, Tensor]:
    """`weights`, but tokens that `known` has too keep their vectors, and what is drawn at random stays as it is there.

    Where heads look is not taken over: queries and position biases stay those of `weights`.
    """
    before = {piece: row for row, piece in enumerate(pieces_of(known))}
    vectors = weights["shared.weight"].clone()
    for row, piece in enumerate(pieces_of(weights)):
        if piece in before:
            vectors[row] = known["shared.weight"][before[piece]].float()
    own = ("shared.weight", "spiece_model", ".q.weight", "relative_attention_bias.weight")
    kept = {name: known[name].float() for name in weights if not name.endswith(own)}
    return {**weights, **kept, "shared.weight": vectors}


def pieces_of(weights: dict[str, Tensor]) -> list[str]:
    """The tokens of a text encoder, in the order of its vectors."""
    import sentencepiece

    model = sentencepiece.SentencePieceProcessor(model_proto=weights["spiece_model"].numpy().tobytes())
    return [model.id_to_piece(number) for number in range(model.get_piece_size())]
