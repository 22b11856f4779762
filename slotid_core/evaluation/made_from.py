"""Settings that a kept result was made from, as today's code reads them: under today's names, and with its default
where a setting has been added since. Such a result stays valid, and one of other settings does not.
"""

from dataclasses import asdict

from ..config import config_from_dict
from ..dataset.config import PrepareConfig
from ..training.config import config_from_settings


def training_today(values: dict) -> dict:
    """Settings of a training, those of the objective's own part filled in as well.

    Raises:
        SlotIDError: today's code cannot read them.
    """
    config = config_from_settings(values, warn=False)
    settings = asdict(config)
    settings["objective"]["own"] = asdict(config.own_objective())
    # Old files name the multiplier of every group, also where it is 1, the default.
    multipliers = config.optimizer.lr_multipliers
    settings["optimizer"]["lr_multipliers"] = {name: factor for name, factor in multipliers.items() if factor != 1.0}
    return settings


def preparation_today(values: dict) -> dict:
    """Settings of prepared data; raises as above."""
    return asdict(config_from_dict(PrepareConfig, values))
