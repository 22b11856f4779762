"""How often an adapter's router is right about held-out people, by component and noise, and its confusion tables.

The people are those of a prepared folder. A token counts where it shows enough of a component that the reference shows
too. Beside each accuracy is that of always naming the most frequent component.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from slotid_core.dataset.cached import CachedDataset
from slotid_core.errors import SlotIDError
from slotid_core.evaluation.estimators import ratio
from slotid_core.evaluation.intervals import bootstrap
from slotid_core.files import write_json
from slotid_core.systems.lavie_id import LaVieIDAdapter, load_adapter
from slotid_core.systems.lavie_id.config import CALLED, FILES
from slotid_core.systems.lavie_id.inference import EMBEDDING, PICTURES, PLACES, people_of
from slotid_core.systems.lavie_id.route_accuracy import NOISE_LEVELS, Confusion, confusion
from slotid_core.systems.lavie_id.vision import See, load_vision, seen_by
from slotid_core.training.backbone import load_backbone
from slotid_core.training.config import BackboneConfig
from slotid_core.wan import WanModel
from slotid_core.wan.text_encoder import pad_text

SHARES = "component_shares"


def main(arguments: list[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    torch.set_num_threads(options.threads)
    adapter = load_adapter(options.adapter)
    model = load_backbone(BackboneConfig(options.model, dtype="float32"))
    data = CachedDataset(options.data)
    see = None
    if adapter.needs_file and options.clip_vision:
        see = seen_by(load_vision(options.clip_vision, adapter.config.vision), adapter.config.vision)
    figures, tables = measure(model, adapter, data, options.samples, options.seed, see)
    for level, table in tables.items():
        print(
            f"\nnoise {level:g}: accuracy {figures[f'noise_{level:g}.accuracy']:.3f}, always the most frequent ", end=""
        )
        print(f"{figures[f'noise_{level:g}.majority']:.3f}\n{table.table()}")
        told = ", ".join(f"{part} {value:.2f}" for part, value in table.correlations.items())
        print(f"correlation of weight and share: {told}")
    if options.json:
        write_json(options.json, figures)
    return 0


def parser() -> argparse.ArgumentParser:
    routes = argparse.ArgumentParser(prog="python -m studies.lavie_id", description=__doc__)
    routes.add_argument("--adapter", type=Path, required=True, help="adapter.safetensors of a training")
    routes.add_argument("--data", type=Path, required=True, help="a prepared folder of people whom no training saw")
    routes.add_argument("--model", default="toy_world", help="the video model's file, or toy_world")
    routes.add_argument("--clip-vision", help="file of the frozen vision network, if the adapter looks with one")
    routes.add_argument("--samples", type=int, default=64, help="clips, at most, spread evenly over the folder")
    routes.add_argument("--seed", type=int, default=0, help="of the noise")
    routes.add_argument("--threads", type=int, default=1, help="CPU threads")
    routes.add_argument("--json", type=Path, help="also write the figures to this file")
    return routes


def measure(
    model: WanModel, adapter: LaVieIDAdapter, data: CachedDataset, samples: int, seed: int, see: See | None = None
) -> tuple[dict[str, float], dict[float, Confusion]]:
    """Figures by flat keys, and a confusion table for each noise level.

    Raises:
        SlotIDError: the adapter routes nothing, or reads what the folder does not hold or `see` is to give.
    """
    if not adapter.router.is_learned:
        raise SlotIDError("This adapter's routing is uniform, so nothing is routed. Choose another adapter.")
    if adapter.needs_file and see is None:
        kind = adapter.config.vision.kind
        raise SlotIDError(f"This adapter looks with {CALLED[kind]}. Give {FILES[kind]} as --clip-vision.")
    adapter.check_model(model.config.dim, model.config.num_layers)
    count = min(samples, len(data))
    chosen = [int(index) for index in torch.linspace(0, len(data) - 1, count).round().long()]
    names = [data.samples[index].person for index in chosen]
    by_level = {
        level: [of_sample(model, adapter, data, index, level, seed, see) for index in chosen] for level in NOISE_LEVELS
    }
    figures: dict[str, float] = {"samples": count, "people": len(set(names))}
    tables: dict[float, Confusion] = {}
    for level, found in by_level.items():
        table = tables[level] = sum(found[1:], found[0])
        key = f"noise_{level:g}"
        low, high = interval(found, names)
        figures |= {
            f"{key}.accuracy": table.accuracy, f"{key}.accuracy.low": low, f"{key}.accuracy.high": high,
            f"{key}.majority": table.majority, f"{key}.balanced": table.balanced,
        }  # fmt: skip
        known = {part: value for part, value in table.correlations.items() if np.isfinite(value)}
        figures |= {f"{key}.correlation.{part}": value for part, value in known.items()}
        for part, value in table.recalls.items():
            if value is not None:
                figures[f"{key}.recall.{part}"] = value
    return figures, tables


@torch.no_grad()
def of_sample(
    model: WanModel, adapter: LaVieIDAdapter, data: CachedDataset, index: int, level: float, seed: int, see: See | None
) -> Confusion:
    """Of one clip, with noise that is the same at each level and for each adapter."""
    reads = (PICTURES, PLACES, *([EMBEDDING] if adapter.config.encoder.face_width else []))
    sample = data.read(index, ("video", "text", SHARES, *reads))

    def one(name: str) -> Tensor:
        return sample[name][None]

    generator = torch.Generator().manual_seed(seed * len(data) + index)
    noise = torch.randn(sample["video"].shape, generator=generator)[None]
    people = people_of(adapter, {name: one(name) for name in reads}, see)
    context = pad_text([sample["text"]])
    return confusion(model, adapter, people, one("video"), noise, level, context, one(SHARES))


def interval(found: list[Confusion], names: list[str]) -> tuple[float, float]:
    """95% of the accuracy, by resampling people."""
    people = sorted(set(names))
    values = np.zeros((len(people), 2))
    for name, one in zip(names, found, strict=True):
        values[people.index(name)] += (float(one.counts.diagonal().sum()), float(one.counts.sum()))
    return bootstrap(values, lambda rows, counts: ratio(counts @ rows[:, 0], counts @ rows[:, 1]))
