"""Settings of a preparation: where the clips are, what is cut out of them, and which models encode it."""

import json
from dataclasses import dataclass, field
from pathlib import Path

from ..config import config_from_dict, read_settings
from ..errors import SlotIDError
from ..model_files import TOY_WORLD
from ..recognisers.recognisers import BACKENDS
from ..systems.registry import DEFAULT
from .augmentation import AugmentationSettings
from .looks import LookSettings

DTYPES = ("float32", "bfloat16", "float16")
FACE_SHARES = ("", "boxes", "masks")
QUALITIES = ("", "usable", "good")  # none is asked for, or at least that
TOY_REFERENCES = ("other clip", "shuffled", "same clip")
REAL_SIZES = {
    "frames": 65, "height": 480, "width": 832, "reference_size": 256, "portrait_size": 512, "component_size": 224,
}  # fmt: skip
TOY_SIZES = {
    "frames": 17, "height": 64, "width": 64, "reference_size": 64, "portrait_size": 64, "component_size": 32,
    "reference_frames": 65,
}  # fmt: skip


@dataclass(frozen=True)
class FolderSource:
    """Videos with a `.txt` of the same name beside each, or a `.jsonl` of `{video_path, caption, person?, described?}`.

    A caption with a description of the person in it, for `objective.described_weight` of a training, is a
    `.described.txt` beside the video, or `described` of a line.

    `group_by`: "none", each clip is a person of its own; "folder", clips in one subfolder show one person.
    `root`: the folder in which every video and caption must lie, links followed; by default the folder of `path`.
    `least_quality`: "usable" or "good" leaves out windows that the reference's judge finds worse; "" judges none.
    """

    path: str
    group_by: str = "none"
    root: str = ""
    least_quality: str = ""


@dataclass(frozen=True)
class ConsisIDSource:
    """The layout of ConsisID-preview-Data: `path` is its total_train_data.txt, or the folder that holds it.

    `root`: what the paths in that file are relative to, and where all files must lie, links followed; by default the
    file's folder.
    `group_by`: "none", or "video": clips cut from one video (the name before `_segment_`) show one person.
    `least_quality`: as for a folder.
    """

    path: str
    root: str = ""
    group_by: str = "none"
    least_quality: str = ""


@dataclass(frozen=True)
class ToyWorldSource:
    """Drawn people of the seeds `first` to `first + people - 1`, each in `clips_per_person` scenes.

    Training people have seeds below `toy_world.person.HELD_OUT_FROM` (1,000,000), held-out ones from there on.

    Attributes:
        reference: where the face clip comes from. "other clip" shows the person in another scene, doing several
            things; "shuffled" is that with its frames in a random order; "same clip" is cut from the clip to learn,
            as where a data set has one clip a person.
        references_per_person: so many face clips and portraits, which a person's clips share in turn; 0 gives every
            clip its own. They take four times as long to prepare as a clip to learn.
        as_users: share, 0 to 1, of the references that are made as the nodes make them from a user's clip: the face
            found by the detector, the portrait one of the clip's own frames, cut out. The others have the drawing's
            own head boxes, and a portrait drawn at rest.
        described: whether samples also hold a caption that describes the person by all that the clip shows.
    """

    people: int
    first: int = 0
    clips_per_person: int = 4
    reference: str = "other clip"
    references_per_person: int = 0
    as_users: float = 0.0
    described: bool = False

    def reference_number(self, clip_number: int) -> int:
        """Which of the person's references goes with which of their clips."""
        return clip_number % self.references_per_person if self.references_per_person else clip_number


@dataclass(frozen=True)
class Sizes:
    """Frames and pixels of a sample, every one of them known; see `PrepareConfig`."""

    frames: int
    height: int
    width: int
    reference_frames: int
    reference_size: int
    portrait_size: int
    component_size: int


@dataclass(frozen=True)
class PrepareConfig:
    """Exactly one of `folder`, `consisid`, `toy_world` is given. A size of None is the usual one of that source.

    vae: a Wan 2.1 VAE safetensors file, or "toy_world". text_encoder: a umT5 safetensors file in ComfyUI's layout,
    or "toy_world".
    frames (4n+1), height, width, frames_per_second: the target window; None for the rate takes every frame.
    windows_per_clip: at most so many windows that do not overlap, spread evenly over a clip.
    reference_frames (4n+1), reference_size: the face clip. portrait_size: the portrait. margin: space around the
    face on each side, as a share of the face's side. component_size: pictures of the components of a face.
    short_side: pixels at which real clips are decoded for face tracking.
    detector, detector_models: as for `reference.detector.find_detector`.
    device: "auto" takes the GPU if there is one.
    systems: names of `systems.registry`; samples get what these read.
    face_encoder: an IR-SE50 file, or "toy_world", for systems that read face embeddings. For those whose objective
    may look at faces, samples also get what it reads.
    start_image: also prepare what image-to-video models are given of the first frame.
    face_shares: also prepare where in the video the face is, for `objective.face_area_weight` of a training: "boxes" of
    the face, or "masks" of what shows face and hair.
    augmentation: of the reference picture, for systems that read `augmented_pictures`.
    looks: of the person in each clip, for systems that have augmented pairs.
    recogniser: name of a face recogniser (`recognisers.BACKENDS`) that says which clips show a person at all: two that
    are said to show one person and do not are no pair, and looks that resemble nobody are left out. "" asks none. Its
    files are looked for in `detector_models`.
    least_resemblance: cosine of that recogniser below which two faces are of two people; None is its own threshold.
    """

    vae: str
    text_encoder: str
    folder: FolderSource | None = None
    consisid: ConsisIDSource | None = None
    toy_world: ToyWorldSource | None = None
    frames: int | None = None
    height: int | None = None
    width: int | None = None
    frames_per_second: float | None = 16.0
    windows_per_clip: int = 1
    reference_frames: int | None = None
    reference_size: int | None = None
    portrait_size: int | None = None
    component_size: int | None = None
    margin: float = 0.5
    short_side: int = 720
    clips_per_shard: int = 32
    detector: str = "auto"
    detector_models: tuple[str, ...] = ()
    vae_dtype: str = "float32"
    text_encoder_dtype: str = "float32"
    device: str = "auto"
    systems: tuple[str, ...] = (DEFAULT,)
    face_encoder: str = ""
    start_image: bool = False
    face_shares: str = ""
    augmentation: AugmentationSettings = field(default_factory=AugmentationSettings)
    looks: LookSettings = field(default_factory=LookSettings)
    recogniser: str = ""
    least_resemblance: float | None = None

    def __post_init__(self):
        given = [name for name in ("folder", "consisid", TOY_WORLD) if getattr(self, name) is not None]
        if len(given) != 1:
            raise SlotIDError(
                f"{'No source' if not given else 'More than one source'} of clips is given. "
                "Give exactly one of folder, consisid, toy_world."
            )
        for name, usual in (TOY_SIZES if self.toy_world else REAL_SIZES).items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, usual)
        if self.reference_frames is None:
            object.__setattr__(self, "reference_frames", self.frames)
        _check(self)

    @property
    def source(self) -> FolderSource | ConsisIDSource | ToyWorldSource:
        source = self.folder or self.consisid or self.toy_world
        assert source is not None  # __post_init__ refuses settings without a source
        return source

    @property
    def sizes(self) -> Sizes:
        """The sizes as whole numbers; `__post_init__` has filled in those that were not given."""
        return Sizes(
            frames=_whole(self, "frames", 1),
            height=_whole(self, "height", 1),
            width=_whole(self, "width", 1),
            reference_frames=_whole(self, "reference_frames", 1),
            reference_size=_whole(self, "reference_size", 1),
            portrait_size=_whole(self, "portrait_size", 1),
            component_size=_whole(self, "component_size", 1),
        )


def read_config(path: str | Path) -> PrepareConfig:
    """Settings from a YAML or JSON file.

    Raises:
        SlotIDError: no such file, not readable as YAML or JSON, an unknown setting, or a value out of range.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SlotIDError(f"The settings file {path} cannot be read ({error}). Check the path.") from error
    try:
        values = json.loads(text) if path.suffix == ".json" else read_settings(text)
    except ValueError as error:
        raise SlotIDError(
            f"{path.name} is not valid {path.suffix.lstrip('.')}: {error}. Correct that place."
        ) from error
    if not isinstance(values, dict):
        raise SlotIDError(f"{path.name} holds no settings. It must be `name: value` lines, such as `vae: toy_world`.")
    return config_from_dict(PrepareConfig, values)


def _check(config: PrepareConfig) -> None:
    _whole(config, "component_size", 8)
    for name in ("height", "width", "reference_size", "portrait_size"):
        value = _whole(config, name, 16)
        if value % 8:
            raise SlotIDError(f"{name} is {value}; it must be a multiple of 8 (of 16, for Wan's transformer).")
    for name in ("frames", "reference_frames"):
        value = _whole(config, name, 1)
        if value % 4 != 1:
            raise SlotIDError(f"{name} is {value}; it must be of the form 4n+1, such as {value // 4 * 4 + 1}.")
    sizes = config.sizes
    if not config.toy_world and sizes.reference_frames > sizes.frames:
        raise SlotIDError(
            f"reference_frames is {sizes.reference_frames}, more than the {sizes.frames} frames of the window that "
            "it is cut from. Lower it, or leave it out."
        )
    for name in ("windows_per_clip", "clips_per_shard"):
        _whole(config, name, 1)
    _whole(config, "short_side", 64)
    rate = config.frames_per_second
    if rate is not None and not (isinstance(rate, int | float) and 0 < rate <= 1000):
        raise SlotIDError(f"frames_per_second is {rate!r}; it must be above 0 (16 is Wan's rate).")
    if not (isinstance(config.margin, int | float) and 0.1 <= config.margin <= 3):
        raise SlotIDError(f"margin is {config.margin!r}; it must be between 0.1 and 3 (0.5 is usual).")
    for name in ("vae_dtype", "text_encoder_dtype"):
        if getattr(config, name) not in DTYPES:
            raise SlotIDError(f"{name} is {getattr(config, name)!r}; choose one of {', '.join(DTYPES)}.")
    if config.face_shares not in FACE_SHARES:
        raise SlotIDError(
            f"face_shares is {config.face_shares!r}; choose boxes, masks, or leave it empty for data without."
        )
    if config.recogniser and config.recogniser not in BACKENDS:
        raise SlotIDError(f"recogniser is {config.recogniser!r}; choose one of {', '.join(BACKENDS)}, or leave it out.")
    least = config.least_resemblance
    if least is not None and not (config.recogniser and isinstance(least, int | float) and -1 <= least <= 1):
        raise SlotIDError(f"least_resemblance is {least!r}; it is a cosine, from -1 to 1, and needs a recogniser.")
    choices = {
        "folder.group_by": ("none", "folder"),
        "consisid.group_by": ("none", "video"),
        "folder.least_quality": QUALITIES,
        "consisid.least_quality": QUALITIES,
        "toy_world.reference": TOY_REFERENCES,
    }
    for name, allowed in choices.items():
        source, setting = name.split(".")
        value = getattr(getattr(config, source), setting, allowed[0])
        if value not in allowed:
            raise SlotIDError(f"{name} is {value!r}; choose one of {', '.join(filter(None, allowed))}.")


def _whole(config: PrepareConfig, name: str, smallest: int) -> int:
    value = getattr(config, name)
    if not isinstance(value, int) or isinstance(value, bool) or value < smallest:
        raise SlotIDError(f"{name} is {value!r}; it must be a whole number of at least {smallest}.")
    return value
