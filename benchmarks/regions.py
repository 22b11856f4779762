"""What a region costs in a sampling step of Wan 1.3B: half of the frame against all of it, and two people against one.

Two blocks of full width, 17 frames of 416 x 208 in float32; on a GPU 81 frames of 832 x 480 in bfloat16. Half of the
frame has half of the queries that the whole frame has, and two people in a half each have all of them.
"""

from collections.abc import Callable

import torch

from benchmarks.paired import Ratio, compare
from slotid_core.systems.lynx import AttentionBranch, LynxCondition, install_lynx
from slotid_core.systems.slot_id import GateSchedule, Identity
from slotid_core.systems.slot_id.inference import LoadedAdapter as SlotID
from slotid_core.systems.st_drc import LayoutConfig, ReferenceCondition, install_reference
from slotid_core.wan import WanConfig, WanModel
from slotid_core.wan.region import Region, box
from slotid_core.wan.together import Install, together

WIDTH, BLOCKS = 1536, 2
VIDEO, SMALL_VIDEO = (21, 60, 104), (5, 26, 52)
LEFT, RIGHT = box(0, 0, 0.5, 1), box(0.5, 0, 0.5, 1)
Person = Callable[[WanModel, Region | None], Install]


def identity(model: WanModel, region: Region | None) -> Install:
    film = torch.randn(2, 1, BLOCKS // 2, 2, WIDTH)
    tokens = torch.randn(1, 2, WIDTH), torch.randn(1, 6, WIDTH)
    person = Identity(*tokens, film[0], film[1], WIDTH, BLOCKS, GateSchedule())
    device = model.patch_embedding.weight.device
    return SlotID.install(object.__new__(SlotID), model, person.to(device, torch.float32), region)


def branches(model: WanModel, region: Region | None) -> Install:
    like = model.patch_embedding.weight
    made = {
        index: AttentionBranch(*torch.randn(2, 2, 512, WIDTH).to(like.device, like.dtype), is_normalized=True)
        for index in range(BLOCKS)
    }

    def install(options: dict, noisy, noise_level, context, strength) -> dict:
        tokens = None if region is None else region.tokens(grid_of(noisy), noisy.device)
        condition = LynxCondition(torch.ones(1, dtype=torch.long), made, made, region=tokens)
        return install_lynx(options, model, condition, range(BLOCKS))

    return install


def reference(model: WanModel, region: Region | None) -> Install:
    def install(options: dict, noisy, noise_level, context, strength) -> dict:
        tokens = None if region is None else region.tokens(grid_of(noisy), noisy.device)
        picture = torch.ones(1, 16, 1, *noisy.shape[3:], device=noisy.device)
        condition = ReferenceCondition(picture, LayoutConfig(), region=tokens)
        return install_reference(options, model, condition, grid_of(noisy), noisy)

    return install


def grid_of(noisy: torch.Tensor) -> tuple[int, int, int]:
    frames, height, width = noisy.shape[2:]
    return frames, height // 2, width // 2


PEOPLE: dict[str, Person] = {
    "rows and FiLM (Slot-ID)": identity, "branches (Lynx)": branches, "reference tokens (ST-DRC)": reference,
}  # fmt: skip


@torch.inference_mode()
def run() -> list[Ratio]:
    torch.manual_seed(0)
    on_gpu = torch.cuda.is_available()
    device, dtype = ("cuda", torch.bfloat16) if on_gpu else ("cpu", torch.float32)
    with torch.device(device):
        model = WanModel(WanConfig(num_layers=BLOCKS)).eval().to(dtype)
        noisy = torch.randn(1, 16, *(VIDEO if on_gpu else SMALL_VIDEO), dtype=dtype)
        context, level = torch.randn(1, 77, 4096, dtype=dtype), torch.tensor([0.6])
    ratios = []

    def step(*people: Install) -> Callable[[], object]:
        predict = together(model, people)

        def once():
            predict(noisy, level, context, torch.ones(1, device=device))
            if on_gpu:
                torch.cuda.synchronize()

        return once

    for name, person in PEOPLE.items():
        whole, left, right = (person(model, region) for region in (None, LEFT, RIGHT))
        pairs = 15 if on_gpu else 7
        tokens = noisy[0, 0].numel() // 4
        ratios += [
            compare(f"{name}, {tokens} tokens: half of the frame / all of it", step(left), step(whole), pairs),
            compare(f"{name}: two people, a half each / one in all of it", step(left, right), step(whole), pairs),
        ]
    return ratios


if __name__ == "__main__":
    for ratio in run():
        print(ratio, flush=True)
