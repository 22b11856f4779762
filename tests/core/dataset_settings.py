"""Small preparations that several tests share: drawn people, a few frames, random models."""

from pathlib import Path
from typing import Any

from slotid_core.dataset.config import PrepareConfig, ToyWorldSource
from slotid_core.toy_world.random_checkpoints import CheckpointPaths, random_checkpoints

SMALL = {
    "frames": 5, "height": 32, "width": 32, "reference_frames": 5, "reference_size": 32, "portrait_size": 16,
    "device": "cpu",
}  # fmt: skip


def models(folder: Path) -> dict[str, Any]:
    paths: CheckpointPaths = random_checkpoints(folder)
    return {"vae": str(paths.vae), "text_encoder": str(paths.text_encoder)}


def drawn(models: dict[str, Any], people: int = 3, clips_per_person: int = 2, **settings) -> PrepareConfig:
    source = ToyWorldSource(people, clips_per_person=clips_per_person)
    return PrepareConfig(**models, toy_world=source, **{"clips_per_shard": 2, **SMALL, **settings})


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a prepared folder."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}
