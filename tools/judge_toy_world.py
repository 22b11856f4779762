"""How well the toy world's video model follows prompts through a real ComfyUI: clips for many prompts, judged.

    python -m tools.judge_toy_world [--prompts 128] [--json figures.json] [--sheet clips.png]

The same judges score the ground truth: drawings of the same scenes, and drawings that went through the VAE. No video
model can score higher.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from einops import rearrange
from PIL import Image
from tqdm import tqdm

from slotid_core.comfy_client import ComfyClient
from slotid_core.comfy_runtime import PACK
from slotid_core.comfy_server import ComfyServer
from slotid_core.errors import SlotIDError
from slotid_core.files import write_json
from slotid_core.toy_world.captions import caption
from slotid_core.toy_world.evaluate import evaluate_clip_judge, held_out, save_sheet
from slotid_core.toy_world.family import load_clip_judge, load_vae
from slotid_core.toy_world.person import HELD_OUT_FROM

BASE = PACK / "output" / "comfyui"
STEPS, GUIDANCE_SCALE = 20, 4.0
JUDGED = ("action", "background", "clothes")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.judge_toy_world", description=str(__doc__).splitlines()[0])
    parser.add_argument("--prompts", type=int, default=128)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--sheet", type=Path, default=PACK / "output" / "toy_world" / "generated.png")
    arguments = parser.parse_args()

    _, scenes = held_out(0, arguments.prompts)
    prompts = [caption(scene, HELD_OUT_FROM + number) for number, scene in enumerate(scenes)]
    clips = generate(prompts)
    save_sheet(rearrange(clips[:16, ::4], "(rows n) t h w c -> rows (n t) h w c", n=2), arguments.sheet)
    predictions = load_clip_judge()(clips)
    figures = {
        f"generated_{key}": (predictions[key].argmax(1) == torch.tensor([getattr(scene, key) for scene in scenes]))
        .float()
        .mean()
        .item()
        for key in JUDGED
    }
    for vae in (None, load_vae()):
        ground_truth = evaluate_clip_judge(load_clip_judge(), vae, num_clips=arguments.prompts)
        figures |= {key: value for key, value in ground_truth.items() if key.endswith(JUDGED)}
    for name, value in figures.items():
        print(f"toy world  {name:<36} {value:.4f}")
    print(f"clips      {arguments.sheet}")
    if arguments.json:
        write_json(arguments.json, figures)
    return 0


def generate(prompts: list[str]) -> torch.Tensor:
    """One clip a prompt, by core's KSampler on a server; the seed is the prompt's number. (N, 17, 64, 64, 3)"""
    clips = []
    with ComfyServer(BASE) as server:
        client = ComfyClient(server.address)
        for seed, prompt in enumerate(tqdm(prompts, desc="clips by ComfyUI")):
            result = client.run(graph(prompt, seed))
            files = sorted(result.files(), key=lambda entry: entry["filename"])
            frames = [Image.open(client.fetch(entry, BASE / "judged")).convert("RGB") for entry in files]
            clips.append(np.stack([np.asarray(frame) for frame in frames]))
    return torch.from_numpy(np.stack(clips)).float() / 255


def graph(prompt: str, seed: int) -> dict:
    def node(class_type: str, **inputs) -> dict:
        return {"class_type": class_type, "inputs": inputs}

    return {
        "models": node("SlotIDLoadToyWorld", weights="trained"),
        "positive": node("CLIPTextEncode", clip=["models", 1], text=prompt),
        "negative": node("CLIPTextEncode", clip=["models", 1], text=""),
        "latent": node("EmptyHunyuanLatentVideo", width=64, height=64, length=17, batch_size=1),
        "sample": node(
            "KSampler", model=["models", 0], positive=["positive", 0], negative=["negative", 0],
            latent_image=["latent", 0], seed=seed, steps=STEPS, cfg=GUIDANCE_SCALE, sampler_name="euler",
            scheduler="simple", denoise=1.0,
        ),
        "decode": node("VAEDecode", samples=["sample", 0], vae=["models", 2]),
        "save": node("SaveImage", images=["decode", 0], filename_prefix=f"judged/{seed:04d}"),
    }  # fmt: skip


if __name__ == "__main__":
    try:
        sys.exit(main())
    except SlotIDError as error:
        sys.exit(f"judge_toy_world: {error}")
