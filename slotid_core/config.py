"""Frozen dataclasses to and from JSON-ready dictionaries, strictly: an unknown key is an error."""

import contextlib
import dataclasses
import json
import types
import typing

from .errors import SlotIDError


class Dataclass(typing.Protocol):
    """Any dataclass, as type checkers know them."""

    __dataclass_fields__: typing.ClassVar[dict[str, dataclasses.Field]]


Config = typing.TypeVar("Config", bound=Dataclass)
LARGEST = 1e300  # of a number of type float
NOT_GIVEN = "not given"


def config_from_dict(config_class: type[Config], values: dict) -> Config:
    """Build `config_class` from `values`, nested dataclasses included; lists become tuples where declared.

    Raises:
        SlotIDError: an unknown or missing key, named together with the keys that exist, or a value of another type.
    """
    if not isinstance(values, dict):
        raise SlotIDError(f"{config_class.__name__} takes a group of settings by name; got {shown(values)}.")
    fields = {field.name: field for field in dataclasses.fields(config_class)}
    unknown = sorted(str(name) for name in values if name not in fields)
    if unknown:
        raise SlotIDError(
            f"{config_class.__name__} has no setting {', '.join(map(repr, unknown))}. "
            f"It has: {', '.join(fields)}. Correct the name, or update the pack if the file is newer."
        )
    missing = [name for name, field in fields.items() if name not in values and _is_required(field)]
    if missing:
        raise SlotIDError(f"{config_class.__name__} needs the setting {', '.join(map(repr, missing))}. Add it.")
    hints = typing.get_type_hints(config_class)
    return config_class(**{name: _convert(hints[name], value, name) for name, value in values.items()})


def known_settings(config_class: type[Config], values: dict) -> Config:
    """`config_class` from those of `values` that it knows, as a header may hold more than one reader needs.

    Raises:
        SlotIDError: as `config_from_dict`, but not for an unknown key of the uppermost level.
    """
    names = {field.name for field in dataclasses.fields(config_class)}
    return config_from_dict(config_class, {name: value for name, value in values.items() if name in names})


def config_to_dict(config) -> dict:
    """The JSON-ready dictionary that `config_from_dict` reads back."""
    return dataclasses.asdict(config)


def shown(value: object) -> str:
    """A value as an error shows it: its beginning, if it is long."""
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:100]}..."


def _is_required(field: dataclasses.Field) -> bool:
    return field.init and field.default is field.default_factory is dataclasses.MISSING


def _convert(hint, value, name: str):
    options = typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)
    if value is None and types.NoneType not in options and typing.Any not in options:
        if options == (str,):  # an empty text, as YAML writes it
            return ""
        raise SlotIDError(f"{name} needs a value; got null.")
    options = [option for option in options if option is not types.NoneType]
    if value is None:
        return None
    for option in options:
        if isinstance(option, type) and dataclasses.is_dataclass(option) and isinstance(value, dict):
            return config_from_dict(option, value)
        if typing.get_origin(option) is tuple and isinstance(value, list | tuple):
            return _tuple(typing.get_args(option), value, name)
    if len(options) == 1:
        return _checked(options[0], value, name)
    return value


def _tuple(inside: tuple, values: list | tuple, name: str) -> tuple:
    if inside[-1] is Ellipsis:
        inside = inside[:1] * len(values)
    if len(inside) != len(values):
        raise SlotIDError(f"{name} must have {len(inside)} values; got {shown(values)}.")
    return tuple(_convert(kind, value, name) for kind, value in zip(inside, values, strict=True))


def _checked(kind, value, name: str):
    """A number, switch, text, choice, list or group of the declared kind; whatever else is declared passes."""
    if typing.get_origin(kind) is typing.Literal:
        if value not in typing.get_args(kind):
            raise SlotIDError(f"{name} is one of {', '.join(map(repr, typing.get_args(kind)))}; got {shown(value)}.")
        return value
    if kind is float and isinstance(value, str):  # YAML reads 1e-3, without a point, as text
        with contextlib.suppress(ValueError):
            value = float(value)
    if dataclasses.is_dataclass(kind) and not isinstance(value, kind):
        raise SlotIDError(f"{name} is a group of settings by name; got {shown(value)}.")
    if typing.get_origin(kind) is tuple:
        raise SlotIDError(f"{name} is a list; got {shown(value)}.")
    fits = {float: (int, float), int: int, bool: bool, str: str, dict: dict}.get(kind)
    if fits is not None and (not isinstance(value, fits) or (isinstance(value, bool) and kind is not bool)):
        raise SlotIDError(f"{name} must be of type {kind.__name__}; got {shown(value)}.")
    if kind is float and isinstance(value, int | float) and not -LARGEST <= value <= LARGEST:
        raise SlotIDError(f"{name} must be a finite number; got {shown(value)}.")
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
