"""Experiment trackers beside TensorBoard, by accelerate (peft brings it), which speaks to each of them in one way."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import SlotIDError

PROJECT = "slotid"
TRACKERS = ("aim", "clearml", "comet_ml", "dvclive", "mlflow", "swanlab", "trackio", "wandb")


class Trackers:
    """
    Args:
        names: some of `TRACKERS`.
        folder: of the run; trackers that keep files of their own get a folder in it.
        settings: of the run, as nested dictionaries.

    Raises:
        SlotIDError: a name that is none, a package that is missing, or a tracker that does not start.
    """

    def __init__(self, names: Sequence[str], folder: Path, settings: dict):
        self.known: dict[str, Any] = {}
        for name in names:
            if name not in TRACKERS:
                raise SlotIDError(f"--track is {name!r}; it is one of {', '.join(TRACKERS)}.")
            try:
                self.known[name] = started(name, folder, settings)
            except ImportError as error:
                raise SlotIDError(
                    f"--track {name} needs a package that is not there ({error}). Install it, or leave --track out."
                ) from error
            except Exception as error:  # each has errors of its own: no account, no server, no disk
                raise SlotIDError(f"{name} does not start: {error}. See to it, or leave --track {name} out.") from error

    def log(self, figures: dict[str, float], step: int) -> list[tuple[str, str]]:
        """Hand on the figures of a step.

        Returns:
            (name, reason) of trackers that failed. They get no more: a run of days does not end with somebody's server.
        """
        failed = []
        for name, tracker in list(self.known.items()):
            try:
                tracker.log(figures, step=step)
            except Exception as error:
                failed.append((name, str(error)))
                del self.known[name]
        return failed

    def close(self) -> list[tuple[str, str]]:
        failed = []
        for name, tracker in self.known.items():
            try:
                tracker.finish()
            except Exception as error:
                failed.append((name, str(error)))
        self.known = {}
        return failed


def started(name: str, folder: Path, settings: dict) -> Any:
    from accelerate import PartialState
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS

    PartialState()  # without it, what accelerate logs is an error
    kind = LOGGER_TYPE_TO_CLASS[name]
    where = {"logging_dir": str(folder / name)} if kind.requires_logging_directory else {}
    tracker = kind(PROJECT, **where)
    tracker.start()
    tracker.store_init_configuration(flat(settings))
    return tracker


def flat(settings: dict, before: str = "") -> dict[str, str | int | float | bool]:
    """Settings by dotted name; what is no number, truth or word is written out."""
    found: dict[str, str | int | float | bool] = {}
    for name, value in settings.items():
        if isinstance(value, dict):
            found |= flat(value, f"{before}{name}.")
        else:
            found[before + name] = value if isinstance(value, str | int | float | bool) else str(value)
    return found
