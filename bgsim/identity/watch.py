"""What an identity was taken from, so that a look at it tells in microseconds whether anything has changed."""

from __future__ import annotations

import hashlib
import types
from collections.abc import Callable, Mapping
from operator import is_
from typing import Any

import numpy as np

ABSENT: Any = type("Absent", (), {"__repr__": lambda _: "nothing"})()
"""The value of a name that is not there."""

SMALL_BYTES = 4096
"""Arrays up to this are kept to be compared, larger ones are hashed."""


class Watch:
    """The values that an identity was taken from.

    `is_unchanged` compares them with what the names hold now, by identity; of what can change in place it compares the
    contents. A change that makes no difference may be reported, never the other way round, with one exception: a large
    array that is read-only and owns its memory is not compared, for as long as it is read-only. No code of the user
    runs, but that of installed classes by which pickling keeps their objects.

    The time is that of a comparison for each name, function and item, and of a hash over each other array above 4 kB.
    """

    __slots__ = ("_cells", "_contents", "_functions", "_names", "_watched")

    def __init__(self) -> None:
        self._names: list[tuple[Mapping[str, Any], str, Any]] = []
        self._functions: list[tuple[types.FunctionType, Any, Any, Any, Any]] = []
        self._cells: list[tuple[types.CellType, Any]] = []
        self._contents: list[tuple[Callable[[Any, Any], bool], Any, Any]] = []
        self._watched: set[tuple[int, str]] = set()  # addresses of spaces, with names

    def name(self, owner: Any, name: str, value: Any) -> None:
        """Watch a name in a dictionary, or of a class; `ABSENT` for one that it does not have."""
        if (id(owner), name) not in self._watched:
            self._watched.add((id(owner), name))
            self._names.append((vars(owner) if isinstance(owner, type) else owner, name, value))

    def function(self, function: types.FunctionType) -> None:
        """Watch a function's code, attributes and defaults; those of its keywords can change in place."""
        space = seen_mapping(function.__dict__) if function.__dict__ else None
        self._functions.append((function, function.__code__, function.__defaults__, function.__kwdefaults__, space))
        if function.__kwdefaults__:
            self.contents(same_mapping, function.__kwdefaults__, seen_mapping(function.__kwdefaults__))

    def cell(self, cell: types.CellType) -> None:
        """Watch a variable of an enclosing function."""
        self._cells.append((cell, contents_of(cell)))

    def contents(self, is_same: Callable[[Any, Any], bool], holder: Any, seen: Any) -> None:
        """Watch an object that can change in place; ``is_same(holder, seen)`` tells whether it has."""
        self._contents.append((is_same, holder, seen))

    def is_unchanged(self) -> bool:
        """Tell whether all of it is as it was. Any thread may call."""
        for names, name, value in self._names:
            if names.get(name, ABSENT) is not value:
                return False
        for function, code, defaults, kwdefaults, space in self._functions:
            if (
                function.__code__ is not code
                or function.__defaults__ is not defaults
                or function.__kwdefaults__ is not kwdefaults
                or (function.__dict__ if space is None else not same_mapping(function.__dict__, space))
            ):
                return False
        for cell, value in self._cells:
            if contents_of(cell) is not value:
                return False
        try:
            for is_same, holder, seen in self._contents:
                if not is_same(holder, seen):
                    return False
        except (RuntimeError, TypeError):  # it changed size while it was looked at, or is of another kind now
            return False
        return True


def contents_of(cell: types.CellType) -> Any:
    """Return what a cell holds, `ABSENT` if nothing yet."""
    try:
        return cell.cell_contents
    except ValueError:
        return ABSENT


def same_items(holder: Any, seen: tuple[Any, ...]) -> bool:
    """Tell whether a list, set or deque has the same items."""
    return len(holder) == len(seen) and all(map(is_, holder, seen))


def same_mapping(holder: Any, seen: tuple[tuple[Any, ...], tuple[Any, ...]]) -> bool:
    """Tell whether a dictionary has the same keys and values, in the same order."""
    return len(holder) == len(seen[0]) and all(map(is_, holder, seen[0])) and all(map(is_, holder.values(), seen[1]))


def seen_mapping(holder: Mapping[Any, Any]) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """Return what `same_mapping` compares with."""
    return tuple(holder), tuple(holder.values())


def same_length(holder: Any, seen: int) -> bool:
    """Tell whether something has as many items."""
    return len(holder) == seen


def same_array(array: np.ndarray, seen: tuple[Any, ...]) -> bool:
    """Tell whether an array has the same elements."""
    return seen_array(array) == seen


def seen_array(array: np.ndarray) -> tuple[Any, ...]:
    """Return what `same_array` compares with: the bytes of a small array, a hash of a larger one."""
    data = array.tobytes() if array.nbytes <= SMALL_BYTES else array_digest(array)
    return array.dtype, array.shape, array.strides, data


def array_digest(array: np.ndarray) -> bytes:
    """Return SHA-256 over an array's elements in C order."""
    whole = np.ascontiguousarray(array).reshape(-1)
    return hashlib.sha256(whole.view(np.uint8).data if whole.size else b"").digest()
