"""Large values of parameters, kept once for all that use them.

Parameters are JSON by name. Where one of their values is large, a store keeps a reference instead, and the value itself
under its digest::

    {"strike": 90.0, "data": {"__array__": "<f8", ...}}    the whole text, as `Record.parameters` has it
    {"strike": 90.0, "data": {"__value__": "3f2a..."}}     the short text, as a store keeps it

No value of a parameter is written as such an object, and inside of a JSON string its quotes would be escaped.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable

LARGE = 1024
"""Characters of JSON from which a value is kept apart."""

MARK = '{"__value__": "'
"""Begins a reference."""

_REFERENCE = re.compile(re.escape(MARK) + r'([0-9a-f]{64})"\}')


def shortened(text: str) -> tuple[str, dict[str, str]]:
    """Return the short text of parameters, and the large values by their digests.

    What is no object in JSON, as bgsim writes it, is returned as it is.
    """
    if len(text) < LARGE and MARK not in text:
        return text, {}
    values: dict[str, str] = {}
    try:
        short = json.dumps({name: _reference(value, values) for name, value in json.loads(text).items()})
    except (ValueError, AttributeError, RecursionError):
        return text, {}
    return (short, values) if whole(short, values.__getitem__) == text else (text, {})


def _reference(value: object, values: dict[str, str]) -> object:
    """Return a value, or a reference to it if it is large or looks like one."""
    if isinstance(value, int | float):
        return value
    text = json.dumps(value)
    if len(text) < LARGE and MARK not in text:
        return value
    digest = hashlib.sha256(text.encode()).hexdigest()
    values[digest] = text
    return {"__value__": digest}


def whole(short: str, find: Callable[[str], str]) -> str:
    """Return the whole text of parameters.

    Parameters
    ----------
    short : str
    find : callable
        Returns the value of a digest, or raises a KeyError.

    Raises
    ------
    KeyError
        If a value is missing.
    """
    if MARK not in short:
        return short
    return _REFERENCE.sub(lambda found: find(found[1]), short)


def digests(short: str) -> list[str]:
    """Return the digests that a short text refers to."""
    return _REFERENCE.findall(short) if MARK in short else []


class SharedValues:
    """Large values in memory, each with the number of its uses. The caller keeps threads apart."""

    def __init__(self) -> None:
        self._values: dict[str, str] = {}
        self._uses: dict[str, int] = {}
        self.size_bytes = 0

    def add(self, text: str) -> str:
        """Keep the large values of parameters; return their short text."""
        short, values = shortened(text)
        for digest, value in values.items():
            if digest not in self._values:
                self._values[digest] = value
                self.size_bytes += len(value)
            self._uses[digest] = self._uses.get(digest, 0) + 1
        return short

    def whole(self, short: str) -> str:
        """Return the whole text of parameters that were added."""
        return whole(short, self._values.__getitem__)

    def size_of(self, short: str) -> int:
        """Return the size of the values of these parameters, also if others use them."""
        return sum(len(self._values[digest]) for digest in digests(short))

    def remove(self, short: str) -> None:
        """Note that one use of these parameters has ended."""
        for digest in set(digests(short)):
            self._uses[digest] -= 1
            if not self._uses[digest]:
                del self._uses[digest]
                self.size_bytes -= len(self._values.pop(digest))
