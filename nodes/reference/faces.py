"""The face in a reference clip, and its portrait."""

import json

from comfy_api.latest import io

from ...slotid_core.reference.faces.face_clip import ON_MISSING, make_face_clip
from ...slotid_core.reference.portrait.select import select_portrait
from ..shared.progress import progress_bar
from ..shared.seen import with_ui
from ..shared.warnings import warn
from .detector import detector_input, face_detector, model_folders
from .seen import portraits, tracked
from .video import CATEGORY

BACKGROUNDS = {"white": (1.0, 1.0, 1.0), "grey": (0.5, 0.5, 0.5), "black": (0.0, 0.0, 0.0)}
CropSocket = io.Custom("SLOTID_CROP")
BoundingBox = io.Custom("BOUNDING_BOX")  # core's type since 0.23; older versions have no class for it


class SlotIDFaceTrack(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="SlotIDFaceTrack",
            display_name="Track Face (Slot-ID)",
            category=CATEGORY,
            description="Follows one face and cuts a steady square around it.",
            inputs=[
                io.Image.Input("frames", tooltip="The clip, from Load Reference Video or any video loader."),
                io.Int.Input(
                    "size",
                    default=256,
                    min=64,
                    max=1024,
                    step=16,
                    tooltip="Side of the square clip in pixels, 64 to 1024, a multiple of 16. Use the adapter's "
                    "reference size, usually 256.",
                ),
                io.Float.Input(
                    "margin",
                    default=0.5,
                    min=0.1,
                    max=2.0,
                    step=0.05,
                    tooltip="Space around the face on each side, as a share of the face's side, 0.1 to 2. 0.5 keeps "
                    "the hair in. Lower it when another person gets into the crop.",
                ),
                io.Int.Input(
                    "smoothing",
                    default=8,
                    min=0,
                    max=64,
                    step=1,
                    tooltip="Frames on each side over which the crop's movement is averaged, 0 to 64. Raise it if the "
                    "crop shakes, lower it if it lags behind a fast head.",
                ),
                io.Int.Input(
                    "subject",
                    default=0,
                    min=0,
                    max=15,
                    tooltip="Whose face, when there are several: 0 is the largest and longest seen. The overlay shows "
                    "the numbers, 0 to 15. After a run, click a face in the node instead.",
                ),
                io.Combo.Input(
                    "on_missing",
                    options=list(ON_MISSING),
                    default="error",
                    tooltip="When no face is found: error stops here, skip takes the middle of the picture and says so "
                    "in the report. Choose skip for unattended queues and for figures that no detector knows.",
                ),
                detector_input(),
                io.Image.Input(
                    "subject_image",
                    optional=True,
                    tooltip="A picture of the person to follow, instead of subject. Sure with an insightface "
                    "recognition model; without one a guess from shading and colours, and the report says so.",
                ),
            ],
            outputs=[
                io.Image.Output(display_name="face_clip", tooltip="(frames, size, size, 3), for the next two nodes."),
                BoundingBox.Output(
                    display_name="boxes",
                    tooltip="The face on each frame, in pixels of the input: one list per frame of {x, y, width, "
                    "height}, as core's SAM3 and pose nodes take them; empty lists if no face was found.",
                ),
                io.Image.Output(
                    display_name="overlay",
                    tooltip="What was tracked: blue the crop, green the face, red where it is only interpolated, "
                    "orange the other people with their numbers.",
                ),
                io.String.Output(display_name="report", tooltip="JSON: detector, detection rate, jitter, notes."),
                CropSocket.Output(
                    display_name="crop", tooltip="Where the square was on each frame, for Paste Face (Slot-ID)."
                ),
            ],
        )

    @classmethod
    def execute(
        cls, frames, size, margin, smoothing, subject, on_missing, detector, subject_image=None
    ) -> io.NodeOutput:
        found = make_face_clip(
            frames,
            face_detector(detector),
            size=size,
            margin=margin,
            smoothing=smoothing,
            subject=subject,
            on_missing=on_missing,
            progress=progress_bar(),
            subject_image=subject_image,
        )
        warn(cls, "\n".join(found.report["notes"]))
        boxes = core_boxes(found.boxes, len(frames))
        output = io.NodeOutput(found.clip, boxes, found.overlay, as_json(found.report), found.squares)
        return with_ui(output, tracked(frames, found, subject_image is not None))


class SlotIDSelectPortrait(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="SlotIDSelectPortrait",
            display_name="Select Portrait (Slot-ID)",
            category=CATEGORY,
            description="Picks the frame that shows the face best (frontal, eyes open, looking ahead, sharp, well lit) "
            "and clears its background. The node shows the ranked candidates.",
            inputs=[
                io.Image.Input("face_clip", tooltip="The square clip from Track Face; other pictures work as well."),
                io.Int.Input(
                    "candidates",
                    default=5,
                    min=1,
                    max=20,
                    tooltip="How many ranked frames to show, 1 to 20. Raise it if you like none of them.",
                ),
                io.Int.Input(
                    "rank",
                    default=0,
                    min=0,
                    max=19,
                    tooltip="Which candidate becomes the portrait, 0 to 19: 0 is the best ranked. Change it if "
                    "you like another of the ranked candidates better, or click it in the node after a run; how well a "
                    "face is met cannot be measured.",
                ),
                io.Combo.Input(
                    "background",
                    options=list(BACKGROUNDS),
                    default="white",
                    tooltip="The plain colour behind the person. Use what the adapter was trained on, usually white.",
                ),
                detector_input(),
                io.Mask.Input(
                    "mask",
                    optional=True,
                    tooltip="1 = person: one mask, or one per frame. It always wins. Without it an ONNX network in "
                    "models/background_removal cuts (ISNet, U²-Net, MODNet, BiRefNet), else facexlib's parsing, else "
                    "the network that comes with the pack. Connect a matting node when hair is lost or background "
                    "kept.",
                ),
            ],
            outputs=[
                io.Image.Output(display_name="portrait", tooltip="(1, height, width, 3) on the plain background."),
                io.Mask.Output(display_name="mask", tooltip="What was kept, 1 = person."),
                io.Image.Output(display_name="ranked_candidates", tooltip="The best frames, best first, untouched."),
                io.String.Output(
                    display_name="report", tooltip="JSON: chosen frame, scores, how it was cut out, notes."
                ),
            ],
        )

    @classmethod
    def execute(cls, face_clip, candidates, rank, background, detector, mask=None) -> io.NodeOutput:
        chosen = select_portrait(
            face_clip,
            face_detector(detector),
            candidates=candidates,
            rank=rank,
            background=BACKGROUNDS[background],
            mask=mask,
            progress=progress_bar(),
            parser_models=tuple(model_folders("facexlib")),
            matting_models=tuple(model_folders("background_removal")),
        )
        warn(cls, "\n".join(chosen.report["notes"]))
        output = io.NodeOutput(chosen.image, chosen.mask, chosen.candidates, as_json(chosen.report))
        return with_ui(output, portraits(chosen, rank))


def core_boxes(boxes, num_frames: int) -> list[list[dict]]:
    """(T, 4) corners -> core's BOUNDING_BOX per frame."""
    if boxes is None:
        return [[] for _ in range(num_frames)]
    return [
        [{"x": round(left), "y": round(top), "width": round(right - left), "height": round(bottom - top)}]
        for left, top, right, bottom in boxes.tolist()
    ]


def as_json(report: dict) -> str:
    return json.dumps(report, indent=2)


NODES = [SlotIDFaceTrack, SlotIDSelectPortrait]
