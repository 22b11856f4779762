"""What is prepared of drawn people stays the same, to the bit, whatever makes the preparation quicker."""

from pathlib import Path

import pytest
import torch
from dataset_settings import drawn, models
from torch import Tensor

from slotid_core.dataset.augmentation import AugmentationSettings
from slotid_core.dataset.config import PrepareConfig, ToyWorldSource
from slotid_core.dataset.looks import LookSettings
from slotid_core.dataset.models import Encoders
from slotid_core.dataset.prepare import Preparer
from slotid_core.dataset.sources import list_clips
from slotid_core.dataset.tensors import TensorMaker
from slotid_core.systems.registry import SYSTEMS
from slotid_core.toy_world.motion import move
from slotid_core.toy_world.person import sample_person
from slotid_core.toy_world.render import draw, draw_parts
from slotid_core.toy_world.scene import sample_scene
from slotid_core.weights import read_tensors, save_weights

RECORDED = Path(__file__).parent / "prepared_recorded.safetensors"
PROBE = "probe"  # by code that no preparation has: are this machine's last digits those of the recording one?
ROUNDING = 0.03  # of latents in float16, between CPUs

EVERY_SYSTEM = PrepareConfig(
    vae="toy_world", text_encoder="toy_world", face_encoder="toy_world", device="cpu", systems=tuple(SYSTEMS),
    toy_world=ToyWorldSource(2, first=2, clips_per_person=1, references_per_person=1, as_users=0.5),
    frames=5, height=32, width=32, reference_frames=9, reference_size=32, portrait_size=32, component_size=16,
    augmentation=AugmentationSettings(count=2), looks=LookSettings(count=2), start_image=True,
)  # fmt: skip


@pytest.fixture(autouse=True)
def one_thread():
    """As preparations run."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def prepared() -> dict[str, Tensor]:
    """Everything but text, which is no picture and large."""
    prepare = Preparer(EVERY_SYSTEM)
    tensors = {PROBE: prepare.encoders.latents(torch.rand(5, 32, 32, 3, generator=torch.Generator().manual_seed(0)))}
    for clip in list_clips(EVERY_SYSTEM):
        found = prepare(clip)
        assert not found.failures
        for name, tensor in found.samples[0].tensors.items():
            if tensor.shape[-1] != 4096:
                tensors[f"{clip.key}.{name}"] = tensor
    return tensors


def test_what_every_system_reads_of_drawn_people_is_what_it_was():
    recorded, _ = read_tensors(RECORDED, check=False)
    now = prepared()
    assert now.keys() == recorded.keys()
    same_machine = torch.equal(now[PROBE], recorded[PROBE])
    for name, tensor in now.items():
        if same_machine:
            assert torch.equal(tensor, recorded[name]), name
        else:
            torch.testing.assert_close(tensor.float(), recorded[name].float(), rtol=0, atol=ROUNDING, msg=name)


@pytest.mark.parametrize("size", [32, 50, 64])
def test_parts_come_with_the_frames_and_are_those_of_each_frame_alone(size):
    for seed in range(6):
        person, scene = sample_person(seed), sample_scene(seed)
        motion = move(person, scene, 7)
        frames, parts = draw_parts([person], [scene], [motion], size)
        alone = [draw_parts([person], [scene], [motion.frames(at, at + 1)], size) for at in range(7)]
        assert torch.equal(frames, draw([person], [scene], [motion], size))
        assert torch.equal(frames, torch.cat([one for one, _ in alone], dim=1))
        assert torch.equal(parts, torch.cat([one for _, one in alone], dim=1))


def test_looks_are_made_once_and_what_every_sample_holds_is_encoded_once(tmp_path, monkeypatch):
    config = drawn(
        models(tmp_path), people=2, clips_per_person=1, systems=("lynx",), face_encoder="toy_world",
        looks=LookSettings(count=1, background=0),
    )  # fmt: skip
    prepare = Preparer(config)
    clips = list_clips(config)
    looked, prompts = [], []
    look, encode = TensorMaker._looks, Encoders.text_rows
    monkeypatch.setattr(TensorMaker, "_looks", lambda self, *pixels: looked.append(1) or look(self, *pixels))
    monkeypatch.setattr(Encoders, "text_rows", lambda self, text: prompts.append(text) or encode(self, text))
    # As for sources whose clips share no faces.
    prepare.maker = TensorMaker(config, prepare.encoders, prepare.source.detector, keep_faces=False)
    assert [prepare(clip).failures for clip in clips] == [[], []]
    assert len(looked) == 2
    assert sum(prompt == "image of a face" for prompt in prompts) == 1


if __name__ == "__main__":  # records, by `python tests/core/test_dataset_bytes.py` with PYTHONPATH=tests/core:.
    torch.set_num_threads(1)
    save_weights(RECORDED, prepared(), {"kind": "prepared", "version": 1})
