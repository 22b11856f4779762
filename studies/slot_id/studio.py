"""What this study can vary beyond the harness: the gate between Slot-ID's two streams, and a stream left out."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal

from slotid_core.evaluation.studio import Studio
from slotid_core.evaluation.usage import Usage
from slotid_core.systems.slot_id import GateSchedule, Identity
from slotid_core.systems.slot_id.inference import LoadedAdapter

SYSTEM = "slot_id"
# The tensors of an identity that belong to each stream.
STREAMS = {"clip": ("video_tokens", "video_film"), "portrait": ("image_tokens", "image_film")}


@dataclass(frozen=True)
class StudyUsage(Usage):
    """`gate` replaces the adapter's own gate; None keeps it. `zeroed` names a stream whose tokens and FiLM become zero,
    while the gate still gives the other stream its own share.
    """

    gate: GateSchedule | None = None
    zeroed: Literal["", "clip", "portrait"] = ""


class StreamStudio(Studio):
    """A studio that applies a `StudyUsage`. An adapter with a single stream has nothing to gate."""

    def person(
        self,
        system: str,
        adapter: LoadedAdapter,
        jobs: list,
        usage: StudyUsage,
        reads: Mapping[str, str] = MappingProxyType({}),
    ) -> Identity:
        identity = super().person(system, adapter, jobs, usage, reads)
        module = adapter.module
        if usage.gate is not None and module.encoder is not None and module.anchor is not None:
            identity = replace(identity, gate=usage.gate)
        if usage.zeroed:
            silent = {name: getattr(identity, name).mul(0) for name in STREAMS[usage.zeroed]}
            identity = replace(identity, **silent)
        return identity
