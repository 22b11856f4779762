"""What the study trains and compares: data alone, in the order in which the rows are made."""

from dataclasses import dataclass, field
from typing import Literal

from slotid_core.evaluation.usage import Reference
from slotid_core.evaluation.variants import BASE, DESCRIBED, GROUND_TRUTH, STRANGER
from slotid_core.systems.slot_id import GateSchedule
from slotid_core.systems.slot_id.inference import INFERENCE
from studies.slot_id.claims import AS_SHIPPED_NAME, AS_TRAINED, CLAIMED, POOLED
from studies.slot_id.studio import StudyUsage

Budget = Literal["full", "third"]


@dataclass(frozen=True)
class Trained:
    """An adapter: its changes to the toy world's settings, its budget, and the references that it is trained on."""

    name: str
    changes: tuple[str, ...] = ()
    budget: Budget = "full"
    reference: str = "other clip"


@dataclass(frozen=True)
class Row:
    """One row of a table: an adapter (or none), from how many training seeds, and how it is used."""

    name: str
    adapter: str | None
    seeds: int = 1
    usage: StudyUsage = field(default_factory=StudyUsage)
    with_identity: bool = True

    @property
    def trained(self) -> bool:
        """Whether the study trains its adapter, so that each training seed gives another row."""
        return self.adapter not in (None, SHIPPED)


TRAINING_SEEDS = 2  # of each adapter that a main row or a claim rests on
SHIPPED = "shipped"  # the adapter that comes with the toy world; trained longer than those of the rows

VARIANTS = INFERENCE.variants  # what each changes in the settings of `full`
# The paper's objective is flow matching alone, so its claims are tested with that.
FLOW_ALONE = ("objective.own.movement_weight=0.0", "objective.change_weight=0.0")
MOVEMENT = ("objective.own.movement_weight=1.0", "objective.change_weight=2.0")
# Adapters, in the order in which they are trained.
MAIN = (
    *(Trained(row, (*FLOW_ALONE, *VARIANTS[row].changes)) for row in ("full", "anchor", "mean_latent", "slots")),
    Trained("movement objective", MOVEMENT),
)


def _third(name: str, *changes: str, reference: str = "other clip") -> Trained:
    return Trained(name, (*FLOW_ALONE, *changes), "third", reference)


def _slots_third(name: str, *changes: str) -> Trained:
    return _third(f"slots third, {name}", *VARIANTS["slots"].changes, *changes)


def _movement_third(name: str, *changes: str, reference: str = "other clip") -> Trained:
    return _third(f"movement third, {name}", *MOVEMENT, *changes, reference=reference)


SOFTMAX = "adapter.encoder.reader.routing=softmax"
PAPERS_PLAN = "adapter.encoder.reader.plan_normalization=paper"
NO_DIFFERENCES = "adapter.encoder.temporal_differences=false"
# Each row of a group is compared with the first one. Changes inside the encoder are made to an adapter without a
# portrait, as a portrait is learnt faster and hides the clip's effect after a third of the budget. Changes that concern
# movement are made to an adapter that is trained with the movement objective.
ABLATIONS = (
    (
        _third("full third"),
        _third("softmax routing", SOFTMAX),
        _third("plan as in the paper", PAPERS_PLAN),
        _third("gate to padding", "adapter.gate_mode=lerp_to_padding"),
        _third("gate constant", "adapter.gate.family=constant", "adapter.gate.high=0.5"),
        _third("gate linear", "adapter.gate.family=linear"),
        _third("no FiLM", "adapter.film_fraction=0"),
        _third("FiLM in the last half", "adapter.film_fraction=0.5"),
        _third("LoRA on K, V, O", 'adapter.lora.targets=["k", "v", "o"]'),
        _third("reference is the clip", reference="same clip"),
    ),
    (
        _third("slots third", *VARIANTS["slots"].changes),
        _slots_third("softmax routing", SOFTMAX),
        _slots_third("plan as in the paper", PAPERS_PLAN),
        _slots_third("no temporal differences", NO_DIFFERENCES),
        _third(POOLED, *VARIANTS["slots"].changes, "adapter.encoder.architecture=conv_pool"),
        _slots_third("1 slot", "adapter.encoder.reader.num_slots=1"),
        _slots_third("12 slots", "adapter.encoder.reader.num_slots=12"),
    ),
    (
        _third("movement third", *MOVEMENT),
        _movement_third("no temporal differences", NO_DIFFERENCES),
        _movement_third("frames shuffled", reference="shuffled"),
    ),
)
ADAPTERS = {adapter.name: adapter for adapter in (*MAIN, *(adapter for group in ABLATIONS for adapter in group))}

MAIN_ROWS = (
    Row(BASE, None),
    Row(DESCRIBED, None),
    Row(STRANGER, None),
    Row("null", "full", TRAINING_SEEDS, with_identity=False),
    *(Row(adapter.name, adapter.name, TRAINING_SEEDS) for adapter in MAIN),
    Row(GROUND_TRUTH, None),
)


def _row_of(adapter: Trained) -> Row:
    """An adapter that is trained on shuffled frames is also tested with shuffled frames."""
    usage = StudyUsage(reference=Reference(shuffled=adapter.reference == "shuffled"))
    return Row(adapter.name, adapter.name, TRAINING_SEEDS if adapter.name in CLAIMED else 1, usage)


ABLATION_GROUPS = tuple(tuple(_row_of(adapter) for adapter in group) for group in ABLATIONS)
ABLATION_ROWS = tuple(row for group in ABLATION_GROUPS for row in group)


def _trial(name: str, **usage) -> Row:
    return Row(name, SHIPPED, usage=StudyUsage(**usage))


GATES = (
    ("portrait only", GateSchedule("constant", low=1.0, high=1.0)),
    ("clip only", GateSchedule("constant", low=0.0, high=0.0)),
    (AS_TRAINED, GateSchedule(shift=3.0)),
    ("linear", GateSchedule("linear")),
    ("sigmoid, early at t = 0.7", GateSchedule("sigmoid", midpoint=0.7)),
    ("sigmoid, late at t = 0.3", GateSchedule("sigmoid", midpoint=0.3)),
    ("sigmoid, sudden", GateSchedule("sigmoid", steepness=40.0)),
)
AS_SHIPPED = Row(AS_SHIPPED_NAME, SHIPPED)  # every trial is compared with it
TRIALS: dict[str, tuple[Row, ...]] = {
    "gate": tuple(_trial(name, gate=gate) for name, gate in GATES),
    "reference length": tuple(_trial(f"{n} frames", reference=Reference(frames=n)) for n in (1, 5, 17, 33)),
    "order of frames": (
        _trial("shuffled", reference=Reference(shuffled=True)),
        _trial("latent frames shuffled", reference=Reference(latents_shuffled=True)),
    ),
    "controls": (
        _trial("mismatched clip", reference=Reference(clip_of_a_stranger=True)),
        _trial("clip stream zeroed", zeroed="clip"),
        _trial("portrait stream zeroed", zeroed="portrait"),
    ),
    "reference blur": tuple(_trial(f"blur {sigma:g} px", reference=Reference(blur=sigma)) for sigma in (0.5, 1.0, 2.0)),
    "reference noise": tuple(_trial(f"noise {s:g}", reference=Reference(noise=s)) for s in (0.02, 0.05, 0.1)),
    "scales": tuple(
        _trial(f"identity {identity:g}, text {text:g}", identity_scale=identity, text_scale=text)
        for text in (1.5, 2.5, 4.0)
        for identity in (1.0, 2.0, 3.0, 4.0)
        if (text, identity) != (StudyUsage.text_scale, StudyUsage.identity_scale)
    ),
    "part of sampling": tuple(
        _trial(f"{start:g} to {end:g}", start=start, end=end)
        for start, end in ((0.0, 0.25), (0.0, 0.5), (0.25, 1.0), (0.5, 1.0))
    ),
}
ROWS = {
    row.name: row
    for row in (*MAIN_ROWS, *ABLATION_ROWS, AS_SHIPPED, *(row for rows in TRIALS.values() for row in rows))
}
