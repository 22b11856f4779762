"""Several people in one forward pass of our own model, each by what their system installs."""

from collections.abc import Callable, Sequence

from torch import Tensor

from .guidance import Predict
from .model import WanModel
from .packing import predict as predict_packed

# (options, noisy (B, 16, T, H, W), noise level (B,), context (B, M, text width), strength (B,)) -> options of the pass
# with one person more.
Install = Callable[[dict, Tensor, Tensor, Tensor, Tensor], dict]


def together(model: WanModel, people: Sequence[Install]) -> Predict:
    """The prediction with all of these people; where two reach the same tokens, the later lies on top."""

    def predict(noisy: Tensor, noise_level: Tensor, context: Tensor, strength: Tensor | None) -> Tensor:
        options: dict = {}
        if strength is not None:
            for install in people:
                options = install(options, noisy, noise_level, context, strength)
        return predict_packed(model, [noisy], noise_level, context, options)[0]

    return predict
