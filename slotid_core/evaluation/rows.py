"""The rows of a comparison: how each draws a held-out person, from nothing at all to a real clip of them."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ..dataset.clip import Clip
from ..dataset.config import PrepareConfig, ToyWorldSource
from ..dataset.drawn_clips import drawn_pixels
from ..dataset.models import Encoders
from ..errors import SlotIDError
from ..slot_id import SlotIDAdapter, load_adapter
from ..slot_id.denoise import sample_clips
from ..slot_id.lora import merge_lora
from ..toy_world.evaluate import to_drawings, to_pixels
from ..toy_world.family import FLOW_SHIFT, WEIGHTS, load_dit, load_vae, part_path
from ..toy_world.person import Person
from ..toy_world.render import render_clips
from ..toy_world.scene import Scene
from ..wan import WanModel
from ..wan.text_encoder import pad_text
from ..wan.vae import denormalize_latents

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


@dataclass(frozen=True)
class Subject:
    """A held-out person: what they look like, the scenes to draw them in, and the seed of their reference."""

    person: Person
    seed: int
    scenes: tuple[Scene, ...]
    prompts: tuple[str, ...]


@dataclass(frozen=True)
class Guidance:
    steps: int = 20
    text_scale: float = 4.0
    identity_scale: float = 4.0


class Studio:
    """The toy world's frozen models, and the reference latents of subjects, made once."""

    def __init__(self, adapters: Path | None, guidance: Guidance, weights: Path = WEIGHTS):
        self.adapters, self.guidance, self.weights = adapters, guidance, weights
        self.vae = load_vae(weights)
        self.prepare = PrepareConfig(
            vae=str(part_path("vae", weights)), text_encoder=str(part_path("text_encoder", weights)),
            toy_world=ToyWorldSource(people=1), device="cpu",
        )  # fmt: skip
        self.encoders = Encoders(self.prepare)
        self.references: dict[int, tuple[Tensor, Tensor]] = {}

    def has(self, row: str) -> bool:
        needed = ADAPTER_OF[row]
        return needed is None or self.adapter_path(needed) is not None

    def adapter_path(self, name: str) -> Path | None:
        """An adapter trained for a row, or for `full` the shipped one."""
        candidates = [self.adapters / name / "adapter.safetensors"] if self.adapters else []
        if name == "full":
            candidates.append(self.weights / "adapter.safetensors")
        return next((path for path in candidates if path.is_file()), None)

    def reference(self, subject: Subject) -> tuple[Tensor, Tensor]:
        """Latents of the face clip (1, 16, T, H, W) and of the portrait (1, 16, 1, H, W)."""
        if subject.seed not in self.references:
            clip = Clip(key="subject", caption="", person="", person_seed=subject.seed)
            pixels = drawn_pixels(clip, self.prepare)
            self.references[subject.seed] = (
                self.encoders.latents(pixels.reference).float()[None],
                self.encoders.latents(pixels.portrait).float()[None],
            )
        return self.references[subject.seed]

    def clips(self, row: str, subjects: list[Subject], seed: int, progress=None) -> Tensor:
        """Drawings (people, prompts, T, H, W, 3): every subject in every one of their scenes.

        All rows start from the same noise.
        """
        if row == "ceiling":
            return torch.stack([self.real(subject) for subject in subjects])
        model, adapter = self.model(row)
        jobs = [(subject, place) for subject in subjects for place in range(len(subject.scenes))]
        drawn = []
        for start in range(0, len(jobs), BATCH):
            part = jobs[start : start + BATCH]
            drawn.append(self.sample(model, adapter, part, [seed + start + i for i in range(len(part))]))
            if progress:
                progress(len(part))
        return torch.cat(drawn).unflatten(0, (len(subjects), -1))

    def model(self, row: str) -> tuple[WanModel, SlotIDAdapter | None]:
        name = ADAPTER_OF[row]
        model = load_dit(self.weights)
        if name is None:
            return model, None
        path = self.adapter_path(name)
        if path is None:
            raise SlotIDError(f"There is no adapter for the row {row!r}. Train one into {self.adapters}/{name}.")
        adapter = load_adapter(path)
        merge_lora(model, adapter.lora)
        return model, None if row == "null" else adapter

    @torch.no_grad()
    def sample(self, model: WanModel, adapter: SlotIDAdapter | None, jobs: list, seeds: list[int]) -> Tensor:
        text = [self.encoders.text_rows(subject.prompts[place]).float() for subject, place in jobs]
        noise = [torch.randn(16, 5, 8, 8, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
        identity = None
        if adapter is not None:
            clips, portraits = zip(*(self.reference(subject) for subject, _ in jobs), strict=True)
            identity = adapter(torch.cat(clips), torch.cat(portraits))
        guidance = self.guidance
        latents = sample_clips(
            model, torch.stack(noise), pad_text(text, room=16), self.encoders.text_rows("").float(), identity,
            guidance.steps, FLOW_SHIFT, guidance.text_scale, guidance.identity_scale,
        )  # fmt: skip
        return to_drawings(self.vae.decode(denormalize_latents(latents)))

    @torch.no_grad()
    def real(self, subject: Subject) -> Tensor:
        """The person drawn in their scenes and passed through the VAE: as good as a model of this VAE can be."""
        drawn = render_clips([subject.person] * len(subject.scenes), list(subject.scenes))
        return to_drawings(self.vae.decode(self.vae.encode(to_pixels(drawn))))
