"""What this study can vary beyond the harness: the gate between Slot-ID's two streams."""

from dataclasses import dataclass, replace

from slotid_core.evaluation.studio import Studio
from slotid_core.evaluation.usage import Usage
from slotid_core.systems.slot_id import GateSchedule, Identity
from slotid_core.systems.slot_id.inference import LoadedAdapter

SYSTEM = "slot_id"


@dataclass(frozen=True)
class StudyUsage(Usage):
    """`gate` replaces the adapter's own gate; None keeps it."""

    gate: GateSchedule | None = None


class GateStudio(Studio):
    """A studio that applies the gate of a `StudyUsage`. An adapter with a single stream has nothing to gate."""

    def person(self, system: str, adapter: LoadedAdapter, jobs: list, usage: StudyUsage) -> Identity:
        identity = super().person(system, adapter, jobs, usage)
        module = adapter.module
        if usage.gate is not None and module.encoder is not None and module.anchor is not None:
            identity = replace(identity, gate=usage.gate)
        return identity
