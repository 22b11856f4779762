"""The error where the face is: where that is said to be, what is added, and that every system learns with it."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from dataset_settings import drawn, models
from every_system import ADAPTERS, make_people, settings_of

from slotid_core.dataset.cached import CachedDataset
from slotid_core.dataset.drawn_clips import drawn_pixels
from slotid_core.dataset.face_shares import covered, face_shares
from slotid_core.dataset.runner import prepare_dataset
from slotid_core.dataset.sources import list_clips
from slotid_core.errors import SlotIDError
from slotid_core.systems.contract import SharedObjective, face_loss
from slotid_core.training.config import config_from_settings
from slotid_core.training.dry_run import estimate
from slotid_core.training.loop import Trainer
from slotid_core.training.processes import start_processes


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    torch.set_num_threads(1)
    return make_people(tmp_path_factory.mktemp("people"), face_shares="masks")


def trainer(folder, system, output, **objective) -> Trainer:
    values = settings_of(system, folder, objective=objective, run={"steps": 2, "batch": 2, "micro_batch": 2})
    return Trainer(config_from_settings(values), output, start_processes())


def test_a_box_covers_its_own_area_and_nothing_else():
    box = (3.25, 1.5, 7.0, 4.75)
    share = covered(box, 8, 12)
    assert float(share.sum()) == pytest.approx((7 - 3.25) * (4.75 - 1.5))
    assert share[0].sum() == 0 and share[:, 7:].sum() == 0 and share[2, 4] == 1 and share[1, 3] == 0.5 * 0.75


def test_boxes_and_masks_agree_on_where_a_drawn_face_is(tmp_path):
    config = drawn(models(tmp_path), people=3, clips_per_person=1, height=64, width=64)
    for clip in list_clips(config):
        pixels = drawn_pixels(clip, config)
        boxes, masks = (face_shares(pixels, config.margin, source) for source in ("boxes", "masks"))
        guessed = face_shares(replace(pixels, video_parts=None), config.margin, "masks")
        assert boxes.shape == masks.shape == guessed.shape == (2, 8, 8)
        rows, columns = np.meshgrid(np.arange(8), np.arange(8), indexing="ij")
        middles = [
            ((share[0].numpy() * rows).sum() / share[0].sum(), (share[0].numpy() * columns).sum() / share[0].sum())
            for share in (boxes, masks, guessed)
        ]
        assert np.ptp(np.array(middles), axis=0).max() < 1.5, middles
        for share in (boxes, masks, guessed):
            assert share.min() >= 0 and share.max() <= 1 + 1e-5 and 0.03 < share.mean() < 0.9


def test_the_loss_is_the_mean_squared_error_over_the_face():
    generator = torch.Generator().manual_seed(0)
    error = torch.randn(3, 16, 2, 4, 4, generator=generator)
    shares = torch.zeros(3, 2, 4, 4)
    shares[0, :, 1:3, 1:3] = 1
    shares[2, 0, 0, 0] = 0.5
    loss = face_loss(error, shares)
    assert loss[0] == pytest.approx(float(error[0, :, :, 1:3, 1:3].square().mean()))
    assert loss[1] == 0
    assert loss[2] == pytest.approx(0.5 * float(error[2, :, 0, 0, 0].square().mean()))
    with pytest.raises(SlotIDError, match="face_area_weight"):
        SharedObjective(face_area_weight=-1)


@pytest.mark.parametrize("system", list(ADAPTERS))
def test_every_system_adds_it_in_training_alone(people, system, tmp_path):
    plain = trainer(people, system, tmp_path / "a")
    weighted = trainer(people, system, tmp_path / "b", face_area_weight=0.5)
    batch, again = plain.batches.rows(0, range(2)), weighted.batches.rows(0, range(2))
    assert again.conditions["face_shares"].shape[1:] == (2, 8, 8)
    losses = []
    for which, rows in ((plain, batch), (weighted, again)):
        which.strategy.at_step(0)
        torch.manual_seed(0)
        losses.append(which.model.train()(rows).detach())
    assert (losses[1] > losses[0]).all()
    with torch.no_grad():
        torch.manual_seed(0)
        before = plain.model.eval()(batch)
        torch.manual_seed(0)
        assert torch.equal(before, weighted.model.eval()(again))
    figures, _ = weighted.step(0, again, stopping=False)
    assert figures["gradient_norm"] > 0


def test_packed_samples_and_pictures_have_it_too(people, tmp_path):
    run = {"steps": 2, "batch": 2, "micro_batch": 1, "pack_tokens": 1000, "image_share": 0.5}
    values = settings_of("slot_id", people, objective={"face_area_weight": 1.0}, run=run)
    both = Trainer(config_from_settings(values), tmp_path, start_processes())
    figures = [both.step(step, both.batches.rows(step, range(2)), stopping=False)[0] for step in range(2)]
    assert all(np.isfinite(one["loss"]) for one in figures)


def test_data_without_faces_is_refused_and_the_dry_run_tells_the_cost(people, tmp_path):
    files = models(tmp_path / "models")
    prepare_dataset(drawn(files, people=2, clips_per_person=1), tmp_path / "data")
    assert "face_shares" not in CachedDataset(tmp_path / "data").read(0)
    values = settings_of("slot_id", people, objective={"face_area_weight": 1.0}, data={"train": str(tmp_path / "data")})
    with pytest.raises(SlotIDError, match="face_shares: boxes or masks"):
        Trainer(config_from_settings(values), tmp_path / "run", start_processes())
    with pytest.raises(SlotIDError, match="face_shares is 'nose'"):
        drawn(files, face_shares="nose")
    plain, weighted = (
        estimate(config_from_settings(settings_of("slot_id", people, objective={"face_area_weight": w})), gpus=1)
        for w in (0.0, 1.0)
    )
    more = weighted["memory_gib_a_gpu"] - plain["memory_gib_a_gpu"]
    assert more == pytest.approx(weighted["face_area_gib_a_gpu"]) and more > 0
    assert weighted["face_area_gib_a_thousand_samples"] > 0 and "face_area_gib_a_gpu" not in plain
