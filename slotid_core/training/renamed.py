"""Settings that had other names: recipes and checkpoints of earlier releases are read, with a warning."""

import logging
from dataclasses import fields
from typing import Any

logger = logging.getLogger(__name__)

# Section -> old name -> new name.
RENAMED = {
    "optimizer": {"rates": "lr_multipliers", "clip_norm": "max_grad_norm"},
    "run": {"average": "ema_decay", "keep": "keep_last", "explosion": "loss_spike_factor"},
}
OWN = "own"


def with_new_names(values: dict, own_settings: type[Any], warn: bool = True) -> dict:
    """Settings of a run under today's names; the given dictionaries stay as they are.

    Args:
        own_settings: the dataclass of the system's own objective, whose fields used to stand beside the shared ones.
    """
    renamed = {name: dict(section) if isinstance(section, dict) else section for name, section in values.items()}
    for section, names in RENAMED.items():
        settings = renamed.get(section)
        if isinstance(settings, dict):
            for old, new in names.items():
                if old in settings:
                    value = settings.pop(old)
                    both = isinstance(value, dict) and isinstance(settings.get(new), dict)
                    settings[new] = {**settings[new], **value} if both else value
                    _tell(f"{section}.{old}", f"{section}.{new}", warn)
    objective = renamed.get("objective")
    if isinstance(objective, dict):
        own = {field.name for field in fields(own_settings)} & set(objective)
        if own:
            objective[OWN] = {**objective.get(OWN, {}), **{name: objective.pop(name) for name in sorted(own)}}
        for name in sorted(own):
            _tell(f"objective.{name}", f"objective.{OWN}.{name}", warn)
    return renamed


def _tell(old: str, new: str, warn: bool) -> None:
    if warn:
        logger.warning("The setting %s is called %s now. Rename it; the old name will not be read for ever.", old, new)
