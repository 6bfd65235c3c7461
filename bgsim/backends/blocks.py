"""Control blocks in a file that processes of one host map: an order reaches a kernel of another process at once."""

from __future__ import annotations

import mmap
import os
import secrets
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bgsim.control import Control
from bgsim.threads.locks import Lock

_BYTES = 64
"""Of a block; the first of a file is its token."""


class BlockAddress(NamedTuple):
    """Where a block is, for another process.

    Attributes
    ----------
    path, token : str
        The file, and what it begins with: on another host the path may lead to something else.
    number : int
    """

    path: str
    token: str
    number: int


class Blocks:
    """A file of control blocks.

    Parameters
    ----------
    count : int
    """

    def __init__(self, count: int) -> None:
        folder = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        file, self._path = tempfile.mkstemp(prefix="bgsim-", suffix=".blocks", dir=folder)
        self._token = secrets.token_hex(_BYTES // 2)
        try:
            os.write(file, self._token.encode() + bytes(count * _BYTES))
            self._map = mmap.mmap(file, 0)
        finally:
            os.close(file)

    def block(self, number: int) -> Control:
        """Return a block of this process's mapping."""
        return _block(self._map, number)

    def place(self, number: int) -> BlockAddress:
        """Return where another process finds it."""
        return BlockAddress(self._path, self._token, number)

    def close(self) -> None:
        """Delete the file; who has mapped it keeps it."""
        with suppress(OSError):
            Path(self._path).unlink()


_maps: dict[tuple[str, str], mmap.mmap] = {}
_lock = Lock()


def attached(place: BlockAddress) -> Control | None:
    """Return a block that another process has made; None if that is not on this host."""
    with _lock:
        found = _maps.get(place[:2])
        if found is None:
            found = _opened(place)
            if found is None:
                return None
            _maps[place[:2]] = found
    return _block(found, place.number)


def _opened(place: BlockAddress) -> mmap.mmap | None:
    try:
        with open(place.path, "r+b") as file:  # noqa: PTH123 - mmap takes its number
            found = mmap.mmap(file.fileno(), 0)
    except (OSError, ValueError):
        return None
    return found if found[:_BYTES].decode("ascii", "replace") == place.token else None


def _block(mapped: mmap.mmap, number: int) -> Control:
    start = (1 + number) * _BYTES
    return np.frombuffer(mapped, np.int64, _BYTES // 8, start)
