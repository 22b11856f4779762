"""Several prepared folders read as one, such as the same people at several sizes."""

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from ..errors import SlotIDError
from .cached import CachedDataset, SampleInfo

# Settings in which folders must agree, as what they say of a reference goes into one batch.
SHARED = ("reference_size", "reference_frames", "portrait_size", "component_size", "face_encoder")


class JoinedDataset(CachedDataset):
    """Samples of the folders in their order. People of one name are one person, and clips of one key one clip.

    Attributes:
        lengths: samples of each folder.

    Raises:
        SlotIDError: as `CachedDataset` does, or for folders whose references are of other sizes.
    """

    def __init__(self, folders: Sequence[Path]):
        self.members = [CachedDataset(folder) for folder in folders]
        self.lengths = tuple(len(member.samples) for member in self.members)
        first = self.members[0]
        self.folder, self.manifest = first.folder, first.manifest
        self.manifest_hash: str = hashlib.sha256("".join(m.manifest_hash for m in self.members).encode()).hexdigest()
        for member in self.members[1:]:
            for name in SHARED:
                ours, theirs = (one.manifest["config"].get(name) for one in (first, member))
                if ours != theirs:
                    raise SlotIDError(
                        f"{member.folder} was prepared with {name} {theirs!r}, and {first.folder} with {ours!r}. "
                        f"Prepare folders that are trained on together with one {name}."
                    )
        places = [(member, info) for member in self.members for info in member.samples]
        self._places = [(member, info.index) for member, info in places]
        self.samples: tuple[SampleInfo, ...] = tuple(
            replace(info, index=index) for index, (_, info) in enumerate(places)
        )
        self.strangers: frozenset[frozenset[str]] = frozenset().union(*(member.strangers for member in self.members))
        people: dict[str, list[int]] = defaultdict(list)
        for info in self.samples:
            people[info.person].append(info.index)
        self.by_person: dict[str, tuple[int, ...]] = {person: tuple(found) for person, found in people.items()}

    def read(self, index: int, names: tuple[str, ...] | None = None) -> dict[str, Tensor]:
        member, own = self._places[index]
        return member.read(own, names)


def open_prepared(folder: str, more: Sequence[str] = ()) -> CachedDataset:
    """The samples of a folder, and of more of them."""
    folders = [Path(folder), *map(Path, more)]
    return CachedDataset(folders[0]) if len(folders) == 1 else JoinedDataset(folders)
