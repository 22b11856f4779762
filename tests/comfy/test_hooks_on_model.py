"""The hooks into Wan on ComfyUI's own model class: the same result as on ours, and nothing left."""

import comfy.sd
import pytest
import torch

WIDTH, DEPTH = 256, 3
MODULES = ("wan", "wan.hooks.tokens", "wan.hooks.attention", "wan.model", "wan.rope")


@pytest.fixture(scope="module")
def pack(pack_module):
    return {name: pack_module(f"slotid_core.{name}") for name in MODULES}


@pytest.fixture(scope="module")
def models(pack):
    """ComfyUI's transformer and ours with the same weights."""
    wan = pack["wan"]
    torch.manual_seed(0)
    ours = wan.WanModel(wan.WanConfig(dim=WIDTH, ffn_dim=512, num_layers=DEPTH, num_heads=2)).eval()
    theirs = comfy.sd.load_diffusion_model_state_dict(ours.state_dict()).model.diffusion_model
    return theirs.float().eval(), ours


def inputs():
    generator = torch.Generator().manual_seed(3)
    context = torch.zeros(2, 512, 4096)
    context[:, :7] = torch.randn(2, 7, 4096, generator=generator)
    return torch.randn(2, 16, 3, 8, 6, generator=generator), torch.tensor([300.0, 800.0]), context


def run(model, options=None):
    with torch.no_grad():
        return model(*inputs(), transformer_options=options or {})


@pytest.mark.parametrize("count_grid", [(1, 4, 3), (1, 5, 5), (2, 4, 3)])
@pytest.mark.parametrize("own_modulation", [False, True])
@pytest.mark.parametrize("with_lora", [False, True])
def test_appended_tokens_on_both_models(pack, models, count_grid, own_modulation, with_lora):
    tokens = pack["wan.hooks.tokens"]
    torch.manual_seed(1)
    count = count_grid[0] * count_grid[1] * count_grid[2]
    lora = tokens.TokenLoRA(torch.randn(4, WIDTH) / 16, torch.randn(WIDTH, 4) / 4)
    appended = tokens.AppendedTokens(
        torch.randn(2, count, WIDTH),
        pack["wan.rope"].rotary_matrices(count_grid, 128, offset=(3, 4, 3)),
        0.2 * torch.randn(1, 1, 6, WIDTH) if own_modulation else None,
        {index: {f"self_attn.{name}": lora for name in "qkvo"} for index in range(DEPTH)} if with_lora else {},
    )
    base = [run(model) for model in models]
    with_tokens = [run(model, tokens.append_tokens({}, model, appended)) for model in models]
    assert with_tokens[0].shape == base[0].shape
    assert torch.allclose(*with_tokens, atol=1e-5)
    assert (with_tokens[0] - base[0]).abs().max() > 1e-3
    for model, before in zip(models, base, strict=True):
        assert torch.equal(run(model), before)


def test_branches_on_both_models(pack, models):
    attention, kinds = pack["wan.hooks.attention"], pack["wan.model"]
    torch.manual_seed(2)

    def branch():
        made = attention.AttentionBranch(torch.randn(2, 5, WIDTH), torch.randn(2, 5, WIDTH), False)
        return attention.WeightedBranch(made, 0.7)

    branches = {index: {kinds.SELF_ATTENTION: branch(), kinds.TEXT_ATTENTION: branch()} for index in range(DEPTH)}
    rows = torch.tensor([0, 1])
    out = [run(model, attention.add_branches({}, model, branches, rows)) for model in models]
    assert torch.allclose(*out, atol=1e-5)
    assert (out[0] - run(models[0])).abs().max() > 1e-3
