"""LaVieID on our own Wan model: people from references, the prediction with a person, and what evaluation compares.

In ComfyUI the same injection is installed by the nodes.
"""

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from torch import Tensor

from ...wan import WanModel
from ...wan.guidance import Predict
from ...wan.lora import merge_lora
from ...wan.packing import grid_of
from ...wan.packing import predict as predict_packed
from ...wan.region import Region
from ...wan.together import Install
from ..contract import Variant
from .adapter import LaVieIDAdapter, load_adapter
from .injection import Note, RouterCondition, install_router
from .vision import See

PICTURES, PLACES, EMBEDDING = "component_pictures", "component_places", "face_embedding"
REQUIRED = (PICTURES, PLACES)


@dataclass(frozen=True)
class People:
    """tokens (B, M, L, D) of B people's components, and which of them are shown, (B, M)."""

    tokens: Tensor
    shown: Tensor


def people_of(adapter: LaVieIDAdapter, conditions: Mapping[str, Tensor], see: See | None = None) -> People:
    """People from prepared tensors: pictures (B, M, 3, S, S), places (B, M, 4) and, if it reads one, a face embedding
    (B, 512).
    """
    face = conditions.get(EMBEDDING) if adapter.config.encoder.face_width else None
    places = conditions[PLACES]
    tokens = adapter.tokens(conditions[PICTURES], places, face, see)
    return People(tokens, places[..., 0] > 0.5)


def predict_velocity(
    model: WanModel, noisy: Tensor, noise_level: Tensor, context: Tensor, condition: RouterCondition | None
) -> Tensor:
    """Noise minus latents (B, 16, T, H, W), as the model predicts it.

    Args:
        noisy: (B, 16, T, H, W) normalised latents with noise.
        noise_level: (B,) in [0, 1].
        context: (B, M, 4096) text rows; the last one is zero and stands for all padding.
        condition: the router of the rows that show somebody; None for nobody.
    """
    return predict_velocities(model, [noisy], noise_level, context, condition)[0]


def predict_velocities(
    model: WanModel, noisy: Sequence[Tensor], noise_level: Tensor, context: Tensor, condition: RouterCondition | None
) -> list[Tensor]:
    """The same of B samples (1, 16, T, H, W) of any sizes, or of one batch, in one forward pass."""
    options: dict = {}
    if condition is not None:
        options = install_router(options, model, condition, [math.prod(grid_of(part)) for part in noisy])
    return predict_packed(model, noisy, noise_level, context, options)


def rows_with_somebody(people: People, wanted: Tensor) -> Tensor:
    """(B,) of 0 and 1: rows in which a person is wanted, and has at least one component."""
    return (wanted > 0).to(people.shown.device) & people.shown.any(dim=1)


def predictor(model: WanModel, adapter: LaVieIDAdapter, people: People | None, note: Note | None = None) -> Predict:
    """The prediction for B people; None, or a strength of None, for nobody."""

    def predict(noisy: Tensor, noise_level: Tensor, context: Tensor, strength: Tensor | None) -> Tensor:
        condition = None
        if people is not None and strength is not None:
            routes = adapter.router.routes(people.tokens, people.shown)
            rows = rows_with_somebody(people, strength)
            condition = RouterCondition(adapter.router, routes, rows, note=note)
        return predict_velocity(model, noisy, noise_level, context, condition)

    return predict


class LoadedAdapter:
    """An adapter file, ready for evaluation; see `contract.Adapter`."""

    def __init__(self, adapter: LaVieIDAdapter):
        self.adapter = adapter
        embedding = (EMBEDDING,) if adapter.config.encoder.face_width else ()
        self.required_tensors = (*REQUIRED, *embedding)

    def person(self, conditions: Mapping[str, Tensor]) -> People:
        """Of an adapter with a vision network of its own; an error for any other."""
        return people_of(self.adapter, conditions)

    def prepare_model(self, model: WanModel) -> None:
        self.adapter.check_model(model.config.dim, model.config.num_layers)
        merge_lora(model, self.adapter.lora)

    def predictor(self, model: WanModel, person: People | None) -> Predict:
        return predictor(model, self.adapter, person)

    def install(self, model: WanModel, person: People, region: Region | None = None) -> Install:
        router = self.adapter.router
        routes = router.routes(person.tokens, person.shown)

        def install(options: dict, noisy: Tensor, noise_level: Tensor, context: Tensor, strength: Tensor) -> dict:
            grid = grid_of(noisy)
            tokens = None if region is None else region.tokens(grid, noisy.device)
            condition = RouterCondition(router, routes, rows_with_somebody(person, strength), region=tokens)
            return install_router(options, model, condition, math.prod(grid))

        return install


class LaVieIDInference:
    """See `contract.Inference`. `uniform` attends to the same tokens without routing; the others are ablations."""

    required_tensors = REQUIRED
    shipped_file = "lavie_id_adapter.safetensors"
    variants = MappingProxyType(
        {
            "uniform": Variant("uniform", ("adapter.router.routing=uniform", "objective.own.route_weight=0.0")),
            "no_route_loss": Variant("no_route_loss", ("objective.own.route_weight=0.0",)),
            "after": Variant("after", ("adapter.router.place=after",)),
            "null_component": Variant("null_component", ("adapter.router.null_component=true",)),
            "full": Variant("full"),
        }
    )

    def load(self, path: str | os.PathLike) -> LoadedAdapter:
        return LoadedAdapter(load_adapter(path))


INFERENCE = LaVieIDInference()
