"""Our plain Wan transformer against ComfyUI's."""

import comfy.ops
import pytest
import torch
from comfy.ldm.wan.model import WanModel as CoreWanModel


@pytest.mark.parametrize("i2v", [False, True], ids=["t2v", "i2v"])
@pytest.mark.parametrize("width", [256, 1536])
def test_our_wan_equals_cores(pack_module, width, i2v):
    wan = pack_module("slotid_core.wan")
    config = wan.WanConfig(
        dim=width, ffn_dim=512, num_heads=width // 128, num_layers=2, in_dim=36 if i2v else 16, has_image_tokens=i2v
    )
    torch.manual_seed(0)
    ours = wan.WanModel(config).eval()
    theirs = CoreWanModel(
        "i2v" if i2v else "t2v", in_dim=config.in_dim, dim=width, ffn_dim=512, num_heads=width // 128, num_layers=2,
        operations=comfy.ops.disable_weight_init, dtype=torch.float32,
    ).eval()  # fmt: skip
    theirs.load_state_dict(ours.state_dict(), strict=True)
    assert wan.WanConfig.from_state_dict(theirs.state_dict()) == config
    context = torch.randn(2, 20, 4096)
    clip = torch.randn(2, 257, 1280) if i2v else None
    timesteps = [torch.tensor([500.0, 30.0])] + ([] if i2v else [1000 * torch.rand(2, 3)])
    for height, width in ((6, 8), (5, 7)):
        x = torch.randn(2, config.in_dim, 3, height, width)
        for timestep in timesteps:
            with torch.no_grad():
                difference = ours(x, timestep, context, clip) - theirs(x, timestep, context, clip)
            assert difference.shape[3:] == (height, width) and difference.abs().max() <= 1e-5
