"""How a person gets onto a ComfyUI MODEL, whichever system draws them.

Everything is closures on a clone. In each sampling run, a SAMPLER_SAMPLE wrapper notes the conditionings by name, the
range of noise levels and the run. In each model call, a DIFFUSION_MODEL wrapper installs what the system needs on a
copy of `transformer_options`. Nothing is left on the model when a call returns, raises or is interrupted.
"""

import uuid
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrapperExecutor, WrappersMP
from torch import Tensor, nn

from ...slotid_core.errors import SlotIDError
from ...slotid_core.wan.hooks.rows import SHARED_KEY

WRAPPER_KEY = "slotid_identity"
TIME_AXIS = 2  # of latents
COND_NAMES, RUN, RANGE = "cond_names", "run", "range_"
NEVER = (-1.0, float("inf"))  # noise levels from and to which nobody is drawn
NEGATIVE_WITH_IDENTITY = "negative with identity"
# Choice of an Apply node -> the guiders' names of the conditionings that get the person.
CONDITIONINGS = {
    "positive": frozenset({"positive", NEGATIVE_WITH_IDENTITY}),
    "positive and middle": frozenset({"positive", "middle", NEGATIVE_WITH_IDENTITY}),
}


@dataclass(frozen=True)
class ForwardArguments:
    """Arguments of one forward pass of a Wan transformer, as ComfyUI passes them."""

    x: Tensor
    timestep: Tensor
    context: Tensor
    clip_fea: Tensor | None = None
    time_dim_concat: Tensor | None = None
    transformer_options: dict = field(default_factory=dict)
    others: dict[str, Any] = field(default_factory=dict)

    def run(self, executor: WrapperExecutor) -> Tensor:
        """The forward pass itself, and whatever else wraps it."""
        inputs = (self.x, self.timestep, self.context, self.clip_fea, self.time_dim_concat, self.transformer_options)
        return executor(*inputs, **self.others)


@dataclass(frozen=True)
class Call:
    """One forward pass, as a system sees it.

    Attributes:
        transformer: the network that is called.
        transformer_options: of this pass; shared with others, so to be copied and not changed.
        context: (B, M, text width), before `text_embedding`.
        sigma: the noise level, a float32 scalar on the device of the latents.
        rows: (B,) of 0 and 1, on the CPU; 1 where the row shows the person.
        grid: latent tokens of the video by time, height and width; tokens that others append do not count.
        frames: which latent frames of the whole video these are, in a context window; None for all of them.
        run: the same value in all calls of one sampling run, and another in the next. A call outside of any run has
            a value of its own.
    """

    transformer: nn.Module
    transformer_options: dict
    context: Tensor
    sigma: Tensor
    rows: Tensor
    grid: tuple[int, int, int]
    run: Hashable
    frames: tuple[int, ...] | None = None


# The options of this one pass.
Install = Callable[[Call], dict]
# Wraps the whole pass: changes inputs, calls `arguments.run(executor)`, changes outputs.
WrapCall = Callable[[Call, WrapperExecutor, ForwardArguments], Tensor]


def has_identity(model: ModelPatcher) -> bool:
    """Whether any system has been added to this MODEL."""
    return bool(model.wrappers.get(WrappersMP.DIFFUSION_MODEL, {}).get(WRAPPER_KEY))


def add_to_calls(
    model: ModelPatcher,
    start_percent: float,
    end_percent: float,
    cond_names: frozenset[str],
    install: Install,
    wrap_call: WrapCall | None = None,
    end_of_run: Callable[[], None] | None = None,
) -> ModelPatcher:
    """A clone of `model` on which a system acts in each forward pass between start and end.

    Args:
        cond_names: the conditionings that show the person, by their names in the guider.
        install: gives the `transformer_options` for this one pass.
        wrap_call: runs the pass, with these options; for systems that add inputs or strip outputs.
        end_of_run: called when a sampling run returns, raises or is interrupted; for systems that keep tensors for it.
    """
    check_range(start_percent, end_percent)
    range_key = f"{RANGE}{uuid.uuid4().hex}"
    percents = None if install is install_nothing else (start_percent, end_percent)
    patched = model.clone()
    patched.add_wrapper_with_key(WrappersMP.SAMPLER_SAMPLE, WRAPPER_KEY, _note_run(range_key, percents, end_of_run))
    patched.add_wrapper_with_key(
        WrappersMP.DIFFUSION_MODEL, WRAPPER_KEY, _act_in_range(range_key, cond_names, install, wrap_call)
    )
    return patched


def check_range(start_percent: float, end_percent: float) -> None:
    if start_percent > end_percent:
        raise SlotIDError(
            f"start_percent {start_percent:g} lies behind end_percent {end_percent:g}, so that nothing would happen. "
            "Lower the start or raise the end; a strength of 0 switches the person off."
        )


def somebody_acts(model_options: dict, sigma: Tensor) -> bool:
    """Whether any person is drawn at this noise level of the run; outside of a run, everybody is."""
    shared = model_options.get("transformer_options", {}).get(SHARED_KEY, {})
    ranges = [value for name, value in shared.items() if name.startswith(RANGE)]
    return not ranges or any(end <= sigma.max() <= start for start, end in ranges)


def install_nothing(call: Call) -> dict:
    """A person at strength 0: the sampler nodes still find one, and the video is the base model's."""
    return call.transformer_options


def _note_run(range_key: str, percents: tuple[float, float] | None, end_of_run: Callable[[], None] | None) -> Callable:
    def note_run(executor, guider, sigmas, extra_args, *args, **kwargs):
        options = extra_args["model_options"].setdefault("transformer_options", {})
        sampling = guider.inner_model.model_sampling
        start, end = NEVER if percents is None else map(sampling.percent_to_sigma, percents)
        options[SHARED_KEY] = {
            RUN: uuid.uuid4().hex,
            **options.get(SHARED_KEY, {}),
            COND_NAMES: name_conditionings(guider.conds),
            range_key: (start, end),
        }
        try:
            return executor(guider, sigmas, extra_args, *args, **kwargs)
        finally:
            if end_of_run is not None:
                end_of_run()

    return note_run


def _act_in_range(range_key: str, cond_names: frozenset[str], install: Install, wrap_call: WrapCall | None) -> Callable:
    def act_in_range(
        executor, x, timestep, context, clip_fea=None, time_dim_concat=None, transformer_options=None, **others
    ):
        arguments = ForwardArguments(x, timestep, context, clip_fea, time_dim_concat, transformer_options or {}, others)
        sigma = noise_level(arguments)
        start, end = arguments.transformer_options.get(SHARED_KEY, {}).get(range_key, (1.0, 0.0))
        if not end <= sigma <= start:
            return arguments.run(executor)
        call = describe_call(executor.class_obj, arguments, sigma, cond_names)
        call = replace(call, transformer_options=install(call))
        arguments = replace(arguments, transformer_options=call.transformer_options)
        return arguments.run(executor) if wrap_call is None else wrap_call(call, executor, arguments)

    return act_in_range


def noise_level(arguments: ForwardArguments) -> Tensor:
    sigmas = arguments.transformer_options.get("sigmas")
    return arguments.timestep.max() / 1000 if sigmas is None else sigmas.max()


def describe_call(
    transformer: nn.Module, arguments: ForwardArguments, sigma: Tensor, cond_names: frozenset[str]
) -> Call:
    options, x = arguments.transformer_options, arguments.x
    return Call(
        transformer,
        options,
        arguments.context,
        sigma.float().to(x.device),
        rows_with_identity(options, cond_names, x.shape[0]),
        token_grid(x, transformer.patch_size),
        options.get(SHARED_KEY, {}).get(RUN) or uuid.uuid4().hex,
        window_frames(options, x),
    )


def window_frames(options: dict, x: Tensor) -> tuple[int, ...] | None:
    """Latent frames of the context window that x (B, C, T, H, W) is; None outside of one."""
    window = options.get("context_window")
    if window is None or getattr(window, "dim", None) != TIME_AXIS:
        return None
    # ComfyUI 0.33.0 puts the frame before a window in front of it, and takes it away from what is predicted.
    before = getattr(window, "causal_anchor_index", None)
    frames = (*(() if before is None else (before,)), *window.index_list)
    return frames if len(frames) == x.shape[TIME_AXIS] else None


def token_grid(x: Tensor, patch_size: tuple[int, int, int]) -> tuple[int, int, int]:
    """Tokens of latents (B, C, T, H, W) by time, height and width; a side that does not divide is padded."""
    time, height, width = (-(-side // patch) for side, patch in zip(x.shape[2:], patch_size, strict=True))
    return time, height, width


def name_conditionings(conds: dict[str, list[dict]]) -> dict:
    """uuid -> the guider's name for it ("positive", "negative", "middle" ...).

    ComfyUI copies an area conditioning to the opposite side together with its uuid; the copy gets its own here,
    so that a uuid means one side.
    """
    names: dict = {}
    for name, entries in conds.items():
        for entry in entries:
            if names.setdefault(entry["uuid"], name) != name:
                entry["uuid"] = uuid.uuid4()
                names[entry["uuid"]] = name
    return names


def rows_with_identity(options: dict, cond_names: frozenset[str], batch: int) -> Tensor:
    """(B,) of 0 and 1. Without a note of the run, index 0 counts as the positive, as in core's CFG guider."""
    known = options.get(SHARED_KEY, {}).get(COND_NAMES)
    if known is not None and "uuids" in options:
        chosen = [known.get(key) in cond_names for key in options["uuids"]]
    else:
        chosen = [index == 0 for index in options.get("cond_or_uncond", [0])]
    return torch.tensor(chosen, dtype=torch.float32).repeat_interleave(batch // len(chosen))
