"""How the templates lie: columns from left to right, the stages that they make, and room that nodes need in use.

Links run from a column to a later one. Heights within the columns are found by `tools/graph_layout.py`.
"""

from dataclasses import dataclass

GAP = 46  # between columns
NOTE_WIDTH = 340  # in a column of its own

# Least (width, height) of nodes: what their panel, player or picture takes once it is there, as measured in the page.
ROOM = {
    "CLIPTextEncode": (250, 150),
    "CreateVideo": (210, 80),
    "KSamplerAdvanced": (250, 334),
    "LoadImage": (320, 330),
    "PreviewImage": (240, 290),
    "SaveVideo": (310, 430),
    "SlotIDFaceTrack": (320, 670),
    "SlotIDLoadIdentity": (320, 420),
    "SlotIDLoadReferenceVideo": (320, 826),
    "SlotIDRegion": (320, 400),
    "SlotIDSelectPortrait": (320, 480),
    "VAEDecode": (170, 50),
}  # fmt: skip
WIDTH = 240  # of all others

PERSON, WHO, DRAW, VIDEO, FACE = "#3f789e", "#8a6d3b", "#a1309b", "#4f8a4f", "#8a3b3b"


@dataclass(frozen=True)
class Stage:
    """A group of whole columns, by their places."""

    title: str
    colour: str
    first: int
    last: int


@dataclass(frozen=True)
class Layout:
    """Node ids by column; the note stands over some columns.

    Args:
        note: (first column, last column, where it begins, height); column -1 is its own, at the left.
        seen: (first input, prompt, result), which should be in view when the template opens.
        asked_as_well: further inputs that the form asks for, as a second person's picture.
    """

    columns: tuple[tuple[int, ...], ...]
    stages: tuple[Stage, ...]
    note: tuple[int, int, float, float]
    seen: tuple[int, int, int]
    asked_as_well: tuple[int, ...] = ()


def stages(person: int, draw: int, video: int, last: int) -> tuple[Stage, ...]:
    """The stages of a graph whose later ones begin at these columns."""
    return (
        Stage("1 · Person and models", PERSON, 0, 0),
        Stage("2 · Who it is", WHO, person, draw - 1),
        Stage("3 · What happens", DRAW, draw, video - 1),
        Stage("4 · The video", VIDEO, video, last),
    )


def with_a_clip(
    columns: tuple[tuple[int, ...], ...], sampled: int, video: int, asked_as_well: tuple[int, ...] = ()
) -> Layout:
    """Slot-ID on a real model: the clip's column, then its face's, its portrait's, and what is made of both."""
    return Layout(
        columns=columns,
        stages=(
            Stage("1 · Person and models", PERSON, 0, 2),
            Stage("2 · Who it is", WHO, 3, 5),
            Stage("3 · What happens", DRAW, sampled, video - 1),
            Stage("4 · The video", VIDEO, video, len(columns) - 1),
        ),
        note=(-1, -1, 0, 640),
        seen=(1, 13, 19),
        asked_as_well=asked_as_well,
    )


ON_WAN = (
    (1,), (2, 23), (3, 4, 5, 24), (6,), (7, 8), (9, 25), (11, 10, 13, 14, 15), (12,), (16,), (17,), (18,), (22,),
    (19,),
)  # fmt: skip

LAYOUTS = {
    "slot_id_text_to_video": Layout(
        columns=(
            (1, 4, 5), (2,), (3,), (6, 20, 21), (7, 8), (9, 11), (12, 10, 13, 14, 15), (16,),
            (17,), (18,), (22,), (19,),
        ),
        stages=stages(1, 6, 8, 11),
        note=(-1, -1, 0, 640),
        seen=(1, 13, 19),
    ),
    "slot_id_reuse_identity": Layout(
        columns=((1, 2, 3), (4, 8), (5, 6, 7), (9,), (10,), (11,), (13,), (12,)),
        stages=(
            Stage("1 · Person and models", PERSON, 0, 0),
            Stage("2 · What happens", DRAW, 1, 3),
            Stage("3 · The video", VIDEO, 4, 7),
        ),
        note=(4, 6, 320, 400),
        seen=(1, 6, 12),
    ),
    "lynx_text_to_video": Layout(
        columns=((1, 3, 4), (5,), (6, 16), (8, 9, 10, 11), (12, 7), (13,), (14,), (17,), (15,)),
        stages=stages(1, 3, 5, 8),
        note=(5, 7, 320, 480),
        seen=(1, 9, 15),
    ),
    "st_drc_text_to_video": Layout(
        columns=((1, 3, 4), (2,), (18,), (5, 6), (7, 16), (8, 9, 10, 11), (12,), (13,), (14,), (17,), (15,)),
        stages=stages(1, 5, 7, 10),
        note=(-1, -1, 0, 640),
        seen=(1, 9, 15),
    ),
    "lavie_id_text_to_video": Layout(
        columns=((1,), (2,), (19, 3, 4), (5, 20), (6, 7), (8, 9, 10, 11), (12,), (13,), (14,), (16, 18), (15, 17)),
        stages=(
            Stage("1 · Person and models", PERSON, 0, 2),
            Stage("2 · Who it is", WHO, 3, 4),
            Stage("3 · What happens", DRAW, 5, 6),
            Stage("4 · The video", VIDEO, 7, 10),
        ),
        note=(-1, -1, 0, 640),
        seen=(1, 9, 15),
    ),
    "lavie_id_refine_video": Layout(
        columns=((1, 2, 3, 10), (4, 8), (5, 6, 7), (9,), (11, 14), (12, 15, 17), (13, 18, 20), (21,), (16, 19)),
        stages=(
            Stage("1 · Person and models", PERSON, 0, 0),
            Stage("2 · What happens", DRAW, 1, 3),
            Stage("3 · Refined, and the video", VIDEO, 4, 8),
        ),
        note=(5, 7, 320, 480),
        seen=(1, 6, 19),
    ),
    "stand_in_wan_14b": Layout(
        columns=((1, 2, 4, 5, 6), (3, 7), (8, 18), (10, 11, 12, 13), (14, 9), (15,), (16,), (19,), (17,)),
        stages=stages(1, 3, 5, 8),
        note=(5, 7, 320, 480),
        seen=(1, 11, 17),
    ),
    "lynx_wan_14b": Layout(
        columns=((1, 2, 4, 5, 6), (3, 7), (8, 18), (10, 11, 12, 13), (14, 9), (15,), (16,), (19,), (17,)),
        stages=stages(1, 3, 5, 8),
        note=(5, 7, 320, 480),
        seen=(1, 11, 17),
    ),
    "slot_id_wan_14b": with_a_clip(ON_WAN, 6, 9),
    "slot_id_wan_1_3b": with_a_clip(ON_WAN, 6, 9),
    "slot_id_wan_i2v_14b": with_a_clip(
        (
            (1,), (2, 23), (3, 4, 5, 24), (6,), (7, 8), (9, 25), (11, 10, 26, 27), (13, 14, 28), (12, 15), (16,),
            (17,), (18,), (22,), (19,),
        ), 6, 10, (26,),
    ),
    "slot_id_wan_2_2_14b": with_a_clip(
        (
            (1,), (2, 23), (3, 4, 26, 5, 24), (6,), (7, 8), (9, 25, 27), (11, 28, 10, 13, 14, 15), (12, 29),
            (16,), (30,), (17,), (18,), (22,), (19,),
        ), 6, 10,
    ),
    "lynx_two_people_wan_14b": Layout(
        columns=(
            (1, 21, 2, 4), (7, 27, 5), (8, 28, 3), (31, 6, 32), (10,), (30, 11, 12, 13), (14,), (15,), (16,), (19,),
            (20,), (17,),
        ),
        stages=stages(1, 4, 7, 11),
        note=(-1, -1, 0, 640),
        seen=(1, 11, 17),
        asked_as_well=(21,),
    ),
    "lynx_small_face_wan_14b": Layout(
        columns=(
            (1, 2, 4, 5, 6), (3, 7), (8, 18), (10, 11, 12, 13), (14,), (15,), (21,), (22,), (23,), (24,), (25,), (16,),
            (19,), (17,),
        ),
        stages=(
            Stage("1 · Person and models", PERSON, 0, 0),
            Stage("2 · Who it is", WHO, 1, 2),
            Stage("3 · What happens", DRAW, 3, 5),
            Stage("4 · The face once more", FACE, 6, 10),
            Stage("5 · The video", VIDEO, 11, 13),
        ),
        note=(-1, -1, 0, 640),
        seen=(1, 11, 17),
    ),
}  # fmt: skip
