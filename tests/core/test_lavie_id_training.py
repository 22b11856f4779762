"""LaVieID's data, its objective against equations 5 and 6 written out a second time, and its training."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from dataset_settings import drawn, models
from toy_family import ship_random_family
from training_settings import command, make_world, run, settings, write_settings
from training_settings import losses as losses_of
from typed import one_size

from slotid_core.dataset.cached import CachedDataset
from slotid_core.dataset.component_shares import component_shares, latent_frames, pooled
from slotid_core.dataset.config import PrepareConfig, ToyWorldSource
from slotid_core.dataset.drawn_clips import drawn_pixels
from slotid_core.dataset.models import Encoders
from slotid_core.dataset.pixels import Pixels
from slotid_core.dataset.runner import prepare_dataset
from slotid_core.dataset.tensors import TensorMaker
from slotid_core.dataset.toy_world_source import toy_world_clips
from slotid_core.errors import SlotIDError
from slotid_core.evaluation.studio import Studio
from slotid_core.evaluation.subjects import subjects_of
from slotid_core.evaluation.usage import Usage
from slotid_core.evaluation.variants import chosen_rows
from slotid_core.reference.faces.crop import resized
from slotid_core.reference.faces.drawn_faces import find_drawn_faces
from slotid_core.reference.faces.face_clip import make_face_clip
from slotid_core.reference.faces.face_encoder import FaceEncoder
from slotid_core.reference.portrait.components import LEAST, NAMES, best_of, cut_components, shares_of_masks
from slotid_core.reference.portrait.find_components import as_cut, find_components
from slotid_core.systems.lavie_id import load_adapter
from slotid_core.systems.lavie_id.inference import LoadedAdapter
from slotid_core.systems.lavie_id.route_accuracy import Confusion, confusion
from slotid_core.systems.lavie_id.route_loss import route_loss, token_targets
from slotid_core.toy_world.person import HELD_OUT_FROM, sample_person
from slotid_core.toy_world.render import draw, reference_motion
from slotid_core.training.backbone import load_backbone
from slotid_core.training.config import config_from_settings, read_config
from slotid_core.training.dry_run import estimate
from slotid_core.training.loop import Trainer, train
from slotid_core.training.processes import start_processes
from slotid_core.weights import save_weights
from studies.lavie_id.routes import main as routes

CONFIGS = Path(__file__).parents[2] / "slotid_core" / "training" / "configs"
ADAPTER = {
    "vision": {"kind": "own", "width": 32, "pooled_width": 16, "levels": [0, 1], "patch": 8, "heads": 2},
    "encoder": {
        "width": 32, "depth": 2, "heads": 2, "head_width": 16, "identity_tokens": 2, "num_tokens": 4,
        "token_width": 32, "mlp_factor": 2, "face_width": 0,
    },
    "router": {"inner_width": 32, "heads": 2, "head_width": 16},
}  # fmt: skip


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return make_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lavie")
    config = drawn(
        models(folder / "models"), people=3, clips_per_person=2, systems=("lavie_id",), height=64, width=64,
        portrait_size=64,
    )  # fmt: skip
    prepare_dataset(config, folder / "data")
    return folder / "data"


@pytest.fixture(scope="module")
def data_with_faces(tmp_path_factory):
    """Data with face embeddings, by a face encoder of random weights that lies beside it."""
    folder = tmp_path_factory.mktemp("lavie_faces")
    torch.manual_seed(0)
    encoder = folder / "face_encoder.safetensors"
    save_weights(encoder, FaceEncoder(8).eval().state_dict(), {"kind": "face_encoder", "version": 1})
    config = drawn(
        models(folder / "models"), people=2, clips_per_person=2, systems=("lavie_id",), height=64, width=64,
        portrait_size=64, face_encoder=str(encoder),
    )  # fmt: skip
    prepare_dataset(config, folder / "data")
    return folder / "data"


def lavie_settings(world, data, adapter=None, **changes) -> dict:
    folders = {"train": str(data), "validation": str(data)}
    values = settings(world, system="lavie_id", data=folders, **changes)
    parts = {name: {**ADAPTER[name], **(adapter or {}).get(name, {})} for name in ADAPTER}
    more = {name: value for name, value in (adapter or {}).items() if name not in parts}
    return {**values, "adapter": {**parts, **more}}


def trainer_of(world, data, folder: Path, **changes) -> Trainer:
    return Trainer(config_from_settings(lavie_settings(world, data, **changes)), folder, start_processes())


def test_prepared_samples_hold_components_and_what_each_token_shows(data):
    sample = CachedDataset(data).read(0)
    names = {"component_pictures", "component_places", "component_shares"}
    assert set(sample) == {"video", "text", "empty_text", "factors"} | names
    assert sample["component_pictures"].shape == (6, 3, 32, 32)
    shares = sample["component_shares"]
    assert shares.shape == (7, *sample["video"].shape[1:2], 4, 4)
    assert torch.allclose(shares.sum(0), torch.ones_like(shares[0]), atol=5e-3)
    assert shares[5].max() > 0.3, "skin is seen"


def test_shares_of_drawn_clips_are_the_drawings_own():
    """Pooled pixel by pixel from the drawn parts, the first frame alone and then in fours."""
    config = PrepareConfig(vae="", text_encoder="", toy_world=ToyWorldSource(1), frames=9, reference_frames=5)
    pixels = drawn_pixels(toy_world_clips(ToyWorldSource(1))[0], config)
    assert pixels.video_parts is not None
    parts, shares = pixels.video_parts(), component_shares(pixels, config.margin)
    assert torch.allclose(parts.sum(-1), torch.ones_like(parts[..., 0]), atol=1e-4)
    for latent, (start, end) in enumerate(((0, 1), (1, 5), (5, 9))):
        for y, x in ((0, 0), (1, 2), (3, 1)):
            block = parts[start:end, 16 * y : 16 * y + 16, 16 * x : 16 * x + 16]
            assert torch.allclose(shares[:, latent, y, x], block.mean((0, 1, 2)), atol=1e-5)
    assert shares[0, :, 0, 0].min() > 0.8, "a corner shows no face"


def test_the_parsing_network_agrees_with_the_drawing():
    config = PrepareConfig(
        vae="", text_encoder="", toy_world=ToyWorldSource(1), frames=5, height=128, width=128, reference_frames=5
    )
    pixels = drawn_pixels(toy_world_clips(ToyWorldSource(1))[0], config)
    exact = component_shares(pixels, config.margin)
    found = component_shares(Pixels(**{**vars(pixels), "video_parts": None}), config.margin)
    assert found.shape == exact.shape
    assert (found.argmax(0) == exact.argmax(0)).float().mean() > 0.85
    assert (found - exact).abs().mean() < 0.05
    blind = Pixels(**{**vars(pixels), "video_parts": None, "face_squares": None})
    with pytest.raises(SlotIDError, match="where in the video the face is"):
        component_shares(blind, config.margin)


@pytest.mark.parametrize("count", [1, 5, 81])
def test_latent_frames_cover_a_video_once(count):
    pieces = latent_frames(count)
    assert len(pieces) == (count - 1) // 4 + 1
    assert [frame for start, end in pieces for frame in range(start, end)] == list(range(count))


def test_an_odd_half_of_a_token_goes_on_from_the_other_side():
    parts = torch.zeros(1, 7, 24, 16)
    parts[:, 1, 16:] = 1
    parts[:, 2, :8] = 1
    share = pooled(parts)
    assert share.shape == (1, 7, 2, 1) and share[0, 1, 1] == 0.5 and share[0, 2, 1] == 0.5


def face(hidden=()):
    """A picture whose parts are plain blocks; (64, 64, 3), (7, 64, 64)."""
    parts, picture = torch.zeros(7, 64, 64), torch.rand(64, 64, 3, generator=torch.Generator().manual_seed(0))
    blocks = {
        "brows": (20, 23, 18, 46), "eyes": (25, 31, 18, 46), "mouth": (46, 51, 24, 40), "nose": (33, 43, 28, 36),
        "skin": (31, 33, 16, 48), "hair": (4, 18, 12, 52),
    }  # fmt: skip
    for number, name in enumerate(NAMES):
        top, bottom, left, right = blocks[name]
        if name not in hidden:
            parts[number + 1, top:bottom, left:right] = 1
    parts[0] = 1 - parts[1:].sum(0)
    return picture, parts, blocks


def test_each_component_is_cut_out_on_white():
    picture, parts, blocks = face(hidden=("mouth",))
    found = cut_components(picture, parts, (16.0, 16.0, 48.0, 48.0), 40)
    assert found.hidden == ["mouth"]
    assert (found.pictures[2] == 1).all() and not found.places[2].any()
    for number, name in enumerate(NAMES):
        if name == "mouth":
            continue
        top, bottom, left, right = blocks[name]
        shown, x, y, side = found.places[number].tolist()
        assert shown == 1
        assert x == pytest.approx(((left + right) / 2 - 32) / 32) and y == pytest.approx(((top + bottom) / 2 - 32) / 32)
        assert side == pytest.approx(1.2 * max(right - left, bottom - top) / 32)
        assert found.areas[number] == pytest.approx((bottom - top) * (right - left) / 32**2)
        # The middle is the picture's own, and the corners are white.
        assert (found.pictures[number][:, 0, 0] == 1).all()
        middle = found.pictures[number][:, 19:21, 19:21].mean((1, 2))
        around = picture[(top + bottom) // 2 - 1 : (top + bottom) // 2 + 1, 31:33].mean((0, 1))
        assert (middle - around).abs().max() < 0.35
    other, shown_parts, _ = face()
    best = best_of([found, cut_components(other, shown_parts, (16.0, 16.0, 48.0, 48.0), 40)])
    assert best.hidden == [] and torch.equal(best.pictures[0], found.pictures[0])


def test_components_lie_where_preparation_puts_them_in_a_picture_that_is_cut_already():
    """As Select Portrait gives it: the margin does not fit around the face that is found in it."""
    person, detector = sample_person(HELD_OUT_FROM + 40), find_drawn_faces()
    scene, motion = reference_motion(person, 7, 9)
    clip = make_face_clip(draw([person], [scene], [motion], 128)[0], detector, 256, 0.5, 8)
    config = PrepareConfig(vae="toy_world", text_encoder="toy_world", toy_world=ToyWorldSource(people=1), device="cpu")
    maker = TensorMaker(config, Encoders(config), detector=None)
    prepared = maker._components(resized(clip.clip[:1], config.sizes.portrait_size), None)
    found = find_components(clip.clip[:1], detector, config.sizes.component_size).components
    both = (prepared.places[:, 0] * found.places[:, 0]).bool()
    assert both.sum() >= 5 and (prepared.places - found.places)[both].abs().max() < 0.06
    # Where there is room, the face is the one that was found, as a square.
    assert as_cut((100.0, 100.0, 160.0, 180.0), 1000, 900) == pytest.approx((90, 100, 170, 180))


def test_a_component_too_small_to_tell_is_left_out():
    picture, parts, _ = face()
    parts[1:, :, :] *= 0
    parts[2, 30, 30] = 1
    assert LEAST["eyes"] > 1 / 32**2
    assert cut_components(picture, parts, (16.0, 16.0, 48.0, 48.0), 16).hidden == list(NAMES)


def test_masks_by_hand_stand_for_a_parsing():
    _, parts, _ = face()
    assert torch.allclose(shares_of_masks(parts[1:]), parts)
    with pytest.raises(SlotIDError, match="6, in the order brows, eyes, mouth, nose, skin, hair"):
        shares_of_masks(parts)


@pytest.mark.parametrize("null", [False, True])
def test_the_route_loss_is_equation_5(null):
    generator = torch.Generator().manual_seed(0)
    count = 6 + null
    shares = torch.rand(2, 7, 3, 2, 2, generator=generator, dtype=torch.float64).softmax(1)
    shares[0, :, 0, 0, 0] = torch.tensor([1.0, 0, 0, 0, 0, 0, 0])  # nothing of a face
    shown = torch.tensor([[1, 1, 1, 1, 1, 1], [1, 0, 1, 1, 0, 1]], dtype=torch.bool)
    logits = torch.randn(2, 12, count, generator=generator, dtype=torch.float64)
    logits[:, :, :6].masked_fill_(~shown[:, None], -torch.inf)
    found = route_loss(logits, token_targets(shares, shown, count))

    for row in range(2):
        total, weight, token = 0.0, 0.0, 0
        for t in range(3):
            for y in range(2):
                for x in range(2):
                    values = [math.exp(v) for v in logits[row, token].tolist()]
                    weights = [value / sum(values) for value in values]
                    for m in range(count):
                        if m == 6:
                            target = shares[row, 0, t, y, x].item()
                        else:
                            target = shares[row, 1 + m, t, y, x].item() * shown[row, m].item()
                        if target:
                            total -= target * math.log(weights[m])
                            weight += target
                    token += 1
        assert abs(found[row].item() - total / weight) < 1e-8


def test_a_clip_without_a_face_has_no_route_loss():
    shares = torch.zeros(1, 7, 1, 2, 2)
    shares[:, 0] = 1
    logits = torch.randn(1, 4, 6, requires_grad=True)
    loss = route_loss(logits, token_targets(shares, torch.ones(1, 6), 6))
    loss.sum().backward()
    assert loss.item() == 0 and logits.grad is not None and torch.isfinite(logits.grad).all()


def test_the_total_is_equation_6(world, data, tmp_path):
    """λ_diff of flow matching and λ_route of the route loss of the rows that show somebody."""
    plain = {"change_weight": 0.0, "identity_dropout": 0.0, "joint_dropout": 0.0}
    losses = []
    for number, own in enumerate(((1.0, 0.0), (0.0, 1.0), (2.0, 0.5))):
        objective = {**plain, "own": {"flow_weight": own[0], "route_weight": own[1]}}
        trainer = trainer_of(world, data, tmp_path / str(number), objective=objective)
        strategy: Any = trainer.strategy  # of LaVieID
        torch.manual_seed(0)
        for parameter in strategy.adapter.parameters():
            torch.nn.init.normal_(parameter, std=0.1)
        batch = one_size(trainer.batches.rows(0, range(4)))
        losses.append(strategy.train()(batch).detach())
    flow, route, total = losses
    assert torch.allclose(total, 2 * flow + 0.5 * route, atol=1e-5)
    assert (route > 0).all()
    error = strategy.predictor(batch)(
        torch.lerp(batch.video, batch.noise, batch.noise_level.view(-1, 1, 1, 1, 1)), batch.noise_level, batch.context,
        torch.ones(4),
    ) - (batch.noise - batch.video)  # fmt: skip
    assert torch.allclose(flow, error.square().mean((1, 2, 3, 4)).detach(), atol=1e-4)


@pytest.mark.parametrize("router", [{}, {"place": "after", "null_component": True}, {"routing": "uniform"}])
def test_it_trains_and_its_file_predicts_what_was_trained(world, data, tmp_path, router):
    """Fixed batches: both losses fall, the base stays, and the exported file predicts as the trained model does."""
    run = {"steps": 30, "validate_every": 20, "sample_every": 0, "ema_decay": 0.0}
    trainer = trainer_of(
        world, data, tmp_path, run=run, adapter={"router": router}, objective={"identity_dropout": 0.3},
        optimizer={"learning_rate": 1e-3, "warmup_steps": 2},
    )  # fmt: skip
    strategy: Any = trainer.strategy  # of LaVieID
    base = {name: p.clone() for name, p in strategy.model.named_parameters()}
    batch = one_size(trainer.batches.rows(1, range(4)))
    assert 0 < batch.has_identity.sum() < 4
    # At its start it changes nothing.
    inputs = (batch.noise, batch.noise_level, batch.context)
    with torch.no_grad():
        predict = strategy.predictor(batch)
        assert torch.equal(predict(*inputs, torch.ones(4)), predict(*inputs, None))
    before_flow = strategy.eval()(batch).mean().item()
    before = strategy.train()(batch).mean().item()
    for step in range(20):
        trainer.step(step, batch, stopping=False)
    after, after_flow = strategy.train()(batch).mean().item(), strategy.eval()(batch).mean().item()
    assert after < (0.8 if not router.get("routing") else 1.0) * before and after_flow < before_flow
    assert all(torch.equal(p, base[name]) for name, p in strategy.model.named_parameters())

    loaded = LoadedAdapter(load_adapter(trainer.export(30)))
    model = load_backbone(trainer.config.model)
    loaded.prepare_model(model)
    rows = torch.tensor([1.0, 0.0, 1.0, 1.0])
    trained = strategy.predictor(batch)
    by_file = loaded.predictor(model, loaded.person(batch.conditions))
    with torch.no_grad():
        for strength in (None, rows, torch.ones(4)):
            assert torch.allclose(by_file(*inputs, strength), trained(*inputs, strength), atol=1e-2)
        assert torch.equal(by_file(*inputs, rows)[1], by_file(*inputs, None)[1])
        assert (by_file(*inputs, rows)[0] - by_file(*inputs, None)[0]).abs().max() > 1e-3


def test_a_lora_learns_beside_the_router_and_both_are_in_its_file(world, data, tmp_path):
    """Nothing changes at its start; the file predicts what was trained, and a run can start from it."""
    changes: dict[str, Any] = {
        "adapter": {"lora": {"rank": 2, "alpha": 4.0}},
        "optimizer": {"learning_rate": 1e-2, "warmup_steps": 2, "lr_multipliers": {"lora": 2.0}},
        "run": {"steps": 30, "validate_every": 0, "sample_every": 0, "ema_decay": 0.0},
    }
    trainer = trainer_of(world, data, tmp_path / "1", **changes)
    strategy: Any = trainer.strategy  # of LaVieID
    assert strategy.parameter_group("model.blocks.0.self_attn.q.lora_A.default.weight") == "lora"
    batch = one_size(trainer.batches.rows(1, range(4)))
    inputs = (batch.noise, batch.noise_level, batch.context)
    plain = load_backbone(trainer.config.model)
    untrained = LoadedAdapter(load_adapter(trainer.export(0)))
    with torch.no_grad():
        assert torch.equal(
            untrained.predictor(plain, None)(*inputs, None), strategy.predictor(batch)(*inputs, torch.ones(4))
        )
    for step in range(8):
        trainer.step(step, batch, stopping=False)
    loaded = LoadedAdapter(load_adapter(trainer.export(8)))
    assert len(loaded.adapter.lora) == 3 * 8 * trainer.strategy.model.config.num_layers
    model = load_backbone(trainer.config.model)
    loaded.prepare_model(model)
    trained, by_file = strategy.predictor(batch), loaded.predictor(model, loaded.person(batch.conditions))
    with torch.no_grad():
        for strength in (None, torch.ones(4)):
            assert torch.allclose(by_file(*inputs, strength), trained(*inputs, strength), atol=2e-2)
        assert (by_file(*inputs, None) - untrained.predictor(plain, None)(*inputs, None)).abs().max() > 0.1
    file = trainer.export(8)
    again: Any = trainer_of(world, data, tmp_path / "2", **{**changes, "run": {"start_from": str(file)}}).strategy
    with torch.no_grad():
        assert torch.allclose(
            again.predictor(batch)(*inputs, torch.ones(4)), trained(*inputs, torch.ones(4)), atol=2e-2
        )
    with pytest.raises(SlotIDError, match=r"it has a LoRA, and adapter.lora is null"):
        trainer_of(world, data, tmp_path / "3", run={"start_from": str(file)})


@pytest.mark.parametrize("how", [pytest.param("ddp", marks=pytest.mark.slow), "fsdp"])
def test_two_processes_do_as_one_where_only_one_of_them_shows_somebody(world, data, tmp_path, how):
    """The router of the other one has nothing to do in that step, and takes part in the gradients all the same."""
    run_of = {"steps": 3, "batch": 2, "micro_batch": 1, "ema_decay": 0.0, "validate_every": 0, "distribution": how}
    values = lavie_settings(world, data, run=run_of, objective={"identity_dropout": 0.5})
    trainer = Trainer(config_from_settings(values), tmp_path, start_processes())
    shown = [trainer.batches.rows(step, range(2)).has_identity for step in range(3)]
    assert any(one.sum() == 1 for one in shown), "a step in which one row shows somebody"
    train(config_from_settings(values), tmp_path / "1")
    file = write_settings(tmp_path / "settings.json", values)
    done = run(command(file, tmp_path / "2", processes=2))
    assert done.returncode == 0, done.stderr[-2000:]
    one, two = losses_of(tmp_path / "1"), losses_of(tmp_path / "2")
    assert sorted(one) == sorted(two) == [0, 1, 2]
    assert all(one[step] == pytest.approx(two[step], rel=1e-4) for step in one)
    files = [load_adapter(tmp_path / name / "adapter.safetensors").state_dict() for name in ("1", "2")]
    assert all(torch.allclose(files[0][name], files[1][name], atol=2e-3) for name in files[0])


def test_the_router_learns_where_components_are(world, data, tmp_path):
    trainer = trainer_of(world, data, tmp_path, optimizer={"learning_rate": 1e-3, "warmup_steps": 2})
    strategy: Any = trainer.strategy  # of LaVieID
    batch = one_size(trainer.batches.rows(0, range(4)))

    def measured() -> Confusion:
        inputs = (batch.video, batch.noise, 0.2, batch.context, batch.conditions["component_shares"])
        return confusion(strategy.model, strategy.adapter, strategy.people(batch), *inputs)

    before = measured()
    for step in range(30):
        trainer.step(step, batch, stopping=False)
    after = measured()
    assert torch.equal(before.counts.sum(1), after.counts.sum(1))
    assert after.accuracy > max(before.accuracy, after.majority)
    assert after.table().count("\n") == 6
    assert after.correlations["skin"] > before.correlations["skin"] and after.correlations["skin"] > 0.3


def test_the_command_reports_routes_by_noise_and_component(world, data, tmp_path, capsys):
    trainer = trainer_of(world, data, tmp_path, run={"ema_decay": 0.0})
    arguments = ["--adapter", trainer.export(0), "--data", data, "--model", world / "backbone.safetensors"]
    assert routes([str(argument) for argument in (*arguments, "--samples", 4, "--json", tmp_path / "f.json")]) == 0
    figures, said = json.loads((tmp_path / "f.json").read_text()), capsys.readouterr().out
    for level in ("0.2", "0.5", "0.8"):
        assert f"noise {level}" in said
        assert 0 <= figures[f"noise_{level}.accuracy.low"] <= figures[f"noise_{level}.accuracy"] <= 1
        assert 1 / 6 <= figures[f"noise_{level}.majority"] <= 1 and f"noise_{level}.recall.skin" in figures
    uniform = trainer_of(world, data, tmp_path / "uniform", adapter={"router": {"routing": "uniform"}})
    arguments[1] = uniform.export(0)
    with pytest.raises(SlotIDError, match="routing is uniform"):
        routes([str(argument) for argument in arguments])


def test_an_adapter_that_reads_a_face_embedding(world, data, data_with_faces, tmp_path, capsys):
    """It trains, its routes are reported, and it is a row of an evaluation; data without embeddings are refused."""
    family, adapter = tmp_path / "family", {"encoder": {"face_width": 512}}
    ship_random_family(family)
    values = lavie_settings(
        world, data_with_faces, adapter, model={"path": str(family / "dit.safetensors")},
        run={"steps": 2, "batch": 2, "ema_decay": 0.0, "validate_every": 0, "sample_every": 0},
        optimizer={"learning_rate": 1e-2, "warmup_steps": 0},
    )  # fmt: skip
    trained = train(config_from_settings(values), tmp_path / "adapters" / "lavie_id" / "full")
    arguments = ["--adapter", trained, "--model", family / "dit.safetensors", "--samples", 2]
    assert routes([str(argument) for argument in (*arguments, "--data", data_with_faces)]) == 0
    assert "noise 0.8" in capsys.readouterr().out
    with pytest.raises(SlotIDError, match="no tensor 'face_embedding'"):
        routes([str(argument) for argument in (*arguments, "--data", data)])

    encoder = str(data_with_faces.parent / "face_encoder.safetensors")
    studio = Studio(tmp_path / "adapters", Usage(steps=2), family, face_encoder=encoder)
    base, full = (studio.clips(row, subjects_of(0, 1, 1), 0) for row in chosen_rows(["base", "full"], ["lavie_id"]))
    assert (base - full).abs().max() > 1e-4


def test_routes_by_clip_need_its_file(world, data, tmp_path):
    clip = trainer_of(world, data, tmp_path, adapter={"vision": {"kind": "clip_vit_h"}}, run={"ema_decay": 0.0})
    arguments = ["--adapter", clip.export(0), "--data", data, "--model", world / "backbone.safetensors"]
    with pytest.raises(SlotIDError, match="--clip-vision"):
        routes([str(argument) for argument in arguments])


def test_figures_of_a_confusion_table():
    counts = torch.zeros(6, 6)
    counts[4, 4], counts[4, 5], counts[5, 5], counts[0, 4] = 60, 20, 15, 5
    table = Confusion(counts)
    assert table.accuracy == pytest.approx(0.75) and table.majority == pytest.approx(0.8)
    assert (
        table.recalls["skin"] == pytest.approx(0.75) and table.recalls["brows"] == 0 and table.recalls["eyes"] is None
    )
    assert table.precisions["skin"] == pytest.approx(60 / 65) and table.precisions["brows"] is None
    w, y = torch.rand(20, 6, dtype=torch.float64), torch.rand(20, 6, dtype=torch.float64)
    sums = (torch.ones_like(w), w, y, w**2, y**2, w * y)
    halves = [Confusion(counts, torch.stack([s[part].sum(0) for s in sums])) for part in (slice(9), slice(9, None))]
    for name, value, column in zip(NAMES, sum(halves[1:], halves[0]).correlations.values(), range(6), strict=True):
        pair = torch.stack([w[:, column], y[:, column]])
        assert value == pytest.approx(torch.corrcoef(pair)[0, 1].item()), name
    assert table.balanced == pytest.approx((0.75 + 1 + 0) / 3)


def test_settings_that_do_not_fit_the_data_are_refused(world, data, tmp_path):
    with pytest.raises(SlotIDError, match="component_size 32"):
        trainer_of(world, data, tmp_path, adapter={"vision": {"side": 64}})
    with pytest.raises(SlotIDError, match="prepared without face_encoder"):
        trainer_of(world, data, tmp_path, adapter={"encoder": {"face_width": 512}})
    clip = trainer_of(world, data, tmp_path, adapter={"vision": {"kind": "clip_vit_h"}})
    with pytest.raises(SlotIDError, match="clip_vision is not set"):
        clip.strategy(clip.batches.rows(0, range(1)))


def test_it_is_a_row_of_an_evaluation(data, tmp_path):
    family = tmp_path / "family"
    ship_random_family(family)
    values = {
        "system": "lavie_id", "data": {"train": str(data)}, "adapter": ADAPTER,
        "model": {"path": str(family / "dit.safetensors"), "dtype": "float32", "compute_dtype": "float32"},
        "run": {"steps": 2, "batch": 2, "ema_decay": 0.0}, "optimizer": {"learning_rate": 1e-2, "warmup_steps": 0},
    }  # fmt: skip
    train(config_from_settings(values), tmp_path / "adapters" / "lavie_id" / "full")
    studio = Studio(tmp_path / "adapters", Usage(steps=2), family)
    base, full = (studio.clips(row, subjects_of(0, 1, 1), 0) for row in chosen_rows(["base", "full"], ["lavie_id"]))
    assert (base - full).abs().max() > 1e-4


@pytest.mark.parametrize(
    ("name", "frozen", "limit"),
    [("wan_14b_8x80gb_lavie_id", 14_288_491_584, 80), ("wan_1_3b_24gb_lavie_id", 1_418_996_800, 24)],
)
def test_a_dry_run_knows_it(name, frozen, limit):
    config = read_config(CONFIGS / f"{name}.yaml")
    figures = estimate(config, gpus=8 if config.run.distribution == "fsdp" else 1)
    assert figures["frozen_parameters"] == frozen and figures["memory_gib_a_gpu"] < limit
    assert 150e6 < figures["trainable_parameters"] < 250e6
    assert figures["other_networks_gib_a_gpu"] > 1, "CLIP is counted"
