"""What a reference costs in a sampling step of Wan 1.3B, beside the least that its arithmetic must cost.

One block of full width. With a GPU, 81 frames of 832 x 480 in bfloat16; without one, 17 frames of 416 x 240 in
float32. `python -m benchmarks.st_drc_in_a_step --video` takes the 81 frames on a CPU too, every variant twice, in a
quarter of an hour of one core. A reference is one more latent frame, so the longer the video, the smaller its share.
"""

import sys
from collections.abc import Callable

import torch

from benchmarks.paired import Ratio, compare, compare_on_one_core, compare_rarely
from slotid_core.systems.st_drc import LayoutConfig, ReferenceCondition, install_reference
from slotid_core.systems.st_drc.random_checkpoints import random_adapter
from slotid_core.wan import WanConfig, WanModel
from slotid_core.wan.hooks.cache import RunCache

WIDTH, FFN_WIDTH, TEXT_ROWS, RANK = 1536, 8960, 512, 128
VIDEO, SMALL_VIDEO = (21, 60, 104), (5, 30, 52)
ALL = LayoutConfig()
ITSELF = LayoutConfig(reference_attends="itself", reads_text=False)


def multiplications(queries: int, keys: int, lora_tokens: int = 0) -> int:
    """Of one block: `queries` tokens run through it, and their self-attention reads `keys`."""
    linear = queries * (6 * WIDTH**2 + 2 * WIDTH * FFN_WIDTH) + TEXT_ROWS * 2 * WIDTH**2
    attention = 2 * queries * WIDTH * (keys + TEXT_ROWS)
    return linear + attention + lora_tokens * 4 * 2 * RANK * WIDTH


@torch.inference_mode()
def run(video: bool = False) -> list[Ratio]:
    torch.manual_seed(0)
    on_gpu = torch.cuda.is_available()
    video = video or on_gpu
    device, dtype = ("cuda", torch.bfloat16) if on_gpu else ("cpu", torch.float32)
    frames, height, width = VIDEO if video else SMALL_VIDEO
    with torch.device(device):
        model = WanModel(WanConfig(num_layers=1)).eval().to(dtype)
        x, timestep = torch.randn(1, 16, frames + 1, height, width, dtype=dtype), torch.tensor([600.0])
        context = torch.randn(1, TEXT_ROWS, 4096, dtype=dtype)
        picture = torch.randn(1, 16, 1, height, width)
    lora = random_adapter(WIDTH, 1, rank=RANK, tokens="reference").token_lora
    cache = RunCache()

    def step(condition: ReferenceCondition | None = None, more_frames: int = 0):
        options: dict = {}
        if condition is not None:
            grid = (frames, height // 2, width // 2)
            options = install_reference(options, model, condition, grid, x, cache, "reference")
        model(x[:, :, : frames + more_frames], timestep, context, transformer_options=options)
        if on_gpu:
            torch.cuda.synchronize()

    of_frame = height * width // 4
    tokens, more = frames * of_frame, (frames + 1) * of_frame
    everything, own = ReferenceCondition(picture, ALL), ReferenceCondition(picture, ITSELF)
    unmerged = ReferenceCondition(picture, ALL, lora=lora)
    step(own)  # keeps the keys and values that all later steps read
    # What a step does, and its multiplications.
    steps: dict[str, tuple[Callable[[], object], int]] = {
        "a reference that attends to all": (lambda: step(everything), multiplications(more, more)),
        "the same, LoRA unmerged": (lambda: step(unmerged), multiplications(more, more, lora_tokens=of_frame)),
        "one of own attention, cached": (lambda: step(own), multiplications(tokens, more)),
    }
    if not video or on_gpu:  # what the same tokens cost without any of our hooks
        steps["no reference, one frame more"] = (lambda: step(more_frames=1), multiplications(more, more))
    alone = multiplications(tokens, tokens)
    claims = {
        f"Wan 1.3B, {tokens} tokens: {name} / without (limit {number / alone:.3f})": function
        for name, (function, number) in steps.items()
    }
    if video and not on_gpu:
        return compare_rarely(claims, step)
    paired = compare if on_gpu else compare_on_one_core
    return [paired(claim, function, step) for claim, function in claims.items()]


if __name__ == "__main__":
    for ratio in run(video="--video" in sys.argv):
        print(ratio, flush=True)
