"""Figures of networks that lie in folders, on small random ones: against plain loops and transformers' own way."""

import importlib
import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from likeness_clips import ANN, drawn

from slotid_core.errors import SlotIDError
from slotid_core.evaluation.likeness.consistency import consistency, dynamic_degree, frames_at
from slotid_core.evaluation.likeness.frames import Frames, evenly
from slotid_core.evaluation.likeness.judgements import RUBRICS, Judge
from slotid_core.evaluation.likeness.networks import NEEDED, NETWORK_FIGURES, Networks

SMALL: dict[str, Any] = dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64)


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
    """A DINO, a CLIP and an X-CLIP of two small layers with random weights, in their makers' folders."""
    transformers: Any = importlib.import_module("transformers")
    from tokenizers import Tokenizer, models, pre_tokenizers

    base = tmp_path_factory.mktemp("networks")
    torch.manual_seed(0)
    text = dict(SMALL, vocab_size=40, eos_token_id=2)
    vision = dict(SMALL, patch_size=32)
    clip = dict(text_config=text, vision_config=vision, projection_dim=16)
    xclip = dict(
        text_config=text, projection_dim=16, prompt_num_attention_heads=2, prompt_layers=1,
        vision_config=dict(vision, mit_hidden_size=16, mit_intermediate_size=32, mit_num_hidden_layers=1,
                           mit_num_attention_heads=2, num_frames=8),
    )  # fmt: skip
    made = {
        "dino-vitb16": transformers.ViTModel(transformers.ViTConfig(**SMALL), add_pooling_layer=False),
        "clip-vit-base-patch32": transformers.CLIPModel(transformers.CLIPConfig(**clip)),
        "xclip-base-patch32": transformers.XCLIPModel(transformers.XCLIPConfig(**xclip)),
    }
    words = {word: number for number, word in enumerate(["<unk>", "<s>", "</s>", "a", "person", "smiles"])}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    for name, model in made.items():
        model.save_pretrained(base / name)
        tokenizer.save(str(base / name / "tokenizer.json"))
    return base


@pytest.fixture(scope="module")
def clip_frames():
    return Frames(drawn(ANN, 3, 17, 96), 16.0)


def test_every_network_that_is_there_gives_its_figure_and_the_others_are_named(folder, clip_frames):
    networks = Networks([folder])
    assert (
        networks.missing.keys() == {"dynamic_degree"} and "download.pytorch.org" in networks.missing["dynamic_degree"]
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
