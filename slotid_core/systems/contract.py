"""What a system gives to preparation, training, inference and evaluation.

A system is a folder of this package, listed in `registry`. Two of its modules are found by name:

    strategy.py    `Strategy`, a class as described below, and `ObjectiveSettings`, a frozen dataclass
    inference.py   `INFERENCE`, an object as described below

Nothing outside of the folder names the system. `training`, `dataset` and `evaluation` ask the registry.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from ..errors import SlotIDError
from ..wan import WanModel
from ..wan.guidance import Predict
from ..wan.packing import grid_of
from ..wan.region import Region
from ..wan.together import Install


@dataclass(frozen=True)
class Batch:
    """Samples of a step, and everything random about them.

    Attributes:
        video: (B, 16, T, H, W) normalised latents to learn.
        context: (B, M, 4096) text rows; the last one is zero and stands for all padding.
        noise: like `video`; noise_level: (B,) in [0, 1].
        has_identity: (B,) 0 or 1; where it is 0 the sample is trained without identity.
        described: (B, M', 4096) text rows of captions that also describe the person, all zero where a sample is not
            taught by them; None if none is. See `SharedObjective.described_weight`.
        conditions: further inputs of the system: prepared tensors by name, and what `Strategy.draw` gives.
        start: (B, 20, T, H, W), what image-to-video models are given of the first frame: a mask of four channels, and
            latents of the clip with all later frames grey; None for text-to-video.
    """

    video: Tensor
    context: Tensor
    noise: Tensor
    noise_level: Tensor
    has_identity: Tensor
    conditions: dict[str, Tensor] = field(default_factory=dict)
    described: Tensor | None = None
    start: Tensor | None = None

    def __len__(self) -> int:
        return len(self.video)

    def map(self, change: Callable[[Tensor], Tensor]) -> "Batch":
        """The batch with every tensor changed."""
        core = {name: change(getattr(self, name)) for name in CORE_FIELDS}
        described, start = (None if value is None else change(value) for value in (self.described, self.start))
        conditions = {name: change(tensor) for name, tensor in self.conditions.items()}
        return Batch(**core, conditions=conditions, described=described, start=start)

    def to(self, device: torch.device) -> "Batch":
        return self.map(lambda tensor: tensor.to(device, non_blocking=True))

    @property
    def noisy(self) -> Tensor:
        """(B, 16, T, H, W), the video with noise."""
        return torch.lerp(self.video, self.noise, self.noise_level.view(-1, 1, 1, 1, 1))

    @property
    def model_input(self) -> Tensor:
        """(B, 16 or 36, T, H, W), what the video model predicts from."""
        return self.noisy if self.start is None else torch.cat([self.noisy, self.start.to(self.video)], dim=1)

    @property
    def velocity(self) -> Tensor:
        """(B, 16, T, H, W), what is to be predicted."""
        return self.noise - self.video

    @property
    def parts(self) -> tuple["Batch", ...]:
        """Batches of one size each; see `PackedBatch`."""
        return (self,)

    def split(self, size: int) -> list["Batch"]:
        """Batches of at most `size` rows."""
        return [
            self.map(lambda tensor, start=start: tensor[start : start + size]) for start in range(0, len(self), size)
        ]


FACE_SHARES = "face_shares"  # condition: how much of each place of the video's latents shows the face
CORE_FIELDS = tuple(entry.name for entry in fields(Batch) if entry.name not in ("conditions", "described", "start"))


@dataclass(frozen=True)
class PackedBatch:
    """Samples of any sizes that go through the video model as one sequence; see `wan.packing`.

    Attributes:
        parts: a batch of one row for each sample.
        conditions: those tensors of the samples that are of one size, (B, ...), as in `Batch`. The others are in
            `parts` alone.
        context, noise_level, has_identity, described: of all samples, as in `Batch`.
    """

    parts: tuple[Batch, ...]
    context: Tensor
    noise_level: Tensor
    has_identity: Tensor
    conditions: dict[str, Tensor] = field(default_factory=dict)
    described: Tensor | None = None

    def __len__(self) -> int:
        return len(self.parts)

    def to(self, device: torch.device) -> "PackedBatch":
        return packed([part.to(device) for part in self.parts])

    def split(self, budget: int, appended_frames: int = 0) -> list["PackedBatch"]:
        """Packed batches of at most `budget` tokens each; a sample that is larger by itself is alone.

        The largest samples are placed first, each where there is room for it.

        Args:
            appended_frames: latent frames that a system puts behind each video.
        """
        sizes = [token_count(part.video, appended_frames) for part in self.parts]
        packs: list[list[int]] = []
        room: list[int] = []
        for index in sorted(range(len(sizes)), key=lambda index: (-sizes[index], index)):
            place = next((place for place, left in enumerate(room) if left >= sizes[index]), len(packs))
            if place == len(packs):
                packs.append([])
                room.append(budget)
            packs[place].append(index)
            room[place] -= sizes[index]
        return [packed([self.parts[index] for index in pack]) for pack in packs]


def errors_of(batch: "AnyBatch", velocities: Sequence[Tensor]) -> list[Tensor]:
    """How far predictions for each of `batch.parts` are from what is right, in float32."""
    return [velocity.float() - part.velocity for part, velocity in zip(batch.parts, velocities, strict=True)]


def face_loss(error: Tensor, shares: Tensor) -> Tensor:
    """Mean squared error (B,) of a velocity's error (B, C, T, H, W) over where the face is; 0 where it is nowhere.

    Args:
        shares: (B, T, H, W) from 0 to 1. A face that covers less than one place counts as much less.
    """
    places = shares.sum((1, 2, 3))
    return (error.square().mean(1) * shares).sum((1, 2, 3)) / places.clamp(min=1)


# What a step hands to a strategy: samples of one size, or packed ones.
AnyBatch = Batch | PackedBatch


def token_count(video: Tensor, appended_frames: int = 0) -> int:
    """Tokens that each sample of latents (B, 16, T, H, W) has in the video model."""
    frames, height, width = grid_of(video)
    return (frames + appended_frames) * height * width


def packed(parts: Sequence[Batch]) -> PackedBatch:
    """Batches of one row each, whose contexts have one length, as a packed one."""
    joined: dict[str, Tensor] = {}
    for name in parts[0].conditions:
        values = [part.conditions[name] for part in parts]
        if len({value.shape for value in values}) == 1:
            joined[name] = torch.cat(values)
    context, noise_level, has_identity = (
        torch.cat([getattr(part, name) for part in parts]) for name in ("context", "noise_level", "has_identity")
    )
    described = [part.described for part in parts if part.described is not None]
    return PackedBatch(
        tuple(parts), context, noise_level, has_identity, joined, torch.cat(described) if described else None
    )


@dataclass(frozen=True)
class SharedObjective:
    """Flow matching: z_t = (1 - t) z + t ε, the target is ε - z (Slot-ID, section 3.1). The same for every system.

    Attributes:
        timestep_shift: 1 draws t uniformly; more draws higher noise more often, as Wan's sampling schedule does.
        text_dropout, identity_dropout, joint_dropout: shares of samples without prompt, without identity, without
            both; guidance needs them.
        change_weight: weight of the error's change from frame to frame. Most of a video stands still, so flow matching
            alone says little about how somebody moves. The change is linear in the error: the best velocity stays.
        described_weight: weight of the squared distance to what the frozen model predicts for a caption that describes
            the person. The target of flow matching is one noisy draw; this one has no noise of its own, so the adapter
            learns sooner to say what words can say. Words are coarse, so the weight falls linearly to 0 ...
        described_steps: ... over this share of the run. Needs data that was prepared with descriptions.
        face_area_weight: weight of the mean squared error where the video shows the face, which is added to that of all
            of it: a face is a small part of a picture, and the part that identity is about. Needs data that was
            prepared with `face_shares`, which says whether boxes or masks count.
        stratified: the samples of a step draw their noise levels from equal shares of all, one each, so that the loss
            of a step says less of which levels it happened to draw.
    """

    timestep_shift: float = 1.0
    text_dropout: float = 0.1
    identity_dropout: float = 0.1
    joint_dropout: float = 0.05
    change_weight: float = 0.0
    described_weight: float = 0.0
    described_steps: float = 0.5
    face_area_weight: float = 0.0
    stratified: bool = False

    def __post_init__(self):
        shares = (self.text_dropout, self.identity_dropout, self.joint_dropout)
        if min(shares) < 0 or sum(shares) > 1:
            raise SlotIDError(f"text, identity and joint dropout are shares of one whole; got {shares}.")
        for name in ("change_weight", "described_weight", "face_area_weight"):
            if getattr(self, name) < 0:
                raise SlotIDError(f"{name} must not be negative; got {getattr(self, name)}.")
        if not 0 < self.described_steps <= 1:
            raise SlotIDError(
                f"described_steps is a share of the run, above 0 and at most 1; got {self.described_steps}."
            )

    def loss(self, error: Tensor) -> Tensor:
        """Flow matching's loss (B,) of a velocity's error (B, C, T, H, W)."""
        return error.square().mean((1, 2, 3, 4))

    def auxiliary_loss(self, error: Tensor, batch: Batch) -> Tensor:
        """What training adds to it (B,).

        Args:
            batch: the samples whose error it is.
        """
        loss = error.new_zeros(len(error))
        if self.change_weight and error.shape[2] > 1:  # pictures do not move
            # Half, as the difference of two independent errors is twice as large.
            loss = loss + self.change_weight * 0.5 * error.diff(dim=2).square().mean((1, 2, 3, 4))
        if self.face_area_weight:
            loss = loss + self.face_area_weight * face_loss(error, batch.conditions[FACE_SHARES])
        return loss

    def losses(self, errors: Sequence[Tensor]) -> Tensor:
        """`loss` (B,) of errors of one size each."""
        return torch.cat([self.loss(error) for error in errors])

    def auxiliary_losses(self, errors: Sequence[Tensor], batch: "AnyBatch") -> Tensor:
        """`auxiliary_loss` (B,) of errors of one size each."""
        pairs = zip(errors, batch.parts, strict=True)
        return torch.cat([self.auxiliary_loss(error, part) for error, part in pairs])

    def described_weight_at(self, step: int, steps: int) -> float:
        """Weight of the described captions at a step of a run of `steps`."""
        return self.described_weight * max(0.0, 1 - step / (self.described_steps * steps))


@dataclass(frozen=True)
class StrategySettings:
    """What a strategy is built from.

    Attributes:
        adapter: settings of the system's adapter, as in the recipe.
        objective: the part of the objective that all systems share.
        own_objective: the system's `ObjectiveSettings`.
        steps: of the whole run.
        start_from: an adapter file whose weights come in place of fresh ones; "" for none.
        data: settings that the data was prepared with; empty where they are not known, as in a dry run.
    """

    adapter: dict
    objective: SharedObjective
    own_objective: object
    steps: int
    start_from: str = ""
    data: Mapping = field(default_factory=dict)


class Strategy(Protocol):
    """What is special about training a system. An `nn.Module` that holds the frozen backbone and all that learns, so
    that DDP and FSDP see every parameter in one place.

    `forward(batch)` gives the loss of each sample (B,); in training mode with what else the objective asks for.
    """

    # Prepared tensors that it reads beside video and text; they become `Batch.conditions`.
    required_tensors: tuple[str, ...]
    # The one of them, latents (16, T, h, w), that a sheet of samples shows above the result; "" for none.
    shown_tensor: str
    # Names of parts whose learning rate can be multiplied (`optimizer.lr_multipliers`).
    parameter_groups: tuple[str, ...]
    # The video model, with LoRA where the system has any.
    model: WanModel
    # Rows of the text context that the system needs for itself.
    text_rows: int
    # `required_tensors` may come from another clip of the person. What is read of the very clip to learn is named by
    # `target_tensors: tuple[str, ...]`; what an objective that looks at faces would read of either, by the class's
    # `face_tensors: tuple[str, ...]`, which are prepared where there is a face encoder. Without them there are none.
    # A system that runs other networks in a training step estimates what they hold in bytes, beside the video model:
    # `held_bytes(height, width, samples, size)` of latents, and of a number. Without it there is nothing.
    # How often a sample goes through the video model in a step, forward and backward, where that is not once each:
    # `backbone_passes: tuple[float, float]`.
    # `figures: dict[str, Tensor]`, each (B,): what the last `forward` in evaluation mode measured beside the loss;
    # validation reports their means. Without it there are none.
    # A strategy whose `forward` takes a `PackedBatch` as well, and pictures (T = 1), says so by `packs = True`. The
    # axis of latent frames of each target tensor that has one is in `frame_axes: dict[str, int]`.
    # `augmented_tensors: dict[str, str]`: required tensors, and by which names preparation gives K other looks of each,
    # (K, ...), all of one picture; NaN where a look was discarded. Without it there are none.
    # A system whose hooks need of each token that token alone, the model's own self-attention apart, says so by the
    # class's `splits_sequences = True`: processes may then share a sample's tokens (`wan.sequence`).
    # A system that appends tokens to the video's says for how many latent frames, as `appended_frames: int`; without it
    # there are none.

    def __init__(self, settings: StrategySettings, backbone: WanModel): ...

    def __call__(self, batch: AnyBatch) -> Tensor: ...

    @staticmethod
    def settings_for_data(adapter: dict, data: Mapping, folder: os.PathLike) -> dict:
        """Adapter settings, with what is known from the settings `data` that `folder` was prepared with.

        Raises:
            SlotIDError: the two contradict each other.
        """
        ...

    def draw(self, generator: torch.Generator) -> dict[str, Tensor]:
        """What is random about a sample beside noise and dropout; it joins the conditions."""
        ...

    def undisturbed(self) -> dict[str, Tensor]:
        """In the form of `draw`, what validation and samples use."""
        ...

    def parameter_group(self, name: str) -> str:
        """Which of `parameter_groups` a parameter belongs to."""
        ...

    def at_step(self, step: int) -> None:
        """Set what is annealed by step."""
        ...

    def shards(self) -> Sequence[nn.Module]:
        """Modules that FSDP gathers one at a time, the inner ones first."""
        ...

    def predictor(self, batch: Batch) -> Predict:
        """The prediction for the people of a batch, for sheets of samples."""
        ...

    def export(self, path: str | os.PathLike, tensors: dict[str, Tensor], facts: dict) -> None:
        """Write the adapter file from trained tensors by parameter name; `facts` say how it was made."""
        ...


@dataclass(frozen=True)
class Variant:
    """One way to train or use a system that evaluation compares with the others.

    Attributes:
        adapter: the variant whose training gives the adapter file; "" for none.
        changes: what it changes in the recipe of `full`, such as "adapter.anchor=null".
        has_person: False keeps what the adapter does to the model, without anybody.
        reads: required tensors, and which others it is given in their place.
    """

    adapter: str
    changes: tuple[str, ...] = ()
    has_person: bool = True
    reads: Mapping[str, str] = field(default_factory=dict)


class Adapter(Protocol):
    """A trained file, loaded, and put to use on a model of our own."""

    # Prepared tensors that make a person.
    required_tensors: tuple[str, ...]

    def person(self, conditions: Mapping[str, Tensor]) -> object:
        """References (B, ...) by the names of `required_tensors` -> B people."""
        ...

    def prepare_model(self, model: WanModel) -> None:
        """Change the model's weights where the adapter does, such as by its LoRA, in place."""
        ...

    def predictor(self, model: WanModel, person: object) -> Predict:
        """The prediction for `person`; None is nobody."""
        ...

    def install(self, model: WanModel, person: object, region: Region | None = None) -> Install:
        """What `person` installs in one forward pass, in a part of the frame; several go into `wan.together`."""
        ...


@runtime_checkable
class Mixing(Protocol):
    """What an adapter has besides, if people of it can be joined into one."""

    def mixed(self, first: object, second: object, weight: float) -> object:
        """B people between two, each: `first` at 0, `second` at 1."""
        ...

    def some(self, person: object, part: slice) -> object:
        """Some of B people."""
        ...


class Inference(Protocol):
    """How evaluation uses a system; nodes use the system's modules directly."""

    # Prepared tensors from which its adapters make a person; what measurement alone reads is not among them.
    required_tensors: tuple[str, ...]
    # Name -> variant; "full" is always one.
    variants: Mapping[str, Variant]
    # Name under which an adapter for the toy world ships, in its folder of weights.
    shipped_file: str

    def load(self, path: str | os.PathLike) -> Adapter: ...


class Refiner(Protocol):
    """What changes sampled latents before they are decoded, whichever system sampled them."""

    def refine(self, latents: Tensor) -> Tensor:
        """Normalised latents (B, 16, T, h, w) -> the same shape."""
        ...


class Refinement(Protocol):
    """How a trained refiner is read."""

    # Prepared tensors that it reads beside the video; preparation makes them.
    required_tensors: tuple[str, ...]
    # Name under which a file for the toy world ships, in its folder of weights.
    shipped_file: str

    def load(self, path: str | os.PathLike) -> Refiner: ...
