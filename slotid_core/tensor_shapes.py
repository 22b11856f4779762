"""Sizes read off the tensors of a file before anything is built, and tensors put into what was built of them.

Sizes that the tensors do not bear out would build for hours, or take more memory than there is.
"""

import re
from collections.abc import Iterable, Mapping

from torch import Tensor, nn

from .errors import SlotIDError

NUMBER = re.compile(r"[0-9]{1,4}")


def shape_of(tensors: Mapping[str, Tensor], name: str, axes: int) -> tuple[int, ...]:
    """Shape of the tensor of that name.

    Raises:
        SlotIDError: there is none, it has another number of axes, or one of them is empty.
    """
    if name not in tensors:
        raise SlotIDError(f"The tensor {name!r} is missing. Choose another file, or copy this one again.")
    shape = tuple(tensors[name].shape)
    if len(shape) != axes or 0 in shape:
        raise SlotIDError(f"The tensor {name!r} has shape {shape}, where {axes} axes are needed, none of them empty.")
    return shape


def count_numbered(names: Iterable[str], prefix: str) -> int:
    """How many layers there are in the names `prefix`0.x, `prefix`1.x and so on.

    Raises:
        SlotIDError: what follows the prefix is no number, or a number is left out.
    """
    numbers = set()
    for name in names:
        if name.startswith(prefix):
            number = name.removeprefix(prefix).partition(".")[0]
            if not NUMBER.fullmatch(number):
                raise SlotIDError(f"The tensor {shortened(name)!r} has no number of a layer behind {prefix!r}.")
            numbers.add(int(number))
    if numbers and max(numbers) != len(numbers) - 1:
        raise SlotIDError(
            f"There are tensors of layer {prefix}{max(numbers)}, but of {len(numbers)} layers in all. The file is "
            "damaged or incomplete; copy it again."
        )
    return len(numbers)


def fill(module: nn.Module, tensors: Mapping[str, Tensor], what: str, copy: bool = False) -> None:
    """Put tensors into a module, which may have been built without memory.

    Args:
        what: the thing that they should be, with its article.
        copy: into the module's own memory, which it must have; else the tensors themselves become its own.

    Raises:
        SlotIDError: names or shapes are not the module's.
    """
    try:
        module.load_state_dict(tensors, assign=not copy)
    except RuntimeError as error:
        first = "; ".join(line.strip() for line in str(error).splitlines()[1:3])
        raise SlotIDError(f"This is not {what}: {shortened(first)}") from error


def floats(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors in float32; whole numbers stay as they are."""
    return {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}


def shortened(text: str, length: int = 300) -> str:
    return text if len(text) <= length else f"{text[:length]}..."
