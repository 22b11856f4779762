"""Lynx from a clip: whose faces are averaged, which moments they are of, and several pictures side by side."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import tiny_wan
from dataset_settings import drawn
from hypothesis import given, settings
from hypothesis import strategies as st
from proof import examples

from slotid_core.dataset.clip import Clip
from slotid_core.dataset.config import TOY_SIZES
from slotid_core.dataset.drawn_clips import drawn_pixels
from slotid_core.errors import SlotIDError
from slotid_core.evaluation.variants import chosen_rows
from slotid_core.reference.faces.drawn_faces import find_drawn_faces
from slotid_core.reference.faces.mean_face import mean_face
from slotid_core.reference.portrait.faces_of_clip import best_faces
from slotid_core.systems.lynx.inference import CLIP_FACE, CLIP_PICTURES, FACE, PICTURE, branches_of, predict_velocity
from slotid_core.systems.lynx.inference import reference_features as features_of
from slotid_core.systems.lynx.reference import ReferenceFeatures, side_by_side
from slotid_core.systems.lynx.strategy import adapter_config, new_adapter
from slotid_core.toy_world.person import sample_person
from slotid_core.toy_world.render import draw, reference_motion


def around(direction: torch.Tensor, count: int, spread: float, seed: int = 0) -> torch.Tensor:
    noise = torch.randn(count, len(direction), generator=torch.Generator().manual_seed(seed)) / len(direction) ** 0.5
    return F.normalize(direction + spread * noise, dim=1)


@given(st.integers(3, 14), st.integers(0, 6), st.floats(0.0, 0.6), st.integers(0, 99))
@settings(max_examples=examples(40), deadline=None)
def test_strangers_are_left_out_of_the_mean(count, strangers, spread, seed):
    strangers = min(strangers, (count - 1) // 3)
    one, other = F.normalize(torch.randn(2, 512, generator=torch.Generator().manual_seed(seed)), dim=1)
    known, wrong = around(one, count - strangers, spread, seed + 1000), around(other, strangers, spread, seed + 2000)
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    mean = mean_face(torch.cat([known, wrong])[order])
    places = [place for place, who in enumerate(order.tolist()) if who >= count - strangers]
    assert set(places) <= set(mean.left_out) and len(mean.kept) > count // 2
    assert sorted([*mean.kept, *mean.left_out]) == list(range(count))
    best_single = float((known @ one).max())
    assert float(mean.vector @ one) >= best_single - 1e-6, "the mean is nearer to the person than any picture"
    assert mean.vector.norm() == pytest.approx(1.0, abs=1e-6)


def test_equal_and_few_embeddings_are_all_kept():
    one = F.normalize(torch.ones(8), dim=0)
    assert mean_face(one.repeat(5, 1)).left_out == {} and mean_face(one[None]).kept == (0,)
    assert len(mean_face(torch.eye(8)[:2]).kept) == 2, "of two nobody knows which is wrong"
    for wrong in (torch.zeros(0, 8), torch.full((2, 8), float("nan")), torch.zeros(8)):
        with pytest.raises(SlotIDError, match="at least one picture"):
            mean_face(wrong)


@pytest.fixture(scope="module")
def clip() -> torch.Tensor:
    person = sample_person(1_000_003)
    scene, motion = reference_motion(person, 5, 33)
    return draw([person], [scene], [motion], 128)[0]


@pytest.mark.parametrize("in_the_middle", [True, False])
def test_the_best_moments_of_a_clip_are_apart_and_show_the_face(clip, in_the_middle):
    found = best_faces(clip, find_drawn_faces(), 4, in_the_middle=in_the_middle)
    assert 1 <= len(found.frames) <= 4 and len(set(found.frames)) == len(found.frames)
    assert found.embedding_crops.shape == (len(found.frames), 112, 112, 3)
    side = TOY_SIZES["portrait_size"] if in_the_middle else 256  # that of the pictures which adapters learned from
    assert found.reference_crops.shape == (len(found.frames), side, side, 3)
    merits = [moment["merit"] for moment in found.report["moments"]]
    assert merits == sorted(merits, reverse=True) and found.report["detector"] == "drawn faces"
    assert all(abs(a - b) >= 2 for n, a in enumerate(found.frames) for b in found.frames[:n])
    if in_the_middle:  # the square that networks of the toy world were trained with, without a black frame around it
        assert (found.reference_crops.sum(dim=-1) < 1e-3).float().mean() < 0.01
    gap = (found.embedding_crops[0] - found.embedding_crops[-1]).abs().mean()
    assert gap < 0.2, "moments of one face are aligned to each other"


def test_only_what_can_be_is_asked_of_a_clip(clip):
    with pytest.raises(SlotIDError, match="moments"):
        best_faces(clip, find_drawn_faces(), 0)
    with pytest.raises(SlotIDError, match="No face"):
        best_faces(torch.zeros(5, 64, 64, 3), find_drawn_faces(), 3)


def conditions(pictures: torch.Tensor) -> dict[str, torch.Tensor]:
    return {
        FACE: F.normalize(torch.ones(1, 512), dim=1), PICTURE: pictures, "grey_picture": torch.zeros(1, 16, 1, 4, 4),
        "face_prompt": torch.ones(1, 3, 4096),
    }  # fmt: skip


def test_the_same_picture_several_times_changes_nothing_and_another_does():
    """Attention to equal keys is attention to one of them, of the person and of nobody alike."""
    torch.manual_seed(0)
    model = tiny_wan()
    resampler = {"width": 64, "depth": 1, "num_heads": 1, "num_tokens": 4, "mlp_width": 64}
    adapter = new_adapter(adapter_config({"resampler": resampler}, model))
    with torch.no_grad():
        for parameter in adapter.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    picture, other = torch.randn(2, 1, 16, 1, 4, 4)
    noisy, level, context = torch.randn(2, 16, 2, 4, 4), torch.tensor([0.5, 0.5]), torch.zeros(2, 4, 4096)

    def velocity(pictures):
        with torch.no_grad():
            condition = branches_of(adapter, model, conditions(pictures), torch.tensor([0, 1]))
            return predict_velocity(model, noisy, level, context, condition)

    once, thrice = velocity(picture), velocity(picture[:, None].expand(-1, 3, -1, -1, -1, -1))
    torch.testing.assert_close(thrice, once, atol=1e-5, rtol=1e-4)
    both = velocity(torch.stack([picture, other], dim=1))
    assert (both[1] - once[1]).abs().max() > 1e-4, "the second picture is read"
    torch.testing.assert_close(both[0], once[0], atol=1e-5, rtol=1e-4)


def test_pictures_stand_side_by_side_in_their_order():
    model, pictures = tiny_wan(), torch.randn(2, 3, 16, 1, 4, 4)
    several = features_of(model, conditions(pictures))
    assert several.shape[0] == 3 and several.shape[2] == 3 * 4
    for number in range(3):
        alone = features_of(model, conditions(pictures[:, number]))
        part = several[:, :, 4 * number : 4 * number + 4]
        torch.testing.assert_close(part, alone, atol=1e-5, rtol=1e-4)
    node_way = side_by_side(torch.randn(3, 2, 4, 8), 2)
    assert ReferenceFeatures(node_way).features.shape == (2, 2, 8, 8)


def test_evaluation_has_a_row_from_a_clip_whose_tensors_are_made(tmp_path):
    from slotid_core.dataset.tensors import TensorMaker
    from slotid_core.model_files import model_file

    (row,) = chosen_rows(["lynx.clip"], ["lynx"])
    assert row.variant is not None and dict(row.variant.reads) == {FACE: CLIP_FACE, PICTURE: CLIP_PICTURES}
    config = drawn({"vae": "toy_world", "text_encoder": "toy_world"}, frames=5, height=64, width=64, portrait_size=64,
                   reference_frames=33, reference_size=64, face_encoder="toy_world")  # fmt: skip
    pixels = drawn_pixels(Clip(key="c", caption="", person="", person_seed=1_000_003), config)

    class Encoders:
        device = torch.device("cpu")

        def latents(self, frames):
            return frames.mean(dim=(1, 2, 3)).view(1, -1, 1, 1).expand(16, -1, 2, 2).half()

        def text_rows(self, caption):
            raise AssertionError("nothing of a person is read from a caption")

    maker = TensorMaker(config, Encoders(), None)  # pyright: ignore[reportArgumentType]
    made = maker.make([FACE, CLIP_FACE, CLIP_PICTURES], pixels)
    assert made[CLIP_PICTURES].shape == (4, 16, 1, 2, 2)
    alike = float(F.cosine_similarity(made[FACE].float(), made[CLIP_FACE].float(), dim=0))
    assert alike > 0.7 and model_file("toy_world", "face_recogniser").is_file()
    assert np.isfinite(made[CLIP_FACE].numpy()).all()
