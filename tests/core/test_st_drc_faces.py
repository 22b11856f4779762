"""ST-DRC's face-guided objective: what it looks at, whom its gradient reaches, what it costs where it is not used."""

import shutil
from typing import Any

import pytest
import torch
from dataset_settings import drawn, models
from training_settings import command, losses, make_world, run, settings, write_settings

from slotid_core.dataset.cached import CachedDataset
from slotid_core.dataset.runner import prepare_dataset
from slotid_core.errors import SlotIDError
from slotid_core.reference.faces.alignment import ARCFACE, INPUT_SIZE, crop_place, landmarks_from_box, similarity, warp
from slotid_core.reference.faces.face_encoder import FaceEncoder
from slotid_core.systems.face_objective import FaceGuided, FaceObjective
from slotid_core.systems.st_drc.inference import INFERENCE, predict_velocity
from slotid_core.systems.st_drc.injection import ReferenceCondition
from slotid_core.systems.st_drc.strategy import ObjectiveSettings
from slotid_core.training.checkpoint import checkpoints
from slotid_core.training.config import config_from_settings
from slotid_core.training.dry_run import estimate
from slotid_core.training.loop import Trainer, train
from slotid_core.training.processes import start_processes
from slotid_core.wan.vae import WanVAE, WanVAEConfig, denormalize_latents
from slotid_core.weights import save_weights

ON = {"face_weight": 2.0, "face_below": 1.0, "augmented": 0.0}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Drawn people with and without faces to look at, and a backbone of two blocks."""
    torch.set_num_threads(1)
    folder = make_world(tmp_path_factory.mktemp("world"))
    torch.manual_seed(0)
    encoder = FaceEncoder(4).eval()
    save_weights(folder / "faces.safetensors", encoder.state_dict(), {"kind": "face_encoder", "version": 1})
    files = models(folder / "more_models")
    plain = drawn(files, people=3, clips_per_person=2, systems=("st_drc",))
    faces = drawn(
        files, people=3, clips_per_person=2, systems=("st_drc",), face_encoder=str(folder / "faces.safetensors")
    )
    prepare_dataset(plain, folder / "plain")
    prepare_dataset(faces, folder / "with_faces")
    return folder


def values_of(world, data="with_faces", own=None, **changes) -> dict:
    folders = {"train": str(world / data), "validation": str(world / data)}
    given = {"system": "st_drc", "data": folders, "adapter": {"lora": {"rank": 4, "alpha": 4.0}}}
    own = {"identity_dropout": 0.0, "joint_dropout": 0.0, "own": ON if own is None else own}
    values = settings(world, objective=own, **changes)
    return {**values, **given}


def trainer_of(world, folder, **changes) -> Trainer:
    return Trainer(config_from_settings(values_of(world, **changes)), folder, start_processes())


@pytest.fixture
def trainer(world, tmp_path) -> Any:
    return trainer_of(world, tmp_path)


def clean_inputs(batch):
    """What is predicted from, and the velocity whose estimate is the video itself."""
    noisy = torch.lerp(batch.video, batch.noise, batch.noise_level.view(-1, 1, 1, 1, 1))
    return noisy, batch.noise - batch.video


def count_decodes(faces: FaceObjective) -> list[int]:
    """How many clips each call of the decoder is given, from now on."""
    networks, sizes = faces.networks(torch.device("cpu")), []
    decode = networks.vae.decode
    networks.vae.decode = lambda latents: (sizes.append(len(latents)), decode(latents))[1]
    return sizes


def test_faces_are_prepared_where_there_is_a_face_encoder(world):
    plain, faces = (CachedDataset(world / name).read(0) for name in ("plain", "with_faces"))
    assert set(faces) - set(plain) == {"face_embedding", "face_places"}
    assert faces["face_places"].shape == (faces["video"].shape[1], 2, 3) and faces["face_places"].isfinite().all()


def test_the_same_face_costs_nothing_and_another_does(trainer):
    """The last frame of a clip of two latent ones, decoded and aligned by other code, is whom it is compared with."""
    strategy, batch = trainer.strategy, trainer.batches.rows(0, range(4))
    networks = strategy.faces.networks(torch.device("cpu"))
    batch.conditions["face_choice"] = torch.tensor([[0.0, 0.99]]).expand(4, 2)  # each of the two frames
    height, width = (8 * side for side in batch.video.shape[-2:])
    box = (4.0, 2.0, 28.0, 26.0)
    matrix = similarity(landmarks_from_box(box), ARCFACE)
    batch.conditions["face_places"] = crop_place(landmarks_from_box(box), height, width).expand(4, 2, 2, 3)
    pixels = networks.vae.decode(denormalize_latents(batch.video))[:, :, [0, -1]]
    pictures = (pixels * 0.5 + 0.5).clamp(0, 1).permute(0, 2, 3, 4, 1)
    crops = torch.stack([warp(frame, matrix, INPUT_SIZE) for clip in pictures for frame in clip])
    by_frame = networks.encoder(crops.permute(0, 3, 1, 2) * 2 - 1).view(4, 2, -1)

    inputs = clean_inputs(batch)
    strategy.faces.settings = FaceGuided(2.0, 1.0, 1, "", "")
    for frame in (0, 1):
        batch.conditions["face_choice"] = torch.full((4, 1), frame / 2 + 0.2)
        batch.conditions["face_embedding"] = by_frame[:, frame]
        assert strategy.faces(batch, *inputs).abs().max() < 1e-4
        batch.conditions["face_embedding"] = by_frame.roll(1, 0)[:, frame]
        expected = 2 * (1 - (by_frame * by_frame.roll(1, 0)).sum(-1)[:, frame])
        assert torch.allclose(strategy.faces(batch, *inputs), expected, atol=1e-4) and expected.min() > 1e-3


def test_its_gradient_reaches_the_lora_and_nothing_else(trainer):
    strategy, batch = trainer.strategy, trainer.batches.rows(0, range(4))
    before = strategy(batch)
    strategy.faces.settings = FaceGuided(0.0, 1.0, 2, "", "")
    assert ((before - strategy(batch)) > 0).all(), "training has it"
    strategy.eval()
    assert torch.equal(strategy(batch), strategy(batch)) and (strategy(batch) < before).all(), "validation has not"
    strategy.train()
    strategy.faces.settings = FaceGuided(2.0, 1.0, 2, "", "")
    networks = strategy.faces.networks(torch.device("cpu"))
    noisy, _ = clean_inputs(batch)
    condition = ReferenceCondition(strategy.pictures(batch), strategy.config.layout, batch.has_identity)
    velocity = predict_velocity(strategy.model, noisy, batch.noise_level, batch.context, condition)
    strategy.faces(batch, noisy, velocity).sum().backward()
    reached = {name for name, p in strategy.named_parameters() if p.grad is not None and p.grad.any()}
    assert reached and all(".lora_" in name for name in reached)
    frozen = [*networks.vae.parameters(), *networks.encoder.parameters()]
    assert all(p.grad is None and not p.requires_grad for p in frozen)
    own = {id(p) for p in strategy.parameters()}
    assert not own & {id(p) for p in frozen}, "no part of checkpoints, of what is exported, or of what is sharded"


def test_recomputing_gives_the_same_gradient(trainer):
    strategy, batch = trainer.strategy, trainer.batches.rows(0, range(3))
    noisy, velocity = clean_inputs(batch)
    gradients = []
    for recompute in (False, True):
        strategy.faces.recompute = recompute
        asked = (velocity + 0.1).requires_grad_()
        strategy.faces(batch, noisy, asked).sum().backward()
        gradients.append(asked.grad)
    at_once, again = gradients
    # Faces one by one are convolved in another order of sums than all at once, on some CPUs; a wrong face is 1 away.
    assert at_once.any() and (at_once - again).norm() < 2e-3 * at_once.norm()


def test_what_shows_no_face_to_compare_is_not_decoded(trainer):
    strategy, batch = trainer.strategy, trainer.batches.rows(0, range(4))
    strategy.faces.settings = FaceGuided(2.0, 0.4, 2, "", "")
    sizes = count_decodes(strategy.faces)
    batch.noise_level[:] = torch.tensor([0.4, 0.9, 0.1, 0.2])
    batch.has_identity[:] = torch.tensor([1.0, 1.0, 0.0, 1.0])
    batch.conditions["face_places"][3, 0] = float("nan")
    cost = strategy.faces(batch, *clean_inputs(batch))
    assert sizes == [1], "of the last sample the second frame alone"
    assert (cost[:3] == 0).all() and cost[3] > 0
    batch.noise_level[3] = 0.5
    assert not strategy.faces(batch, *clean_inputs(batch)).any() and sizes == [1]


def test_each_frame_is_drawn_from_its_own_stretch_of_the_clip(trainer):
    strategy, batch = trainer.strategy, trainer.batches.rows(0, range(4))
    for seed in range(5):
        batch.conditions["face_choice"] = torch.rand(4, 2, generator=torch.Generator().manual_seed(seed))
        assert strategy.faces.seen(batch) == [(row, frame) for row in range(4) for frame in (0, 1)]


@pytest.mark.parametrize("data", ["plain", "with_faces"])
def test_without_it_data_of_either_kind_trains_and_its_files_are_not_read(world, tmp_path, data):
    own = {"face_encoder": "missing", "face_vae": "missing"}
    trainer: Any = trainer_of(world, tmp_path, data=data, own=own)
    figures, _ = trainer.step(0, trainer.batches.rows(0, range(4)), stopping=False)
    assert figures["loss"] > 0 and trainer.strategy.faces is None
    assert "face_places" not in trainer.batches.rows(0, range(1)).conditions


def test_what_it_needs_and_does_not_have_is_said(world, tmp_path):
    with pytest.raises(SlotIDError, match="prepared without face_encoder"):
        trainer_of(world, tmp_path, data="plain")
    trainer = trainer_of(world, tmp_path, own={**ON, "face_vae": "missing.safetensors"})
    with pytest.raises(SlotIDError, match=r"no file 'missing\.safetensors'"):
        trainer.step(0, trainer.batches.rows(0, range(4)), stopping=False)
    with pytest.raises(SlotIDError, match="face_below must lie between"):
        ObjectiveSettings(face_below=1.5)


def test_a_run_that_is_taken_up_again_goes_on_as_if_nothing_had_happened(world, tmp_path):
    changes = {"steps": 4, "save_every": 2, "validate_every": 2, "validation_samples": 2}
    config = config_from_settings(values_of(world, run=changes))
    assert train(config, tmp_path / "alone") is not None
    shutil.copytree(tmp_path / "alone", tmp_path / "again")
    for path in checkpoints(tmp_path / "again")[1:]:
        path.unlink()
    assert train(config, tmp_path / "again", resume=True) is not None
    assert losses(tmp_path / "again") == losses(tmp_path / "alone")
    files = [(tmp_path / name / "adapter.safetensors").read_bytes() for name in ("alone", "again")]
    assert files[0] == files[1]


def test_two_processes_do_as_one_where_only_one_of_them_sees_a_face(world, tmp_path):
    values = values_of(world, own={**ON, "face_below": 0.4}, run={"steps": 3, "batch": 2, "ema_decay": 0.0})
    trainer = Trainer(config_from_settings(values), tmp_path, start_processes())
    told = [trainer.batches.rows(step, range(2)).noise_level < 0.4 for step in range(3)]
    assert any(one.sum() == 1 for one in told), "a step in which one row is looked at"
    file = write_settings(tmp_path / "settings.json", values)
    for processes in (1, 2):
        done = run(command(file, tmp_path / str(processes), processes=processes))
        assert done.returncode == 0, done.stderr[-2000:]
    one, two = losses(tmp_path / "1"), losses(tmp_path / "2")
    assert one.keys() == two.keys() and all(one[step] == pytest.approx(two[step], rel=1e-4) for step in one)


def test_a_dry_run_counts_what_the_decoder_holds(world):
    off, on = (estimate(config_from_settings(values_of(world, own=own)), gpus=1) for own in ({"face_weight": 0.0}, ON))
    assert off["other_networks_gib_a_gpu"] == 0 < on["other_networks_gib_a_gpu"]
    assert on["memory_gib_a_gpu"] - off["memory_gib_a_gpu"] == pytest.approx(on["other_networks_gib_a_gpu"])


def test_what_the_decoder_holds_is_estimated_within_a_factor_of_1_5(tmp_path):
    vae = WanVAE(WanVAEConfig(width=16)).requires_grad_(False)
    save_weights(tmp_path / "vae.safetensors", vae.state_dict(), {"kind": "vae", "version": 1})
    faces = FaceObjective(FaceGuided(1.0, 0.4, 1, "", str(tmp_path / "vae.safetensors")), {}, recompute=False)
    kept, weights = {}, {p.untyped_storage().data_ptr() for p in vae.parameters()}

    def keep(tensor):
        if tensor.untyped_storage().data_ptr() not in weights:
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    latents = torch.randn(2, 16, 2, 6, 8, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        out = vae.decode(latents)
    assert out.requires_grad
    measured, estimated = sum(kept.values()), faces.held_bytes(6, 8, samples=2, size=4)
    assert measured / 1.5 < estimated < measured * 1.5, (measured, estimated)


def test_evaluation_has_a_row_without_it():
    assert INFERENCE.variants["no_face"].changes == ("objective.own.face_weight=0.0",)
