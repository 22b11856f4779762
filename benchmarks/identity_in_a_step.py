"""What an identity costs in a sampling step: 8 rows of text context and FiLM on half of the blocks."""

import torch

from benchmarks.paired import Ratio, compare
from slotid_core.systems.slot_id import GateSchedule, Identity
from slotid_core.systems.slot_id.injection import install_identity
from slotid_core.wan import WanConfig, WanModel
from slotid_core.wan.hooks.text_rows import count_padding

WIDTH, BLOCKS, LATENT = 1536, 2, (5, 30, 26)


@torch.inference_mode()
def run() -> list[Ratio]:
    torch.manual_seed(0)
    model = WanModel(WanConfig(num_layers=BLOCKS)).eval()
    film = (1, BLOCKS // 2, 2, WIDTH)
    identity = Identity(
        torch.randn(1, 2, WIDTH), torch.randn(1, 6, WIDTH), torch.randn(*film), torch.randn(*film), WIDTH, BLOCKS,
        GateSchedule(),
    )  # fmt: skip
    x, timestep, context = torch.randn(1, 16, *LATENT), torch.tensor([600.0]), torch.zeros(1, 512, 4096)
    context[:, :40] = torch.randn(1, 40, 4096)

    def plain():
        model(x, timestep, context)

    def with_identity():
        condition = identity.condition(timestep / 1000, torch.ones(1))
        options = install_identity({}, condition, range(BLOCKS), count_padding(context))
        model(x, timestep, context, transformer_options=options)

    def short_context():
        model(x, timestep, context[:, :41], padding_row=40)

    tokens = LATENT[0] * LATENT[1] * LATENT[2] // 4
    return [
        compare(f"Wan 1.3B blocks, {tokens} tokens: step with identity / without", with_identity, plain),
        compare("the same step: one weighted padding row / 512 rows of text", short_context, plain),
    ]
