"""LaVieID's temporal module, of width 1024 and six layers, against Wan 2.1's VAE decoding the same latents.

By arithmetic, counted by PyTorch on tensors without content, for 81 frames of 480 x 832. By time for the same on a GPU;
without one for 9 frames of 128 x 208 in two chunks. The arithmetic of the same size stands beside each time.
"""

from collections.abc import Callable

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.paired import Ratio, compare
from slotid_core.systems.lavie_id.temporal import TemporalConfig, TemporalModule
from slotid_core.systems.lavie_id.temporal.chunks import chunk_length
from slotid_core.wan.vae import WanVAE

CONFIG = TemporalConfig()
VIDEO, SMALL_VIDEO = (21, 60, 104), (3, 16, 26)  # latent frames, height, width
MOST = 0.05


def both(
    video: tuple[int, int, int], device: str, dtype: torch.dtype = torch.float32
) -> tuple[Callable[[], object], Callable[[], object]]:
    """The module on latents of this size, and the decoder."""
    with torch.device(device):
        module, vae = TemporalModule(CONFIG).eval().to(dtype), WanVAE().eval().to(dtype)
        latents = torch.randn(1, 16, *video, dtype=dtype)
    length = chunk_length(video[0], CONFIG.chunks)
    return (lambda: module(latents, CONFIG.beta, length)), (lambda: vae.decode(latents))


@torch.inference_mode()
def multiplications(video: tuple[int, int, int]) -> tuple[int, int]:
    """Of the module, and of the decoder."""
    counted = []
    for function in both(video, "meta"):
        with FlopCounterMode(display=False) as counter:
            function()
        counted.append(counter.get_total_flops() // 2)
    return counted[0], counted[1]


def share(video: tuple[int, int, int]) -> float:
    module, decoder = multiplications(video)
    return module / decoder


@torch.inference_mode()
def run() -> list[Ratio]:
    torch.manual_seed(0)
    whole, on_gpu = share(VIDEO), torch.cuda.is_available()
    ratios = [Ratio(f"temporal module / VAE decoding 81 x 480 x 832, by arithmetic (at most {MOST})", *[whole] * 3)]
    video = VIDEO if on_gpu else SMALL_VIDEO
    frames, height, width = 4 * video[0] - 3, 8 * video[1], 8 * video[2]
    for dtype in (torch.bfloat16, torch.float32) if on_gpu else (torch.float32,):
        module, decode = both(video, "cuda" if on_gpu else "cpu", dtype)
        claim = f"temporal module / VAE decoding {frames} x {height} x {width}, {dtype}"
        functions = [waited_for(function) if on_gpu else function for function in (module, decode)]
        claim = f"{claim.replace('torch.', '')} (arithmetic {share(video):.3f})"
        ratios.append(compare(claim, functions[0], functions[1], pairs=5 if on_gpu else 3))
    return ratios


def waited_for(function: Callable[[], object]) -> Callable[[], object]:
    def wait() -> None:
        function()
        torch.cuda.synchronize()

    return wait


if __name__ == "__main__":
    for ratio in run():
        print(ratio, flush=True)
