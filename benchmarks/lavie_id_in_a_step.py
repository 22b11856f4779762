"""What LaVieID's router costs in a sampling step of Wan 1.3B, beside the least that its arithmetic must cost.

One block of full width, with the router of the recipe. A step has 30 blocks and one router: the first row says by
arithmetic what it costs there. With a GPU, 81 frames of 832 x 480 in bfloat16; without one, 17 frames of 416 x 240 in
float32. `python -m benchmarks.lavie_id_in_a_step --video` takes the 81 frames on a CPU too, every variant twice, in ten
minutes of one core.
"""

import sys
from collections.abc import Callable

import torch

from benchmarks.paired import Ratio, compare, compare_on_one_core, compare_rarely
from slotid_core.systems.lavie_id import LocalRouter, RouterCondition, RouterConfig, install_router
from slotid_core.systems.lavie_id.adapter import COMPONENTS
from slotid_core.wan import WanConfig, WanModel

WIDTH, FFN_WIDTH, TEXT_ROWS, BLOCKS = 1536, 8960, 512, 30
TOKENS, TOKEN_WIDTH = 32, 2048  # of a component
VIDEO, SMALL_VIDEO = (21, 60, 104), (5, 30, 52)
LEARNED = RouterConfig(inner_width=1536, heads=12, head_width=128)
# Everything but the attention of a component, which every component has: what equation 2 and its weights cost.
UNIFORM = RouterConfig(inner_width=1536, heads=12, head_width=128, routing="uniform")


def of_block(tokens: int) -> int:
    """Multiplications of one block without the router."""
    linear = tokens * (6 * WIDTH**2 + 2 * WIDTH * FFN_WIDTH) + TEXT_ROWS * 2 * WIDTH**2
    return linear + 2 * tokens * WIDTH * (tokens + TEXT_ROWS)


def of_router(tokens: int, config: RouterConfig) -> int:
    """Multiplications of the router; what depends on the person alone is computed once for a run."""
    inner = config.heads * config.head_width
    attention = 2 * WIDTH * inner + COMPONENTS * inner * (2 * TOKENS + 1)  # with the weights of each component
    weights = (WIDTH + COMPONENTS) * config.inner_width if config.routing == "learned" else 0
    return tokens * (attention + weights)


@torch.inference_mode()
def run(video: bool = False) -> list[Ratio]:
    torch.manual_seed(0)
    on_gpu = torch.cuda.is_available()
    video = video or on_gpu
    device, dtype = ("cuda", torch.bfloat16) if on_gpu else ("cpu", torch.float32)
    frames, height, width = VIDEO if video else SMALL_VIDEO
    tokens = frames * height * width // 4
    with torch.device(device):
        model = WanModel(WanConfig(num_layers=1)).eval().to(dtype)
        x, timestep = torch.randn(1, 16, frames, height, width, dtype=dtype), torch.tensor([600.0])
        context = torch.randn(1, TEXT_ROWS, 4096, dtype=dtype)
        person, shown = torch.randn(1, COMPONENTS, TOKENS, TOKEN_WIDTH, dtype=dtype), torch.ones(1, COMPONENTS)

        def condition(config: RouterConfig) -> RouterCondition:
            router = LocalRouter(config, COMPONENTS, TOKENS, TOKEN_WIDTH, WIDTH).eval().to(dtype)
            return RouterCondition(router, router.routes(person, shown))

        variants = {"the router": condition(LEARNED), "uniform weights": condition(UNIFORM)}

    def step(condition: RouterCondition | None = None):
        options = {} if condition is None else install_router({}, model, condition, tokens)
        model(x, timestep, context, transformer_options=options)
        if on_gpu:
            torch.cuda.synchronize()

    whole = VIDEO[0] * VIDEO[1] * VIDEO[2] // 4
    share = 1 + of_router(whole, LEARNED) / (BLOCKS * of_block(whole))
    claims: dict[str, Callable[[], object]] = {}
    for name, variant in variants.items():
        limit = 1 + of_router(tokens, variant.router.config) / of_block(tokens)
        claims[f"Wan 1.3B block, {tokens} tokens: {name} / without (limit {limit:.3f})"] = lambda variant=variant: step(
            variant
        )
    ratios = [Ratio(f"Wan 1.3B, {whole} tokens, all blocks: the router / without, by arithmetic", *[share] * 3)]
    if video and not on_gpu:
        return ratios + compare_rarely(claims, step)
    paired = compare if on_gpu else compare_on_one_core
    return ratios + [paired(claim, with_it, step) for claim, with_it in claims.items()]


if __name__ == "__main__":
    for ratio in run(video="--video" in sys.argv):
        print(ratio, flush=True)
