"""A person for ST-DRC: pictures through the VAE, kept in memory or in a file."""

import torch
from comfy_api.latest import io

from ...slotid_core.errors import SlotIDError
from ...slotid_core.reference.faces.face_clip import check_frames
from ...slotid_core.reference.portrait.canvas import on_canvas
from ...slotid_core.systems.st_drc import Person as PersonFile
from ...slotid_core.systems.st_drc.person import MOST_PICTURES
from ...slotid_core.wan.vae import normalize_latents
from ..reference.latents import encode_frames
from ..shared.files import FileKind, save_inputs, save_outputs
from ..shared.progress import progress_bar
from ..shared.sources import source_files
from ..shared.warnings import warn
from .paths import PEOPLE
from .types import CATEGORY, Person

FILES = FileKind(PEOPLE, "a person")
STEP = 16  # pixels of a token, along a side
ASPECTS_DIFFER = 0.02  # share by which they must, to be said


class STDRCEncodeReference(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="STDRCEncodeReference",
            display_name="Encode ST-DRC Reference",
            category=CATEGORY,
            description="Pictures of one person through Wan 2.1's VAE, at the size of the video; for Stand-In at "
            "512 x 512.",
            inputs=[
                io.Vae.Input(
                    "vae", tooltip="Wan 2.1's VAE (16 channels); Wan 2.2 14B uses it too, the 5B's does not fit."
                ),
                io.Image.Input(
                    "pictures",
                    tooltip=f"One picture of the person, or a batch of up to {MOST_PICTURES}; the adapter was trained "
                    "with one. Best a sharp, evenly lit face that fills half of the picture.",
                ),
                side_input("width", 832),
                side_input("height", 480),
            ],
            outputs=[
                Person.Output(display_name="person", tooltip="For Apply ST-DRC and Save ST-DRC Person."),
                io.Image.Output(
                    display_name="fitted", tooltip="What the VAE encoded: is the face whole and large enough?"
                ),
            ],
        )

    @classmethod
    def execute(cls, vae, pictures, width, height) -> io.NodeOutput:
        check_frames(pictures)
        check_sides(width, height)
        if len(pictures) > MOST_PICTURES:
            raise SlotIDError(
                f"There are {len(pictures)} pictures; a person has at most {MOST_PICTURES}. Take the best of them, "
                "with ImageFromBatch."
            )
        fitted = on_canvas(pictures[..., :3], height, width)
        warn(cls, other_shape(pictures, width, height))
        report, latents = progress_bar(), []
        for done, picture in enumerate(fitted.split(1)):
            report(done, len(fitted))
            latents.append(encode_frames(vae, picture))
        report(len(fitted), len(fitted))
        source = {"pictures": len(fitted), "encoded": f"{width}x{height}"}
        return io.NodeOutput(PersonFile(normalize_latents(torch.cat(latents, dim=2)), source), fitted)


def side_input(name: str, default: int) -> io.Int.Input:
    return io.Int.Input(
        name,
        default=default,
        min=STEP,
        max=4096,
        step=STEP,
        tooltip=f"Pixels, {STEP} to 4096 in steps of {STEP}. The {name} of the video that will be sampled; 512 "
        "for Stand-In, whatever the video's.",
    )


def check_sides(width: int, height: int) -> None:
    if width % STEP or height % STEP:
        raise SlotIDError(f"The size is {width}x{height}; both sides must be multiples of {STEP}, as the video's are.")


def other_shape(pictures: torch.Tensor, width: int, height: int) -> str:
    """What is said of pictures of another aspect than the video's; "" where they have the same."""
    own_height, own_width = pictures.shape[1:3]
    if abs(own_width * height / (own_height * width) - 1) < ASPECTS_DIFFER:
        return ""
    return (
        f"the picture is {own_width}x{own_height} and the size asked for {width}x{height}: it was fitted in whole, "
        "with white beside it. Crop it to that shape if the face gets too small."
    )


class STDRCSavePerson(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="STDRCSavePerson",
            display_name="Save ST-DRC Person",
            category=CATEGORY,
            description="Writes the person to models/st_drc/people; under 1 MB a picture.",
            is_output_node=True,
            inputs=[Person.Input("person", tooltip="From Encode ST-DRC Reference."), *save_inputs()],
            outputs=save_outputs(),
        )

    @classmethod
    def execute(cls, person, name, replace, consent="", picture=None) -> io.NodeOutput:
        return FILES.save(person, name, replace, consent, picture, source_files(cls, "person"))

    @classmethod
    def validate_inputs(cls, name=None):
        return FILES.name_is_valid(name)


class STDRCLoadPerson(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="STDRCLoadPerson",
            display_name="Load ST-DRC Person",
            category=CATEGORY,
            description="Reads a saved person: neither picture nor VAE is needed any more. It fits every size of Wan.",
            inputs=[
                FILES.input(
                    "person_name",
                    "A file in models/st_drc/people, by Save ST-DRC Person. It was encoded for one size of video.",
                )
            ],
            outputs=[Person.Output(display_name="person", tooltip="For Apply ST-DRC.")],
        )

    @classmethod
    def execute(cls, person_name) -> io.NodeOutput:
        return io.NodeOutput(PersonFile.load(FILES.path(person_name)))

    @classmethod
    def fingerprint_inputs(cls, person_name):
        return FILES.state(person_name)


NODES = [STDRCEncodeReference, STDRCSavePerson, STDRCLoadPerson]
