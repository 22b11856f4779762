"""High dynamic range to the standard one: what a phone's HDR clip looks like on an ordinary screen.

Transfer functions: ITU-R BT.2100-2, tables 4 (PQ) and 5 (HLG, system gamma 1.2 at 1000 cd/m²). The brightness of a
white sheet of paper, 203 cd/m², is BT.2408's; it becomes almost white, and what is brighter shares the rest.
"""

import numpy as np
import torch

TRANSFERS = {16: "PQ", 18: "HLG"}  # ISO/IEC 23091-4 code points, as FFmpeg reports them
PAPER_WHITE = 203.0  # cd/m²
KNEE = 0.8  # of paper white: up to here light is kept as it is
BT2020_TO_BT709 = (
    (1.6605, -0.5876, -0.0728),
    (-0.1246, 1.1329, -0.0083),
    (-0.0182, -0.1006, 1.1187),
)  # ITU-R BT.2087, linear light


def to_sdr(image: np.ndarray, transfer: str) -> np.ndarray:
    """(H, W, 3) uint16 RGB with BT.2020 colours -> (H, W, 3) uint8 sRGB.

    Args:
        transfer: "PQ" or "HLG".
    """
    light = _table(transfer)[torch.from_numpy(image.astype(np.int32) >> 4)]  # (H, W, 3), 1 = paper white
    if transfer == "HLG":
        light = light * _luminance(light).clamp(min=1e-6).pow(0.2)[..., None] * (1000 / PAPER_WHITE)
    light = (light @ light.new_tensor(BT2020_TO_BT709).T).clamp(min=0)
    brightest = light.amax(dim=-1, keepdim=True).clamp(min=1e-6)
    light = light * (squeeze(brightest) / brightest)  # one factor for all three keeps the hue
    encoded = torch.where(light <= 0.0031308, 12.92 * light, 1.055 * light.clamp(min=1e-6).pow(1 / 2.4) - 0.055)
    return (encoded.clamp(0, 1) * 255).round().byte().numpy()


def squeeze(light: torch.Tensor) -> torch.Tensor:
    """Unchanged up to the knee, then smoothly towards 1."""
    return torch.where(light <= KNEE, light, 1 - (1 - KNEE) * torch.exp(-(light - KNEE) / (1 - KNEE)))


def _luminance(light: torch.Tensor) -> torch.Tensor:
    return light @ light.new_tensor([0.2627, 0.6780, 0.0593])


def _table(transfer: str) -> torch.Tensor:
    """Linear light for each of 4096 code values."""
    code = np.arange(4096) / 4095
    if transfer == "PQ":
        root = code ** (32 / 2523)
        light = 10000 * (np.clip(root - 107 / 128, 0, None) / (2413 / 128 - 2392 / 128 * root)) ** (8192 / 1305)
        return torch.from_numpy(light / PAPER_WHITE).float()
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    return torch.from_numpy(np.where(code <= 0.5, code**2 / 3, (np.exp((code - c) / a) + b) / 12)).float()
