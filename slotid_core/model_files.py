"""Where the file of a model is: a path that somebody gave, or the name of the toy world, whose files ship."""

from pathlib import Path

TOY_WORLD = "toy_world"


def model_file(given: str | Path, part: str) -> Path:
    """The file of a part, which may not exist.

    Args:
        given: a path, or "toy_world".
        part: of the toy world, such as "dit" or "vae".

    Raises:
        SlotIDError: the toy world has no trained part of this kind.
    """
    if str(given) != TOY_WORLD:
        return Path(given)
    from .toy_world.family import part_path

    return part_path(part)
