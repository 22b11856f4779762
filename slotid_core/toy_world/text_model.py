"""The toy text encoder in plain PyTorch, for training where no ComfyUI is: one umT5 layer, prompts to context rows.

umT5 (Chung et al. 2023) is T5 1.1 (Raffel et al. 2020, §2.1) with position biases in every layer: RMS norm before
each part, attention without scaling, a gated GELU. Parity with ComfyUI's is a test.
"""

import math

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from .text_encoder import NUM_HEADS, RELATIVE_BUCKETS, TEXT_WIDTH

FARTHEST = 128  # beyond this many tokens, distances are not told apart
END, PADDING = 1, 0


class TextModel(nn.Module):
    """Built from the tensors of a toy text encoder file, `spiece_model` included."""

    def __init__(self, weights: dict[str, Tensor]):
        super().__init__()
        import sentencepiece

        self.tokenizer = sentencepiece.SentencePieceProcessor(
            model_proto=weights["spiece_model"].numpy().tobytes(), add_eos=True
        )
        for name, tensor in weights.items():
            if tensor.is_floating_point():
                self.register_buffer(name.replace(".", "_"), tensor.float())

    def weight(self, name: str) -> Tensor:
        return getattr(self, f"encoder_block_0_layer_{name}_weight".replace(".", "_"))

    def forward(self, prompts: list[str]) -> Tensor:
        """Prompts -> (B, M, 4096); a prompt's rows end with zeros, of which every prompt has at least one."""
        tokens = [self.tokenizer.encode(prompt) for prompt in prompts]
        length = 1 + max(len(row) for row in tokens)
        ids = torch.tensor([row + [PADDING] * (length - len(row)) for row in tokens])
        real = torch.arange(length) < torch.tensor([[len(row)] for row in tokens])  # (B, M)

        x = F.embedding(ids, self.shared_weight)
        x = x + self.attention(rms_norm(x, self.weight("0.layer_norm")), real)
        y = rms_norm(x, self.weight("1.layer_norm"))
        gate = F.gelu(y @ self.weight("1.DenseReluDense.wi_0").T, approximate="tanh")
        x = x + gate * (y @ self.weight("1.DenseReluDense.wi_1").T) @ self.weight("1.DenseReluDense.wo").T
        return rms_norm(x, self.encoder_final_layer_norm_weight) * real.unsqueeze(2)

    def attention(self, x: Tensor, real: Tensor) -> Tensor:
        """x (B, M, 4096), real (B, M) true where a row is not padding."""
        q, k, v = (
            rearrange(x @ self.weight(f"0.SelfAttention.{name}").T, "b m (h d) -> b h m d", h=NUM_HEADS)
            for name in "qkv"
        )
        bias = self.weight("0.SelfAttention.relative_attention_bias")[distance_buckets(x.shape[1])]
        logits = torch.einsum("bhmd,bhnd->bhmn", q, k) + rearrange(bias, "m n h -> h m n")
        logits = logits.masked_fill(~real[:, None, None, :], -torch.inf)
        out = rearrange(logits.softmax(-1) @ v, "b h m d -> b m (h d)")
        return out @ self.weight("0.SelfAttention.o").T


def rms_norm(x: Tensor, gain: Tensor) -> Tensor:
    return F.rms_norm(x, (TEXT_WIDTH,), gain, eps=1e-6)


def distance_buckets(length: int) -> Tensor:
    """Bucket of each pair (to, from) of rows: half for what lies behind, half ahead; fine near, coarse far. (M, M)"""
    distance = torch.arange(length)[None, :] - torch.arange(length)[:, None]
    half, near = RELATIVE_BUCKETS // 2, RELATIVE_BUCKETS // 4
    away = distance.abs()
    far = near + (torch.log(away.clamp(min=1) / near) / math.log(FARTHEST / near) * (half - near)).long()
    return torch.where(away < near, away, far.clamp(max=half - 1)) + half * (distance > 0)
