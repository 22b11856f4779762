"""How Lynx's reference is read off ComfyUI's own Wan model."""

import pytest
import torch
from wan_models import PROMPT, WIDTH, load_wan

DEPTH = 5


@pytest.fixture(scope="module")
def wan(pack_module):
    return pack_module("slotid_core.wan")


@pytest.fixture(scope="module")
def model(wan):
    return load_wan(wan, DEPTH)


def test_reference_features_through_core_equal_the_direct_pass(pack_module, model):
    read = pack_module("slotid_core.systems.lynx").read_features
    x = torch.randn(2, 16, 1, 8, 8, generator=torch.Generator().manual_seed(6))
    base, context = model.model, PROMPT[0][0].expand(2, -1, -1)
    with torch.inference_mode():
        through_core = read(
            base.diffusion_model,
            lambda: base.apply_model(x, torch.zeros(2), c_crossattn=context, transformer_options={}),
        )
        direct = read(base.diffusion_model, lambda: base.diffusion_model(x, torch.zeros(2), context))
    assert through_core.shape == (2, DEPTH, 16, WIDTH)
    assert torch.equal(through_core, direct)
    with pytest.raises(ZeroDivisionError):
        read(base.diffusion_model, lambda: 1 / 0)
    assert not any(module._forward_pre_hooks for module in base.diffusion_model.modules())


def test_an_image_to_video_model_is_refused(pack_module, wan):
    i2v = load_wan(wan, DEPTH, in_dim=36, has_image_tokens=True)
    with pytest.raises(ValueError, match="text-to-video"):
        pack_module("nodes.lynx.reference").check_base(i2v)
