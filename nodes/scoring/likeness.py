"""Likeness of finished frames: a score with its curve, the best of several seeds, and a gate."""

import json
import math

from comfy_api.latest import io, ui

from ...slotid_core.errors import SlotIDError
from ...slotid_core.evaluation.likeness.in_graph import Looked, best_of, look_at, prompt_scores, totals
from ...slotid_core.evaluation.likeness.pictures import curve_picture, worst_pictures
from ...slotid_core.recognisers.recogniser import Recogniser
from ...slotid_core.recognisers.recognisers import BACKENDS, find_recogniser, find_recognisers
from ..reference.detector import model_folders
from ..shared.progress import progress_bar
from ..shared.warnings import warn

CATEGORY = "Slot-ID/scoring"
FOLDERS = ("insightface", "facexlib", "face_detection")
PROMPT_NETWORKS = "clip_vision"
AUTO = "auto"
SHOWN = ("similarity", "detected", "with_missing", "opens2v", "worst", "worst_frame", "drift", "end_minus_start")
STRICT, WARNING = "stop", "warn"
SEEN_TOO_LITTLE = 0.5  # of the frames: below, a mean of those with a face says little


def recogniser_input() -> io.Combo.Input:
    return io.Combo.Input(
        "recogniser",
        options=[AUTO, *BACKENDS],
        default=AUTO,
        tooltip="The network that judges. auto: dlib if its package is installed, else ArcFace, CurricularFace or "
        "IR-SE50 where their files lie in models/insightface or models/facexlib. Choose another to compare, toy for "
        "drawn people. Never trust the network that the video was conditioned on: for Lynx that is ir_se50 (or toy).",
    )


def reference_input() -> io.Image.Input:
    return io.Image.Input(
        "reference",
        tooltip="Pictures of the person, one or many, such as frames of the reference clip; of each the largest face "
        "counts. Use pictures that the video was not made from if you have them.",
    )


def recogniser_of(choice: str) -> Recogniser:
    folders = [path for name in FOLDERS for path in model_folders(name)]
    if choice != AUTO:
        return find_recogniser(choice, folders)
    return find_recognisers([], folders)[0][0]


def notes_of(looked: Looked, recogniser: Recogniser) -> list[str]:
    detected = looked.figures["detected"]
    if detected == 0:
        return [f"{recogniser.name} found no face in any frame, so there is no likeness."]
    if detected < SEEN_TOO_LITTLE:
        return [f"A face was found in only {detected:.0%} of the frames; similarity is of these alone."]
    return []


class SlotIDLikenessScore(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="SlotIDLikenessScore",
            display_name="Likeness Score (Slot-ID)",
            category=CATEGORY,
            description="Scores how much a video looks like the person, frame by frame: the curve over time, the "
            "worst frames, and a table. For likeness, identity, face similarity, consistent characters.",
            inputs=[
                io.Image.Input("frames", tooltip="The finished video, from VAE Decode or any video loader."),
                reference_input(),
                recogniser_input(),
                io.Int.Input(
                    "worst",
                    default=4,
                    min=1,
                    max=16,
                    tooltip="How many of the least similar frames to show, 1 to 16. Raise it to see more faults.",
                ),
                io.Boolean.Input(
                    "every_frame",
                    default=False,
                    tooltip="Off: about 46 frames are looked at, as published evaluations do. On: every frame, which "
                    "takes longer and finds faults of a few frames.",
                ),
            ],
            outputs=[
                io.Float.Output(
                    display_name="likeness",
                    tooltip="Mean cosine, -1 to 1, with 0 for frames without a face: with_missing in the table.",
                ),
                io.Image.Output(display_name="curve", tooltip="Cosine of every frame that was looked at, over time."),
                io.Image.Output(display_name="worst_frames", tooltip="The least similar frames, the worst first."),
                io.String.Output(
                    display_name="table", tooltip="JSON of all figures; docs/scores.md says what they mean."
                ),
            ],
        )

    @classmethod
    def execute(cls, frames, reference, recogniser, worst, every_frame) -> io.NodeOutput:
        judge = recogniser_of(recogniser)
        (looked,) = look_at([frames], reference, judge, -1 if every_frame else 0, progress_bar())
        warn(cls, "\n".join(notes_of(looked, judge)))
        figures = looked.figures
        title = f"{judge.name}: mean {figures['similarity']:.2f}, face found in {figures['detected']:.0%} of frames"
        curve = curve_picture({judge.name: looked.track}, judge.threshold, title)
        pictures = worst_pictures(looked.frames, looked.track, worst)
        table = {"recogniser": judge.description} | {name: plain(value) for name, value in figures.items()}
        rows = "\n".join(f"{name:<16}{figures[name]:.3f}" for name in SHOWN)
        shown = ui.PreviewImage(curve, cls=cls).as_dict()
        shown["images"] = [*shown["images"], *ui.PreviewImage(pictures, cls=cls).as_dict()["images"]]
        shown["text"] = (rows,)
        return io.NodeOutput(figures["with_missing"], curve, pictures, json.dumps(table, indent=2), ui=shown)


class SlotIDBestOfSeeds(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="SlotIDBestOfSeeds",
            display_name="Best of Seeds (Slot-ID)",
            category=CATEGORY,
            description="Keeps the one of several videos that looks most like the person, or that looks like the "
            "person and follows the prompt.",
            inputs=[
                reference_input(),
                recogniser_input(),
                io.Image.Input("video_1", tooltip="A finished video, of the first seed."),
                *(
                    io.Image.Input(f"video_{number}", optional=True, tooltip="A finished video, of another seed.")
                    for number in range(2, 9)
                ),
                io.String.Input(
                    "prompt",
                    default="",
                    multiline=True,
                    optional=True,
                    tooltip="What the videos should show; connect the text that they were made from. Read only with "
                    "prompt_weight above 0.",
                ),
                io.Float.Input(
                    "prompt_weight",
                    default=0.0,
                    min=0.0,
                    max=1.0,
                    step=0.05,
                    optional=True,
                    tooltip="Share of the prompt in the choice, 0 to 1: 0 is likeness alone, 0.5 both alike, 1 the "
                    "prompt alone. Each of the two counts from the worst of these videos to the best. Above 0 it needs "
                    "X-CLIP or CLIP in models/clip_vision, in a folder as published: xclip-base-patch32 or "
                    "clip-vit-base-patch32. Raise it if the best likeness ignores the prompt.",
                ),
            ],
            outputs=[
                io.Image.Output(display_name="best", tooltip="The frames of the best video, unchanged."),
                io.Int.Output(display_name="number", tooltip="Which input it came in by: 1 for video_1."),
                io.Float.Output(display_name="likeness", tooltip="Its likeness, as of Likeness Score."),
                io.String.Output(display_name="table", tooltip="JSON: the figures of each video."),
            ],
        )

    @classmethod
    def execute(cls, reference, recogniser, video_1, prompt="", prompt_weight=0.0, **others) -> io.NodeOutput:
        if prompt_weight > 0 and not prompt.strip():
            raise SlotIDError(
                f"prompt_weight is {prompt_weight:g}, and prompt is empty. Write the prompt, or set it to 0."
            )
        videos = {"video_1": video_1} | {name: others[name] for name in sorted(others) if others[name] is not None}
        judge = recogniser_of(recogniser)
        looked = dict(zip(videos, look_at(list(videos.values()), reference, judge, 0, progress_bar()), strict=True))
        names, seen = list(looked), list(looked.values())
        network, followed = "", None
        if prompt_weight > 0:
            network, followed = prompt_scores(seen, prompt, model_folders(PROMPT_NETWORKS))
        values = totals(seen, followed, prompt_weight)
        best = names[best_of(values)]
        warn(cls, "\n".join(f"{name}: {note}" for name in names for note in notes_of(looked[name], judge)))
        title = f"{judge.name}: the best is {best}"
        curve = curve_picture({name: one.track for name, one in looked.items()}, judge.threshold, title)
        table = {name: {key: plain(value) for key, value in one.figures.items()} for name, one in looked.items()}
        for name, follows, total in zip(names, followed or [], values, strict=False):
            table[name] |= {network: plain(follows), "total": plain(total)}
        return io.NodeOutput(
            videos[best], int(best.removeprefix("video_")), looked[best].figures["with_missing"],
            json.dumps({"best": best, "recogniser": judge.description, **table}, indent=2),
            ui=ui.PreviewImage(curve, cls=cls),
        )  # fmt: skip


class SlotIDLikenessGate(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="SlotIDLikenessGate",
            display_name="Likeness Gate (Slot-ID)",
            category=CATEGORY,
            description="Lets a video through if it looks enough like the person; else stops the run, or warns.",
            inputs=[
                io.Image.Input("frames", tooltip="The finished video; it goes through unchanged."),
                reference_input(),
                recogniser_input(),
                io.Float.Input(
                    "threshold",
                    default=0.0,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="Least likeness, 0 to 1, as of Likeness Score. 0 takes the recogniser's own: the cosine "
                    "that parts the same person from two people, in docs/scores.md. Raise it to be stricter.",
                ),
                io.Combo.Input(
                    "below",
                    options=[STRICT, WARNING],
                    default=STRICT,
                    tooltip="What happens under the threshold: stop ends the run with an error, so that nothing is "
                    "saved; warn writes it on the node and lets the video through.",
                ),
            ],
            outputs=[
                io.Image.Output(display_name="frames", tooltip="The same frames."),
                io.Float.Output(display_name="likeness", tooltip="As of Likeness Score."),
                io.Boolean.Output(display_name="passed", tooltip="Whether the likeness reached the threshold."),
            ],
        )

    @classmethod
    def execute(cls, frames, reference, recogniser, threshold, below) -> io.NodeOutput:
        judge = recogniser_of(recogniser)
        least = threshold or judge.threshold
        if math.isnan(least):
            raise SlotIDError(
                f"The threshold of {judge.name} has not been measured. Set threshold yourself; look at Likeness Score "
                "of good and bad videos first."
            )
        (looked,) = look_at([frames], reference, judge, 0, progress_bar())
        likeness = looked.figures["with_missing"]
        passed = likeness >= least
        text = "" if passed else f"The likeness is {likeness:.2f}, below {least:.2f} ({judge.name})."
        if not passed and below == STRICT:
            raise SlotIDError(f"{text} Try another seed or more strength, lower threshold, or set below to warn.")
        warn(cls, "\n".join([*([text] if text else []), *notes_of(looked, judge)]))
        return io.NodeOutput(frames, likeness, passed)


def plain(value: float) -> float | None:
    """JSON has no NaN."""
    return None if math.isnan(value) else round(value, 6)


NODES = [SlotIDLikenessScore, SlotIDBestOfSeeds, SlotIDLikenessGate]
