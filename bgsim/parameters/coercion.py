"""Values in the type of their field, and in one of the types that `bgsim.parameters.encoding` knows."""

from __future__ import annotations

import enum
import functools
import operator
import types
import typing
from typing import Any

import numpy as np

from bgsim.parameters.encoding import MemberName, is_encodable

_NUMERIC_KINDS = "biufc"

_PYTHON_TYPES: dict[Any, type] = {
    np.bool_: bool,
    np.integer: int,
    np.floating: float,
    np.complexfloating: complex,
    np.str_: str,
    np.bytes_: bytes,
}

MAX_DEPTH = 64
"""So deep may tuples lie in each other; hashing and writing them down take some of Python's stack for each level."""

_SCALARS = frozenset({bool, int, float, complex, str, bytes, type(None)})


def coerce(value: Any, annotation: Any) -> Any:
    """Return a value in a type: an int becomes a float, a list a tuple or an array, a name the member of an Enum.

    Raises
    ------
    TypeError, ValueError, OverflowError
        Saying what it is, or what is allowed.
    """
    if annotation is Any or annotation in _SCALARS:
        return _coerce_scalar(value, annotation)
    annotation = without_alias(annotation)
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return coerce(value, arguments[0])
    if origin is typing.Literal:
        return _coerce_literal(value, arguments)
    if origin in (typing.Union, types.UnionType):
        return _coerce_union(value, arguments)
    if np.ndarray in (annotation, origin):
        return _coerce_array(value, arguments)
    if tuple in (annotation, origin):
        return _coerce_tuple(value, arguments)
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return _coerce_enum(value, annotation)
    if isinstance(annotation, type) and issubclass(annotation, np.generic):
        return _coerce_numpy_scalar(value, annotation)
    return _coerce_scalar(value, type(None) if annotation is None else annotation)


def _coerce_literal(value: Any, allowed: tuple[Any, ...]) -> Any:
    if isinstance(value, MemberName):
        members = [m for m in allowed if isinstance(m, enum.Enum) and m.name == value]
        value = members[0] if members else value
    value = _normal(value)
    if not any(type(one) is type(value) and one == value for one in allowed):
        raise ValueError(f"allowed are {', '.join(map(repr, allowed))}")
    return value


def _coerce_union(value: Any, options: tuple[Any, ...]) -> Any:
    for option in options:
        try:
            return coerce(value, option)
        except (TypeError, ValueError, OverflowError):
            continue
    raise TypeError(f"it is {article(type(value).__name__)}")


def _coerce_scalar(value: Any, annotation: Any) -> Any:
    if annotation is float and isinstance(value, int) and not isinstance(value, bool | enum.Enum):
        return float(value)
    value = _normal(value)
    if type(value) is annotation:
        return value
    if annotation is complex and isinstance(value, int | float) and not isinstance(value, bool | enum.Enum):
        return complex(value)
    if annotation in _SCALARS:
        raise TypeError(f"it is {article(type(value).__name__)}")
    return value


def _coerce_numpy_scalar(value: Any, annotation: type[np.generic]) -> Any:
    """Return a number as NumPy's type holds it, in the like type of Python: for ``np.float32`` a float."""
    kind = next((python for numpy, python in _PYTHON_TYPES.items() if issubclass(annotation, numpy)), None)
    if kind is None:
        raise TypeError(f"{annotation.__name__} is no type of a parameter")
    number = _coerce_scalar(value, kind)
    return number if annotation in _PYTHON_TYPES else annotation(number).item()


def _normal(value: Any, depth: int = 0) -> Any:
    """Return the value in one of the encodable types."""
    if type(value) is float or (type(value) is int and -(2**63) <= value < 2**63):
        return value
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, enum.Enum):
        return _checked_member(value)
    if isinstance(value, str):
        return _checked_text(value)
    if value is None or isinstance(value, bool | float | complex | bytes):
        return value
    if isinstance(value, int):
        if not -(2**63) <= value < 2**63:
            raise OverflowError("integers must fit in 64 bits")
        return value
    if isinstance(value, np.ndarray):
        return _coerce_array(value, ())
    if isinstance(value, tuple | list):
        return _normal_items(value, depth)
    raise TypeError(f"{article(type(value).__name__)} cannot be a parameter")


def _normal_items(values: tuple[Any, ...] | list[Any], depth: int) -> tuple[Any, ...]:
    if depth == MAX_DEPTH:
        raise ValueError(f"tuples may lie {MAX_DEPTH} deep in each other")
    return tuple(_normal(item, depth + 1) for item in values)


def _coerce_array(value: Any, type_args: tuple[Any, ...]) -> np.ndarray:
    array = np.asarray(value)
    if type_args:
        wanted = typing.get_args(type_args[-1])
        if wanted and isinstance(wanted[0], type) and issubclass(wanted[0], np.generic):
            if array.size and not np.can_cast(array.dtype, wanted[0], "same_kind"):
                raise TypeError(f"it holds {array.dtype}, not {np.dtype(wanted[0])}")
            array = array.astype(wanted[0], copy=False)
    if array.dtype.kind not in _NUMERIC_KINDS:
        raise TypeError(f"an array of {array.dtype} cannot be a parameter")
    array = np.array(array, dtype=array.dtype.newbyteorder("="), order="C", copy=True)
    array.flags.writeable = False
    return array


def _coerce_tuple(value: Any, items: tuple[Any, ...]) -> tuple[Any, ...]:
    if not isinstance(value, tuple | list | np.ndarray):
        raise TypeError(f"it is {article(type(value).__name__)}")
    if not items:
        return tuple(_normal(item) for item in value)
    if len(items) == 2 and items[1] is Ellipsis:
        items = (items[0],) * len(value)
    if len(items) != len(value):
        raise ValueError(f"it has {len(value)} items, not {len(items)}")
    return tuple(coerce(item, kind) for item, kind in zip(value, items, strict=True))


def _coerce_enum(value: Any, kind: type[enum.Enum]) -> enum.Enum:
    if isinstance(value, kind):
        return _checked_member(value)
    if isinstance(value, str) and value in kind.__members__:
        return _checked_member(kind[value])
    if isinstance(value, str) and issubclass(kind, enum.Flag):
        names = [name for name in value.split("|") if name]
        if all(name in kind.__members__ for name in names):
            return functools.reduce(operator.or_, [kind[name] for name in names], kind(0))
    try:
        return _checked_member(kind(value))
    except ValueError:
        raise ValueError(f"allowed are {', '.join(kind.__members__)}") from None


def _checked_member(member: enum.Enum) -> enum.Enum:
    """Return a member; refuse one whose value has no canonical form, for the value counts in the hash."""
    if not is_encodable(member.value):
        kind = article(type(member.value).__name__)
        raise TypeError(
            f"the value of {type(member).__name__}.{member.name} is {kind}; that of an Enum parameter may be a number, "
            "text, bytes, None, an array, or a tuple of these"
        )
    return member


def _checked_text(value: str) -> str:
    """Return a text that UTF-8 can write, and that is no name of an unknown Enum's member."""
    if isinstance(value, MemberName):
        raise TypeError(f"the Enum of the stored member {value!s} is not known; annotate the field with it")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"it has a lone surrogate, {value[error.start]!a}, as a file name that is no UTF-8; give os.fsencode of it"
        ) from None
    return value


def article(word: str) -> str:
    """Return a word with its article."""
    return f"an {word}" if word[:1].lower() in tuple("aeio") else f"a {word}"


def without_alias(annotation: Any) -> Any:
    """Return what a type alias stands for: from NumPy 2.5 on `NDArray` is one."""
    alias: Any = typing.get_origin(annotation) or annotation
    if type(alias).__name__ != "TypeAliasType":
        return annotation
    arguments = typing.get_args(annotation)
    return without_alias(alias.__value__[arguments] if arguments else alias.__value__)
