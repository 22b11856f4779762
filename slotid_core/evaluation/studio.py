"""Draws held-out people of the toy world: by the base model, by an adapter of any system, or as they really are."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import torch
from torch import Tensor

from ..dataset.clip import Clip
from ..dataset.config import PrepareConfig, ToyWorldSource
from ..dataset.drawn_clips import drawn_pixels
from ..dataset.models import Encoders
from ..dataset.pixels import Pixels
from ..dataset.tensors import TensorMaker
from ..errors import SlotIDError
from ..precision import fast_autocast
from ..systems.contract import Adapter
from ..systems.registry import inference_of
from ..toy_world.evaluate import to_drawings, to_pixels
from ..toy_world.family import FLOW_SHIFT, WEIGHTS, has_part, load_dit, load_vae, part_path
from ..toy_world.render import render_clips
from ..wan import WanModel
from ..wan.guidance import Predict, sample_guided
from ..wan.sampling import shifted
from ..wan.text_encoder import pad_text
from ..wan.together import together
from ..wan.vae import denormalize_latents, normalize_latents
from .subjects import Subject, described, stranger
from .usage import Reference, Usage
from .variants import DESCRIBED, FULL, GROUND_TRUTH, STRANGER, Row

BATCH = 8
DECODED_AT_ONCE = 4  # more do not fit into a CPU's cache, and take up to twice as long each
TEXT_ROOM = 16  # rows behind the longest prompt, for the tokens of any system
Conditions = dict[str, Tensor]


class Studio:
    """The toy world's frozen models, and the references of subjects, made once.

    In bfloat16 a row takes 0.6 of the time on CPUs that have it, and pixels differ by 0.0015 of white.

    Args:
        adapters: folder with one training output a row, `<system>/<variant>/`, or `<variant>/` for a single system.
        face_encoder: an IR-SE50 file, for systems that read face embeddings; by default the toy world's own.
    """

    def __init__(
        self,
        adapters: Path | None,
        usage: Usage,
        weights: Path = WEIGHTS,
        compute_dtype: Literal["float32", "bfloat16"] = "float32",
        face_encoder: str = "",
    ):
        self.adapters, self.usage, self.weights, self.compute_dtype = adapters, usage, weights, compute_dtype
        self.vae = load_vae(weights)
        if not face_encoder and has_part("face_recogniser", weights):
            face_encoder = str(part_path("face_recogniser", weights))
        self.prepare = PrepareConfig(
            vae=str(part_path("vae", weights)), text_encoder=str(part_path("text_encoder", weights)),
            toy_world=ToyWorldSource(people=1), device="cpu", vae_dtype=compute_dtype, face_encoder=face_encoder,
        )  # fmt: skip
        self.encoders = Encoders(self.prepare)
        self.maker = TensorMaker(self.prepare, self.encoders, detector=None)
        self.references: dict[tuple[int, Reference, str], Tensor] = {}

    def has(self, row: Row) -> bool:
        return row.variant is None or self.adapter_path(row.system, row.variant.adapter) is not None

    def adapter_path(self, system: str, variant: str) -> Path | None:
        """An adapter trained for a variant, or for `full` the shipped one."""
        candidates = []
        if self.adapters:
            candidates = [self.adapters / part / "adapter.safetensors" for part in (f"{system}/{variant}", variant)]
        if variant == FULL:
            candidates.append(shipped_adapter(system, self.weights))
        return next((path for path in candidates if path.is_file()), None)

    def conditions(self, subject: Subject, change: Reference, names: tuple[str, ...]) -> Conditions:
        """What systems read of a subject's reference: tensors (1, ...) by name."""
        missing = [name for name in names if (subject.seed, change, name) not in self.references]
        if missing:
            pixels = self.pictures(subject, as_user=change.as_user)
            if change.clip_of_a_stranger:
                other = self.pictures(stranger(subject), as_user=change.as_user)
                pixels = replace(pixels, reference=other.reference)
            pixels = change.of_pixels(pixels, subject.seed)
            for name, tensor in change.of_tensors(self.maker.make(missing, pixels), subject.seed).items():
                self.references[subject.seed, change, name] = tensor.float()[None]
        return {name: self.references[subject.seed, change, name] for name in names}

    def pictures(self, subject: Subject, number: int = 0, as_user: bool = False) -> Pixels:
        """The reference, as it is before anything becomes of it; of other numbers, another one of the same person."""
        clip = Clip(key="subject", caption="", person="", person_seed=subject.seed, number=number)
        source = ToyWorldSource(people=1, as_users=float(as_user))
        return drawn_pixels(clip, replace(self.prepare, toy_world=source))

    def clips(
        self,
        row: Row,
        subjects: list[Subject],
        seed: int,
        progress: Callable | None = None,
        usage: Usage | None = None,
    ) -> Tensor:
        """Drawings (people, prompts, T, H, W, 3): every subject in every one of their scenes.

        All rows start from the same noise. `usage` is the studio's by default.
        """
        usage = usage or self.usage
        if row.name == GROUND_TRUTH:
            return torch.stack([self.ground_truth(subject) for subject in subjects])
        if row.name == STRANGER:
            return torch.stack([self.ground_truth(stranger(subject)) for subject in subjects])
        if row.variant is None:
            asked = [described(subject) for subject in subjects] if row.name == DESCRIBED else subjects
            return self.generated("", None, asked, seed, usage, progress=progress)
        path = self.adapter_path(row.system, row.variant.adapter)
        if path is None:
            raise SlotIDError(
                f"There is no adapter for the row {row.name!r}. Train one into {self.adapters}/{row.variant.adapter}."
            )
        variant = row.variant
        return self.generated(row.system, path, subjects, seed, usage, variant.has_person, progress, variant.reads)

    def generated(
        self,
        system: str,
        path: Path | None,
        subjects: list[Subject],
        seed: int,
        usage: Usage,
        has_person: bool = True,
        progress: Callable | None = None,
        reads: Mapping[str, str] = MappingProxyType({}),
    ) -> Tensor:
        """As `clips`, by an adapter file of a system, or by the bare model; without a person, what the adapter does
        to the model stays. `reads` are required tensors, and which others are given in their place.
        """
        model = load_dit(self.weights)
        adapter: Adapter | None = None
        if path is not None:
            adapter = inference_of(system).load(path)
            adapter.prepare_model(model)
        has_person = adapter is not None and has_person

        def predict_for(jobs: list) -> Predict:
            if adapter is None:
                return bare(model)
            return adapter.predictor(model, self.person(system, adapter, jobs, usage, reads) if has_person else None)

        return self.in_batches(predict_for, has_person, subjects, seed, usage, progress)

    def by_several(
        self,
        adapters: Sequence[tuple[str, Path]],
        subjects: list[Subject],
        seed: int,
        usage: Usage,
        progress: Callable | None = None,
    ) -> Tensor:
        """As `generated`, with the same person in every (system, adapter file) at once, as Apply nodes in a row do."""
        model = load_dit(self.weights)
        loaded = [(system, inference_of(system).load(path)) for system, path in adapters]
        for _, adapter in loaded:
            adapter.prepare_model(model)

        def predict_for(jobs: list) -> Predict:
            with torch.no_grad():
                people = [
                    adapter.install(model, self.person(system, adapter, jobs, usage)) for system, adapter in loaded
                ]
            return together(model, people)

        return self.in_batches(predict_for, True, subjects, seed, usage, progress)

    def in_batches(
        self,
        predict_for: Callable[[list], Predict],
        has_person: bool,
        subjects: list[Subject],
        seed: int,
        usage: Usage,
        progress: Callable | None = None,
    ) -> Tensor:
        """Drawings (people, prompts, T, H, W, 3). `predict_for` gives the prediction for a batch of (subject, number
        of their scene)."""
        jobs = [(subject, place) for subject in subjects for place in range(len(subject.scenes))]
        drawn = []
        for start in range(0, len(jobs), BATCH):
            part = jobs[start : start + BATCH]
            seeds = [seed + start + i for i in range(len(part))]
            drawn.append(self.sample(predict_for(part), has_person, part, seeds, usage))
            if progress:
                progress(len(part))
        return torch.cat(drawn).unflatten(0, (len(subjects), -1))

    @torch.no_grad()
    def person(
        self, system: str, adapter: Adapter, jobs: list, usage: Usage, reads: Mapping[str, str] = MappingProxyType({})
    ) -> Any:
        """The people of a batch, as the adapter takes them from their references."""
        given = {name: reads.get(name, name) for name in adapter.required_tensors}
        parts = [self.conditions(subject, usage.reference, tuple(given.values())) for subject, _ in jobs]
        return adapter.person({name: torch.cat([part[other] for part in parts]) for name, other in given.items()})

    @torch.no_grad()
    def sample(self, predict: Predict, has_person: bool, jobs: list, seeds: list[int], usage: Usage) -> Tensor:
        text = [self.encoders.text_rows(subject.prompts[place]).float() for subject, place in jobs]
        noise = torch.stack([torch.randn(16, 5, 8, 8, generator=torch.Generator().manual_seed(seed)) for seed in seeds])
        if usage.begin < 1:
            noise = torch.lerp(self.drawn_latents(jobs), noise, usage.begin)
        start, end = (shifted(1 - part, FLOW_SHIFT) for part in (usage.start, usage.end))
        with fast_autocast("cpu", self.compute_dtype == "bfloat16"):
            latents = sample_guided(
                predict, noise, pad_text(text, room=TEXT_ROOM), self.encoders.text_rows("").float(),
                has_person, usage.steps, FLOW_SHIFT, usage.text_scale, usage.identity_scale, usage.order,
                active=(start, end), begin=usage.begin,
            )  # fmt: skip
            parts = denormalize_latents(latents).split(DECODED_AT_ONCE)
            return torch.cat([to_drawings(self.vae.decode(part)).float() for part in parts])

    @torch.no_grad()
    def drawn_latents(self, jobs: list) -> Tensor:
        """Normalised latents (B, 16, T, H, W) of the people really drawn in their scenes."""
        people, scenes = [subject.person for subject, _ in jobs], [subject.scenes[place] for subject, place in jobs]
        parts = to_pixels(render_clips(people, scenes)).split(DECODED_AT_ONCE)
        return normalize_latents(torch.cat([self.vae.encode(part) for part in parts]).float())

    @torch.no_grad()
    def ground_truth(self, subject: Subject) -> Tensor:
        """The person drawn in their scenes and passed through the VAE: as good as a model of this VAE can be."""
        drawn = render_clips([subject.person] * len(subject.scenes), list(subject.scenes))
        return to_drawings(self.vae.decode(self.vae.encode(to_pixels(drawn))))


def shipped_adapter(system: str, weights: Path = WEIGHTS) -> Path:
    """Where the toy world's adapter of a system is, if it ships."""
    return weights / inference_of(system).shipped_file


def bare(model: WanModel) -> Predict:
    """The model without any person."""

    def predict(noisy: Tensor, noise_level: Tensor, context: Tensor, strength: Tensor | None) -> Tensor:
        dtype = model.patch_embedding.weight.dtype
        padding_row = context.shape[1] - 1
        return model(noisy.to(dtype), 1000 * noise_level, context.to(dtype), padding_row=padding_row)

    return predict
