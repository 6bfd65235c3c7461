"""A store in memory, for engines without a file."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace as replaced
from itertools import islice
from operator import index
from typing import Any

import numpy as np

from bgsim.checks import check_text
from bgsim.errors import StoreError
from bgsim.parameters.parameter_set import ResultKey
from bgsim.storage.base import DEFAULT_MAX_AGE_S, DEFAULT_MAX_BYTES, OnStored
from bgsim.storage.codec.columns import Columns, checked_columns, kinds, other_columns
from bgsim.storage.finding import Query
from bgsim.storage.large_values import LARGE, SharedValues
from bgsim.storage.limits import LimitedStore, Limits
from bgsim.storage.listing import listing
from bgsim.storage.memory_journal import MemoryJournal
from bgsim.storage.nearest import Group, Wanted, nearest, words_of_column
from bgsim.storage.points import MOST_FIELDS
from bgsim.storage.records import Record, StoredResult
from bgsim.storage.reports import CleanupReport
from bgsim.storage.slots import SlotPair, place
from bgsim.storage.times import now_text, time_text
from bgsim.tables import Listing
from bgsim.threads.locks import Lock

_NOTHING_REMOVED = CleanupReport((), 0)


_RESULT_BYTES, _COLUMN_BYTES, _FIELD_BYTES, _SLOTS_BYTES = 1300, 160, 60, 500
"""What Python's objects take beside the bytes that they hold: measured with tracemalloc."""


class _Stored:
    """A stored result.

    Attributes
    ----------
    key : ResultKey or Record
        A record has the short text of its parameters.
    nbytes : int
        About what it takes, without its large parameters.
    """

    __slots__ = ("columns", "created_s", "key", "nbytes", "used", "used_s")

    def __init__(self, key: ResultKey | Record, columns: Columns) -> None:
        self.key = key
        self.columns = columns
        self.created_s = self.used_s = time.time()
        self.used = time.monotonic()
        self.nbytes = _RESULT_BYTES + sum([column.nbytes + _COLUMN_BYTES for column in columns.values()])
        if isinstance(key, Record):
            self.nbytes += len(key.parameters)
        else:
            self.nbytes += 2 * len(key.parameters.encoding) + _FIELD_BYTES * len(key.parameters)

    @property
    def replicates(self) -> int:
        return len(next(iter(self.columns.values())))

    def use(self) -> None:
        self.used_s = time.time()
        self.used = time.monotonic()

    def described(self, record: Record) -> StoredResult:
        """Describe it, given its whole record."""
        found = StoredResult.of(record, self.columns, time_text(self.created_s), time_text(self.used_s))
        return replaced(found, stored_bytes=self.nbytes)


def _groups(held: Sequence[_Stored], wanted: Wanted) -> Iterator[Group]:
    """Return the results by the names of their parameters; their ids are places in the sequence."""
    places: dict[tuple[str, ...], list[int]] = {}
    seeds = {wanted.seed, str(wanted.seed)}  # of a record it is a text
    values = [_values_of(each.key) for each in held]
    for number, each in enumerate(values):
        places.setdefault(tuple(each), []).append(number)
    for names, found in places.items():
        ordered, keys = sorted(names), [held[n].key for n in found]
        columns = [words_of_column([values[n][name] for n in found]) for name in ordered[:MOST_FIELDS]]
        same_code = same_seed = np.zeros(len(keys), bool)
        if wanted.fingerprint is not None:
            same_code = np.array([key.fingerprint == wanted.fingerprint for key in keys])
            same_seed = np.array([key.seed in seeds for key in keys])
        yield Group(ordered, columns, same_code, same_seed, np.array(found))


def _is_other(old: _Stored, key: ResultKey | Record, columns: Mapping[str, Any], *, is_computed: bool) -> bool:
    """Tell whether a stored result has other columns, which these replace.

    Raises
    ------
    StoreError
        If it is another result, or these were not computed.
    """
    if old.key.identity != key.identity:
        raise StoreError(f"another result is stored under the hash {key.hash}; it is kept, this one is not stored")
    is_other = kinds(old.columns) != kinds(columns)
    if is_other and not is_computed:
        raise other_columns(key.hash)
    return is_other


def _values_of(key: ResultKey | Record) -> Mapping[str, Any]:
    """Return parameters to be encoded; a record's large values as their references."""
    return key.parameters.plain if isinstance(key, ResultKey) else json.loads(key.parameters)


class MemoryStore(LimitedStore):
    """Results in a dictionary, bounded by size and age. They end with the process.

    Parameters
    ----------
    max_storage_bytes : int
        Of the memory that results, their parameters, slots and the journal take; beyond it the least recently used
        results go, never one in a slot nor the one stored last.
    max_age_s : float
        Results that were last used longer ago go as well.
    """

    journal: MemoryJournal

    def __init__(self, max_storage_bytes: int = DEFAULT_MAX_BYTES, max_age_s: float = DEFAULT_MAX_AGE_S) -> None:
        super().__init__(Limits(max_storage_bytes, max_age_s))
        self.journal = MemoryJournal()
        # Guards all below; nothing but a change of slots is called under it.
        self._lock = Lock()
        self._held: dict[str, _Stored] = {}  # the last used last
        self._total = 0  # bytes of `_held`
        self._values = SharedValues()  # large parameters of `_held`
        self._results_of: Counter[str] = Counter()  # results in `_held` by fingerprint
        self._parts: dict[str, Mapping[str, str]] = {}  # of these fingerprints, where they are known
        self._slots: dict[str, SlotPair] = {}
        self._closed = False

    # ---- results -------------------------------------------------------------------------------------

    def count(self, key: ResultKey) -> int:
        held = self._get(key)  # a single step, which needs no lock
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
            return held.columns.first(wanted) or None

    def store(
        self,
        key: ResultKey | Record,
        columns: Mapping[str, Any],
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
        is_computed = isinstance(key, ResultKey)
        if isinstance(key, ResultKey) and len(key.parameters.encoding) >= LARGE:
            key = Record.of(key)  # whose large values are shared
        result_hash, replicates = key.hash, len(next(iter(columns.values())))
        with self._lock:
            if self._closed:
                raise StoreError("the store is closed")
            old = self._held.get(result_hash)
            is_other = old is not None and _is_other(old, key, columns, is_computed=is_computed)
            if old is None or is_other or old.replicates < replicates:
                if isinstance(key, Record):
                    key = replaced(key, parameters=self._values.add(key.parameters))
                new = _Stored(key, columns)
                self._results_of[key.fingerprint] += 1
                if old is not None:
                    new.created_s = old.created_s
                    self._drop(result_hash)
                self._held[result_hash] = new
                self._total += new.nbytes
                if is_other:
                    self._cut_slots(result_hash, replicates)
            if key.parts:
                self._parts.setdefault(key.fingerprint, key.parts)
            if workspace is not None:
                pair = self._slots.get(workspace, SlotPair())
                self._slots[workspace] = place(pair, result_hash, replicates, now_text())
            return self._evict({result_hash})

    def delete(self, result_hash: str) -> bool:
        check_text("result_hash", result_hash)
        with self._lock:
            for workspace, pair in list(self._slots.items()):
                self._set_slots(workspace, SlotPair(*(s for s in pair if s.hash != result_hash)))
            return self._drop(result_hash)

    def results(self) -> Listing[StoredResult]:
        with self._lock:
            found = [(held, self._record(held)) for held in reversed(self._held.values())]
        return listing(held.described(record) for held, record in found)

    def get(self, result_hash: str) -> StoredResult | None:
        check_text("result_hash", result_hash)
        with self._lock:
            held = self._held.get(result_hash)
            record = None if held is None else self._record(held)
        return None if held is None or record is None else held.described(record)

    def find_all(self, query: Query) -> list[StoredResult]:
        with self._lock:
            of_it = [held for held in self._held.values() if query.is_of(held.key.simulation)]
            large = [held for held in of_it if held.replicates >= query.replicates]
            found = [(held, self._record(held)) for held in large if query.seed in (None, int(held.key.seed))]
        query.check_names(name for held in of_it for name in _values_of(held.key))
        found.sort(key=lambda each: each[1].hash)
        found.sort(key=lambda each: time_text(each[0].created_s), reverse=True)
        meant = (
            held.described(record)
            for held, record in found
            if query.is_in_time(time_text(held.created_s)) and query.takes(record.values())
        )
        return list(islice(meant, query.limit))

    def alike(self, wanted: Wanted) -> list[StoredResult]:
        with self._lock:
            held = [h for h in self._held.values() if wanted.simulation in (None, h.key.simulation)]
        chosen = nearest(wanted, _groups(held, wanted), max)
        with self._lock:
            here = [held[n] for n in sorted(chosen, reverse=True) if self._held.get(held[n].key.hash) is held[n]]
            records = [(each, self._record(each)) for each in here]
        return [h.described(record) for h, record in records]

    def size(self) -> tuple[int, int]:
        with self._lock:
            return len(self._held), self._total

    # ---- slots ---------------------------------------------------------------------------------------

    def slots(self, workspace: str) -> SlotPair:
        check_text("workspace", workspace)
        with self._lock:
            return self._slots.get(workspace, SlotPair())

    def workspaces(self) -> list[str]:
        with self._lock:
            return sorted(self._slots)

    def change_slots(self, workspace: str, change: Callable[[SlotPair], SlotPair]) -> SlotPair:
        check_text("workspace", workspace)
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
        beyond = self._total + self._beside() if self._excess() > 0 else 0
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
        if not isinstance(key, ResultKey):
            return self._held.get(check_text("key", key, allowed="a ResultKey or a hash"))
        held = self._held.get(key.hash)
        return held if held is not None and held.key.identity == key.identity else None

    def _set_slots(self, workspace: str, pair: SlotPair) -> None:
        if pair.primary is None:
            self._slots.pop(workspace, None)
        else:
            self._slots[workspace] = pair

    def _cut_slots(self, result_hash: str, replicates: int) -> None:
        for workspace, pair in self._slots.items():
            cut = [s if s.hash != result_hash else replaced(s, replicates=min(s.replicates, replicates)) for s in pair]
            self._slots[workspace] = SlotPair(*cut)

    def _record(self, held: _Stored) -> Record:
        record = Record.of(held.key) if isinstance(held.key, ResultKey) else held.key
        parts = self._parts.get(record.fingerprint, {})
        return replaced(record, parameters=self._values.whole(record.parameters), parts=parts)

    def _drop(self, result_hash: str) -> bool:
        held = self._held.pop(result_hash, None)
        if held is not None:
            self._total -= held.nbytes
            if isinstance(held.key, Record):
                self._values.remove(held.key.parameters)
            fingerprint = held.key.fingerprint
            self._results_of[fingerprint] -= 1
            if not self._results_of[fingerprint]:
                del self._results_of[fingerprint]
                self._parts.pop(fingerprint, None)
        return held is not None

    def _evict(self, keep: Collection[str]) -> CleanupReport:
        oldest, excess = time.monotonic() - self.max_age_s, self._excess()
        if excess <= 0 and all(held.used >= oldest for held in islice(self._held.values(), 1)):
            return _NOTHING_REMOVED
        kept = {slot.hash for pair in self._slots.values() for slot in pair}.union(keep)
        aged: list[str] = []
        others: list[str] = []
        before = self._total
        while found := self._oldest(excess, oldest, kept):
            for result_hash in found:
                (aged if self._held[result_hash].used < oldest else others).append(result_hash)
                self._drop(result_hash)
            excess = self._excess()  # large parameters may be shared with others
        return self._limits.report(aged, others, before - self._total)

    def _oldest(self, excess: int, oldest: float, kept: Collection[str]) -> list[str]:
        """Return results that are too old, and those last used that take at most about these bytes; none is kept."""
        found = []
        for result_hash, held in self._held.items():
            if excess <= 0 and held.used >= oldest:
                break
            if result_hash not in kept:
                found.append(result_hash)
                excess -= held.nbytes
                if isinstance(held.key, Record):
                    excess -= self._values.size_of(held.key.parameters)
        return found

    def _excess(self) -> int:
        return self._total + self._beside() - self.max_storage_bytes

    def _beside(self) -> int:
        """Return the bytes of what is no result: large parameters, slots and the journal."""
        return self._values.size_bytes + _SLOTS_BYTES * len(self._slots) + self.journal.size_bytes
