"""The rows of a comparison: how each draws a held-out person, from nothing at all to a real clip of them."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from ..dataset.clip import Clip
from ..dataset.config import PrepareConfig, ToyWorldSource
from ..dataset.drawn_clips import drawn_pixels
from ..dataset.models import Encoders
from ..dataset.pixels import Pixels
from ..errors import SlotIDError
from ..slot_id import Identity, SlotIDAdapter, load_adapter
from ..slot_id.denoise import sample_clips
from ..slot_id.lora import merge_lora
from ..toy_world.evaluate import to_drawings, to_pixels
from ..toy_world.family import FLOW_SHIFT, WEIGHTS, load_dit, load_vae, part_path
from ..toy_world.person import Person
from ..toy_world.render import render_clips
from ..toy_world.scene import Scene
from ..wan import WanModel
from ..wan.sampling import shifted
from ..wan.text_encoder import pad_text
from ..wan.vae import denormalize_latents
from .usage import Reference, Usage

# The rows, and whose adapter each needs; `null` is the full adapter's LoRA without an identity.
ADAPTER_OF = {
    "base": None,
    "null": "full",
    "mean_latent": "mean_latent",
    "anchor": "anchor",
    "slots": "slots",
    "full": "full",
    "ceiling": None,
}
BATCH = 8
DECODED_AT_ONCE = 4  # more do not fit into a CPU's cache, and take up to twice as long each


@dataclass(frozen=True)
class Subject:
    """A held-out person: what they look like, the scenes to draw them in, and the seed of their reference."""

    person: Person
    seed: int
    scenes: tuple[Scene, ...]
    prompts: tuple[str, ...]


class Studio:
    """The toy world's frozen models, and the reference latents of subjects, made once.

    In bfloat16 a row takes 0.6 of the time on CPUs that have it, and pixels differ by 0.0015 of white.
    """

    def __init__(
        self,
        adapters: Path | None,
        usage: Usage,
        weights: Path = WEIGHTS,
        compute_dtype: Literal["float32", "bfloat16"] = "float32",
    ):
        self.adapters, self.usage, self.weights, self.compute_dtype = adapters, usage, weights, compute_dtype
        self.vae = load_vae(weights)
        self.prepare = PrepareConfig(
            vae=str(part_path("vae", weights)), text_encoder=str(part_path("text_encoder", weights)),
            toy_world=ToyWorldSource(people=1), device="cpu", vae_dtype=compute_dtype,
        )  # fmt: skip
        self.encoders = Encoders(self.prepare)
        self.references: dict[tuple[int, Reference], tuple[Tensor, Tensor]] = {}

    def has(self, row: str) -> bool:
        needed = ADAPTER_OF[row]
        return needed is None or self.adapter_path(needed) is not None

    def adapter_path(self, name: str) -> Path | None:
        """An adapter trained for a row, or for `full` the shipped one."""
        candidates = [self.adapters / name / "adapter.safetensors"] if self.adapters else []
        if name == "full":
            candidates.append(self.weights / "adapter.safetensors")
        return next((path for path in candidates if path.is_file()), None)

    def reference(self, subject: Subject, change: Reference) -> tuple[Tensor, Tensor]:
        """Latents of the face clip (1, 16, T, H, W) and of the portrait (1, 16, 1, H, W)."""
        key = subject.seed, change
        if key not in self.references:
            pixels = self.pictures(subject)
            self.references[key] = (
                self.encoders.latents(change.of_clip(pixels.reference, subject.seed)).float()[None],
                self.encoders.latents(change.of_portrait(pixels.portrait, subject.seed)).float()[None],
            )
        return self.references[key]

    def pictures(self, subject: Subject) -> Pixels:
        """Face clip and portrait, as they are before anything becomes of them."""
        return drawn_pixels(Clip(key="subject", caption="", person="", person_seed=subject.seed), self.prepare)

    def clips(self, row: str, subjects: list[Subject], seed: int, progress: Callable | None = None) -> Tensor:
        """Drawings (people, prompts, T, H, W, 3): every subject in every one of their scenes.

        All rows start from the same noise.
        """
        if row == "ceiling":
            return torch.stack([self.real(subject) for subject in subjects])
        name = ADAPTER_OF[row]
        path = None if name is None else self.adapter_path(name)
        if name is not None and path is None:
            raise SlotIDError(f"There is no adapter for the row {row!r}. Train one into {self.adapters}/{name}.")
        return self.generated(path, subjects, seed, self.usage, row != "null", progress)

    def generated(
        self,
        path: Path | None,
        subjects: list[Subject],
        seed: int,
        usage: Usage,
        with_identity: bool = True,
        progress: Callable | None = None,
    ) -> Tensor:
        """As `clips`, by an adapter file, or by the bare model; `with_identity=False` keeps the adapter's LoRA only."""
        model, adapter = load_dit(self.weights), None
        if path is not None:
            adapter = load_adapter(path)
            merge_lora(model, adapter.lora)
        jobs = [(subject, place) for subject in subjects for place in range(len(subject.scenes))]
        drawn = []
        for start in range(0, len(jobs), BATCH):
            part = jobs[start : start + BATCH]
            identity = self.identity(adapter, part, usage) if adapter is not None and with_identity else None
            drawn.append(self.sample(model, identity, part, [seed + start + i for i in range(len(part))], usage))
            if progress:
                progress(len(part))
        return torch.cat(drawn).unflatten(0, (len(subjects), -1))

    @torch.no_grad()
    def identity(self, adapter: SlotIDAdapter, jobs: list, usage: Usage) -> Identity:
        clips, portraits = zip(*(self.reference(subject, usage.reference) for subject, _ in jobs), strict=True)
        identity = adapter(torch.cat(clips), torch.cat(portraits))
        if usage.gate is not None and adapter.encoder is not None and adapter.anchor is not None:
            identity = replace(identity, gate=usage.gate)
        return identity

    @torch.no_grad()
    def sample(self, model: WanModel, identity: Identity | None, jobs: list, seeds: list[int], usage: Usage) -> Tensor:
        text = [self.encoders.text_rows(subject.prompts[place]).float() for subject, place in jobs]
        noise = [torch.randn(16, 5, 8, 8, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
        active = tuple(shifted(1 - part, FLOW_SHIFT) for part in (usage.start, usage.end))
        with torch.autocast("cpu", torch.bfloat16, enabled=self.compute_dtype == "bfloat16"):
            latents = sample_clips(
                model, torch.stack(noise), pad_text(text, room=16), self.encoders.text_rows("").float(), identity,
                usage.steps, FLOW_SHIFT, usage.text_scale, usage.identity_scale, active=active,
            )  # fmt: skip
            parts = denormalize_latents(latents).split(DECODED_AT_ONCE)
            return torch.cat([to_drawings(self.vae.decode(part)).float() for part in parts])

    @torch.no_grad()
    def real(self, subject: Subject) -> Tensor:
        """The person drawn in their scenes and passed through the VAE: as good as a model of this VAE can be."""
        drawn = render_clips([subject.person] * len(subject.scenes), list(subject.scenes))
        return to_drawings(self.vae.decode(self.vae.encode(to_pixels(drawn))))
