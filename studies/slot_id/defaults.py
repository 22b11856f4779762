"""Settings of the pack and their alternatives: what would have to be better for a default to give way."""

from dataclasses import dataclass

from studies.slot_id.plan import AS_SHIPPED, GATES, ROWS, TRIALS
from studies.slot_id.studio import StudyUsage


@dataclass(frozen=True)
class Default:
    """A setting of the pack and its alternatives: the other value, the row that has it, and the row that differs in
    nothing else."""

    setting: str
    value: str
    instead: tuple[tuple[str, str, str], ...]


USAGE = StudyUsage()
DEFAULTS = (
    Default("routing", "sinkhorn", (("softmax", "slots third, softmax routing", "slots third"),)),
    Default(
        "plan_normalization",
        "row",
        (
            ("paper", "slots third, plan as in the paper", "slots third"),
            ("paper", "plan as in the paper", "full third"),
        ),
    ),
    Default("gate_mode", "paper", (("lerp_to_padding", "gate to padding", "full third"),)),
    Default(
        "gate family, in training",
        "cosine",
        (("constant", "gate constant", "full third"), ("linear", "gate linear", "full third")),
    ),
    Default(
        "temporal_differences",
        "true",
        (
            ("false", "slots third, no temporal differences", "slots third"),
            ("false", "movement third, no temporal differences", "movement third"),
        ),
    ),
    Default(
        "movement_weight, change_weight",
        "1, 2",
        (("0, 0", "full third", "movement third"), ("0, 0", "full", "movement objective")),
    ),
    Default(
        "gate of the adapter that ships",
        "constant 0.5",
        tuple((name, name, AS_SHIPPED.name) for name, _ in GATES),
    ),
    Default(
        "identity_scale, text_scale",
        f"{USAGE.identity_scale:g}, {USAGE.text_scale:g}",
        tuple(
            (f"{row.usage.identity_scale:g}, {row.usage.text_scale:g}", row.name, AS_SHIPPED.name)
            for row in TRIALS["scales"]
        ),
    ),
)

# Rows that are also measured on the people of development.
DEFAULT_ROWS = tuple(
    row for row in ROWS.values() if any(row.name in names for default in DEFAULTS for _, *names in default.instead)
)
