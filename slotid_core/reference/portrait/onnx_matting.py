"""The person in a portrait by a background-removal network, where an ONNX file of one lies in a model folder.

Nothing is downloaded. Each network is given pictures as it was trained on them; its name and its input tell which it
is. Sources: X. Qin and others, U²-Net (2020) and Highly accurate dichotomous image segmentation (ISNet, 2022); Z. Ke
and others, MODNet (2022); P. Zheng and others, BiRefNet (2024), each with its authors' own inference script.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as functional

from ...errors import SlotIDError
from ..faces.face import Box
from ..faces.insightface_models import onnx_providers

ELSEWHERE = ".safetensors"  # BiRefNet's file for ComfyUI's own node
TOUCHES = 0.05  # alpha above which pixels belong together
SIDES_ARE_MULTIPLES_OF = 32


@dataclass(frozen=True)
class Kind:
    """How a family of networks wants its picture.

    Attributes:
        names: parts of file names that tell the family.
        side: pixels that it was trained on, used where the file leaves it open.
        mean, deviation: of the pixels, in [0, 1].
        keeps_shape: the picture's proportions are kept; otherwise it is squeezed into a square.
        stretched: its authors spread each result over the whole of [0, 1].
    """

    title: str
    names: tuple[str, ...]
    side: int
    mean: tuple[float, float, float]
    deviation: tuple[float, float, float]
    keeps_shape: bool = False
    stretched: bool = False


NATURAL_IMAGES = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))  # ImageNet's
U2NET = Kind("U²-Net", ("u2net", "silueta"), 320, *NATURAL_IMAGES, stretched=True)
ISNET = Kind("ISNet", ("isnet", "dis", "rmbg-1", "rmbg1"), 1024, (0.5, 0.5, 0.5), (1.0, 1.0, 1.0), stretched=True)
MODNET = Kind("MODNet", ("modnet",), 512, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), keeps_shape=True)
BIREFNET = Kind("BiRefNet", ("birefnet", "rmbg-2", "rmbg2"), 1024, *NATURAL_IMAGES)
KINDS = (U2NET, BIREFNET, MODNET, ISNET)  # the order in which names are compared: "birefnet-dis" is no ISNet


@dataclass(frozen=True)
class Matting:
    """`alpha`: picture (1, 3, H, W) in [0, 1] -> (1, 1, H, W) in [0, 1]."""

    name: str
    alpha: Callable[[torch.Tensor], torch.Tensor]

    @torch.no_grad()
    def person_mask(self, frame: torch.Tensor, face: Box) -> torch.Tensor:
        """As `background.person_mask`; only what hangs together with the face is kept.

        Raises:
            SlotIDError: the network fails on the picture.
        """
        picture = frame[..., :3].permute(2, 0, 1)[None].float().clamp(0, 1).cpu()
        return _with_the_face(self.alpha(picture)[0, 0].clamp(0, 1), face).to(frame.device)


def find_matting(folders: tuple[str, ...]) -> tuple[Matting | None, str]:
    """The first network that loads; or None, and why the files that lie there are not used."""
    files = [file for folder in folders for file in sorted(Path(folder).rglob("*")) if file.is_file()]
    reasons = []
    for file in files:
        if file.suffix.lower() == ELSEWHERE:
            reasons.append(
                f"{file.name} runs in ComfyUI's own Remove Background node: connect its mask, or add an ONNX file."
            )
        if file.suffix.lower() != ".onnx":
            continue
        try:
            return _load(file), ""
        except SlotIDError as error:
            reasons.append(str(error))
    return None, " ".join(reasons)


def kind_of(name: str, side: int | None) -> Kind:
    """Which family a file belongs to, by its name; where that says nothing, by the side of its input in pixels."""
    name = name.lower().replace("_", "-")
    for kind in KINDS:
        if any(part in name for part in kind.names):
            return kind
    return {320: U2NET, 1024: ISNET}.get(side or 0, MODNET)


@lru_cache(maxsize=1)  # they are large; what fails is not remembered
def _load(file: Path) -> Matting:
    try:
        import onnxruntime
    except ImportError as error:
        raise SlotIDError(f"{file.name} is not used, as onnxruntime is not installed ({error}).") from error
    try:
        session = onnxruntime.InferenceSession(str(file), providers=onnx_providers())
    except Exception as error:  # ONNX files fail to load in many ways, and each means the same here
        reason = str(error).strip().splitlines()[0]
        raise SlotIDError(f"{file.name} does not load ({reason}). Download it again.") from error
    inputs, outputs = session.get_inputs(), session.get_outputs()
    if len(inputs) != 1 or len(inputs[0].shape) != 4 or inputs[0].shape[1] not in (3, "3") or not outputs:
        shapes = ", ".join(f"{one.name} {one.shape}" for one in inputs)
        raise SlotIDError(
            f"{file.name} takes {shapes}; a background-removal network takes one picture (1, 3, height, width). "
            "Remove the file, or put U²-Net, ISNet, MODNet or BiRefNet there."
        )
    fixed = [side if isinstance(side, int) and side > 0 else None for side in inputs[0].shape[2:]]
    kind = kind_of(file.stem, fixed[0])
    half = "float16" in inputs[0].type

    def alpha(picture: torch.Tensor) -> torch.Tensor:
        size = _size(picture.shape[-2:], fixed, kind)
        small = functional.interpolate(picture, size=size, mode="bilinear", antialias=True)
        mean, deviation = (torch.tensor(values).view(1, 3, 1, 1) for values in (kind.mean, kind.deviation))
        given = ((small - mean) / deviation).numpy().astype("float16" if half else "float32")
        try:
            found = np.asarray(session.run([outputs[0].name], {inputs[0].name: given})[0])
            result = torch.from_numpy(found).float().reshape(1, 1, *found.shape[-2:])
        except Exception as error:
            reason = str(error).strip().splitlines()[0]
            raise SlotIDError(
                f"{file.name} fails on a picture of {size[1]}×{size[0]} pixels ({reason}). Remove the file, or connect "
                "a mask."
            ) from error
        result = functional.interpolate(
            _probability(result, kind), size=picture.shape[-2:], mode="bilinear", antialias=True
        )
        return result.clamp(0, 1)

    return Matting(f"{kind.title} ({file.stem})", alpha)


def _size(shape: torch.Size, fixed: list[int | None], kind: Kind) -> tuple[int, int]:
    """Height and width that the network is given."""
    height, width = (int(side) for side in shape)
    scale = kind.side / max(height, width)
    sides = []
    for side, given in zip((height, width), fixed, strict=True):
        kept = max(1, round(side * scale / SIDES_ARE_MULTIPLES_OF)) * SIDES_ARE_MULTIPLES_OF
        sides.append(given or (kept if kind.keeps_shape else kind.side))
    return sides[0], sides[1]


def _probability(result: torch.Tensor, kind: Kind) -> torch.Tensor:
    """Alpha in [0, 1] from what the network puts out; some exports end before their sigmoid."""
    low, high = float(result.min()), float(result.max())
    if low < -0.01 or high > 1.01:
        return result.sigmoid()
    # Where nothing was found there is nothing to spread.
    return (result - low) / (high - low) if kind.stretched and high - low > 0.5 else result


def _with_the_face(alpha: torch.Tensor, face: Box) -> torch.Tensor:
    """Without the parts of (H, W) that do not reach into the face's box: other people, and things."""
    from scipy.ndimage import label

    # SciPy gives a pair unless an output array is handed in; its type is inferred as if one always were.
    parts, _ = label(alpha.numpy() > TOUCHES)  # pyright: ignore[reportGeneralTypeIssues]
    parts = torch.from_numpy(parts)
    height, width = alpha.shape
    left, top = (min(max(0, int(value)), limit - 1) for value, limit in zip(face[:2], (width, height), strict=True))
    here = parts[top : max(top + 1, int(face[3])), left : max(left + 1, int(face[2]))]
    return torch.where(torch.isin(parts, here[here > 0].unique()), alpha, torch.zeros(()))
