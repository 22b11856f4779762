"""The toy world's example among the clips, so that a workflow runs before anybody has uploaded a video."""

import os

import folder_paths

from ...slotid_core.toy_world.example import write_example

NAME = "toy_world_person.mp4 [example]"


def example_clip() -> str:
    """Path of the clip, drawn when it is first asked for."""
    path = os.path.join(folder_paths.get_temp_directory(), "slotid_toy_world_person.mp4")
    if not os.path.isfile(path):
        write_example(path)
    return path
