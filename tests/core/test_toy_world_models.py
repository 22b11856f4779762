"""Parts of the toy family: latents with Wan's statistics, the judges' loss, what is shipped and what is missing."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from slotid_core.errors import SlotIDError
from slotid_core.toy_world.__main__ import PARTS, main
from slotid_core.toy_world.evaluate import balanced, held_out, latents_of, to_drawings, to_pixels
from slotid_core.toy_world.family import WEIGHTS, has_part, load_vae, ship
from slotid_core.toy_world.judges import REVEALS, ClipJudge, FaceJudge, angular_margin_loss, reveals
from slotid_core.toy_world.person import DYNAMICS, HELD_OUT_FROM
from slotid_core.toy_world.render import render_clips
from slotid_core.toy_world.scene import ACTIONS
from slotid_core.toy_world.train_vae import random_pieces, to_wan_statistics, treat_frames_alone
from slotid_core.wan.vae import WanVAE, WanVAEConfig, normalize_latents

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def vae():
    torch.manual_seed(0)
    return WanVAE(WanVAEConfig(width=8)).eval().requires_grad_(False)


def test_latents_get_wans_statistics_and_pictures_stay(vae):
    pixels = random_pieces(3, 2, 5)
    before = vae.decode(vae.encode(pixels))
    to_wan_statistics(vae, num_clips=8)
    assert torch.allclose(vae.decode(vae.encode(pixels)), before, atol=1e-4)
    latents = normalize_latents(latents_of(vae, *balanced(HELD_OUT_FROM // 2, 8)))
    assert latents.mean((0, 2, 3, 4)).abs().max() < 1e-3
    assert (latents.std((0, 2, 3, 4)) - 1).abs().max() < 1e-3


def test_a_clip_starts_as_its_frames_alone(vae):
    frame = random_pieces(4, 1, 1)
    alone = vae.decode(vae.encode(frame))
    treat_frames_alone(vae)
    still = vae.decode(vae.encode(frame.expand(-1, -1, 17, -1, -1)))
    assert torch.allclose(vae.decode(vae.encode(frame)), alone, atol=1e-6)
    assert torch.allclose(still, alone.expand_as(still), atol=1e-4)


def test_the_margin_loss_is_softmax_at_no_margin_and_harder_with_one():
    torch.manual_seed(0)
    embedding, centers, person = F.normalize(torch.randn(6, 8), dim=1), torch.randn(5, 8), torch.arange(6) % 5
    plain = F.cross_entropy(10 * embedding @ F.normalize(centers, dim=1).T, person)
    assert torch.allclose(angular_margin_loss(embedding, centers, person, 10, 0.0), plain, atol=1e-4)
    losses = [angular_margin_loss(embedding, centers, person, 10, margin) for margin in (0.0, 0.2, 0.4)]
    assert losses[0] < losses[1] < losses[2]


def test_judges_read_clips_of_any_batch():
    clips = render_clips(*held_out(0, 2))
    faces = FaceJudge().embed_clips(clips)
    assert faces.shape == (2, 128) and torch.allclose(faces.norm(dim=1), torch.ones(2))
    predictions = ClipJudge()(clips)
    assert {key: value.shape for key, value in predictions.items()} == {
        "action": (2, 6), "background": (2, 6), "clothes": (2, 6), "dynamics": (2, len(DYNAMICS)),
    }  # fmt: skip
    assert reveals(torch.tensor([ACTIONS.index("nod")]))[0].tolist() == [name in REVEALS["nod"] for name in DYNAMICS]
    assert set().union(*REVEALS.values()) == set(DYNAMICS)


def test_held_out_people_are_nobody_trained_on_and_differ_by_seed():
    assert held_out(0, 3) == held_out(0, 3)
    assert not set(held_out(0, 50)[0]) & set(held_out(1, 50)[0])
    _people, scenes = balanced(HELD_OUT_FROM, 216)
    assert len({(scene.action, scene.background, scene.clothes) for scene in scenes}) == 216


def test_pixels_and_drawings_are_inverse():
    clips = torch.rand(2, 3, 4, 4, 3)
    assert torch.allclose(to_drawings(to_pixels(clips)), clips, atol=1e-6)


def test_a_part_that_is_not_there_is_named_with_its_command(tmp_path):
    with pytest.raises(SlotIDError, match="toy_world train vae"):
        load_vae(tmp_path)


def test_a_shipped_vae_is_read_back(vae, tmp_path):
    ship("vae", vae.state_dict(), {"steps": 0}, tmp_path)
    weights = load_vae(tmp_path).state_dict()
    assert all(torch.equal(weights[name], tensor.half().float()) for name, tensor in vae.state_dict().items())


def test_command_line(tmp_path, capsys):
    main(["render", "--people", "1", "--size", "32", "--folder", str(tmp_path)])
    assert {path.name for path in tmp_path.glob("*.png")} == {"people.png"}
    with pytest.raises(SlotIDError, match="toy_world all"):
        main(["evaluate", "--weights", str(tmp_path)])
    settings = tmp_path / "settings.json"
    settings.write_text(json.dumps({"image_stpes": 3}))
    with pytest.raises(SlotIDError, match="image_stpes"):
        main(["train", "vae", "--config", str(settings), "--folder", str(tmp_path)])
    command = [sys.executable, "-m", "slotid_core.toy_world", "train", "nothing"]
    failed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert failed.returncode != 0 and all(part in failed.stderr for part in PARTS)


@pytest.mark.parametrize("part", [*PARTS, "adapter"])
def test_shipped_parts_have_a_manifest_without_paths(part):
    if not has_part(part):
        pytest.skip(f"the toy world's {part} has not been trained yet")
    text = (WEIGHTS / f"{part}.json").read_text()
    manifest = json.loads(text)
    assert manifest["bytes"] == (WEIGHTS / f"{part}.safetensors").stat().st_size
    assert {"config", "steps", "metrics", "machine", "seed"} <= set(manifest)
    assert "/" not in text.replace("\\/", "")


def test_the_family_stays_small():
    sizes = {path.name: path.stat().st_size for path in WEIGHTS.glob("*")}
    adapters = {name: sizes.pop(name) for name in list(sizes) if name.endswith("adapter.safetensors")}
    assert adapters["adapter.safetensors"] < 9e6 and sum(adapters.values()) < 25e6
    assert sum(sizes.values()) < 34e6
