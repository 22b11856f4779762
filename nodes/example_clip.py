"""A drawn reference clip, so that a workflow runs on a machine where nobody has put a video yet."""

import os
from fractions import Fraction

import folder_paths

NAME = "toy_world_person.mp4 [example]"
PERSON, SEED, FRAMES, SIZE, RATE = 1_000_003, 3, 65, 256, 16


def example_clip() -> str:
    """Path of the clip, drawn when it is first asked for."""
    path = os.path.join(folder_paths.get_temp_directory(), "slotid_toy_world_person.mp4")
    if not os.path.isfile(path):
        draw_example(path)
    return path


def draw_example(path: str) -> None:
    import av

    from ..slotid_core.toy_world.person import sample_person
    from ..slotid_core.toy_world.render import render_reference

    frames = (render_reference(sample_person(PERSON), SEED, FRAMES, SIZE) * 255).byte().numpy()
    os.makedirs(os.path.dirname(path), exist_ok=True)
    unfinished = f"{path}.part.mp4"
    with av.open(unfinished, "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(RATE))
        stream.width, stream.height, stream.pix_fmt = SIZE, SIZE, "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    os.replace(unfinished, path)
