"""The stored results whose parameters may be most like given ones, found without reading the parameters.

Points (`bgsim.storage.points`) give bounds of `bgsim.parameters.parameter_set.similarity`: both are exact for numbers,
texts, flags and members; where lists or arrays differ, anything from 0 to 1 is possible. Only the results whose upper
bound is not below the best lower one are read, at most `MOST`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bgsim.parameters.encoding import to_jsonable
from bgsim.parameters.parameter_set import ParameterSet, similarity
from bgsim.storage.points import COMPOUND, MOST_FIELDS, words_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST = 100
"""Results that are compared value by value."""

_NAN = 0x7FF8 << 48


@dataclass(frozen=True, slots=True)
class Wanted:
    """What stored results are compared with.

    Attributes
    ----------
    text : str
        The parameters, as a `Record` has them.
    simulation, fingerprint : str or None
    seed : int or None
        Among equally similar results this fingerprint, then this seed, count more.
    """

    text: str
    simulation: str | None = None
    fingerprint: str | None = None
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """Results whose parameters have the same names.

    Attributes
    ----------
    names : sequence of str
        Sorted.
    columns : sequence of ndarray of uint64
        The words of the first `MOST_FIELDS` of them.
    same_code, same_seed : ndarray of bool
        Whether they are the wanted ones.
    ids : ndarray of int64
        What the store knows the results by.
    """

    names: Sequence[str]
    columns: Sequence[NDArray[np.uint64]]
    same_code: NDArray[np.bool_]
    same_seed: NDArray[np.bool_]
    ids: NDArray[np.int64]


def words_of_column(values: Sequence[Any]) -> NDArray[np.uint64]:
    """Return the words of one parameter's values."""
    if {float, int}.issuperset(map(type, values)):
        try:
            return np.array(values, float).view(np.uint64)
        except OverflowError:  # an integer
            pass
    known: dict[str, bytes] = {}
    texts = [json.dumps(to_jsonable(value)) for value in values]
    for text in set(texts):
        known[text] = words_of([json.loads(text)])
    return np.frombuffer(b"".join([known[text] for text in texts]), np.uint64)


def nearest(wanted: Wanted, groups: Iterable[Group], last_used: Callable[[set[int]], int]) -> list[int]:
    """Return the ids of the results among which is the most similar one; empty if there are no results.

    Parameters
    ----------
    wanted : Wanted
    groups : iterable of Group
    last_used : callable
        Gets more than one id, and returns the one that was used last.
    """
    raw, values = json.loads(wanted.text), ParameterSet.values_from_json(wanted.text)
    found = [(group, *_bounds(raw, values, group)) for group in groups if len(group.ids)]
    if not found:
        return []
    ids = np.concatenate([group.ids for group, _, _ in found])
    lower = np.concatenate([low for _, low, _ in found])
    upper = np.concatenate([high for _, _, high in found])
    code = np.concatenate([group.same_code for group, _, _ in found])
    seed = np.concatenate([group.same_seed for group, _, _ in found])
    chosen = np.flatnonzero(upper >= lower.max())
    order = np.lexsort((~seed[chosen], ~code[chosen], -lower[chosen], -upper[chosen]))
    chosen = chosen[order]
    first = chosen[0]
    ties = chosen[
        (upper[chosen] == upper[first])
        & (lower[chosen] == lower[first])
        & (code[chosen] == code[first])
        & (seed[chosen] == seed[first])
    ]
    best = int(ids[first]) if len(ties) == 1 else last_used(set(ids[ties].tolist()))
    if (upper[chosen] == lower[chosen]).all():
        return [best]
    return list(dict.fromkeys([best, *ids[chosen[:MOST]].tolist()]))[:MOST]


def _bounds(
    raw: Mapping[str, Any], values: Mapping[str, Any], group: Group
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the lower and upper bounds of the similarities; summed as `similarity` sums them."""
    lower, upper = np.zeros(len(group.ids)), np.zeros(len(group.ids))
    for position, name in enumerate(group.names):
        if name not in raw:
            continue
        if position >= MOST_FIELDS:
            upper += 1.0
            continue
        low, high = _alike(raw[name], values[name], group.columns[position])
        lower += low
        upper += high
    count = len(raw.keys() | set(group.names))
    if not count:
        return lower + 1.0, upper + 1.0
    return lower / count, upper / count


def _alike(raw: Any, value: Any, words: NDArray[np.uint64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    word = int.from_bytes(words_of([raw]), "little")
    number = np.array([word], np.uint64).view(float)[0]
    if not np.isnan(number):
        stored = words.view(float)
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            distance = np.abs(number - stored) / np.maximum(np.abs(number), np.abs(stored))
        distance[stored == number] = 0.0
        exact = 1.0 - np.clip(np.nan_to_num(distance, nan=1.0), 0.0, 1.0)
        return exact, exact
    if word == _NAN:
        nothing = np.zeros(len(words))
        return nothing, nothing
    equal = (words == word) * similarity({"": value}, {"": value})
    if not word & COMPOUND:
        return equal, equal
    is_compound = (words >> np.uint64(50)) == np.uint64(word >> 50)
    return equal, np.where(is_compound & (words != word), 1.0, equal)
