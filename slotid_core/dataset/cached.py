"""Prepared samples, read one at a time by their place in the shards."""

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from ..errors import SlotIDError
from ..paths import inside
from .manifest import AGAIN, read_manifest
from .shards import PLACE, read_index


@dataclass(frozen=True)
class SampleInfo:
    """Where a sample is: its tensors are the `size` bytes from `offset` of the file `shard`."""

    index: int
    key: str
    person: str
    caption: str
    shard: str
    offset: int
    size: int
    text_rows: int
    clip: str


class CachedDataset:
    """A prepared folder. Opens files per read, so that it can be handed to worker processes."""

    def __init__(self, folder: str | Path):
        """Reads the manifest and the indexes, no tensors.

        Raises:
            SlotIDError: no such folder, an unfinished preparation, or a shard that is missing or cut short.
        """
        self.folder = Path(folder)
        self.manifest = read_manifest(self.folder)
        self.manifest_hash: str = self.manifest["sha256"]
        samples: list[SampleInfo] = []
        for shard in self.manifest["shards"]:
            tar = self._file(f"{shard['name']}.tar")
            length = tar.stat().st_size if tar.is_file() else 0
            if length != shard["bytes"]:
                raise SlotIDError(
                    f"{tar} has {length} bytes where the manifest says {shard['bytes']}: it is "
                    f"{'cut short' if length else 'missing'}. Copy it again, or run the preparation again, which "
                    "makes it anew."
                )
            for line in read_index(self._file(f"{shard['name']}.jsonl")):
                if "key" in line:
                    place = {name: line[name] for name in PLACE}
                    samples.append(SampleInfo(index=len(samples), shard=tar.name, **place))
        if not samples:
            raise SlotIDError(f"{self.folder} holds no sample: every clip failed. Read its .jsonl files for why.")
        self.samples = tuple(samples)
        self.strangers = strangers_of(self.manifest, self.folder)
        people: dict[str, list[int]] = defaultdict(list)
        for sample in samples:
            people[sample.person].append(sample.index)
        self.by_person: dict[str, tuple[int, ...]] = {person: tuple(found) for person, found in people.items()}

    def _file(self, name: str) -> Path:
        """A file that the manifest names, which may name no other place."""
        return inside(self.folder.absolute(), name, f"The manifest of {self.folder}", "Copy the whole shard there.")

    def __len__(self) -> int:
        return len(self.samples)

    def read(self, index: int, names: tuple[str, ...] | None = None) -> dict[str, Tensor]:
        """Tensors of a sample in float32, or those of them that are named; `prepare.Sample` says which there are.

        Raises:
            SlotIDError: the shard has been cut short or damaged since, or there is no tensor of a name.
        """
        sample = self.samples[index]
        path = self.folder / sample.shard
        try:
            with path.open("rb") as file:
                file.seek(sample.offset)
                tensors = load(file.read(sample.size))
        except (OSError, SafetensorError) as error:
            raise SlotIDError(
                f"{sample.key} cannot be read from {path} ({error}). The shard is damaged: delete it and run the "
                "preparation again."
            ) from error
        unknown = [name for name in names or () if name not in tensors]
        if unknown:
            raise SlotIDError(f"{sample.key} has no tensor {unknown[0]!r}; it has {', '.join(sorted(tensors))}.")
        return {name: tensors[name].float() for name in (sorted(tensors) if names is None else names)}

    def partner(self, index: int, rng: np.random.Generator, same_clip: bool) -> int:
        """Whose face clip and portrait go with this sample's video.

        Returns:
            where `same_clip` is false, another sample of the same person: from another clip if they have one, else
            from another window of the same. Otherwise the index itself, as where a recogniser said at preparation
            that every other one shows somebody else.
        """
        sample = self.samples[index]
        if same_clip:
            return index
        windows = [i for i in self.by_person[sample.person] if i != index and not self._apart(index, i)]
        others = [i for i in windows if self.samples[i].clip != sample.clip] or windows
        return others[int(rng.integers(len(others)))] if others else index

    def _apart(self, one: int, other: int) -> bool:
        return bool(self.strangers) and frozenset((self.samples[one].key, self.samples[other].key)) in self.strangers


def strangers_of(manifest: dict, folder: Path) -> frozenset[frozenset[str]]:
    """Pairs of keys that are said to show one person and do not; none where no recogniser was asked.

    Raises:
        SlotIDError: they are something else than pairs.
    """
    pairs = manifest.get("strangers", [])
    for pair in pairs if isinstance(pairs, list) else [pairs]:
        if not (isinstance(pair, list) and len(pair) == 2 and all(isinstance(key, str) for key in pair)):
            raise SlotIDError(f"The manifest of {folder} names {pair!r:.60} as a pair of samples. {AGAIN}")
    return frozenset(map(frozenset, pairs))
