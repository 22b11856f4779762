"""A face that was drawn once more, back in its video."""

from comfy_api.latest import io

from ...slotid_core.reference.faces.paste import paste_squares
from .faces import CropSocket
from .video import CATEGORY


class SlotIDPasteFace(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="SlotIDPasteFace",
            display_name="Paste Face (Slot-ID)",
            category=CATEGORY,
            description="Puts a face clip back into the video that Track Face cut it from, with a soft edge. For small "
            "and distant faces: cut out larger, sample again with a person at low denoise, paste. A face detailer.",
            inputs=[
                io.Image.Input("frames", tooltip="The video that the face was tracked in."),
                io.Image.Input(
                    "face_clip",
                    tooltip="The face clip of Track Face, drawn again: as many frames, square, of any size.",
                ),
                CropSocket.Input("crop", tooltip="From Track Face: where the square was on each frame."),
                io.Float.Input(
                    "feather",
                    default=0.2,
                    min=0.0,
                    max=0.5,
                    step=0.01,
                    tooltip="Width of the soft edge, as a share of the square's side, 0 to 0.5. Raise it if the edge "
                    "is seen, lower it if too much of the old face stays.",
                ),
                io.Mask.Input(
                    "mask",
                    optional=True,
                    tooltip="Of the face clip: white where the new drawing counts, one for all frames or one each. "
                    "Connect a face mask when the background around the head has changed.",
                ),
            ],
            outputs=[io.Image.Output(display_name="frames", tooltip="The video with the new face.")],
        )

    @classmethod
    def execute(cls, frames, face_clip, crop, feather, mask=None) -> io.NodeOutput:
        return io.NodeOutput(paste_squares(frames, face_clip, crop, feather, mask))


NODES = [SlotIDPasteFace]
