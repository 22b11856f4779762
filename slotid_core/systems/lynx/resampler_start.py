"""Where a resampler's first weights come from: a pretrained one, or reading who somebody is off its tokens.

The paper's was never trained from scratch: no resemblance appeared, so it began with an image model's (section 3.2.2).
"""

import logging
import os
from collections.abc import Mapping

from torch import Tensor, nn

from ...errors import SlotIDError
from ...tensor_shapes import floats
from ...weights import naming, read_tensors
from .resampler import Resampler, ResamplerConfig

PREFIXES = ("image_proj.", "resampler.")  # before the names in files of other origin
OUTPUT = ("proj_out.weight", "proj_out.bias", "norm_out.weight", "norm_out.bias")
logger = logging.getLogger(__name__)


def start_resampler(resampler: Resampler, path: str | os.PathLike) -> None:
    """The weights of a pretrained resampler in place of fresh ones.

    The last layer stays fresh where the file's is for a video or image model of another width, as InstantID's is.

    Args:
        path: safetensors with Lynx's names: a published resampler, an adapter that was trained here, or the
            `image_proj` of InstantID's ip-adapter.

    Raises:
        SlotIDError: it is no resampler, or one of other sizes.
    """
    with naming(path):
        tensors = own_names(read_tensors(path)[0])
        found, wanted = ResamplerConfig.from_state_dict(tensors), resampler.config
        for name in ("width", "depth", "num_heads", "num_tokens", "face_width", "mlp_width"):
            ours, theirs = getattr(wanted, name), getattr(found, name)
            if ours != theirs:
                raise SlotIDError(
                    f"Its {name} is {theirs}, and adapter.resampler.{name} is {ours}. Take over its settings, or leave "
                    "objective.own.resampler out."
                )
        names = set(resampler.state_dict())
        if found.output_width != wanted.output_width:
            names -= set(OUTPUT)
            logger.warning(
                "%s gives tokens of width %d where %d are needed: its last layer is not taken over.",
                os.path.basename(path), found.output_width, wanted.output_width,
            )  # fmt: skip
        missing = sorted(names - set(tensors))
        if missing:
            raise SlotIDError(f"It lacks {missing[0]!r}. The file is damaged, or of another network.")
        resampler.load_state_dict(floats({name: tensors[name] for name in names}), strict=False)


def own_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The resampler's tensors by Lynx's names, whatever stands before them in the file."""
    for prefix in PREFIXES:
        if f"{prefix}latents" in tensors:
            return {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}
    return dict(tensors)


def identity_readout(config: ResamplerConfig, num_factors: int) -> nn.Linear:
    """Reads who somebody is off all tokens of a resampler; it is not kept."""
    return nn.Linear(config.num_tokens * config.output_width, num_factors)


def identity_loss(resampler: Resampler, readout: nn.Linear, face: Tensor, factors: Tensor) -> Tensor:
    """Mean squared error (B,) of a person's factors (B, F) read off the tokens of a face embedding (B, 512)."""
    tokens = resampler(face.unsqueeze(1)).flatten(1)
    return (readout(tokens).float() - factors).square().mean(1)
