"""What Lynx costs in a sampling step of Wan 14B, beside the least that its arithmetic must cost.

One block of full width; lite adapts every second block, so in a whole step it costs half of what it does here. With a
GPU, 81 frames of 832 x 480 in bfloat16; without one a single small frame in float32, where the share of the added
attention is larger than in a video. `python -m benchmarks.lynx_in_a_step --video` takes the 81 frames on a CPU too,
every variant twice, in about an hour of one core.
"""

import sys
from functools import partial

import torch

from benchmarks.paired import Ratio, compare, compare_rarely
from slotid_core.systems.lynx import AttentionBranch, LynxCondition, install_lynx
from slotid_core.wan import WanConfig, WanModel

WIDTH, FFN_WIDTH, TEXT_ROWS = 5120, 13824, 512
ID_TOKENS, LITE_TOKENS, REFERENCE_TOKENS = 32, 16, 256
VIDEO, SMALL_FRAME = (21, 60, 104), (1, 30, 52)


def limit(num_tokens: int, added_keys: int) -> float:
    """Multiplications in a block with Lynx over those without."""
    linear = num_tokens * (6 * WIDTH**2 + 2 * WIDTH * FFN_WIDTH) + TEXT_ROWS * 2 * WIDTH**2
    attention = 2 * num_tokens * WIDTH * (num_tokens + TEXT_ROWS)
    return 1 + 2 * num_tokens * WIDTH * added_keys / (linear + attention)


@torch.inference_mode()
def run(video: bool = False) -> list[Ratio]:
    torch.manual_seed(0)
    on_gpu = torch.cuda.is_available()
    video = video or on_gpu
    device, dtype = "cuda" if on_gpu else "cpu", torch.bfloat16 if video else torch.float32
    latent = VIDEO if video else SMALL_FRAME
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
    claims = {
        name: f"Wan 14B block, {tokens} tokens: with Lynx {name} / without "
        f"(limit {limit(tokens, added_keys(variant)):.3f})"
        for name, variant in variants.items()
    }
    if video and not on_gpu:
        steps = {claims[name]: partial(step, variant) for name, variant in variants.items()}
        return compare_rarely(steps, step)
    pairs = 15 if on_gpu else 5
    return [
        compare(claims[name], lambda variant=variant: step(variant), step, pairs=pairs)
        for name, variant in variants.items()
    ]


def added_keys(variant: LynxCondition) -> int:
    return sum(part[0].key.shape[1] for part in (variant.face, variant.reference) if part)


if __name__ == "__main__":
    for ratio in run(video="--video" in sys.argv):
        print(ratio)
