"""Values that are nothing but their content, as text that tells types and bits apart in each process alike."""

from __future__ import annotations

import datetime
import decimal
import fractions
import pathlib
import re
import struct
import threading
import uuid
import zoneinfo
from collections.abc import Callable
from typing import Any

import numpy as np

from bgsim.identity.source import constant_text


def _text(value: Any) -> str:
    return f"{type(value).__name__}:{value!r}"


def _generic(value: np.generic) -> str:
    return f"{value.dtype.str}:{value.tobytes().hex()}"


def _int(value: int) -> str:
    return _text(value) if value.bit_length() < _LONG_BITS else f"int:{value:#x}"


def _pattern(value: re.Pattern[Any]) -> str:
    return f"pattern:{value.pattern!r}:{value.flags}"


def _struct(value: struct.Struct) -> str:
    return f"struct:{value.format!r}"


def _is_scalar(value: Any) -> bool:
    """Tell whether a value is a scalar of NumPy's that cannot change; one with fields can."""
    kind = type(value)
    return issubclass(kind, np.generic) and not issubclass(kind, (np.void, np.object_)) and kind is value.dtype.type


def _path(value: pathlib.PurePath) -> str:
    return f"path:{value.as_posix()!r}"


_LONG_BITS = 10_000  # decimal digits of longer ones are refused by Python

_ATOMS: dict[type, Callable[[Any], str]] = {
    int: _int,
    re.Pattern: _pattern,
    struct.Struct: _struct,
    **dict.fromkeys((float, complex), constant_text),
    **dict.fromkeys((type(None), bool, str, bytes, type(...), type(NotImplemented), range), _text),
    **dict.fromkeys((datetime.date, datetime.time, datetime.timedelta, datetime.timezone), _text),
    **dict.fromkeys((decimal.Decimal, fractions.Fraction, uuid.UUID, zoneinfo.ZoneInfo), _text),
    **dict.fromkeys((pathlib.PosixPath, pathlib.WindowsPath, pathlib.PurePosixPath, pathlib.PureWindowsPath), _path),
}

SYNCHRONISERS = (
    type(threading.Lock()),
    type(threading.RLock()),
    threading.Event,
    threading.Condition,
    threading.Semaphore,
    threading.Barrier,
    threading.local,
)
"""Their state is no result's business: they count by their type."""


def atom_text(value: Any) -> str | None:
    """Return the text of a value that cannot change and holds nothing that can; None for all others."""
    write = _ATOMS.get(type(value))
    if write is not None:
        return write(value)
    if _is_scalar(value):
        return _generic(value)
    if issubclass(type(value), np.dtype) and not value.hasobject:
        return f"dtype:{np.lib.format.dtype_to_descr(value)!r}"
    return None
