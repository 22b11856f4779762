"""Train the adapters that rows need: the same settings and data for all, each with what its row is about."""

from pathlib import Path

from ..errors import SlotIDError
from ..training.config import read_config
from ..training.loop import train

# What a row changes in the settings of `full`.
CHANGES = {
    "full": (),
    "slots": ("adapter.anchor=null",),
    "anchor": ("adapter.encoder=null",),
    "mean_latent": ("adapter.anchor=null", "adapter.encoder.architecture=mean_latent"),
}


def train_rows(config: Path, output: Path, rows: list[str], overrides: list[str], as_json: bool = False) -> bool:
    """Train each row into `output`/<row>, going on where an earlier run stopped; False if a signal stopped it now.

    Args:
        overrides: settings for all rows, such as "run.steps=2000".
    """
    unknown = [row for row in rows if row not in CHANGES]
    if unknown:
        raise SlotIDError(f"The row {unknown[0]!r} has no adapter of its own; there are {', '.join(CHANGES)}.")
    for row in rows:
        settings = read_config(config, [*overrides, *CHANGES[row]])
        if (output / row / "adapter.safetensors").is_file():
            continue
        if train(settings, output / row, resume=True, as_json=as_json) is None:
            return False
    return True
