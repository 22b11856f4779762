"""The same preparation on Ray Data: a shard a task, the models once per worker, on one machine or many.

The output folder must be one that every machine sees. A worker that dies is replaced and its shard made again.
"""

import json
import logging
import os
import signal
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path

from ..config import config_from_dict, config_to_dict
from ..errors import SlotIDError
from .clip import Clip
from .config import PrepareConfig
from .prepare import preparer_on_one_thread
from .shards import is_whole, write_shard
from .sources import ShardPlan

ROOT = Path(__file__).resolve().parents[2]


class ShardWorker:
    """Lives in a worker process and makes the shards that it is given, one a call."""

    def __init__(self, config: dict, folder: str, working_folder: str):
        os.chdir(working_folder)  # paths in the settings are relative to where the command was given
        self.folder = Path(folder)
        self.prepare = preparer_on_one_thread(config_from_dict(PrepareConfig, config))

    def __call__(self, row: dict) -> dict:
        clips = tuple(Clip(**clip) for clip in json.loads(row["clips"]))
        number = int(row["number"])
        if not is_whole(self.folder, number):  # a worker may have died after finishing it
            write_shard(self.folder, ShardPlan(number, clips), self.prepare)
        return {"number": number, "done": len(clips)}


def prepare_with_ray(
    config: PrepareConfig,
    shards: list[ShardPlan],
    folder: Path,
    advance: Callable[[int], bool],
    workers: int | None,
    address: str,
) -> bool:
    """Whether all shards were made before `advance` said to stop.

    Args:
        workers: how many; None for one on this machine, and for as many as the cluster at `address` has room for.

    Raises:
        SlotIDError: Ray is not installed or not reachable, or the workers cannot do their work.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # no usage is reported unless requested
    try:
        import ray
        import ray.data
        import ray.exceptions
    except ImportError as error:
        raise SlotIDError(
            f"Ray is not installed ({error}). Install ray[data], or prepare with one process: no --ray, --workers 1."
        ) from error
    local = address == "local"
    try:
        handlers = [(number, signal.getsignal(number)) for number in (signal.SIGINT, signal.SIGTERM)]
        ray.init(
            address=address,
            runtime_env={"env_vars": {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}},
            log_to_driver=False,
            logging_level=logging.WARNING,
            **({"num_cpus": (workers or 1) + 1, "include_dashboard": False} if local else {}),
        )
        if threading.current_thread() is threading.main_thread():
            for number, handler in handlers:
                signal.signal(number, handler)  # Ray puts its own in their place, and would exit at once
    except Exception as error:  # a start that takes too long is a plain Exception
        ray.shutdown()
        raise SlotIDError(
            f"Ray does not start, or cannot be reached at {address!r}: {' '.join(str(error).split())[:400]} "
            "Check the address; on a machine that is busy with other work, try again later."
        ) from error
    try:
        _quiet(ray)
        if workers is None:
            workers = 1 if local else room_for_workers(ray.cluster_resources(), _on_gpu(config, ray))
        rows = ray.data.from_items(
            [{"number": s.number, "clips": json.dumps([asdict(clip) for clip in s.clips])} for s in shards],
            override_num_blocks=len(shards),
        )
        made = rows.map(
            # A class is made once per worker, as Ray documents; its annotation takes functions alone.
            ShardWorker,  # pyright: ignore[reportArgumentType]
            fn_constructor_kwargs={
                "config": config_to_dict(config),
                "folder": str(folder.resolve()),
                "working_folder": str(Path.cwd()),
            },
            compute=ray.data.ActorPoolStrategy(size=min(workers, len(shards))),  # those without room yet wait for it
            num_cpus=1,
            num_gpus=1 if _on_gpu(config, ray) else 0,
        )
        going_on = True
        for row in made.iter_rows():
            going_on = advance(row["done"])
            if not going_on:
                break
        return going_on or all(is_whole(folder, shard.number) for shard in shards)
    except (ray.exceptions.RayError, RuntimeError) as error:
        cause = getattr(error, "cause", None) or error
        raise SlotIDError(f"A worker failed: {' '.join(str(cause).split())[:600]}. Whole shards are kept.") from error
    finally:
        ray.shutdown()


def room_for_workers(resources: Mapping[str, float], on_gpu: bool) -> int:
    """Workers that a cluster has room for: a GPU each, or a core each, of which one is left to Ray's own tasks."""
    return max(1, int(resources.get("GPU", 0)) if on_gpu else int(resources.get("CPU", 0)) - 1)


def _quiet(ray) -> None:
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.WARNING)


def _on_gpu(config: PrepareConfig, ray) -> bool:
    if config.device == "auto":
        return ray.cluster_resources().get("GPU", 0) > 0
    return config.device.startswith("cuda")
