"""The toy text encoder in plain PyTorch against ComfyUI's umT5, on the same file."""

import pytest
import torch


@pytest.mark.parametrize(
    "prompt", ["Someone is talking in a library, in a red sweater.", "", "A zebra isn't known; ok."]
)
def test_context_rows_equal_cores(pack_module, tmp_path, prompt):
    weights = pack_module("slotid_core.toy_world.train_text_encoder").make_text_encoder()
    path = pack_module("slotid_core.toy_world.family").ship("text_encoder", weights, {}, tmp_path)
    weights = {name: t.half().float() if t.is_floating_point() else t for name, t in weights.items()}
    ours = pack_module("slotid_core.toy_world.text_model").TextModel(weights)([prompt])

    clip = pack_module("nodes.toy_world").load_text_encoder(path)
    theirs = clip.encode_from_tokens(clip.tokenize(prompt))
    rows = ours.shape[1]
    assert theirs.shape == (1, 512, 4096)
    assert torch.equal((theirs == 0).all(2)[0], torch.arange(512) >= rows - 1)
    assert (ours - theirs[:, :rows]).abs().max() <= 2e-3
