"""Shards: webdataset tar files that are the same bytes for the same inputs, each with an index beside it.

A sample is two members, `key.json` and `key.safetensors`. The index `shard-000012.jsonl` has one line a sample, with
where its tensors lie in the tar, and one line a failure. A shard is whole when its index is there: it is written last.
"""

import hashlib
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path

from safetensors.torch import save

from ..errors import SlotIDError
from ..files import whole_file, write_text
from .clip import Clip
from .manifest import check_object
from .prepare import Prepared, Sample
from .sources import ShardPlan

# What is read of a line of an index.
PLACE = {
    "key": str, "person": str, "caption": str, "clip": str, "offset": int, "size": int, "text_rows": int,
}  # fmt: skip
FAILURE = {"clip": str, "failed": str}
BLOCK, RECORD = tarfile.BLOCKSIZE, tarfile.RECORDSIZE


class _Unfinished(Exception):
    """Asked to stop in the middle of a shard, of which nothing is to stay."""


def shard_name(number: int) -> str:
    return f"shard-{number:06d}"


def write_shard(
    folder: Path,
    plan: ShardPlan,
    prepare: Callable[[Clip], Prepared],
    after_clip: Callable[[], bool] = lambda: True,
) -> bool:
    """Write one shard and its index; both appear whole or not at all.

    Args:
        after_clip: called after each clip; False stops, and leaves nothing of a shard that is not finished.

    Returns:
        whether the shard was finished.

    Raises:
        SlotIDError: the folder cannot be written to, or is full.
    """
    name = shard_name(plan.number)
    tar_path, index_path = folder / f"{name}.tar", folder / f"{name}.jsonl"
    lines: list[dict] = []
    try:
        with (
            whole_file(tar_path) as unfinished,
            unfinished.open("wb") as file,
            tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as tar,
        ):
            for clip in plan.clips:
                prepared = prepare(clip)
                lines += [_add_sample(tar, file, sample) for sample in prepared.samples]
                lines += [{"clip": clip.key, "failed": reason} for reason in prepared.failures]
                if not after_clip() and clip is not plan.clips[-1]:
                    raise _Unfinished
        write_text(index_path, "".join(_line(entry) + "\n" for entry in lines))
    except _Unfinished:
        return False
    return True


def _add_sample(tar: tarfile.TarFile, file, sample: Sample) -> dict:
    tensors = save(sample.tensors)
    _add(tar, f"{sample.key}.json", (_line(sample.facts) + "\n").encode())
    _add(tar, f"{sample.key}.safetensors", tensors)
    return {
        "key": sample.key,
        "person": sample.facts["person"],
        "caption": sample.facts["caption"],
        "clip": sample.facts["clip"],
        "offset": file.tell() - _padded(len(tensors), BLOCK),
        "size": len(tensors),
        "shapes": {name: list(tensor.shape) for name, tensor in sample.tensors.items()},
        "text_rows": sample.tensors["text"].shape[0],
        "sha256": hashlib.sha256(tensors).hexdigest(),
    }


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    # A new TarInfo has time, user and group zero and no names; only the mode is set, in case a default changes.
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(data), 0o644
    tar.addfile(info, io.BytesIO(data))


def read_index(path: Path) -> list[dict]:
    """Lines of a shard's index.

    Raises:
        SlotIDError: it is missing, cut short, or says something else.
    """
    try:
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
    except (OSError, ValueError, RecursionError) as error:
        raise SlotIDError(f"The index {path} cannot be read ({error}). Prepare the data set again.") from error
    for number, line in enumerate(lines, 1):
        failed = isinstance(line, dict) and "failed" in line
        check_object(line, FAILURE if failed else PLACE, f"line {number} of {path}")
    return lines


def is_whole(folder: Path, number: int) -> bool:
    """Whether a shard is finished and as long as its index says; one that is not is made again."""
    tar_path, index_path = (folder / f"{shard_name(number)}{ending}" for ending in (".tar", ".jsonl"))
    try:
        return tar_path.stat().st_size == tar_size(read_index(index_path))
    except (SlotIDError, OSError, KeyError, TypeError):
        return False


def tar_size(index: list[dict]) -> int:
    """Bytes of the tar that an index is of: tensors are the last member, then two empty blocks, in whole records."""
    samples = [line for line in index if "key" in line]
    end = samples[-1]["offset"] + _padded(samples[-1]["size"], BLOCK) if samples else 0
    return _padded(end + 2 * BLOCK, RECORD)


def _padded(size: int, unit: int) -> int:
    return -(-size // unit) * unit


def _line(entry: dict) -> str:
    return json.dumps(entry, sort_keys=True)
