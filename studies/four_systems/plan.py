"""What is compared: data alone, in the order in which it is made."""

from dataclasses import dataclass

from slotid_core.evaluation.variants import BASE, DESCRIBED, FULL, GROUND_TRUTH, STRANGER

STEPS, BATCH = 4000, 16  # the common budget
# The common objective. What the model says for words about the person teaches fast from the first step, but is coarser
# than a reference, so its weight falls to 0. Half of the likeness is decided below a noise level of 0.7, where the
# recipes' shift draws few samples.
TIMESTEP_SHIFT, DESCRIBED_WEIGHT, DESCRIBED_STEPS = 3.0, 4.0, 0.6
OBJECTIVE = (
    f"objective.timestep_shift={TIMESTEP_SHIFT}",
    f"objective.described_weight={DESCRIBED_WEIGHT}",
    f"objective.described_steps={DESCRIBED_STEPS}",
)
TRAINING_SEEDS = 2
PEOPLE, PROMPTS = 64, 4  # on whom figures are measured
LONG_FRAMES = 81  # latent frames of a long video
DATA = "toy_world_systems"  # settings of the people that all systems learn from
MODEL_NAMES = {"slot_id": "Slot-ID", "lynx": "Lynx", "st_drc": "ST-DRC", "lavie_id": "LaVieID"}
RECIPES = {name: "toy_world" if name == "slot_id" else f"toy_world_{name}" for name in MODEL_NAMES}
# A training that comes first, and the setting that takes its file.
BEFORE = {"lynx": ("toy_world_lynx_resampler", "objective.own.resampler")}
REFINEMENT, REFINEMENT_RECIPE = "lavie_id_temporal", "toy_world_lavie_id_temporal"


@dataclass(frozen=True)
class Row:
    """A row of the tables.

    Attributes:
        variant: of the system; "" for a row of no system.
        trained: the variant whose training gives its adapter.
        parts: which measurements it has.
        also: a second system, whose full adapter shows the same person at once.
        refined: LaVieID's temporal module refines what was sampled.
    """

    name: str
    title: str
    system: str = ""
    variant: str = ""
    trained: str = ""
    parts: tuple[str, ...] = ("toy",)
    also: str = ""
    refined: bool = False

    @property
    def systems(self) -> tuple[str, ...]:
        return tuple(name for name in (self.system, self.also) if name)

    @property
    def seeds(self) -> int:
        return TRAINING_SEEDS if self.system else 1


def _system(name: str) -> Row:
    return Row(f"{name}.{FULL}", MODEL_NAMES[name], name, FULL, FULL, ("toy", "long", "cost"))


def _refined(name: str) -> Row:
    return Row(
        f"{name}.{FULL}+temporal", f"{MODEL_NAMES[name]}, with the temporal module", name, FULL, FULL, ("long",),
        refined=True,
    )  # fmt: skip


def _lynx(variant: str, title: str, trained: str) -> Row:
    return Row(f"lynx.{variant}", title, "lynx", variant, trained)


ROWS = (
    Row(BASE, "the model alone", parts=("toy", "long", "cost")),
    Row(DESCRIBED, "the model alone, told in words"),
    *map(_system, MODEL_NAMES),
    _lynx("clip", "Lynx, from a clip", FULL),
    _lynx("id", "Lynx, ID adapter alone", "id"),
    _lynx("ref", "Lynx, Ref adapter alone", "ref"),
    Row("slot_id+lynx", "Slot-ID and Lynx at once", "slot_id", FULL, FULL, ("toy", "long"), also="lynx"),
    *map(_refined, MODEL_NAMES),
    Row(STRANGER, "somebody else, drawn"),
    Row(GROUND_TRUTH, "the person, drawn"),
)
SHEET = (BASE, *(f"{name}.{FULL}" for name in MODEL_NAMES), GROUND_TRUTH)
# What the issue of this table asks for, and no code measures yet.
NOT_BUILT = (
    "Two systems at once other than Slot-ID and Lynx.",
    "Slot-ID by a single picture, and ST-DRC and LaVieID by a clip: each is measured by the reference that it reads.",
)
PARTS = ("toy", "long", "cost")
