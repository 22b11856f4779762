"""What a type checker cannot know of a value and a test relies on. Each says what else came."""

from typing import TypeVar

from slotid_core.systems.contract import AnyBatch, Batch

Value = TypeVar("Value")


def present(value: Value | None) -> Value:
    """The value, which is there."""
    assert value is not None, "there is nothing"
    return value


def instance(value: object, kind: type[Value]) -> Value:
    """The value, which is a `kind`: a part of a module, or the strategy of a trainer."""
    assert isinstance(value, kind), f"{type(value).__name__} is no {kind.__name__}"
    return value


def one_size(batch: AnyBatch) -> Batch:
    """The batch, whose samples have one size."""
    return instance(batch, Batch)
