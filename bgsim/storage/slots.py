"""The dual slots: each workspace points at its newest result and the one before, and both stay decoded."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

from bgsim.errors import StoreError
from bgsim.storage.codec.columns import Columns, is_cut_at, kinds
from bgsim.storage.times import ago
from bgsim.tables import Table, Tabular
from bgsim.threads.locks import Lock

MEMORY_BYTES = 512 * 2**20
"""Decoded results that are held for the slots; beyond it the least recently used are read from the file again."""

VALID_S = 0.01
"""A held result is looked up in the file this long after the last look-up, which takes as long as six hits."""


@dataclass(frozen=True, slots=True)
class Slot:
    """One of a workspace's two pointers.

    Attributes
    ----------
    hash : str
        Parameter hash of the result that it points at, and so pins.
    replicates : int
        That were asked for.
    generation : int
        Counts the workspace's placements; the higher of the two is the primary slot.
    placed_at : str
        ISO-8601, UTC.
    """

    hash: str
    replicates: int
    generation: int
    placed_at: str


@dataclass(frozen=True, slots=True, repr=False)
class SlotPair(Tabular):
    """The slots of a workspace; either may be empty."""

    primary: Slot | None = None
    secondary: Slot | None = None

    def __iter__(self) -> Iterator[Slot]:
        """Iterate over those in use, the primary first."""
        return (slot for slot in (self.primary, self.secondary) if slot is not None)

    def _table(self) -> Table:
        rows = []
        for name, slot in (("primary", self.primary), ("secondary", self.secondary)):
            cells = ("empty", None, None) if slot is None else (slot.hash[:12], slot.replicates, ago(slot.placed_at))
            rows.append((name, *cells))
        return Table(("slot", "result", "replicates", "placed"), rows)


def pair_of(slots: Sequence[Slot]) -> SlotPair:
    """Return the two newest slots as a pair."""
    newest_first = sorted(slots, key=lambda slot: -slot.generation)
    return SlotPair(*newest_first[:2])


def place(pair: SlotPair, result_hash: str, replicates: int, placed_at: str) -> SlotPair:
    """Return the pair after a result was placed.

    A slot that points at this result is refreshed; otherwise the older one is overwritten. The result is then in the
    primary slot, and the other result of the pair in the secondary.
    """
    generation = pair.primary.generation + 1 if pair.primary else 1
    new = Slot(result_hash, replicates, generation, placed_at)
    if pair.primary is not None and pair.primary.hash == result_hash:
        return SlotPair(new, pair.secondary)
    return SlotPair(new, pair.primary)


def swap(pair: SlotPair, placed_at: str) -> SlotPair:
    """Return the pair with its slots exchanged, or as it is if one is empty."""
    if pair.primary is None or pair.secondary is None:
        return pair
    return place(pair, pair.secondary.hash, pair.secondary.replicates, placed_at)


@dataclass(slots=True)
class _Decoded:
    identity: str
    replicates: int
    columns: Columns
    valid_until: float = -math.inf  # by the clock; later it is looked up before it is served


class SlotCache:
    """The decoded columns of results that slots point at. Any thread may call any method.

    Another process may delete a result, which may take up to `VALID_S` to be noticed: a held result is looked up again
    after that time. If the file is gone or locked, the held result is served: the parameters still give it.

    Parameters
    ----------
    is_stored : callable
        Tells whether the file has a result, or raises a `StoreError`; called without a lock.
    max_bytes : int
    clock : callable
        Seconds; monotonic.
    """

    def __init__(
        self,
        is_stored: Callable[[str], bool],
        max_bytes: int = MEMORY_BYTES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._is_stored = is_stored
        self._max_bytes = max_bytes
        self._clock = clock
        # Guards all below; nothing is called under it.
        self._lock = Lock()
        self._held: dict[str, _Decoded] = {}  # by hash; last used last
        self._pinned: Collection[str] = ()

    def get(self, result_hash: str, identity: str | None, replicates: int | None) -> Columns | None:
        """Return a result's first replicates, if they are held; None asks for all that are stored, which are not."""
        held = self._held.get(result_hash)  # a plain read needs no lock
        if held is None or (identity is not None and held.identity != identity):
            return None
        if replicates is None or not 0 < replicates <= held.replicates or not is_cut_at(held.columns, replicates):
            return None
        now = self._clock()
        if now >= held.valid_until:
            if not self._look_up(result_hash):
                self.drop(result_hash)
                return None
            held.valid_until = now + VALID_S
        with self._lock:
            if result_hash in self._held:
                self._held[result_hash] = self._held.pop(result_hash)
        if replicates == held.replicates:
            return held.columns.copy()
        return held.columns.first(replicates)

    def _look_up(self, result_hash: str) -> bool:
        try:
            return self._is_stored(result_hash)
        except StoreError:
            return True

    def put(self, result_hash: str, identity: str, columns: Columns) -> None:
        """Hold a result if a slot points at it, unless more of it is held already."""
        if result_hash not in self._pinned:
            return
        replicates = len(next(iter(columns.values())))
        with self._lock:
            held = self._held.get(result_hash)
            if result_hash in self._pinned and (
                held is None
                or held.identity != identity
                or held.replicates < replicates
                or kinds(held.columns) != kinds(columns)
            ):
                self._held.pop(result_hash, None)
                self._held[result_hash] = _Decoded(identity, replicates, columns.copy())
                self._shrink()

    def pin(self, hashes: Collection[str]) -> None:
        """Set the results that slots point at, and drop all others."""
        with self._lock:
            self._pinned = frozenset(hashes)
            for result_hash in self._held.keys() - self._pinned:
                del self._held[result_hash]

    def drop_other(self, result_hash: str, columns: Columns) -> None:
        """Hold a result no longer if columns of other names, dtypes or shapes have just been stored."""
        held = self._held.get(result_hash)
        if held is not None and kinds(held.columns) != kinds(columns):
            self.drop(result_hash)

    def drop(self, result_hash: str) -> None:
        """Hold a result no longer."""
        with self._lock:
            self._held.pop(result_hash, None)

    def _shrink(self) -> None:
        size = sum(_size(held.columns) for held in self._held.values())
        while size > self._max_bytes:
            size -= _size(self._held.pop(next(iter(self._held))).columns)


def _size(columns: Columns) -> int:
    return sum(column.nbytes for column in columns.values())
