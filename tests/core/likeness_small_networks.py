"""Networks of the scores with two small layers and random weights, in folders as their makers publish them."""

import importlib
from pathlib import Path
from typing import Any

import torch

SMALL: dict[str, Any] = dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64)


def small_networks(base: Path) -> Path:
    """A DINO, a CLIP and an X-CLIP of two small layers with random weights, in their makers' folders."""
    transformers: Any = importlib.import_module("transformers")
    from tokenizers import Tokenizer, models, pre_tokenizers

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
