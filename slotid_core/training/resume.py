"""Whether a run goes on with the settings that it was begun with; a change that is not meant must not pass unseen."""

import hashlib
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..config import changed_settings, config_to_dict, told
from ..errors import SlotIDError
from ..model_files import model_file
from .config import FILES, MAY_CHANGE, MAY_GROW, TrainingConfig, config_from_settings

BLOCK, BLOCKS = 1 << 16, 64
CONTENT_OF = "the content of "
logger = logging.getLogger(__name__)


def check_settings(
    header: dict, config: TrainingConfig, given_adapter: dict, files: dict[str, str], meant: Sequence[str], folder: Path
) -> list[dict]:
    """Every change of settings that the run has seen so far, this one's included: `{step, setting, before, now}`.

    Args:
        header: of the checkpoint that the run goes on from.
        given_adapter: adapter settings as they were given; `config` has also those that the data determines.
        files: `fingerprints` of this run's files.
        meant: names of settings whose change is meant.

    Raises:
        SlotIDError: a setting was changed that may not be, and is not among `meant`; each is named with both values.
    """
    changes = changes_since(header, config, given_adapter, files)
    refused = {
        name: values
        for name, values in changes.items()
        if name.removeprefix(CONTENT_OF) not in meant and not (name in MAY_GROW and values[1] > values[0])
    }
    if refused:
        raise SlotIDError(
            f"The run in {folder} was begun with other settings: {told(refused)}. Give those that it was begun with, "
            "train into another folder (in the node: under another name), or add --changed NAME for each one that is "
            "meant to change from here on."
        )
    if changes:
        logger.warning("From step %d on: %s.", header["step"], told(changes))
    new = [{"step": header["step"], "setting": name, "before": b, "now": n} for name, (b, n) in changes.items()]
    return [*header.get("changes", []), *new]


def changes_since(
    header: dict, config: TrainingConfig, given_adapter: dict, files: dict[str, str]
) -> dict[str, tuple[Any, Any]]:
    """Settings, and files' contents, that are not those of a checkpoint's header, but for `MAY_CHANGE`."""
    before = config_from_settings(header.get("training_config") or {}, warn=False)
    changes = changed_settings(comparable(before), comparable(config))
    # Releases differ in what they take over from the data, which is the same.
    given = changed_settings({}, {"adapter": given_adapter})
    then = changed_settings({}, {"adapter": before.adapter})
    free = {name for name in changes if name.startswith("adapter.") and name not in given and name not in then}
    if "files" in header:  # earlier releases do not have it: there the paths are compared
        free |= FILES
        contents = changed_settings(header["files"], files)
        changes |= {f"{CONTENT_OF}{name}": values for name, values in contents.items()}
    return {name: values for name, values in changes.items() if name not in MAY_CHANGE | free}


def comparable(config: TrainingConfig) -> dict:
    """Settings with all defaults filled in, also the system's own."""
    values = config_to_dict(config)
    values["objective"]["own"] = config_to_dict(config.own_objective())
    return values


def fingerprints(config: TrainingConfig) -> dict[str, str]:
    """Of the files that a run reads weights from, by the name of the setting."""
    models = {"model.path": config.model.path, "model.low_noise_path": config.model.low_noise_path}
    files = {name: model_file(path, "dit") for name, path in models.items() if path}
    start = config.start_file()
    if start is not None:
        files["run.start_from"] = start
    return {name: fingerprint(path) for name, path in files.items()}


def fingerprint(path: Path) -> str:
    """Of a file's size, its first block and others spread over it: gigabytes are told apart without reading them."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        size = path.stat().st_size
        digest.update(str(size).encode())
        for number in range(BLOCKS):
            file.seek(max(0, size - BLOCK) * number // (BLOCKS - 1))
            digest.update(file.read(BLOCK))
    return digest.hexdigest()[:16]
