"""Parameters as points, which tell without their JSON how alike two sets are.

A point is made of words of eight bytes, little end first: of the fingerprint, of the seed, and of each of the first
`MOST_FIELDS` parameters by name. A number's word is its double. Any other value's is a NaN with a hash in it: equal
words mean equal values. Results of one simulation whose parameters have the same names have the same *shape*.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Any

from bgsim.storage.large_values import LARGE

MOST_FIELDS = 64

COMPOUND = 1 << 50
"""Set in the word of a list, an array or a complex number: unequal ones may still be alike."""

_OTHER = 0xFFF8 << 48
_HASH = COMPOUND - 1
_WORD = (1 << 64) - 1


def point_of(simulation: str, fingerprint: str, seed: str, short: str) -> tuple[int | None, bytes | None]:
    """Return shape and point of a result; None if its parameters cannot be read.

    Parameters
    ----------
    simulation, fingerprint, seed : str
        As in a `Record`.
    short : str
        The short text of its parameters; see `bgsim.storage.large_values`.
    """
    try:
        values = json.loads(short)
        names, number = tuple(sorted(values)), int(seed)
    except (ValueError, TypeError, RecursionError):
        return None, None
    point = struct.pack("<QQ", code_word(fingerprint), number & _WORD) + words_of([values[n] for n in names])
    return shape_of(simulation, names), point


@lru_cache(maxsize=256)
def shape_of(simulation: str, names: tuple[str, ...]) -> int:
    """Return a number for a simulation and the sorted names of its parameters, as SQLite keeps integers."""
    return int.from_bytes(_digest("\0".join((simulation, *names))), "big", signed=True)


@lru_cache(maxsize=256)
def code_word(fingerprint: str) -> int:
    """Return the word of a fingerprint."""
    return int.from_bytes(_digest(fingerprint), "big")


def words_of(values: Sequence[Any]) -> bytes:
    """Return the words of values as JSON has them."""
    if {float, int}.issuperset(map(type, values)):  # as most are
        with suppress(OverflowError):
            return struct.pack(f"<{min(len(values), MOST_FIELDS)}d", *values[:MOST_FIELDS])
    form, given = "<", []
    for value in values[:MOST_FIELDS]:
        number = _number(value)
        form += "Q" if number is None else "d"
        given.append(_other(value) if number is None else number)
    return struct.pack(form, *given)


def _number(value: Any) -> float | None:
    """Return a value as a double, None if it is no number."""
    if type(value) is dict and value.keys() == {"__float__"}:
        value = float(value["__float__"])
    if type(value) is not float and type(value) is not int:
        return None
    try:
        return float(value)
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")


def _other(value: Any) -> int:
    """Return the word of what is no number."""
    if type(value) is dict and "__enum__" in value:
        value = value["__enum__"]  # a user may give its name
    text = json.dumps(value)
    if len(text) >= LARGE:  # as it stands in a short text
        text = json.dumps({"__value__": hashlib.sha256(text.encode()).hexdigest()})
    digest = int.from_bytes(_digest(text), "big") & _HASH
    is_compound = type(value) is list or (type(value) is dict and "__bytes__" not in value)
    return _OTHER | digest | (COMPOUND if is_compound else 0)


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=8).digest()
