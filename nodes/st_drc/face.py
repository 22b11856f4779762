"""The picture that Stand-In's weights expect: a head on a white square."""

from comfy_api.latest import io

from ...slotid_core.reference.faces.alignment import ON_MISSING
from ...slotid_core.reference.portrait.head_square import head_square
from ...slotid_core.systems.st_drc.config import STAND_IN
from ..reference.detector import detector_input, face_detector, model_folders
from ..reference.faces import as_json
from ..shared.warnings import warn
from .types import CATEGORY


class STDRCCropFace(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        side = STAND_IN.picture_side
        return io.Schema(
            node_id="STDRCCropFace",
            display_name="Crop Face for Stand-In",
            category=CATEGORY,
            description="Finds the largest face of a picture, cuts the head out with some room, and puts white behind "
            f"it: {side} x {side} pixels, as Stand-In's weights were trained with.",
            inputs=[
                io.Image.Input("image", tooltip="One picture of the person, best frontal, sharp and evenly lit."),
                detector_input(),
                io.Combo.Input(
                    "on_missing",
                    options=list(ON_MISSING),
                    default="error",
                    tooltip="When no face is found: error stops here, skip takes the whole picture and says so, as "
                    "Stand-In's own code does. Choose skip for drawn figures and things.",
                ),
                io.Mask.Input(
                    "mask",
                    optional=True,
                    tooltip="1 = person, of the picture's size. It always wins. Without it the person is cut out as in "
                    "Select Portrait. Connect a matting node when hair is lost or background kept.",
                ),
            ],
            outputs=[
                io.Image.Output(
                    display_name="picture",
                    tooltip=f"For Encode ST-DRC Reference, with width and height {side}: is the head whole, on white?",
                ),
                io.Mask.Output(display_name="mask", tooltip="What was kept of it, 1 = person."),
                io.String.Output(display_name="report", tooltip="JSON: detector, size of the face, the cut, notes."),
            ],
        )

    @classmethod
    def execute(cls, image, detector, on_missing, mask=None) -> io.NodeOutput:
        found = head_square(
            image,
            face_detector(detector),
            STAND_IN.picture_side,
            on_missing,
            mask,
            parser_models=tuple(model_folders("facexlib")),
            matting_models=tuple(model_folders("background_removal")),
        )
        warn(cls, "\n".join(found.report["notes"]))
        return io.NodeOutput(found.picture, found.mask, as_json(found.report))


NODES = [STDRCCropFace]
