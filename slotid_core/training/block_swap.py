"""Frozen blocks that live in the host's memory and come to the device one after the other, ahead of their use.

A block's frozen weights lie together in host memory, pinned where the device is a GPU, and go to one of two buffers of
the device. While a block computes, the next one is copied by a stream of its own. Nothing goes back: frozen weights do
not change. The backward pass recomputes a block first (`activation_checkpointing`), so it needs a block's weights once
more, in the opposite order. Between its passes a swapped weight is empty, so that whatever else would read it fails.

Processes may share a block out: each then keeps its part in its host's memory, copies that to its device, and gathers
the others' parts from their devices.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ..errors import SlotIDError
from .host_memory import HostMemory

BUFFERS = 2
ALIGNMENT = 256  # bytes; as the allocators of both sides align a tensor


@dataclass(frozen=True)
class Weight:
    """A frozen parameter of a block, and where it lies in the block's memory."""

    module: nn.Module
    name: str
    path: str  # in the block as it was read
    start: int
    shape: torch.Size
    dtype: torch.dtype

    def of(self, memory: Tensor) -> nn.Parameter:
        """The weight in a block's memory, (bytes,) of uint8."""
        length = self.shape.numel() * self.dtype.itemsize
        values = memory[self.start : self.start + length].view(self.dtype).view(self.shape)
        return nn.Parameter(values, requires_grad=False)

    def put(self, parameter: nn.Parameter) -> None:
        """Another object, not other data: what a recomputed block keeps for its backward pass must stay as it is."""
        self.module.register_parameter(self.name, parameter)


@dataclass(frozen=True)
class BlockPart:
    """Which of `of` equal parts of a block's memory this process keeps."""

    number: int = 0
    of: int = 1

    def in_(self, memory: Tensor) -> Tensor:
        """This part of (bytes,), a multiple of `of`."""
        size = len(memory) // self.of
        return memory[self.number * size : (self.number + 1) * size]


class BlockSwap:
    """Takes the frozen weights of some blocks of a model, and brings them to the device for each pass.

    Args:
        part: with several, all processes make the same passes, and each keeps its part of every block.

    Attributes:
        bytes_moved: from this process's host memory to its device since the start.
        block_bytes: bytes of each swapped block's frozen weights on the device, by its index.

    Raises:
        SlotIDError: blocks without recomputation, more than the model has, or blocks that have nothing frozen.
    """

    def __init__(self, model: nn.Module, count: int, device: torch.device, part: BlockPart = BlockPart()):
        blocks = model.get_submodule("blocks")
        assert isinstance(blocks, nn.ModuleList)
        check_count(count, len(blocks), bool(getattr(model, "activation_checkpointing", False)))
        self.device, self.part, self.bytes_moved = device, part, 0
        self._pinned = device.type == "cuda"
        self.weights: dict[int, list[Weight]] = {}
        self.host: dict[int, HostMemory] = {}
        self.block_bytes: dict[int, int] = {}
        for index in spread(count, len(blocks)):
            self._take(index, blocks[index])
        self.experts = [self.host]
        largest = max(self.block_bytes.values(), default=0)
        self.buffers = [
            torch.empty(largest, dtype=torch.uint8, device=device) for _ in range(min(BUFFERS, len(self.host)))
        ]
        self.held: list[int | None] = [None] * len(self.buffers)  # the block that each buffer holds or will hold
        self.order = sorted(self.host)
        self.last = self.order[0] - 1 if self.order else -1
        self.forward = True
        on_gpu = device.type == "cuda"
        self.stream = torch.cuda.Stream(device) if on_gpu else None
        self.copied = [torch.cuda.Event() if on_gpu else None for _ in self.buffers]

    def _take(self, index: int, block: nn.Module) -> None:
        """Move a block's frozen weights into the host's memory, and wrap its forward pass."""
        frozen = [
            (module, name, plain_name(f"{path}.{name}" if path else name), parameter)
            for path, module in block.named_modules()
            for name, parameter in module.named_parameters(recurse=False)
            if not parameter.requires_grad
        ]
        if not frozen:
            raise SlotIDError(
                f"model.swapped_blocks: every weight of block {index} trains, and only frozen ones can be swapped. Set "
                "it to 0."
            )
        weights, end = [], 0
        for module, name, path, parameter in frozen:
            weights.append(Weight(module, name, path, end, parameter.shape, parameter.dtype))
            end += -(-parameter.numel() * parameter.element_size() // ALIGNMENT) * ALIGNMENT
        size = ALIGNMENT * self.part.of
        memory = torch.zeros(-(-end // size) * size, dtype=torch.uint8)
        for weight, (*_, parameter) in zip(weights, frozen, strict=True):
            weight.of(memory).copy_(parameter)
            weight.put(self.nothing(weight.dtype))
        self.weights[index], self.block_bytes[index] = weights, len(memory)
        self.host[index] = HostMemory(self.part.in_(memory), self._pinned)
        block.forward = self._wrapped(index, block.forward)

    def nothing(self, dtype: torch.dtype) -> nn.Parameter:
        """What stands in place of a swapped weight between passes."""
        return nn.Parameter(torch.empty(0, dtype=dtype, device=self.device), requires_grad=False)

    def add(self, model: nn.Module) -> None:
        """Another expert's blocks, for `use`; its model has no LoRA.

        Raises:
            SlotIDError: a model of another size.
        """
        given = dict(model.named_parameters())
        memories = {}
        for index, weights in self.weights.items():
            memory = torch.empty(self.block_bytes[index], dtype=torch.uint8)
            for weight in weights:
                value = given.get(f"blocks.{index}.{weight.path}")
                if value is None or value.shape != weight.shape or value.dtype != weight.dtype:
                    raise SlotIDError(
                        f"The two experts differ in blocks.{index}.{weight.path}. Give both files of one Wan 2.2 "
                        "model, the high-noise one as model.path and the other as model.low_noise_path."
                    )
                weight.of(memory).copy_(value)
            memories[index] = HostMemory(self.part.in_(memory), self._pinned)
        self.experts.append(memories)

    def use(self, expert: int) -> None:
        """Bring this expert's blocks from now on; 0 is the one that the model was made with."""
        self.host = self.experts[expert]
        self.held = [None] * len(self.buffers)

    def _wrapped(self, index: int, forward: Callable) -> Callable:
        def swapped(*args, **kwargs):
            memory = self.bring(index)
            for weight in self.weights[index]:
                weight.put(weight.of(memory))
            try:
                return forward(*args, **kwargs)
            finally:  # recomputation leaves a block by an exception, as soon as it has what it wants
                for weight in self.weights[index]:
                    weight.put(self.nothing(weight.dtype))

        return swapped

    def bring(self, index: int) -> Tensor:
        """The memory of a block on the device; the one that comes after it is on its way when this returns."""
        if index == self.last:  # the last block of the forward pass is the first of the backward pass, and back
            self.forward = not self.forward
        else:
            self.forward = index > self.last
        self.last = index
        place = self._place(index)
        if self.held[place] != index:
            self._copy(index, place)
        copied = self.copied[place]
        if copied is not None:
            torch.cuda.current_stream(self.device).wait_event(copied)
        self._copy_ahead(index)
        return self.buffers[place][: self.block_bytes[index]]

    def _copy_ahead(self, index: int) -> None:
        """Blocks run strictly in order, and in the opposite order backwards, so the other buffer's block is done."""
        position = self.order.index(index) + (1 if self.forward else -1)
        if 0 <= position < len(self.order) and len(self.buffers) > 1:
            coming = self.order[position]
            place = self._place(coming)
            if self.held[place] != coming:
                self._copy(coming, place)

    def _place(self, index: int) -> int:
        """Neighbours in the order are in different buffers."""
        return self.order.index(index) % len(self.buffers)

    def _copy(self, index: int, place: int) -> None:
        self.held[place] = index
        self.bytes_moved += len(self.host[index])
        into = self.buffers[place][: self.block_bytes[index]]
        with self._beside():
            own = self.part.in_(into)
            self.host[index].copy_to(own)
            if self.part.of > 1:
                dist.all_gather_into_tensor(into, own)
            copied = self.copied[place]
            if copied is not None:
                copied.record()

    def _beside(self) -> AbstractContextManager:
        """A stream that starts when all that was asked of the device until now, which may read the buffer, is done."""
        if self.stream is None:
            return nullcontext()
        self.stream.wait_stream(torch.cuda.current_stream(self.device))
        return torch.cuda.stream(self.stream)


def swapped_weights(model: nn.Module) -> set[nn.Parameter]:
    """What stands in the place of swapped weights now."""
    return {parameter for parameter in model.parameters() if not parameter.numel() and not parameter.requires_grad}


def plain_name(name: str) -> str:
    """A parameter's name without what LoRA layers put into it."""
    return name.replace("base_layer.", "")


def spread(count: int, blocks: int) -> list[int]:
    """Which of `blocks` are swapped: evenly spread, so that the others' work hides the copies."""
    return [place * blocks // count for place in range(count)]


def bytes_of_a_step(block_bytes: Sequence[float], passes: int = 1, ways: tuple[float, float] = (1.0, 1.0)) -> float:
    """What must move in a step of `passes` micro-batches, each of which goes forward and backward as often as `ways`
    says: every swapped block once each way, but for those that the buffers still hold at a turn."""
    turning = sum(sorted(block_bytes)[: max(0, len(block_bytes) - BUFFERS)])
    turns, others = 2 * min(ways), abs(ways[0] - ways[1])
    return passes * (turns * turning + others * (sum(block_bytes) if len(block_bytes) > BUFFERS else 0.0))


def check_count(count: int, blocks: int, recomputes: bool) -> None:
    """Raises a SlotIDError for a number of swapped blocks that cannot be."""
    if count > blocks:
        raise SlotIDError(f"model.swapped_blocks is {count}, and the model has {blocks} blocks. Set it to {blocks}.")
    if count and not recomputes:
        raise SlotIDError(
            f"model.swapped_blocks is {count} without recomputation, which would keep every swapped weight for the "
            "backward pass. Set model.activation_checkpointing to true."
        )
