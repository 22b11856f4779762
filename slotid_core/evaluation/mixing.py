"""Identities joined into one: does a second clip of a person help, and does a mix move from one person to the other?"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import SlotIDError
from ..systems.contract import Adapter, Mixing
from ..systems.registry import inference_of
from ..toy_world.family import load_dit
from .estimators import estimate, mean
from .intervals import bootstrap
from .metrics import Metrics
from .studio import BATCH, Studio
from .subjects import Subject, subjects_of
from .variants import FULL

WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0)


def people_of(studio: Studio, adapter: Adapter, subjects: Sequence[Subject], number: int) -> Any:
    """Persons from the reference of this number; of other numbers another clip of the same person."""
    names = adapter.required_tensors
    made = [studio.maker.make(list(names), studio.pictures(subject, number)) for subject in subjects]
    with torch.no_grad():
        return adapter.person({name: torch.stack([one[name].float() for one in made]) for name in names})


def evaluate_mixing(
    studio: Studio, systems: Sequence[str], identities: int, seed: int, say: Callable[[str], None]
) -> dict[str, float]:
    """Keys `<system>.merge.<figure>` and `<system>.mix.<figure>`, with `.low` and `.high`.

    Merge: likeness of the `first` clip's identity, of the `second`'s, of `merged`, and its paired `gain` over the mean
    of both. Mix: likeness to the first person and to the second at each weight, `towards` the difference of the two,
    and `steps`, the share of steps from one weight to the next at which it rises.

    Raises:
        SlotIDError: a system whose identities cannot be joined.
    """
    subjects = subjects_of(seed, identities, 1)
    metrics = Metrics(studio, subjects, seed)
    others = [*range(1, identities), 0]
    figures: dict[str, float] = {}
    for system in systems:
        path = studio.adapter_path(system, FULL)
        assert path is not None
        adapter = inference_of(system).load(path)
        if not isinstance(adapter, Mixing):
            raise SlotIDError(f"Identities of {system} cannot be joined.")
        model = load_dit(studio.weights)
        adapter.prepare_model(model)
        first, second = (people_of(studio, adapter, subjects, number) for number in (0, 1))
        strangers = people_of(studio, adapter, [subjects[other] for other in others], 0)

        def likeness(person, adapter=adapter, model=model) -> np.ndarray:
            """(people, 2): to the person, and to the one that follows."""
            jobs = [(subject, 0) for subject in subjects]
            drawn: list[Tensor] = []
            for start in range(0, len(jobs), BATCH):
                part = slice(start, start + BATCH)
                predict = adapter.predictor(model, adapter.some(person, part))
                seeds = [seed + start + number for number in range(len(jobs[part]))]
                drawn.append(studio.sample(predict, True, jobs[part], seeds, studio.usage))
            with torch.no_grad():
                similar = metrics.faces.embed_clips(torch.cat(drawn)) @ metrics.gallery.T
            rows = torch.arange(identities)
            return torch.stack([similar[rows, rows], similar[rows, torch.tensor(others)]], dim=1).numpy()

        one, other = likeness(first), likeness(second)
        merged = likeness(adapter.mixed(first, second, 0.5))
        measured = {
            "merge.first": one[:, :1], "merge.second": other[:, :1], "merge.merged": merged[:, :1],
            "merge.gain": merged[:, :1] - (one[:, :1] + other[:, :1]) / 2,
        }  # fmt: skip
        mixes = [one if not weight else likeness(adapter.mixed(first, strangers, weight)) for weight in WEIGHTS]
        towards = np.stack([mix[:, 1] - mix[:, 0] for mix in mixes], axis=1)  # (people, weights)
        for place, weight in enumerate(WEIGHTS):
            measured[f"mix.{weight:g}.first"] = mixes[place][:, :1]
            measured[f"mix.{weight:g}.second"] = mixes[place][:, 1:]
            measured[f"mix.{weight:g}.towards"] = towards[:, place : place + 1]
        measured["mix.steps"] = (np.diff(towards, axis=1) > 0).astype(float)
        for name, values in measured.items():
            key = f"{system}.{name}"
            figures[key] = estimate(values, mean)
            figures[f"{key}.low"], figures[f"{key}.high"] = bootstrap(values, mean)
            say(f"toy world  {key:<28} {figures[key]:.3f} [{figures[f'{key}.low']:.3f}, {figures[f'{key}.high']:.3f}]")
    return figures
