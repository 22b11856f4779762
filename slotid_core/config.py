"""Frozen dataclasses to and from JSON-ready dictionaries, strictly: an unknown key is an error."""

import dataclasses
import json
import types
import typing

from .errors import SlotIDError


class Dataclass(typing.Protocol):
    """Any dataclass, as type checkers know them."""

    __dataclass_fields__: typing.ClassVar[dict[str, dataclasses.Field]]


Config = typing.TypeVar("Config", bound=Dataclass)
NOT_GIVEN = "not given"


def config_from_dict(config_class: type[Config], values: dict) -> Config:
    """Build `config_class` from `values`, nested dataclasses included; lists become tuples where declared.

    Raises:
        SlotIDError: an unknown or missing key, named together with the keys that exist, or a value of another type.
    """
    fields = {field.name: field for field in dataclasses.fields(config_class)}
    unknown = sorted(set(values) - set(fields))
    if unknown:
        raise SlotIDError(
            f"{config_class.__name__} has no setting {', '.join(map(repr, unknown))}. "
            f"It has: {', '.join(fields)}. Correct the name, or update the pack if the file is newer."
        )
    hints = typing.get_type_hints(config_class)
    try:
        return config_class(**{name: _convert(hints[name], value, name) for name, value in values.items()})
    except TypeError as error:
        raise SlotIDError(f"{config_class.__name__} cannot be built from {values!r}: {error}") from error


def config_to_dict(config) -> dict:
    """The JSON-ready dictionary that `config_from_dict` reads back."""
    return dataclasses.asdict(config)


def _convert(hint, value, name: str):
    if value is None:
        return None
    options = [hint]
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        options = [option for option in typing.get_args(hint) if option is not type(None)]
    for option in options:
        if isinstance(option, type) and dataclasses.is_dataclass(option) and isinstance(value, dict):
            return config_from_dict(option, value)
        if typing.get_origin(option) is tuple and isinstance(value, list | tuple):
            inner = typing.get_args(option)[0]
            return tuple(_convert(inner, item, name) for item in value)
    if len(options) == 1:
        return _checked(options[0], value, name)
    return value


def _checked(kind, value, name: str):
    """A number, switch, text or choice of the declared kind; whatever else is declared passes."""
    if typing.get_origin(kind) is typing.Literal:
        if value not in typing.get_args(kind):
            raise SlotIDError(f"{name} is one of {', '.join(map(repr, typing.get_args(kind)))}; got {value!r}.")
        return value
    if kind is float and isinstance(value, str):  # YAML reads 1e-3, without a point, as text
        try:
            return float(value)
        except ValueError:
            pass
    fits = {float: (int, float), int: int, bool: bool, str: str}.get(kind)
    if fits is not None and (not isinstance(value, fits) or (isinstance(value, bool) and kind is not bool)):
        raise SlotIDError(f"{name} must be of type {kind.__name__}; got {value!r}.")
    return value


def read_settings(text: str):
    """What a text says, JSON or YAML.

    JSON comes first: of a character beyond U+FFFF its escapes are two, which PyYAML takes for two broken characters.

    Raises:
        ValueError: it is neither.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    import yaml

    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(str(error)) from error


def changed_settings(before: dict, now: dict) -> dict[str, tuple]:
    """Settings that differ, by their names with dots, with the values before and now."""
    then, today = _flat(json.loads(json.dumps(before))), _flat(json.loads(json.dumps(now)))
    both = {name: (then.get(name, NOT_GIVEN), today.get(name, NOT_GIVEN)) for name in sorted({*then, *today})}
    return {name: values for name, values in both.items() if values[0] != values[1]}


def told(changes: dict[str, tuple]) -> str:
    """Each changed setting with both values, for an error."""
    return "; ".join(f"{name} was {_shown(before)} and is {_shown(now)} now" for name, (before, now) in changes.items())


def _shown(value) -> str:
    return value if value is NOT_GIVEN else repr(value)


def _flat(values: dict, prefix: str = "") -> dict:
    flat = {}
    for name, value in values.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return flat
