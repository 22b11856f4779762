"""Train the adapters that variants need: the same settings and data for all, each with what its variant is about."""

from pathlib import Path

from ..errors import SlotIDError
from ..systems.registry import inference_of
from ..training.config import read_config
from ..training.loop import train


def train_variants(config: Path, output: Path, names: list[str], overrides: list[str], as_json: bool = False) -> bool:
    """Train each variant into `output`/<variant>, going on where an earlier run stopped; False if a signal stopped it
    now.

    Args:
        config: settings of the variant `full`; its system is whose variants these are.
        names: variants that have an adapter of their own; none for all of them.
        overrides: settings for all, such as "run.steps=2000".
    """
    variants = inference_of(read_config(config, overrides).system).variants
    own = [name for name, variant in variants.items() if variant.adapter == name]
    unknown = [name for name in names if name not in own]
    if unknown:
        raise SlotIDError(f"{unknown[0]!r} has no adapter of its own; there are {', '.join(own)}.")
    for name in names or own:
        settings = read_config(config, [*overrides, *variants[name].changes])
        if (output / name / "adapter.safetensors").is_file():
            continue
        if train(settings, output / name, resume=True, as_json=as_json) is None:
            return False
    return True
