"""What Lynx costs in a sampling step of Wan 14B, beside the least that its arithmetic must cost.

One block of full width; lite adapts every second block, so in a whole step it costs half of what it does here. With a
GPU, 81 frames of 832 x 480 in bfloat16; without one a single small frame in float32, where the share of the added
attention is larger than in a video.
"""

import torch

from slotid_core.lynx import AttentionBranch, LynxCondition, install_lynx
from slotid_core.wan import WanConfig, WanModel

from .paired import Ratio, compare

WIDTH, FFN_WIDTH, TEXT_ROWS = 5120, 13824, 512
ID_TOKENS, LITE_TOKENS, REFERENCE_TOKENS = 32, 16, 256
LATENT_ON_GPU, LATENT_ON_CPU = (21, 60, 104), (1, 30, 52)


def limit(num_tokens: int, added_keys: int) -> float:
    """Multiplications in a block with Lynx over those without."""
    linear = num_tokens * (6 * WIDTH**2 + 2 * WIDTH * FFN_WIDTH) + TEXT_ROWS * 2 * WIDTH**2
    attention = 2 * num_tokens * WIDTH * (num_tokens + TEXT_ROWS)
    return 1 + 2 * num_tokens * WIDTH * added_keys / (linear + attention)


@torch.inference_mode()
def run() -> list[Ratio]:
    torch.manual_seed(0)
    on_gpu = torch.cuda.is_available()
    device, dtype = ("cuda", torch.bfloat16) if on_gpu else ("cpu", torch.float32)
    latent = LATENT_ON_GPU if on_gpu else LATENT_ON_CPU
    with torch.device(device):
        config = WanConfig(WIDTH, FFN_WIDTH, 1, WIDTH // 128)
        model = WanModel(config).eval().to(dtype)
        x, timestep = torch.randn(1, 16, *latent, dtype=dtype), torch.tensor([600.0])
        context = torch.randn(1, TEXT_ROWS, 4096, dtype=dtype)

        def branches(num_tokens: int, is_normalized: bool) -> dict[int, AttentionBranch]:
            def new():
                return torch.randn(2, num_tokens, WIDTH, dtype=dtype)

            return {0: AttentionBranch(new(), new(), is_normalized)}

        row = torch.tensor([1])
        full, reference = branches(ID_TOKENS, False), branches(REFERENCE_TOKENS, False)
        variants = {
            "lite": LynxCondition(row, branches(LITE_TOKENS, True)),
            "full": LynxCondition(row, full),
            "full + ref": LynxCondition(row, full, reference),
        }

    def step(condition: LynxCondition | None = None):
        options = {} if condition is None else install_lynx({}, model, condition, [0])
        model(x, timestep, context, transformer_options=options)
        if on_gpu:
            torch.cuda.synchronize()

    tokens = latent[0] * latent[1] * latent[2] // 4
    results = []
    for name, condition in variants.items():
        added = sum(part[0].key.shape[1] for part in (condition.face, condition.reference) if part)
        claim = f"Wan 14B block, {tokens} tokens: with Lynx {name} / without (limit {limit(tokens, added):.3f})"
        results.append(compare(claim, lambda condition=condition: step(condition), step, pairs=15 if on_gpu else 5))
    return results
