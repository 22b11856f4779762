"""The node that says how good a reference is, before anything is generated from it."""

import json

from comfy_api.latest import io, ui

from ...slotid_core.errors import SlotIDError
from ...slotid_core.reference.report.quality import judge_reference
from ...slotid_core.reference.report.report_card import draw_card
from ..shared.progress import progress_bar
from ..shared.warnings import warn
from .detector import detector_input, face_detector
from .video import CATEGORY

REPORTS = {
    "track_report": "Track Face's report: people, the face's size before the crop, how often it was seen.",
    "window_report": "Load Reference Video's window_report: where in the clip the frames lie.",
    "portrait_report": "Select Portrait's report: which frame became the portrait.",
}


class SlotIDReferenceReport(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="SlotIDReferenceReport",
            display_name="Reference Report (Slot-ID)",
            category=CATEGORY,
            description="Says how good a reference is: a card with what is missing and what to film instead.",
            inputs=[
                io.Image.Input("face_clip", tooltip="The square clip from Track Face."),
                detector_input(),
                *(
                    io.String.Input(
                        name, force_input=True, optional=True, tooltip=f"{tooltip} Left open, less is known."
                    )
                    for name, tooltip in REPORTS.items()
                ),
                io.Image.Input(
                    "portrait",
                    optional=True,
                    tooltip="The portrait from Select Portrait: it is shown on the card and judged, and so is the cut. "
                    "Connect portrait_report too, so that it is compared with the frame it was cut out of.",
                ),
                io.Mask.Input(
                    "portrait_mask",
                    optional=True,
                    tooltip="The mask from Select Portrait, 1 = person. Left open, it is read off the portrait.",
                ),
            ],
            outputs=[
                io.Image.Output(display_name="card", tooltip="One picture: verdict, measurements, what to do better."),
                io.String.Output(
                    display_name="report",
                    tooltip="JSON of the same facts. Connect it to Blend's report, and the identity file carries them.",
                ),
            ],
        )

    @classmethod
    def execute(
        cls,
        face_clip,
        detector,
        track_report=None,
        window_report=None,
        portrait_report=None,
        portrait=None,
        portrait_mask=None,
    ) -> io.NodeOutput:
        quality = judge_reference(
            face_clip,
            face_detector(detector),
            tracking=read_report("track_report", track_report),
            window=read_report("window_report", window_report),
            portrait=read_report("portrait_report", portrait_report),
            progress=progress_bar(),
            portrait_image=portrait,
            portrait_mask=portrait_mask,
        )
        warn(cls, "\n".join(f"{item.missing} {item.remedy}" for item in quality.advice if item.serious))
        card = draw_card(face_clip, quality)
        return io.NodeOutput(card, json.dumps(quality.report, indent=2), ui=ui.PreviewImage(card, cls=cls))


def read_report(name: str, text: str | None) -> dict:
    """A report socket's JSON, or nothing if the socket is open."""
    if not text:
        return {}
    try:
        found = json.loads(text)
    except ValueError as error:
        raise SlotIDError(f"{name} is no JSON ({error}). Connect the report output that its tooltip names.") from error
    if not isinstance(found, dict):
        raise SlotIDError(f"{name} is {type(found).__name__}, not a report. Connect the output its tooltip names.")
    return found


NODES = [SlotIDReferenceReport]
