"""Checks of what a caller gives. Each raises an error that names the field, the value, and what is allowed."""

from __future__ import annotations

import math
import numbers
import os
import sys
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, TypeGuard

from bgsim.errors import InvalidInputError, NotPicklableError, brief, nearest

MOST_TAGS = 16
LONGEST_TAG = 100
"""Characters of a tag, and of a tenant's name."""


class NotPicklable:
    """What belongs to the process that made it: pickling and copying it are refused."""

    __slots__ = ()

    instead: ClassVar[str]
    """What to do instead."""

    def __reduce_ex__(self, _protocol: Any) -> Any:
        raise NotPicklableError(
            f"{type(self).__name__} belongs to the process that made it, and can be neither pickled nor copied; "
            f"{self.instead}"
        )


def refused(field: str, value: object, allowed: str) -> InvalidInputError:
    """Return the error that refuses a value; `allowed` follows "must be"."""
    return InvalidInputError(f"{field} must be {allowed}; got {brief(value)}", field=field, value=value)


def is_integer(value: object) -> TypeGuard[int]:
    """Tell whether it is an integer, also of NumPy, but no bool."""
    return isinstance(value, int | numbers.Integral) and not isinstance(value, bool)


def is_number(value: object) -> TypeGuard[float]:
    """Tell whether it is a real number, also of NumPy, but no bool."""
    return isinstance(value, int | float | numbers.Real) and not isinstance(value, bool)


def is_double(value: object) -> TypeGuard[float]:
    """Tell whether it is a finite number that a double can hold, as an integer of 400 digits is not."""
    return is_number(value) and abs(value) <= sys.float_info.max


def _finite_or_infinite(value: float) -> float:
    """Return a real number as an int or float; what is beyond every float, as an integer may be, as infinity."""
    try:
        as_float = float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf
    return value if isinstance(value, int | float) else as_float


def one_of(allowed: Sequence[str], given: str) -> str:
    """Return the words that are allowed, with the one nearest to the given word, for `refused`."""
    return f"one of {', '.join(allowed)}{nearest(given, allowed) if len(allowed) > 1 else ''}"


def check_integer(
    field: str, value: object, *, least: int = 1, most: int | None = None, allowed: str | None = None
) -> int:
    """Return an integer in a range as an int, or refuse it; a float is taken for the integer that it equals.

    Parameters
    ----------
    field : str
    value : object
    least, most : int
        The range, both ends included.
    allowed : str, optional
        The range in other words than "an integer of 1 or more".

    Raises
    ------
    InvalidInputError
    """
    number = _equal_integer(value)
    if number is not None and number >= least and (most is None or number <= most):
        return number
    span = f"of {least} or more" if most is None else f"from {least} to {most}"
    raise refused(field, value, allowed or f"an integer {span}")


def _equal_integer(value: object) -> int | None:
    """Return the integer that a number equals, None if there is none."""
    if not is_number(value):
        return None
    try:
        found = int(value)
    except (OverflowError, ValueError):  # infinity, NaN
        return None
    return found if found == value else None


def check_number(
    field: str, value: object, allowed: str, *, zero: bool = True, most: float = math.inf, finite: bool = True
) -> float:
    """Return a number in a range as an int or a float, or refuse it.

    Parameters
    ----------
    field : str
    value : object
    allowed : str
        The range in words.
    zero : bool
        Whether 0 is allowed; nothing below it is.
    most : float
        The largest.
    finite : bool
        Whether infinity is refused.

    Raises
    ------
    InvalidInputError
    """
    if is_number(value):
        given = _finite_or_infinite(value)
        if (given >= 0 if zero else given > 0) and given <= most and not (finite and given == math.inf):
            return given
    raise refused(field, value, allowed)


def check_seconds(field: str, value: object, *, zero: bool = True) -> float:
    """Return a finite number of seconds, or refuse it; `zero` says whether 0 is allowed.

    Raises
    ------
    InvalidInputError
    """
    return check_number(field, value, "a number of seconds, 0 or more" if zero else "more than 0 seconds", zero=zero)


def check_text(field: str, value: object, *, empty: bool = True, allowed: str = "a text") -> str:
    """Return a text, or refuse it; `empty` says whether it may be empty.

    Raises
    ------
    InvalidInputError
    """
    if isinstance(value, str) and (value or empty):
        if not value.isascii() and any("\ud800" <= c <= "\udfff" for c in value):
            raise refused(field, value, f"{allowed} without lone surrogates, which no UTF-8 holds")
        return value
    raise refused(field, value, allowed if empty else f"{allowed}, and not empty")


def check_file_path(field: str, value: object) -> Path:
    """Return a path, or refuse what is none.

    Raises
    ------
    InvalidInputError
    """
    path = os.fspath(value) if isinstance(value, str | os.PathLike) else None
    if isinstance(path, str) and path and "\0" not in path:
        return Path(path)
    raise refused(field, value, "the path of a file")


def check_name(field: str, value: object) -> str:
    """Return a name in its normal form, or refuse what is no text.

    Raises
    ------
    InvalidInputError
    """
    return normal_name(check_text(field, value))


def check_tags(value: object) -> tuple[str, ...]:
    """Return the tags of a job, each once, or refuse them.

    Raises
    ------
    InvalidInputError
    """
    allowed = f'a list of at most {MOST_TAGS} texts of 1 to {LONGEST_TAG} characters, as in ["nightly"]'
    if not isinstance(value, list | tuple):
        raise refused("tags", value, allowed)
    found = tuple(dict.fromkeys([check_name("tags", tag) for tag in value]))
    if len(found) > MOST_TAGS:
        raise refused("tags", value, allowed)
    for tag in found:
        if not 0 < len(tag) <= LONGEST_TAG:
            raise refused("tags", tag, allowed)
    return found


def check_tenant(value: object) -> str:
    """Return the name of a tenant, or refuse it.

    Raises
    ------
    InvalidInputError
    """
    allowed = f"a text of 1 to {LONGEST_TAG} characters without /"
    name = normal_name(check_text("tenant", value, allowed=allowed))
    if "/" in name or not 0 < len(name) <= LONGEST_TAG:
        raise refused("tenant", value, allowed)
    return name


def normal_name(name: str) -> str:
    """Return a name in the form NFKC, in which Python reads names in source: U+00B5, the micro sign, becomes U+03BC.

    Names that look the same are then the same, whatever the keyboard or the file gave.
    """
    return name if name.isascii() else unicodedata.normalize("NFKC", name)


def normal_names(
    field: str, given: Mapping[str, Any], error: type[InvalidInputError] = InvalidInputError
) -> Mapping[str, Any]:
    """Return a mapping with its names in their normal form.

    Raises
    ------
    InvalidInputError
        Or the given kind of it, if two of them become one.
    """
    if all(isinstance(name, str) and name.isascii() for name in given):  # nearly always
        return given
    found: dict[str, Any] = {}
    for name, value in given.items():
        normal = normal_name(name) if isinstance(name, str) else name
        if normal in found:
            raise error(
                f"{field} has two names that are one in the form NFKC, {brief(normal)}; leave one out",
                field=normal,
                value=name,
            )
        found[normal] = value
    return found


def check_word(field: str, value: object, allowed: Sequence[str]) -> None:
    """Refuse what is not one of the allowed words, naming the nearest.

    Raises
    ------
    InvalidInputError
    """
    if not (isinstance(value, str) and value in allowed):
        raise refused(field, value, one_of(allowed, value if isinstance(value, str) else ""))
