"""Our umT5: sizes read off a file, padding that changes nothing, fp8 with scales, and what is said of a wrong file."""

import pytest
import torch
from safetensors.torch import save_file

from slotid_core.errors import SlotIDError
from slotid_core.toy_world.random_checkpoints import random_checkpoints
from slotid_core.toy_world.train_text_encoder import make_text_encoder
from slotid_core.wan.text_encoder import LONGEST_PROMPT, TextEncoder, TextEncoderConfig


@pytest.fixture(scope="module")
def weights():
    return make_text_encoder()


def test_padding_beside_a_longer_prompt_changes_no_row(weights):
    encoder = TextEncoder(weights)
    short, long = "someone nods", "a video of someone who is talking in a library, dressed in a green hoodie."
    batch = encoder([short, long])
    assert torch.allclose(batch[0, : len(encoder.tokens(short))], encoder.encode(short), atol=1e-5)
    assert (batch[0, len(encoder.tokens(short)) :] == 0).all()
    assert torch.allclose(batch[1, :-1], encoder.encode(long), atol=1e-5)


def test_a_prompt_keeps_real_rows_only_and_at_most_wans_number(weights):
    encoder = TextEncoder(weights)
    assert encoder.encode("").shape == (1, 4096)
    rows = encoder.encode("nods " * 2000)
    assert rows.shape == (LONGEST_PROMPT, 4096) and (rows != 0).any(dim=1).all()
    assert encoder.tokens("nods " * 2000)[-1] == encoder.tokens("")[-1]


def test_half_precision_stays_close(weights):
    prompt = "someone nods in a library."
    full, half = TextEncoder(weights).encode(prompt), TextEncoder(weights, torch.bfloat16).encode(prompt)
    assert half.dtype == torch.bfloat16
    assert (full - half.float()).norm() < 0.02 * full.norm()


def test_fp8_weights_are_multiplied_with_their_scales(weights):
    scaled = dict(weights)
    for name, tensor in weights.items():
        if name.endswith((".q.weight", ".wo.weight", ".wi_0.weight")):
            scale = tensor.abs().max() / 448
            scaled[name] = (tensor / scale).to(torch.float8_e4m3fn)
            scaled[name.removesuffix("weight") + "scale_weight"] = scale
    prompt = "someone nods in a library."
    full, quantised = TextEncoder(weights).encode(prompt), TextEncoder(scaled).encode(prompt)
    assert (full - quantised).norm() < 0.05 * full.norm()


def test_random_checkpoint_loads_from_its_file(tmp_path):
    encoder = TextEncoder.from_file(random_checkpoints(tmp_path).text_encoder)
    assert encoder.encode("a red hat, über 東京").isfinite().all()


def test_xxl_has_the_published_sizes():
    config = TextEncoderConfig()
    assert (config.num_layers, config.num_heads, config.head_dim, config.ffn_dim) == (24, 64, 64, 10240)


def test_a_wrong_file_is_named(weights, tmp_path):
    with pytest.raises(SlotIDError, match="no text encoder file"):
        TextEncoder.from_file(tmp_path / "none.safetensors")
    (tmp_path / "cut.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0{")
    with pytest.raises(SlotIDError, match="copy it again"):
        TextEncoder.from_file(tmp_path / "cut.safetensors")
    save_file({"weight": torch.zeros(2)}, tmp_path / "other.safetensors")
    with pytest.raises(SlotIDError, match="not a umT5"):
        TextEncoder.from_file(tmp_path / "other.safetensors")
    incomplete = {name: tensor for name, tensor in weights.items() if not name.endswith("wo.weight")}
    with pytest.raises(SlotIDError, match="wo.weight"):
        TextEncoder(incomplete)
