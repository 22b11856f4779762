"""Our umT5 in plain PyTorch against ComfyUI's umT5, on the same file: the toy one, and one of several layers."""

import pytest
import torch


@pytest.mark.parametrize(
    "prompt",
    [
        "Someone is talking in a library, in a red sweater.",
        "",
        "A zebra isn't known; ok.",
        "A person with short brown hair, green eyes and no glasses nods.",
    ],
)
def test_context_rows_equal_cores(pack_module, tmp_path, prompt):
    weights = pack_module("slotid_core.toy_world.train_text_encoder").make_text_encoder()
    path = pack_module("slotid_core.toy_world.family").ship("text_encoder", weights, {}, tmp_path)
    ours = pack_module("slotid_core.wan.text_encoder").TextEncoder.from_file(path)([prompt])
    clip = pack_module("nodes.shared.toy_world").load_text_encoder(path)
    assert_same_rows(ours, clip.encode_from_tokens(clip.tokenize(prompt)))


def test_several_layers_have_position_biases_of_their_own(pack_module):
    import comfy.sd

    text_encoder = pack_module("slotid_core.wan.text_encoder")
    weights = pack_module("slotid_core.toy_world.train_text_encoder").make_text_encoder()
    vocab_size = len(weights["shared.weight"])
    config = text_encoder.TextEncoderConfig(vocab_size, num_layers=3, num_heads=4, head_dim=16, ffn_dim=64)
    torch.manual_seed(0)
    for name, tensor in text_encoder.Stack(config).state_dict().items():
        fan_in = tensor.shape[-1]
        weights[f"encoder.{name}"] = tensor if "norm" in name else torch.randn(tensor.shape) * fan_in**-0.5
    ours = text_encoder.TextEncoder(weights)
    assert ours.config == config
    prompt = "someone nods in a library, " * 40  # far beyond the distances that are told apart

    node = pack_module("nodes.shared.toy_world")
    settings = node.umt5_config(vocab_size) | {"num_layers": 3, "num_heads": 4, "d_kv": 16, "d_ff": 64}
    weights[node.UMT5_MARKER] = torch.zeros(1).expand(node.UMT5_MARKER_SHAPE)
    clip = comfy.sd.load_text_encoder_state_dicts(
        [weights], clip_type=comfy.sd.CLIPType.WAN, model_options={"umt5xxl_model_config": settings}
    )
    assert_same_rows(ours([prompt]), clip.encode_from_tokens(clip.tokenize(prompt)))


def assert_same_rows(ours: torch.Tensor, theirs: torch.Tensor) -> None:
    rows = ours.shape[1]
    assert theirs.shape == (1, 512, 4096)
    assert torch.equal((theirs == 0).all(2)[0], torch.arange(512) >= rows - 1)
    assert (ours - theirs[:, :rows]).abs().max() <= 1e-4
