"""Parameter values as canonical bytes, for hashing, and as JSON, for keeping.

In the canonical form equal values, and only those, are equal:

==========  ====  ==============================================================
None        n     nothing
bool        b     one byte
int         i     decimal digits
float       f     IEEE 754 double, big end first; every NaN the same, -0.0 kept
complex     c     two doubles
str         s     UTF-8
bytes       y     as they are
Enum        e     names of the class and of the member, as str, then its value
tuple       t     count, then each item (a list is taken as a tuple)
ndarray     a     dtype, shape, then C order, small end first
==========  ====  ==============================================================

Each item is a letter, the length of its body as eight bytes, and the body.
"""

from __future__ import annotations

import base64
import enum
import math
import struct
from collections.abc import Iterable
from typing import Any

import numpy as np

_length = struct.Struct(">q").pack


def encode(value: Any, parts: list[bytes]) -> None:
    """Append the canonical bytes of a value."""
    if type(value) is int:  # as most are, and the seed
        tag, body = b"i", b"%d" % value
    elif isinstance(value, enum.Enum):  # which may be an int, a str or a tuple, too
        tag, body = b"e", _encode_all((f"{type(value).__qualname__}.{value.name}", value.value))
    elif isinstance(value, tuple | list):
        tag, body = b"t", _length(len(value)) + _encode_all(value)
    elif isinstance(value, np.ndarray):
        tag, body = b"a", _encode_array(value)
    else:
        tag, body = _encode_scalar(value)
    parts += (tag, _length(len(body)), body)


def is_encodable(value: Any) -> bool:
    """Return whether `encode` takes a value."""
    if isinstance(value, enum.Enum):
        return is_encodable(value.value)
    if isinstance(value, tuple | list):
        return all(map(is_encodable, value))
    if isinstance(value, np.ndarray):
        return value.dtype.kind in "biufc"
    return value is None or isinstance(value, bool | int | float | complex | str | bytes)


def _encode_all(values: Iterable[Any]) -> bytes:
    parts: list[bytes] = []
    for value in values:
        encode(value, parts)
    return b"".join(parts)


def _encode_scalar(value: Any) -> tuple[bytes, bytes]:
    if value is None:
        return b"n", b""
    if isinstance(value, bool):
        return b"b", b"\1" if value else b"\0"
    if isinstance(value, int):
        return b"i", str(value).encode()
    if isinstance(value, float):
        return b"f", struct.pack(">d", math.nan if math.isnan(value) else value)
    if isinstance(value, complex):
        return b"c", _encode_scalar(value.real)[1] + _encode_scalar(value.imag)[1]
    if isinstance(value, str):
        return b"s", value.encode()
    assert isinstance(value, bytes)
    return b"y", value


def _encode_array(array: np.ndarray) -> bytes:
    if array.dtype.kind in "fc" and np.isnan(array).any():
        array = np.where(np.isnan(array), np.array(math.nan, array.dtype), array)
    array = np.asarray(array, array.dtype.newbyteorder("<"), order="C")  # `ascontiguousarray` adds a dimension to none
    head = f"{array.dtype.str}{array.shape}".encode()
    return _length(len(head)) + head + array.tobytes()


class MemberName(str):
    """The name of an Enum's member, as JSON keeps it; its class alone makes the member of it again."""

    __slots__ = ()


def to_jsonable(value: Any) -> Any:
    """Return a value as JSON can hold it, from which `from_jsonable` makes it again; a tuple becomes a list."""
    if isinstance(value, enum.Enum):
        return {"__enum__": value.name or ""}  # a Flag of nothing has no name
    if isinstance(value, float) and not math.isfinite(value):
        return {"__float__": str(value)}
    if isinstance(value, complex):
        return {"__complex__": [str(value.real), str(value.imag)]}
    if isinstance(value, bytes):
        return {"__bytes__": base64.b64encode(value).decode()}
    if isinstance(value, np.ndarray):
        little = np.ascontiguousarray(value).astype(value.dtype.newbyteorder("<"), copy=False)
        data = base64.b64encode(little.tobytes()).decode()
        return {"__array__": little.dtype.str, "shape": list(value.shape), "data": data}
    if isinstance(value, tuple):
        return [to_jsonable(item) for item in value]
    return value


def from_jsonable(found: dict[str, Any]) -> Any:
    """Return the value that an object read from JSON stands for; the ``object_hook`` of `json.loads`."""
    if "__enum__" in found:
        return MemberName(found["__enum__"])
    if "__float__" in found:
        return float(found["__float__"])
    if "__complex__" in found:
        return complex(*map(float, found["__complex__"]))
    if "__bytes__" in found:
        return base64.b64decode(found["__bytes__"])
    if "__array__" in found:
        data = np.frombuffer(base64.b64decode(found["data"]), np.dtype(found["__array__"]))
        return data.reshape(found["shape"])
    return found
