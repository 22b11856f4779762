"""Both experts of Wan 2.2 behind one adapter: one of them on the device, both in the host's memory.

They have the same modules, so that only frozen weights are exchanged. What trains stays where it is and learns with
both. A step works with one expert (`noise.NoiseLevels`), and blocks that `BlockSwap` brings come from that expert's
memory.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor

from ..errors import SlotIDError
from ..wan import WanModel
from ..wan.guidance import Predict
from .block_swap import BlockSwap, plain_name
from .noise import NoiseLevels


class Experts:
    """Exchanges the frozen weights of `model`, which holds the first expert's.

    Args:
        model: with LoRA or without, wrapped and on the device already.
        other: the second expert as it was read.
        swap: what brings blocks of `model`; it has `other`'s blocks too.

    Raises:
        SlotIDError: the two are models of different sizes.
    """

    def __init__(self, model: WanModel, other: WanModel, levels: NoiseLevels, swap: BlockSwap | None = None):
        self.levels, self.swap, self.active = levels, swap, 0
        self.bytes_moved = 0
        given = dict(frozen_tensors(other))
        pinned = next(model.parameters()).device.type == "cuda"
        self.places: list[Tensor] = []
        self.weights: tuple[list[Tensor], list[Tensor]] = [], []
        for name, tensor in frozen_tensors(model):
            if not tensor.numel():  # a swapped one
                continue
            second = given.get(name)
            if second is None or second.shape != tensor.shape:
                raise SlotIDError(
                    f"The two experts differ in {name}. Give both files of one Wan 2.2 model, the high-noise one as "
                    "model.path and the other as model.low_noise_path."
                )
            self.places.append(local(tensor))
            for kept, value in zip(self.weights, (tensor, like(second, tensor)), strict=True):
                on_host = local(value).detach().to("cpu", copy=True)
                kept.append(on_host.pin_memory() if pinned else on_host)

    @torch.no_grad()
    def use(self, expert: int) -> None:
        """Put an expert's weights into the model."""
        if expert == self.active:
            return
        for place, value in zip(self.places, self.weights[expert], strict=True):
            place.copy_(value, non_blocking=True)
            self.bytes_moved += value.numel() * value.element_size()
        if self.swap is not None:
            self.swap.use(expert)
        self.active = expert

    def following(self, predict: Predict) -> Predict:
        """The prediction by the expert of each noise level, for sampling; all rows have one level."""

        def by_expert(noisy: Tensor, noise_level: Tensor, context: Tensor, strength: Tensor | None) -> Tensor:
            self.use(self.levels.expert_of(float(noise_level[0])))
            return predict(noisy, noise_level, context, strength)

        return by_expert


def frozen_tensors(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Frozen parameters, and scales of eight-bit weights, by Wan's own names."""
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            yield plain_name(name), parameter
    for name, buffer in model.named_buffers():
        yield plain_name(name), buffer


def local(tensor: Tensor) -> Tensor:
    """This process's part, which shares its memory."""
    tensor = tensor.detach()
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def like(value: Tensor, other: Tensor) -> Tensor:
    """The value, shared out as the other is."""
    if not isinstance(other, DTensor):
        return value
    return distribute_tensor(value.detach().to(other.device), other.device_mesh, other.placements)
