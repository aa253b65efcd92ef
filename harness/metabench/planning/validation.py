"""From the errors of pydantic to one sentence with a hint."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from metabench.errors import UsageError, unknown
from metabench.text import counted
from metabench.values import NAME_PATTERN, NAME_RULE

LONGEST = 60
"""Characters of a value that a sentence repeats."""


def usage_error(
    error: ValidationError,
    *,
    model: type[BaseModel],
    values: Mapping[str, Any],
    what: str,
    owner: str = "",
) -> UsageError:
    """Turn the first error into a sentence; a misspelled name comes before a missing one.

    Args:
        error: the errors that pydantic found.
        model: what was validated.
        values: what they were found in.
        what: a scope such as ``protocol``, or a file and a colon such as ``Suite file a.yaml:``.
        owner: the plugin whose parameters these are; may be empty.
    """
    found = error.errors(include_url=False)
    first = next((one for one in found if one["type"] == "extra_forbidden"), found[0])
    loc = place(first, values)
    path, name = _joined(loc), str(loc[-1]) if loc else ""
    fields = _fields(model, loc[:-1])
    what = what.strip()
    is_file = what.endswith(":")
    if first["type"] == "extra_forbidden":
        return _unknown(name, fields, where=_joined(loc[:-1]), what=what, owner=owner)
    full = f"{what} {path}" if is_file else f"{what}.{path}"
    hint = _hint(full.removeprefix(f"{what} "), fields.get(name))
    if first["type"] == "string_type" and isinstance(first["input"], _NO_TEXT):
        hint = f"{QUOTES} {hint}".rstrip()
    if not loc:
        about = what if is_file else f"{f'{what} {owner}'.strip()}:"
        return UsageError(f"{about} {_message(first)}.")
    if first["type"] == "missing":
        return UsageError(f"{full} is required.", hint=hint)
    value = _value(first["input"]) if "[key]" not in first["loc"] else ""
    whose = f" for {owner}" if owner else ""
    return UsageError(f"{full}{value} is not valid{whose}: {_message(first)}.", hint=hint)


def place(one: ErrorDetails, values: Any) -> list[str | int]:
    """Where an error is, without the names that pydantic gives to the choices of a union.

    Each part leads further into ``values``; only the last may be absent, where it is required.
    """
    found: list[str | int] = []
    for part in one["loc"]:
        leads = isinstance(values, Mapping) and part in values
        if isinstance(values, Sequence) and not isinstance(values, str):
            leads = isinstance(part, int) and part < len(values)
        if leads:
            values = values[part]
            found.append(part)
        elif one["type"] == "missing" and part == one["loc"][-1]:
            found.append(part)
    return found


def _unknown(name: str, known: dict[str, Any], *, where: str, what: str, owner: str) -> UsageError:
    if what.endswith(":"):
        inside = f" in {where}" if where else ""
        hint = unknown("field", name, known).hint
        return UsageError(f"{what} unknown field {name!r}{inside}.", hint=hint)
    whose = f" of {owner}" if owner else ""
    hint = unknown("parameter", name, known).hint
    return UsageError(f"Unknown {what} parameter {name!r}{whose}.", hint=hint)


def _joined(loc: Sequence[str | int]) -> str:
    """``sources.0.name``; a key that is not a plain name is put in quotes."""
    plain = (str(part) for part in loc)
    return ".".join(
        part if part.replace("-", "_").replace("_", "a").isalnum() else repr(part) for part in plain
    )


QUOTES = "Put text in quotes if it looks like a number, or like true, false or null."
_NO_TEXT = (int, float, NoneType)
"""What YAML makes of text without quotes."""
_MAPPINGS = ("dict_type", "model_type", "model_attributes_type")
_NOT_NUMBERS = ("nan", "-nan", "+nan")
_BOUNDS = ("less_than", "less_than_equal", "greater_than", "greater_than_equal", "finite_number")
"""What NaN does not satisfy, whatever the bound is."""


def _message(one: ErrorDetails) -> str:
    """The message of pydantic, as the end of a sentence."""
    if one["type"] == "string_pattern_mismatch" and one["ctx"]["pattern"] == NAME_PATTERN:
        return NAME_RULE
    if one["type"] in ("tuple_type", "list_type"):
        return "input should be a list"
    if one["type"] in _MAPPINGS:
        return "input should be a mapping"
    if one["type"] == "too_short":
        return f"input should have at least {counted(one['ctx']['min_length'], 'item')}"
    if str(one["input"]).lower() in _NOT_NUMBERS and one["type"] in _BOUNDS:
        return "input should be a number, not nan"
    text = " ".join(one["msg"].removeprefix("Value error, ").split()).rstrip(".")
    return text[:1].lower() + text[1:]


def _value(value: Any) -> str:
    """``=0``; empty if the value is too long to repeat."""
    text = repr(value)
    return f"={text}" if len(text) <= LONGEST and "\n" not in text else ""


def _fields(model: Any, loc: Sequence[str | int]) -> dict[str, Any]:
    """The fields of the model inside ``model`` at a place; none if there is no model."""
    for part in loc:
        if _is_model(model):
            field = model.model_fields.get(part)
            model = None if field is None else field.annotation
        else:
            model = next((arg for arg in reversed(get_args(model)) if arg is not Ellipsis), None)
        model = _unwrapped(model)
    return dict(model.model_fields) if _is_model(model) else {}


def _unwrapped(kind: Any) -> Any:
    """The type inside ``Annotated[type, ...]`` or ``type | None``."""
    if get_origin(kind) is Annotated:
        return get_args(kind)[0]
    choices = [arg for arg in get_args(kind) if arg is not NoneType]
    return choices[0] if NoneType in get_args(kind) and len(choices) == 1 else kind


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _hint(name: str, field: Any) -> str:
    """Bounds and description of a field, as a hint."""
    if field is None:
        return ""
    signs = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}
    bounds = [
        f"{sign} {getattr(limit, key)}"
        for limit in field.metadata
        for key, sign in signs.items()
        if getattr(limit, key, None) is not None
    ]
    about = (field.description or "").rstrip(".")
    described = "; ".join(part for part in (" and ".join(bounds), about) if part)
    return f"{name}: {described}." if described else ""


def truth_for_a_number(
    kind: Any, value: Any, loc: tuple[str | int, ...] = ()
) -> tuple[str | int, ...] | None:
    """Where a value is true or false and its type is not; pydantic takes it for 1 or 0.

    Args:
        kind: a type as in an annotation, such as a model or ``list[float]``.
        value: what should be of this type.
        loc: where it is.

    Returns:
        The place, such as ``("inner", "rate")``; None if there is none.
    """
    kinds = list(_allowed_types(kind))
    if isinstance(value, bool):
        return None if any(map(_takes_truth, kinds)) else loc
    for part, item in _items(value):
        inner = _type_of_item(kinds, part)
        found = None if inner is None else truth_for_a_number(inner, item, (*loc, part))
        if found is not None:
            return found
    return None


def _takes_truth(kind: Any) -> bool:
    """Whether a type takes true or false, or a list of them, of which one may stand for itself."""
    of_any = get_origin(kind) in (list, tuple) and Any in get_args(kind)
    return of_any or kind in (bool, Any, object, True, False)


def _items(value: Any) -> Iterable[tuple[Any, Any]]:
    if isinstance(value, Mapping):
        return value.items()
    return enumerate(value) if isinstance(value, list | tuple) else ()


def _type_of_item(kinds: Sequence[Any], part: Any) -> Any:
    """The type of an item of a model, a mapping or a list; None where nothing says it."""
    for one in kinds:
        if _is_model(one) and part in one.model_fields:
            return one.model_fields[part].annotation
        origin, args = get_origin(one), get_args(one)
        if not isinstance(origin, type):
            continue
        if issubclass(origin, list | tuple) and isinstance(part, int):
            return args[part] if part < len(args) and args[-1] is not Ellipsis else args[0]
        if issubclass(origin, Mapping):
            return args[1]
    return None


def _allowed_types(kind: Any) -> Iterator[Any]:
    """The types that an annotation allows, without names, metadata and unions around them."""
    kind = getattr(kind, "__value__", kind)
    yield kind
    origin = get_origin(kind)
    if origin is Annotated:
        yield from _allowed_types(get_args(kind)[0])
    elif origin in (Union, UnionType, Literal):
        for one in get_args(kind):
            yield from _allowed_types(one)


M = TypeVar("M", bound=BaseModel)


def validated(model: type[M], values: Mapping[str, Any], *, what: str, owner: str = "") -> M:
    """Validate ``values``; a failure is a usage error that names field, value and bounds.

    Args:
        model: what they should be.
        values: by field.
        what: a scope such as ``protocol``, or a file and a colon.
        owner: the plugin whose parameters these are; may be empty.

    Raises:
        UsageError: when they are not.
    """
    if (loc := truth_for_a_number(model, values)) is not None:
        path = _joined(loc)
        full = f"{what} {path}" if what.strip().endswith(":") else f"{what}.{path}"
        field = _fields(model, loc[:-1]).get(str(loc[-1])) if loc else None
        raise UsageError(
            f"{full} is true or false, where a number or text is meant.",
            hint=_hint(full.removeprefix(f"{what} "), field) or QUOTES,
        )
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise usage_error(error, model=model, values=values, what=what, owner=owner) from error
    except UnicodeEncodeError as error:
        raise UsageError(f"{what.strip(':')} holds text that no file in UTF-8 can hold.") from error
