"""The rows of a damaged file, read page by page: neither SQLite nor anything in the file's schema is asked.

A row is found wherever its own pages are whole, whatever has become of the header, the schema and the inner pages of
the tables; https://www.sqlite.org/fileformat2.html describes them. What the write-ahead log has committed stands in the
place of the file's pages. A row does not say which table it is of; `bgsim.storage.sqlite.salvage` tells by its values.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from bgsim.storage.sqlite import schema

Row: TypeAlias = "tuple[Any, ...]"

_LEAF = 13
"""First byte of a page that holds rows of a table."""

_FREE, _OVERFLOWS = 2, (3, 4)
"""Kinds of pages in the pointer map."""

_FILE_HEADER, _LOG_HEADER, _FRAME_HEADER = 100, 32, 24
_LOG_MAGIC = (0x377F0682, 0x377F0683)
_WORD = 2**32 - 1
_INTEGERS = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}


class Place(NamedTuple):
    """Where a row stands: its page, and the offset in that."""

    page: int
    offset: int


class _BrokenRowError(Exception):
    """A row, or the chain of pages that holds the rest of it, makes no sense."""


_BROKEN = (_BrokenRowError, IndexError, struct.error, UnicodeDecodeError)


class Pages:
    """The pages of a file; to be closed."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        header = self._file.read(_FILE_HEADER)
        stated = int.from_bytes(header[16:18], "big")
        self._size = stated if stated in [2**n for n in range(9, 16)] else schema.PAGE_BYTES
        self._has_map = header[:6] != b"SQLite" or header[52:56] != bytes(4)
        log = Path(f"{path}-wal")
        self._log, logged = _committed(log.read_bytes(), self._size) if log.is_file() else ({}, 0)
        self._count = max(logged, -(-path.stat().st_size // self._size))

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def places(self) -> Iterator[tuple[Place, Row]]:
        """Yield where each row of a table stands, and as many of its first values as its own page holds."""
        for number in range(1, self._count + 1):
            page, begin = self._page(number), _FILE_HEADER if number == 1 else 0
            if page[begin] != _LEAF or not self._is_used(number):
                continue
            cells = int.from_bytes(page[begin + 3 : begin + 5], "big")
            for index in range(min(cells, self._size // 4)):
                at = begin + 8 + 2 * index
                place = Place(number, int.from_bytes(page[at : at + 2], "big"))
                try:
                    yield place, tuple(_values(self._payload(place, whole=False), partly=True))
                except _BROKEN:
                    continue

    def row(self, place: Place) -> Row | None:
        """Return all values of a row, None if it cannot be read."""
        try:
            return tuple(_values(self._payload(place, whole=True)))
        except _BROKEN:
            return None

    def _page(self, number: int) -> bytes:
        if number in self._log:
            return self._log[number]
        self._file.seek((number - 1) * self._size)
        return self._file.read(self._size).ljust(self._size, b"\0")

    def _is_used(self, number: int) -> bool:
        """Tell whether the pointer map calls a page neither free nor the rest of a long row."""
        if not self._has_map or number == 1:
            return True
        each = self._size // 5 + 1
        at = (number - 2) // each * each + 2
        if at == number:
            return False
        kind = self._page(at)[5 * (number - at - 1)]
        return kind != _FREE and kind not in _OVERFLOWS

    def _payload(self, place: Place, *, whole: bool) -> bytes:
        page = self._page(place.page)
        length, at = _varint(page, place.offset)
        _, at = _varint(page, at)  # the row's number
        if length > self._count * self._size:
            raise _BrokenRowError
        local = length
        if length > self._size - 35:
            least = (self._size - 12) * 32 // 255 - 23
            local = least + (length - least) % (self._size - 4)
            local = local if local <= self._size - 35 else least
        found = [page[at : at + local]]
        following, left = int.from_bytes(page[at + local : at + local + 4], "big"), length - local
        while whole and left:
            if not 1 < following <= self._count:
                raise _BrokenRowError
            page = self._page(following)
            found.append(page[4 : 4 + left])
            following, left = int.from_bytes(page[:4], "big"), left - len(found[-1])
        return b"".join(found)


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Return the number that begins there, and where it ends."""
    value = 0
    for index in range(at, at + 8):
        value = value << 7 | data[index] & 127
        if data[index] < 128:
            return value, index + 1
    return value << 8 | data[at + 8], at + 9


def _values(payload: bytes, *, partly: bool = False) -> Iterator[Any]:
    """Yield the values of a row; with `partly` those that are there."""
    end, at = _varint(payload, 0)
    begin = end
    while at < end:
        kind, at = _varint(payload, at)
        size = _INTEGERS.get(kind, 8 if kind == 7 else max(0, (kind - 12) // 2))
        content = payload[begin : begin + size]
        begin += size
        if len(content) < size:
            if partly:
                return
            raise _BrokenRowError
        yield _value(kind, content)


def _value(kind: int, content: bytes) -> Any:
    if kind == 0:
        return None
    if kind in _INTEGERS:
        return int.from_bytes(content, "big", signed=True)
    if kind == 7:
        return struct.unpack(">d", content)[0]
    if kind < 12:
        if kind > 9:
            raise _BrokenRowError
        return kind - 8
    return content.decode() if kind % 2 else content


def _committed(log: bytes, page_size: int) -> tuple[dict[int, bytes], int]:
    """Return the pages that a write-ahead log has committed, and the file's number of pages after them, 0 if none."""
    pages: dict[int, bytes] = {}
    pending: dict[int, bytes] = {}
    count = 0
    if len(log) < _LOG_HEADER:
        return pages, count
    magic, _, size, _ = struct.unpack_from(">4I", log)
    if magic not in _LOG_MAGIC or size != page_size:
        return pages, count
    words = ">" if magic & 1 else "<"
    sums = _sums(log[:24], words, (0, 0))
    if sums != struct.unpack_from(">2I", log, 24):
        return pages, count
    for at in range(_LOG_HEADER, len(log) - _FRAME_HEADER - size + 1, _FRAME_HEADER + size):
        number, after, *said = struct.unpack_from(">6I", log, at)
        content = log[at + _FRAME_HEADER : at + _FRAME_HEADER + size]
        sums = _sums(content, words, _sums(log[at : at + 8], words, sums))
        if log[at + 8 : at + 16] != log[16:24] or sums != tuple(said[2:]):
            break
        pending[number] = content
        if after:
            pages |= pending
            pending, count = {}, after
    return pages, count


def _sums(data: bytes, words: str, sums: tuple[int, int]) -> tuple[int, int]:
    """Go on with a log's two checksums."""
    first, second = sums
    for x, y in struct.iter_unpack(f"{words}2I", data):
        first = (first + x + second) & _WORD
        second = (second + y + first) & _WORD
    return first, second
