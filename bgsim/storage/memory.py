"""A store in memory, for engines without a file."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace as replaced
from itertools import islice
from operator import index
from typing import TYPE_CHECKING, Any

from bgsim.errors import StoreError
from bgsim.parameters.parameter_set import ResultKey
from bgsim.storage.base import DEFAULT_MAX_AGE_S, DEFAULT_MAX_BYTES, OnStored
from bgsim.storage.codec.columns import Columns, checked_columns
from bgsim.storage.limits import LimitedStore, Limits
from bgsim.storage.memory_journal import MemoryJournal
from bgsim.storage.records import Record, StoredResult
from bgsim.storage.reports import CleanupReport
from bgsim.storage.slots import SlotPair, place
from bgsim.storage.times import now_text, time_text

if TYPE_CHECKING:
    from numpy.typing import NDArray

_NOTHING_REMOVED = CleanupReport((), 0)


class _Stored:
    __slots__ = ("_described", "columns", "created_s", "key", "used", "used_s")

    def __init__(self, key: ResultKey | Record, columns: Columns) -> None:
        self.key = key
        self.columns = columns
        self.created_s = self.used_s = time.time()
        self.used = time.monotonic()
        self._described: StoredResult | None = None

    @property
    def replicates(self) -> int:
        return len(next(iter(self.columns.values())))

    @property
    def nbytes(self) -> int:
        return sum([column.nbytes for column in self.columns.values()])

    def use(self) -> None:
        self.used_s = time.time()
        self.used = time.monotonic()

    def described(self, parts: Mapping[str, str]) -> StoredResult:
        """Describe it; first when asked, since that takes longer than storing."""
        if self._described is None:
            record = Record.of(self.key) if isinstance(self.key, ResultKey) else self.key
            self._described = StoredResult.of(record, self.columns, time_text(self.created_s), "")
        record = replaced(self._described.record, parts=parts)
        return replaced(self._described, record=record, used_at=time_text(self.used_s))


class MemoryStore(LimitedStore):
    """Results in a dictionary, bounded by size and age. They end with the process.

    Parameters
    ----------
    max_storage_bytes : int
        Beyond it the least recently used results go, never one in a slot nor the one stored last.
    max_age_s : float
        Results that were last used longer ago go as well.
    """

    def __init__(self, max_storage_bytes: int = DEFAULT_MAX_BYTES, max_age_s: float = DEFAULT_MAX_AGE_S) -> None:
        super().__init__(Limits(max_storage_bytes, max_age_s))
        self.journal = MemoryJournal()
        # Guards all below; nothing but a change of slots is called under it.
        self._lock = threading.Lock()
        self._held: dict[str, _Stored] = {}  # the last used last
        self._total = 0  # bytes of `_held`
        self._results_of: Counter[str] = Counter()  # results in `_held` by fingerprint
        self._parts: dict[str, Mapping[str, str]] = {}  # of these fingerprints, where they are known
        self._slots: dict[str, SlotPair] = {}
        self._closed = False

    # ---- results -------------------------------------------------------------------------------------

    def find(self, key: ResultKey) -> int:
        with self._lock:
            held = self._get(key)
            return held.replicates if held else 0

    def load(self, key: ResultKey | str, replicates: int | None = None) -> Columns | None:
        wanted = None if replicates is None else index(replicates)
        with self._lock:
            held = self._get(key)
            if held is None or (wanted is not None and wanted < 1):
                return None
            self._held[held.key.hash] = self._held.pop(held.key.hash)
            held.use()
            if wanted is None or wanted >= held.replicates:
                return held.columns.copy()
            return held.columns.first(wanted)

    def store(
        self,
        key: ResultKey | Record,
        columns: Mapping[str, NDArray[Any]],
        *,
        workspace: str | None = None,
        held: int | None = None,  # noqa: ARG002 - nothing is encoded
        on_stored: OnStored | None = None,
        finishes: Iterable[str] = (),
    ) -> None:
        error: StoreError | None = None
        try:
            report = self._store(key, checked_columns(columns, self.max_storage_bytes), workspace)
            self._tell(report)
            for request in finishes:
                self.journal.remove(request)
        except StoreError as refused:
            error = refused
        if on_stored is not None:
            on_stored(error)

    def _store(self, key: ResultKey | Record, columns: Columns, workspace: str | None) -> CleanupReport:
        new, result_hash = _Stored(key, columns), key.hash
        with self._lock:
            if self._closed:
                raise StoreError("the store is closed")
            old = self._held.get(result_hash)
            if old is not None and old.key.identity != key.identity:
                raise StoreError(
                    f"another result is stored under the hash {result_hash}; it is kept, this one is not stored"
                )
            if old is None or old.replicates < new.replicates:
                self._results_of[key.fingerprint] += 1
                if old is not None:
                    new.created_s = old.created_s
                    self._drop(result_hash)
                self._held[result_hash] = new
                self._total += new.nbytes
            if key.parts:
                self._parts.setdefault(key.fingerprint, key.parts)
            if workspace is not None:
                pair = self._slots.get(workspace, SlotPair())
                self._slots[workspace] = place(pair, result_hash, new.replicates, now_text())
            return self._evict({result_hash})

    def delete(self, result_hash: str) -> bool:
        with self._lock:
            for workspace, pair in list(self._slots.items()):
                self._set_slots(workspace, SlotPair(*(s for s in pair if s.hash != result_hash)))
            return self._drop(result_hash)

    def results(self) -> list[StoredResult]:
        with self._lock:
            found = [(held, self._parts.get(held.key.fingerprint, {})) for held in reversed(self._held.values())]
        return [held.described(parts) for held, parts in found]

    def get(self, result_hash: str) -> StoredResult | None:
        with self._lock:
            held = self._held.get(result_hash)
            parts = self._parts.get(held.key.fingerprint, {}) if held else {}
        return None if held is None else held.described(parts)

    def size(self) -> tuple[int, int]:
        with self._lock:
            return len(self._held), self._total

    # ---- slots ---------------------------------------------------------------------------------------

    def slots(self, workspace: str) -> SlotPair:
        with self._lock:
            return self._slots.get(workspace, SlotPair())

    def workspaces(self) -> list[str]:
        with self._lock:
            return sorted(self._slots)

    def change_slots(self, workspace: str, change: Callable[[SlotPair], SlotPair]) -> SlotPair:
        with self._lock:
            wanted = change(self._slots.get(workspace, SlotPair()))
            self._set_slots(workspace, SlotPair(*(slot for slot in wanted if slot.hash in self._held)))
            return self._slots.get(workspace, SlotPair())

    # ---- limits and end ------------------------------------------------------------------------------

    def evict(self, keep: Collection[str] = ()) -> CleanupReport:
        with self._lock:
            report = self._evict(keep)
        self._tell(report)
        return report

    def _tell(self, report: CleanupReport) -> None:
        beyond = self._total if self._total > self.max_storage_bytes else 0
        if report.removed or beyond or self._limits.beyond:
            self._limits.tell(report, beyond, self.location)

    def flush(self) -> None:
        """Do nothing: a result is stored when `store` returns."""

    def close(self) -> None:
        """Store no more."""
        with self._lock:
            self._closed = True

    @property
    def location(self) -> str:
        return "memory"

    def __repr__(self) -> str:
        return f"<MemoryStore: {len(self._held)} results>"

    # ---- under the lock ------------------------------------------------------------------------------

    def _get(self, key: ResultKey | str) -> _Stored | None:
        if isinstance(key, str):
            return self._held.get(key)
        held = self._held.get(key.hash)
        return held if held is not None and held.key.identity == key.identity else None

    def _set_slots(self, workspace: str, pair: SlotPair) -> None:
        if pair.primary is None:
            self._slots.pop(workspace, None)
        else:
            self._slots[workspace] = pair

    def _drop(self, result_hash: str) -> bool:
        held = self._held.pop(result_hash, None)
        if held is not None:
            self._total -= held.nbytes
            fingerprint = held.key.fingerprint
            self._results_of[fingerprint] -= 1
            if not self._results_of[fingerprint]:
                del self._results_of[fingerprint]
                self._parts.pop(fingerprint, None)
        return held is not None

    def _evict(self, keep: Collection[str]) -> CleanupReport:
        oldest, excess = time.monotonic() - self.max_age_s, self._total - self.max_storage_bytes
        if excess <= 0 and all(held.used >= oldest for held in islice(self._held.values(), 1)):
            return _NOTHING_REMOVED
        kept = {slot.hash for pair in self._slots.values() for slot in pair}.union(keep)
        aged: list[str] = []
        others: list[str] = []
        size = 0
        for result_hash, held in self._held.items():
            if size >= excess and held.used >= oldest:
                break
            if result_hash not in kept:
                (aged if held.used < oldest else others).append(result_hash)
                size += held.nbytes
        for result_hash in (*aged, *others):
            self._drop(result_hash)
        return self._limits.report(aged, others, size)
