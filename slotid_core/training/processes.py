"""One process or many: what rank this is, and how parameters are shared out."""

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from ..errors import SlotIDError
from ..wan import WanModel
from ..wan.sequence import SequenceGroup
from .block_swap import swapped_weights
from .config import Distribution, RunConfig

LOST = re.compile(
    r"Connection (closed by|reset by) peer|Broken pipe|Connection refused|Timed out waiting", re.IGNORECASE
)


@dataclass(frozen=True)
class Processes:
    """
    Attributes:
        sharing: how many neighbouring processes compute each sample together (`wan.sequence`).
    """

    rank: int
    count: int
    device: torch.device
    sharing: int = 1

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    @property
    def teams(self) -> int:
        """Groups of processes, each of which computes its samples together."""
        return self.count // self.sharing

    @property
    def team(self) -> int:
        """Number of this process's own."""
        return self.rank // self.sharing

    def share(self, batch: int) -> range:
        """Rows of a global batch that are this process's team's."""
        each = batch // self.teams
        return range(self.team * each, (self.team + 1) * each)

    def mean(self, values: Tensor) -> Tensor:
        """Mean over processes of a small tensor."""
        if self.count > 1:
            dist.all_reduce(values)
            values = values / self.count
        return values

    def largest(self, number: int) -> int:
        """The largest number that any process says; every process must ask."""
        most = torch.tensor(number, device=self.device)
        if self.count > 1:
            dist.all_reduce(most, dist.ReduceOp.MAX)
        return int(most)

    def agree(self, number: int) -> bool:
        """Whether every process says the same number; every process must ask."""
        bounds = torch.tensor([number, -number], device=self.device)
        if self.count > 1:
            dist.all_reduce(bounds, dist.ReduceOp.MAX)
        return bool(bounds[0] == -bounds[1])


def start_processes() -> Processes:
    """Join the others that `torchrun` or `accelerate launch` started, if there are any."""
    count, rank = int(os.environ.get("WORLD_SIZE", 1)), int(os.environ.get("RANK", 0))
    has_gpu = torch.cuda.is_available()
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0))) if has_gpu else torch.device("cpu")
    if has_gpu:
        torch.cuda.set_device(device)
    if count > 1 and not dist.is_initialized():
        dist.init_process_group("nccl" if has_gpu else "gloo")
    return Processes(rank, count, device)


@contextmanager
def joined_processes() -> Iterator[Processes]:
    """As `start_processes`, and leaves the others at the end.

    A process that ends without leaving may abort, since gloo's threads still hold Python's tensors then.
    """
    try:
        yield start_processes()
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()


@contextmanager
def lost_processes(processes: Processes) -> Iterator[None]:
    """Say in words that another process of the run has ended; without it, nobody hears its part of a sum."""
    try:
        yield
    except RuntimeError as error:
        if processes.count == 1 or not (isinstance(error, dist.DistBackendError) or LOST.search(str(error))):
            raise
        raise SlotIDError(
            f"Process {processes.rank} waited for another one of the {processes.count} of this run, which has ended; "
            "what that one printed says why. Go on from the last checkpoint with --resume."
        ) from error


def with_teams(processes: Processes, run: RunConfig) -> Processes:
    """The processes of a run, in teams that share samples' tokens.

    Raises:
        SlotIDError: they cannot share samples or the batch evenly.
    """
    if processes.count % run.context_parallel:
        raise SlotIDError(
            f"run.context_parallel is {run.context_parallel}, and {processes.count} processes are no multiple of it. "
            "Start as many as make whole teams, or give 1."
        )
    processes = replace(processes, sharing=run.context_parallel)
    if run.batch % processes.teams:
        who = "processes" if processes.sharing == 1 else f"teams of {processes.sharing} processes"
        raise SlotIDError(
            f"run.batch is {run.batch}, which {processes.teams} {who} cannot share evenly. Make it a multiple."
        )
    return processes


def share_sequences(model: WanModel, processes: Processes) -> None:
    """Let the model's forward pass compute a part of each sample's tokens, the others being the team's.

    Raises:
        SlotIDError: the model's heads cannot be shared evenly.
    """
    if processes.sharing == 1:
        return
    check_heads(model, processes.sharing)
    team, _ = dist.new_subgroups(processes.sharing)
    model.sequence_group = SequenceGroup(team, processes.rank % processes.sharing, processes.sharing)


def check_heads(model: WanModel, sharing: int) -> None:
    """
    Raises:
        SlotIDError: so many processes cannot share the model's heads evenly.
    """
    heads = model.config.num_heads
    if heads % sharing:
        raise SlotIDError(
            f"run.context_parallel is {sharing}, and this model has {heads} attention heads, which so many processes "
            "cannot share evenly. Give a number that divides them."
        )


def distribute(strategy: nn.Module, parts: Sequence[nn.Module], how: Distribution, processes: Processes) -> nn.Module:
    """The module to call instead of `strategy`, on the device, with gradients averaged over processes.

    "fsdp" also shards every parameter but those of swapped blocks, which `BlockSwap` shares out. It gathers `parts` one
    at a time: modules of the strategy, inner ones first.
    """
    if processes.count == 1 or how == "ddp":
        strategy.to(processes.device)
    if processes.count == 1:
        return strategy
    if how == "ddp":
        devices = [processes.device] if processes.device.type == "cuda" else None
        return nn.parallel.DistributedDataParallel(strategy, device_ids=devices)
    from torch.distributed.device_mesh import init_device_mesh

    mesh = init_device_mesh(processes.device.type, (processes.count,))
    for part in (*parts, strategy):
        fully_shard(part, mesh=mesh, ignored_params=swapped_weights(part))
    return strategy


def gather_full(tensor: Tensor) -> Tensor:
    """A tensor gathered from its shards, on the CPU; every process must ask."""
    if isinstance(tensor, DTensor):
        tensor = tensor.full_tensor()
    return tensor.detach().cpu()


def scatter_into(into: Tensor, value: Tensor) -> None:
    """Write a whole tensor into one that may be sharded."""
    if isinstance(into, DTensor):
        value = distribute_tensor(value.to(into.device, into.dtype), into.device_mesh, into.placements)
    with torch.no_grad():
        into.copy_(value)


@contextmanager
def unsharded(strategy: nn.Module):
    """Under FSDP, gather what is called outside the root's own forward."""
    if isinstance(strategy, FSDPModule):
        strategy.unshard()
    yield
    if isinstance(strategy, FSDPModule):
        strategy.reshard()
