"""Preparation of drawn people for every system, on one core: each clip with all that it takes, against its limit.

The limit is the VAE's encoding of the same frames, which no preparation can do without.
"""

from dataclasses import replace
from itertools import cycle

import torch

from benchmarks.paired import Ratio, compare
from slotid_core.config import config_from_dict
from slotid_core.dataset.config import PrepareConfig, ToyWorldSource
from slotid_core.dataset.prepare import Preparer
from slotid_core.dataset.sources import list_clips
from slotid_core.toy_world.motion import move
from slotid_core.toy_world.person import sample_person
from slotid_core.toy_world.render import draw_parts
from slotid_core.toy_world.scene import sample_scene

FRAMES, SIDE, PEOPLE = 17, 64, 8
SETTINGS = {
    "systems": ["slot_id", "lynx", "st_drc", "lavie_id"], "face_encoder": "toy_world", "vae": "toy_world",
    "text_encoder": "toy_world", "augmentation": {}, "device": "cpu",
}  # fmt: skip


def frame_by_frame() -> None:
    for person, scene in _people():
        motion = move(person, scene, FRAMES)
        for at in range(FRAMES):
            draw_parts([person], [scene], [motion.frames(at, at + 1)], SIDE)


def in_one_pass() -> None:
    for person, scene in _people():
        draw_parts([person], [scene], [move(person, scene, FRAMES)], SIDE)


def _people():
    return [(sample_person(seed), sample_scene(seed)) for seed in range(PEOPLE)]


def run() -> list[Ratio]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        source = ToyWorldSource(1000, clips_per_person=1, references_per_person=1)
        config = replace(config_from_dict(PrepareConfig, {**SETTINGS, "toy_world": {"people": 1}}), toy_world=source)
        prepare, clips = Preparer(config), cycle(list_clips(config))
        video, reference, picture = (torch.rand(frames, SIDE, SIDE, 3) for frames in (FRAMES, 65, 1))

        def clip() -> None:
            assert not prepare(next(clips)).failures

        def encoding() -> None:  # video, reference, portrait, canvas and its augmentations, grey
            for frames in (video, reference, *[picture] * (3 + config.augmentation.count)):
                prepare.encoders.latents(frames)

        return [
            compare("a drawn clip's parts: frame by frame / all frames in one pass", frame_by_frame, in_one_pass, 7),
            compare("one prepared person and clip, every system / the VAE's part of it", clip, encoding, 7),
        ]
    finally:
        torch.set_num_threads(threads)


if __name__ == "__main__":
    for ratio in run():
        print(ratio)
