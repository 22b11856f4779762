"""Figures of networks that lie in folders, on small random ones: against plain loops and transformers' own way."""

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from likeness_clips import ANN, drawn
from likeness_small_networks import small_networks

from slotid_core.errors import SlotIDError
from slotid_core.evaluation.likeness.consistency import consistency, dynamic_degree, frames_at
from slotid_core.evaluation.likeness.frames import Frames, evenly
from slotid_core.evaluation.likeness.judgements import RUBRICS, Judge
from slotid_core.evaluation.likeness.networks import NEEDED, NETWORK_FIGURES, Networks


@given(st.integers(2, 12), st.integers(0, 1000))
def test_consistency_is_that_of_a_plain_loop(count, seed):
    features = F.normalize(torch.randn(count, 5, generator=torch.Generator().manual_seed(seed)), dim=-1)
    values = []
    for at in range(1, count):
        cosines = [F.cosine_similarity(features[at], features[other], dim=0).item() for other in (at - 1, 0)]
        values.append(sum(max(0.0, cosine) for cosine in cosines) / 2)
    assert consistency(features) == pytest.approx(sum(values) / len(values), abs=1e-6)


def test_dynamic_degree_counts_pairs_that_move_far_enough():
    pixels = np.zeros((16, 256, 320, 3), np.uint8)

    def flow_of(length: float, pairs: int):
        calls = iter(range(100))
        return lambda first, second: torch.full((2, 256, 320), length / 2**0.5 if next(calls) < pairs else 0.0)

    assert dynamic_degree(pixels, flow_of(6.1, 4)) == 1.0 and dynamic_degree(pixels, flow_of(6.1, 3)) == 0.0
    assert dynamic_degree(pixels, flow_of(5.9, 15)) == 0.0
    assert len(frames_at(Frames(pixels, 24.0), 8)) == 6 and len(frames_at(Frames(pixels, 0.0), 8)) == 16


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return small_networks(tmp_path_factory.mktemp("networks"))


@pytest.fixture(scope="module")
def clip_frames():
    return Frames(drawn(ANN, 3, 17, 96), 16.0)


def test_every_network_that_is_there_gives_its_figure_and_the_others_are_named(folder, clip_frames):
    networks = Networks([folder])
    assert (
        networks.missing.keys() == {"dynamic_degree", "face_fid"}
        and "download.pytorch.org" in networks.missing["dynamic_degree"]
    )
    figures = networks.figures(clip_frames, "a person smiles </s>")
    assert figures.keys() == {
        f"video.{name}" for name in NETWORK_FIGURES if name != "dynamic_degree"
    }  # fmt: skip
    assert all(-1 <= value <= 1 for value in figures.values())
    assert figures["video.xclip_half"] == pytest.approx((1 + figures["video.xclip"]) / 2)
    assert "video.xclip" not in networks.figures(clip_frames, "")
    assert Networks([]).figures(clip_frames, "a") == {} and Networks([]).missing.keys() == NEEDED.keys()


def test_a_frozen_video_is_consistent_and_a_changing_one_less(folder, clip_frames):
    networks = Networks([folder])
    frozen = networks.figures(Frames(clip_frames.pixels[:1].repeat(5, axis=0), 16), "")
    noise = np.random.default_rng(0).integers(0, 255, (5, 96, 96, 3), dtype=np.uint8)
    changing = networks.figures(Frames(noise, 16), "")
    for name in ("video.subject_consistency", "video.background_consistency"):
        assert frozen[name] == pytest.approx(1, abs=1e-5) and changing[name] < 1 - 1e-5


def test_prompt_figures_are_those_of_transformers_own_way(folder, clip_frames):
    """Its own picture processors at the sizes where resizing changes nothing: 224 pixels."""
    import transformers

    frames = Frames(
        np.stack([np.kron(one[:56, :56], np.ones((4, 4, 1))) for one in clip_frames.pixels]).astype(np.uint8), 16
    )
    networks, prompt = Networks([folder]), "a person smiles </s>"
    ours = networks.figures(frames, prompt)
    tokens = {"input_ids": torch.tensor([[3, 4, 5, 2]]), "attention_mask": torch.ones(1, 4, dtype=torch.long)}
    clip = transformers.CLIPModel.from_pretrained(folder / "clip-vit-base-patch32").eval()
    chosen = [frames.pixels[index] for index in evenly(17, 16)]
    pictures = transformers.CLIPImageProcessor()(images=chosen, return_tensors="pt")["pixel_values"]
    with torch.no_grad():
        out = clip(pixel_values=pictures, **tokens)
        assert ours["video.clip_score"] == pytest.approx(float((out.image_embeds @ out.text_embeds.T).mean()), abs=1e-4)
        xclip = transformers.XCLIPModel.from_pretrained(folder / "xclip-base-patch32").eval()
        mean, deviation = (
            torch.tensor(value).view(3, 1, 1) for value in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
        )
        eight = torch.from_numpy(frames.pixels[evenly(17, 8)]).movedim(-1, 1) / 255
        out = xclip(pixel_values=((eight - mean) / deviation)[None], **tokens)
        cosine = F.cosine_similarity(out.video_embeds[0], out.text_embeds[0].flatten(), dim=-1)
    assert ours["video.xclip"] == pytest.approx(float(cosine), abs=1e-4)


def test_clip_score_is_that_of_torchmetrics(folder, clip_frames):
    torchmetrics = pytest.importorskip("torchmetrics.multimodal")
    import transformers

    clip = transformers.CLIPModel.from_pretrained(folder / "clip-vit-base-patch32").eval()

    class Features(torch.nn.Module):
        config = clip.config

        def get_image_features(self, pictures):
            return clip.visual_projection(clip.vision_model(pictures).pooler_output)

        def get_text_features(self, tokens, mask):
            return clip.text_projection(clip.text_model(input_ids=tokens, attention_mask=mask).pooler_output)

    def process(images=None, text=None, **_):
        if images is not None:
            return transformers.CLIPImageProcessor()(images=images, return_tensors="pt")
        return {
            "input_ids": torch.tensor([[3, 4, 5, 2]] * len(text)),
            "attention_mask": torch.ones(len(text), 4).long(),
        }

    pixels = np.stack([np.kron(one[:56, :56], np.ones((4, 4, 1))) for one in clip_frames.pixels]).astype(np.uint8)
    metric = torchmetrics.CLIPScore(lambda: (Features(), process))
    chosen = [torch.from_numpy(pixels[index]).movedim(-1, 0) for index in evenly(17, 16)]
    metric.update(chosen, ["a person smiles </s>"] * len(chosen))
    ours = Networks([folder]).figures(Frames(pixels, 16), "a person smiles </s>")["video.clip_score"]
    assert ours > 0 and ours == pytest.approx(float(metric.compute()) / 100, abs=1e-4)


def test_flow_is_torchvisions_and_small_frames_have_one(tmp_path):
    from torchvision.models.optical_flow import raft_large

    torch.manual_seed(0)
    network = raft_large(weights=None).eval()
    torch.save(network.state_dict(), tmp_path / NEEDED["dynamic_degree"].file)
    flow = Networks([tmp_path]).flow
    first, second = torch.rand(2, 1, 3, 128, 128) * 255
    with torch.inference_mode():
        expected = network(first / 127.5 - 1, second / 127.5 - 1, num_flow_updates=20)[-1][0]
    assert torch.equal(flow(first, second), expected)
    assert flow(first[..., :64, :90], second[..., :64, :90]).shape == (2, 64, 90)


def test_a_folder_without_a_tensor_is_refused(folder, tmp_path, clip_frames):
    from safetensors.torch import load_file, save_file

    target = tmp_path / "dino-vitb16"
    target.mkdir()
    (target / "config.json").write_text((folder / "dino-vitb16" / "config.json").read_text())
    tensors = load_file(folder / "dino-vitb16" / "model.safetensors")
    tensors.pop(next(name for name in tensors if "attention" in name))
    save_file(tensors, target / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(SlotIDError, match="dino-vitb16 has no tensor"):
        Networks([tmp_path]).figures(clip_frames, "")


@pytest.fixture
def address():
    """A server that speaks OpenAI's protocol and says 4, or nonsense to the rubric of motion."""
    asked = []

    class Answer(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked.append((self.path, body))
            said = "Well." if RUBRICS["motion"] in body["messages"][0]["content"][0]["text"] else "4"
            reply = json.dumps({"choices": [{"message": {"content": said}}]}).encode()
            self.send_response(200)
            self.end_headers()
            self.wfile.write(reply)

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/v1", asked
    server.shutdown()
    server.server_close()


def test_a_judgement_is_asked_once_and_kept(address, tmp_path, clip_frames):
    url, asked = address
    judge = Judge(url, "some-model", tmp_path)
    pictures = ["eA=="] * 2
    assert judge._grade(RUBRICS["prompt"], pictures, "a person smiles") == 4
    assert judge._grade(RUBRICS["prompt"], pictures, "a person smiles") == 4
    assert len(asked) == 1 and asked[0][0] == "/v1/chat/completions"
    content = asked[0][1]["messages"][0]["content"]
    assert "a person smiles" in content[0]["text"] and len(content) == 3
    (kept,) = [json.loads(path.read_text()) for path in tmp_path.glob("*.json")]
    assert kept["grade"] == 4 and kept["model"] == "some-model" and kept["rubric"]
    with pytest.raises(SlotIDError, match=r"answered 'Well.' where a grade"):
        judge.grades(clip_frames, "")
    with pytest.raises(SlotIDError, match="No judgement from http://127.0.0.1:9/chat"):
        Judge("http://127.0.0.1:9", "m", tmp_path).grades(clip_frames, "")
