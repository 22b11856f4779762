"""The local router: weights of facial components for each video token, and the tokens refined by them.

LaVieID, section 3.2:

    w_m = softmax over m of (W_m l̃_m W_l W_zᵀ z̃ᵀ)      (equation 2)
    z* = z + α Σ_m w_mᵀ ⊙ φ(l_m, z)                     (equation 3)

z are the video's tokens, l_m those of component m, ~ is layer normalisation. φ is cross-attention from z to l_m; it has
the form of ConsisID's and PuLID's, with ConsisID's key names. What depends on the person alone is computed once.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from ...wan.attention import dot_product_attention
from .config import RouterConfig


@dataclass(frozen=True)
class Routes:
    """What the router knows of P people before it sees a video.

    Attributes:
        keys: (P, M, D"), W_m l̃_m W_l of each component; with a null component (P, M + 1, D"), it last.
        key, value: (P, M, heads, L, head width) of φ.
        shown: (P, M) boolean, components that the reference shows.
    """

    keys: Tensor
    key: Tensor
    value: Tensor
    shown: Tensor

    def of_rows(self, rows: Tensor) -> "Routes":
        """Those of people `rows` (R,) int64, in this order."""
        rows = rows.to(self.keys.device)
        return Routes(self.keys[rows], self.key[rows], self.value[rows], self.shown[rows])

    def to(self, like: Tensor) -> "Routes":
        return Routes(self.keys.to(like), self.key.to(like), self.value.to(like), self.shown.to(like.device))


class CrossAttention(nn.Module):
    """φ: video tokens z (B, N, D') attend to the tokens of one component. Its output layer is zero at the start."""

    def __init__(self, token_width: int, model_width: int, heads: int, head_width: int):
        super().__init__()
        self.heads = heads
        inner = heads * head_width
        self.norm1 = nn.LayerNorm(token_width)
        self.norm2 = nn.LayerNorm(model_width)
        self.to_q = nn.Linear(model_width, inner, bias=False)
        self.to_kv = nn.Linear(token_width, 2 * inner, bias=False)
        self.to_out = nn.Linear(inner, model_width, bias=False)
        nn.init.zeros_(self.to_out.weight)

    def keys_and_values(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """(P, M, L, D) -> two of (P, M, heads, L, head width)."""
        both = self.to_kv(self.norm1(tokens))
        key, value = rearrange(both, "p m l (two h d) -> two p m h l d", two=2, h=self.heads)
        return key, value

    def forward(self, z: Tensor, key: Tensor, value: Tensor, weights: Tensor) -> Tensor:
        """Σ_m w_m ⊙ φ(l_m, z): z (B, N, D'), key and value (B, M, h, L, d), weights (B, N, M) -> (B, N, D').

        The output layer is linear, so it comes once, behind the sum.
        """
        q = rearrange(self.to_q(self.norm2(z)), "b n (h d) -> b h n d", h=self.heads)
        routed = torch.zeros_like(q)
        for component in range(key.shape[1]):
            weight = weights[:, None, :, component, None].to(q.dtype)  # (B, 1, N, 1)
            routed = routed + weight * dot_product_attention(q, key[:, component], value[:, component])
        return self.to_out(rearrange(routed, "b h n d -> b n (h d)"))


class LocalRouter(nn.Module):
    """
    Args:
        components: M; num_tokens, token_width: L and D of a component's tokens; model_width: D'.
    """

    def __init__(self, config: RouterConfig, components: int, num_tokens: int, token_width: int, model_width: int):
        super().__init__()
        self.config, self.components = config, components
        self.attention = CrossAttention(token_width, model_width, config.heads, config.head_width)
        self.is_learned = config.routing == "learned"
        if not self.is_learned:
            return
        inner = config.inner_width
        self.norm_l = nn.LayerNorm(token_width)
        self.norm_z = nn.LayerNorm(model_width)
        # W_m of all components. With these scales the logits of equation 2, which has no scale of its own, are about 1.
        self.gather = nn.Parameter(torch.randn(components, num_tokens) * num_tokens**-0.5)
        self.to_l = nn.Linear(token_width, inner, bias=False)
        self.to_z = nn.Linear(model_width, inner, bias=False)
        nn.init.normal_(self.to_l.weight, std=(token_width * inner) ** -0.5)
        nn.init.normal_(self.to_z.weight, std=model_width**-0.5)
        self.null_key = nn.Parameter(torch.zeros(inner)) if config.null_component else None

    def routes(self, tokens: Tensor, shown: Tensor) -> Routes:
        """tokens (P, M, L, D) of people and which of their components are shown (P, M) -> what a pass needs."""
        key, value = self.attention.keys_and_values(tokens)
        if not self.is_learned:
            return Routes(tokens.new_zeros(*shown.shape, 0), key, value, shown.bool())
        keys = self.to_l(torch.einsum("ml,pmld->pmd", self.gather, self.norm_l(tokens)))
        if self.null_key is not None:
            keys = torch.cat([keys, self.null_key.expand(len(keys), 1, -1)], dim=1)
        return Routes(keys, key, value, shown.bool())

    def logits(self, z: Tensor, routes: Routes) -> Tensor:
        """(B, N, M), with a null component (B, N, M + 1), float32 or finer; -inf for components that are not shown."""
        if not self.is_learned:
            logits = z.new_zeros(*z.shape[:2], self.components)
        else:
            logits = self.to_z(self.norm_z(z)) @ routes.keys.transpose(1, 2)
        logits = logits if logits.dtype == torch.float64 else logits.float()
        shown = routes.shown
        if logits.shape[2] > shown.shape[1]:
            shown = F.pad(shown, (0, 1), value=True)
        return logits.masked_fill(~shown[:, None], -torch.inf)

    def forward(self, z: Tensor, routes: Routes) -> tuple[Tensor, Tensor]:
        """Video tokens z (B, N, D') of rows whose people are `routes`, at least one component shown in each.

        Returns:
            Σ_m w_m ⊙ φ(l_m, z), like z; and the logits of w.
        """
        logits = self.logits(z, routes)
        weights = logits.softmax(dim=2)[..., : self.components]
        return self.attention(z, routes.key, routes.value, weights), logits
