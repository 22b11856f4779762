"""A whole preparation: the plan, its shards one by one or across machines, and the manifest at the end."""

import hashlib
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

from ..config import changed_settings, config_from_dict, config_to_dict, told
from ..errors import SlotIDError
from ..files import disk_errors, read_json, sweep, write_json
from ..folder_lock import only_run_in
from ..recognisers.recognisers import find_recogniser
from .config import PrepareConfig
from .manifest import KIND, MANIFEST, VERSION
from .prepare import preparer_on_one_thread
from .shards import is_whole, read_index, shard_name, tar_size, write_shard
from .sources import ShardPlan, plan_shards
from .strangers import LIKENESS, least_of, read_tensor, strangers_in

STARTED = "preparation.json"
AGAIN = "Delete that folder and prepare again."


class Stopped(Exception):
    """The preparation was asked to stop; whole shards are kept."""


def prepare_dataset(
    config: PrepareConfig,
    folder: Path,
    progress: Callable[[int, int], None] = lambda done, total: None,
    stopping: Callable[[], bool] = lambda: False,
    workers: int | None = None,
    ray_address: str | None = None,
) -> dict:
    """Prepare what is still missing in `folder`, and return the manifest.

    Args:
        progress: called with (clips done, clips in all).
        stopping: asked after each clip; with Ray, after each shard.
        workers: more than one run on Ray. None is one on this machine, and all that a cluster has room for.
        ray_address: None for one process, "local" for Ray on this machine, else that of a cluster.

    Raises:
        SlotIDError: the source, the models or the folder cannot be used, or another run is at work in the folder.
        Stopped: `stopping` said so.
    """
    plan = plan_shards(config)
    with only_run_in(folder), disk_errors(folder, only_full=True):  # workers of one preparation are one run
        return _prepare(config, plan, folder, progress, stopping, workers, ray_address)


def _prepare(
    config: PrepareConfig,
    plan: tuple[ShardPlan, ...],
    folder: Path,
    progress: Callable[[int, int], None],
    stopping: Callable[[], bool],
    workers: int | None,
    ray_address: str | None,
) -> dict:
    _start_or_resume(config, plan, folder)
    missing = [shard for shard in plan if not is_whole(folder, shard.number)]
    total = sum(len(shard.clips) for shard in plan)
    done = total - sum(len(shard.clips) for shard in missing)
    progress(done, total)

    def advance(clips: int) -> bool:
        nonlocal done
        done += clips
        progress(done, total)
        return not stopping()

    try:
        if not missing or stopping():
            whole = not missing
        elif ray_address is None and workers in (None, 1):
            whole = _prepare_here(config, missing, folder, advance, stopping)
        else:
            from .ray_runner import prepare_with_ray

            whole = prepare_with_ray(config, missing, folder, advance, workers, ray_address or "local")
    finally:
        sweep(folder, of_runs=True)  # of workers that were killed
    if not whole:
        raise Stopped
    return _write_manifest(config, plan, folder)


def _prepare_here(
    config: PrepareConfig,
    shards: list[ShardPlan],
    folder: Path,
    advance: Callable[[int], bool],
    stopping: Callable[[], bool],
) -> bool:
    prepare = preparer_on_one_thread(config)
    return all(not stopping() and write_shard(folder, shard, prepare, lambda: advance(1)) for shard in shards)


def _start_or_resume(config: PrepareConfig, plan: tuple[ShardPlan, ...], folder: Path) -> None:
    """Note in the folder what it is prepared from; one of other settings or other clips is left alone."""
    clips = json.dumps([[[clip.key, clip.caption, clip.person] for clip in shard.clips] for shard in plan])
    started = {
        "kind": KIND,
        "version": VERSION,
        "config": config_to_dict(config),
        "clips": hashlib.sha256(clips.encode()).hexdigest(),
    }
    path = folder / STARTED
    if path.exists():
        _compare(read_json(path, AGAIN), started, folder)
    else:
        write_json(path, started, sort_keys=True)


def _compare(before: dict, now: dict, folder: Path) -> None:
    if before.get("version") != VERSION or not isinstance(before.get("config"), dict):
        raise SlotIDError(f"{folder / STARTED} is not of this release's format. {AGAIN}")
    # Through the settings of today, so that one that has been added since counts as its default.
    settings = config_to_dict(config_from_dict(PrepareConfig, before["config"]))
    changes = changed_settings(settings, now["config"])
    if changes:
        raise SlotIDError(
            f"{folder} was begun with other settings: {told(changes)}. Give another output folder, or delete that one."
        )
    if before.get("clips") != now["clips"]:
        raise SlotIDError(
            f"The clips of the source have changed since {folder} was begun. Give another output folder, or delete "
            "that one."
        )


def _write_manifest(config: PrepareConfig, plan: tuple[ShardPlan, ...], folder: Path) -> dict:
    """Joins the shard indexes; nothing in it depends on when, where or by how many workers they were made."""
    whole, shards, people, places = hashlib.sha256(), [], set(), []
    for shard in plan:
        path = folder / f"{shard_name(shard.number)}.jsonl"
        index = read_index(path)
        whole.update(path.read_bytes())
        samples = [line for line in index if "key" in line]
        people |= {line["person"] for line in samples}
        places += [(line, folder / f"{shard_name(shard.number)}.tar") for line in samples]
        shards.append(
            {
                "name": shard_name(shard.number),
                "samples": len(samples),
                "failed": len(index) - len(samples),
                "text_rows": sum(line["text_rows"] for line in samples),
                "bytes": tar_size(index),
            }
        )
    apart = _strangers(config, places)
    if apart:
        whole.update(json.dumps(apart, sort_keys=True).encode())
    manifest = {
        "kind": KIND,
        "version": VERSION,
        "config": config_to_dict(config),
        "clips": sum(len(shard.clips) for shard in plan),
        "people": len(people),
        **{name: sum(shard[name] for shard in shards) for name in ("samples", "failed", "text_rows", "bytes")},
        "shards": shards,
        **apart,
        "sha256": whole.hexdigest(),
    }
    write_json(folder / MANIFEST, manifest, sort_keys=True)
    return manifest


def _strangers(config: PrepareConfig, places: list[tuple[dict, Path]]) -> dict:
    """Of a preparation with a recogniser, what the manifest says of pairs of samples of one person."""
    if not config.recogniser:
        return {}
    recogniser = find_recogniser(config.recogniser, config.detector_models)
    least = least_of(config, recogniser)
    samples = [
        (line["key"], line["person"], partial(read_tensor, tar, line["offset"], LIKENESS)) for line, tar in places
    ]
    strangers, pairs = strangers_in(samples, least)
    facts = {"recogniser": recogniser.description, "least": least, "pairs": pairs, "left_out": len(strangers)}
    return {"resemblance": facts, "strangers": strangers}


def failures(folder: Path, manifest: dict) -> list[dict]:
    """Every failure that the shards list: {"clip", "failed"}."""
    indexes = (read_index(folder / f"{shard['name']}.jsonl") for shard in manifest["shards"] if shard["failed"])
    return [line for index in indexes for line in index if "failed" in line]
