"""Rows of tables as dataclasses, whose fields are the columns.

Another program may have put any value into any column of a file. A row is read all the same, each value as its column
should have it, so that it costs itself alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from functools import cache
from typing import Any, TypeVar

from bgsim.errors import brief
from bgsim.parameters.nesting import read_json
from bgsim.storage.times import seconds_of

NO_COLUMN = {"column": False}
"""Metadata of a field that is no column of the class's table."""

_JSON = {"parameters": dict, "options": dict, "attempts": list, "tags": list, "webhook": dict, "payload": dict}
_MAY_BE_EMPTY = ("webhook",)

_Row = TypeVar("_Row")


def _columns_of(of: type) -> tuple[str, ...]:
    """Return the columns of a class's table."""
    return tuple(field.name for field in fields(of) if field.metadata.get("column", True))


columns_of: Callable[[type], tuple[str, ...]] = cache(_columns_of)


def names_of(of: type) -> str:
    """Return the columns of a class's table as a statement has them."""
    return ", ".join(columns_of(of))


def values_of(row: Any) -> tuple[Any, ...]:
    """Return a row's values, in the order of its columns."""
    return tuple([getattr(row, name) for name in columns_of(type(row))])


def as_text(raw: bytes) -> str | bytes:
    """Return text that can be decoded as such; for `sqlite3.Connection.text_factory`."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw


def _find_types(of: type) -> tuple[tuple[str, tuple[type, ...]], ...]:
    """Return a class's fields, each with the types of values that it has."""
    types = {"int": (int,), "bool": (bool,), "str | None": (str, type(None))}
    return tuple((field.name, types.get(str(field.type), (str,))) for field in fields(of))


_types_of: Callable[[type], tuple[tuple[str, tuple[type, ...]], ...]] = cache(_find_types)


def typed(row: _Row, key: str) -> _Row:
    """Return a row with each value of its field's type; one whose key is no text gets this key."""
    changes: dict[str, Any] = {}
    for name, types in _types_of(type(row)):
        value = getattr(row, name)
        if type(value) in types:
            continue
        if types == (bool,):
            changes[name] = bool(value)
        elif types == (int,):
            changes[name] = 0
        else:
            is_key = not changes and name == row.__slots__[0]  # type: ignore[attr-defined]
            changes[name] = key if is_key else brief(value)
    return replace(row, **changes) if changes else row  # type: ignore[type-var]


def what_is_wrong(row: Any) -> str | None:
    """Return what is invalid in a row as it was read, None if nothing is."""
    for name, types in _types_of(type(row)):
        value = getattr(row, name)
        if not (type(value) in types or (types == (bool,) and value in (0, 1))):
            return f"{name} is {brief(value)}"
        try:
            kind = _kind_missed(name, value)
        except (ValueError, TypeError) as error:
            return f"{name} cannot be read: {error}"
        if kind is not None:
            return f"{name} is no {kind.__name__}"
    return None


def _kind_missed(name: str, value: Any) -> type | None:
    """Read what a text holds; return what it should be, and is not.

    Raises
    ------
    ValueError, TypeError
        If it cannot be read.
    """
    if type(value) is not str:
        return None
    if name in _JSON and (value or name not in _MAY_BE_EMPTY):
        return None if isinstance(read_json(value), _JSON[name]) else _JSON[name]
    if name.endswith("_at") or name == "at":
        seconds_of(value)
    elif name == "seed":
        int(value)
    return None
