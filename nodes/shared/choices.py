"""What a combo offers is all that it takes.

ComfyUI 0.3.75 does not check the combos of nodes like ours, and no version checks a value that comes over a wire.
"""

import functools
import inspect

from comfy_api.latest import io

from ...slotid_core.errors import SlotIDError
from .finding import title

# Combos of files: `paths` finds these, and says into which folder a missing one belongs.
FILES = frozenset(
    {
        "file", "adapter_name", "identity_name", "reference_name", "person_name", "model_name", "vae", "text_encoder",
        "face_encoder", "id_layers", "resampler", "ref_layers", "module_name",
    }
)  # fmt: skip


def with_checked_choices(node: type[io.ComfyNode]) -> type[io.ComfyNode]:
    """The same class, whose `execute` refuses what its combos do not offer."""
    execute = node.execute.__func__
    signature = inspect.signature(execute)

    @functools.wraps(execute)
    def checked(cls, *values, **named):
        check_choices(node, signature.bind(cls, *values, **named).arguments)
        return execute(cls, *values, **named)

    node.execute = classmethod(checked)  # pyright: ignore[reportAttributeAccessIssue]
    return node


def check_choices(node: type[io.ComfyNode], values: dict) -> None:
    """
    Raises:
        SlotIDError: a value is none of its combo's options.
    """
    schema = node.define_schema()
    for combo in schema.inputs:
        if not isinstance(combo, io.Combo.Input) or combo.id not in values:
            continue
        if combo.id in FILES:
            if not isinstance(values[combo.id], str):  # JSON in a prompt may be anything
                raise SlotIDError(
                    f"{combo.id} of {title(schema)} is {values[combo.id]!r}; it must be the name of a file."
                )
            continue
        if values[combo.id] not in combo.options:
            raise SlotIDError(
                f"{combo.id} of {title(schema)} is {values[combo.id]!r}; it must be one of "
                f"{', '.join(map(str, combo.options))}."
            )
