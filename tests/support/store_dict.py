"""The smallest store that can be written: a dictionary, and what every store has to write itself."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from operator import index

from bgsim.errors import StoreError
from bgsim.parameters.parameter_set import ResultKey
from bgsim.storage import Columns, MemoryJournal, Record, SlotPair, Store, StoredResult, checked_columns, kinds
from bgsim.storage.slots import place
from bgsim.storage.times import now_text


@dataclass
class Kept:
    record: Record
    columns: Columns
    created_at: str
    used_at: str

    @property
    def replicates(self) -> int:
        return len(next(iter(self.columns.values())))


class DictStore(Store):
    """A store in the methods of its own that every store has, and no others."""

    def __init__(self, **limits: float) -> None:
        vars(self).update(limits)
        self.lock = threading.RLock()
        self.kept: dict[str, Kept] = {}  # the last used last
        self.pairs: dict[str, SlotPair] = {}
        self.closed = False
        self.journal = MemoryJournal()

    def count(self, key):
        kept = self.kept.get(key.hash)
        return kept.replicates if kept and kept.record.identity == key.identity else 0

    def load(self, key, replicates=None):
        wanted = None if replicates is None else index(replicates)
        result_hash = key if isinstance(key, str) else key.hash
        with self.lock:
            if result_hash not in self.kept or (wanted is not None and wanted < 1):
                return None
            kept = self.kept[result_hash]
            if not isinstance(key, str) and kept.record.identity != key.identity:
                return None
            self.kept[result_hash] = self.kept.pop(result_hash)
            kept.used_at = now_text()
            return kept.columns.first(min(wanted or 2**62, kept.replicates)) or None

    def store(self, key, columns, *, workspace=None, held=None, on_stored=None, finishes=()):
        error = None
        try:
            with self.lock:
                self.add(key, checked_columns(columns, self.max_storage_bytes))
                if workspace is not None:
                    count, at = len(next(iter(columns.values()))), now_text()
                    self.change_slots(workspace, lambda pair: place(pair, key.hash, count, at))
                self.evict({key.hash})
            for request in finishes:
                self.journal.remove(request)
        except StoreError as refused:
            error = refused
        if on_stored:
            on_stored(error)

    def add(self, key, columns) -> None:
        old, new = self.kept.get(key.hash), Record.of(key) if isinstance(key, ResultKey) else key
        if self.closed:
            raise StoreError("the store is closed")
        if old and old.record.identity != key.identity:
            raise StoreError(f"another result is stored under the hash {key.hash}")
        other = old and kinds(old.columns) != kinds(columns)
        if other and not isinstance(key, ResultKey):
            raise StoreError(f"result {key.hash} is stored with other columns")
        self.kept.pop(key.hash, None)
        self.kept[key.hash] = kept = Kept(new, columns, now_text(), now_text())
        if old and not other:
            kept.created_at = old.created_at
            kept.columns = old.columns if old.replicates >= kept.replicates else columns
        parts = new.parts or next((k.record.parts for k in self.same_code(key) if k.record.parts), {})
        for kept in self.same_code(key):
            kept.record = replace(kept.record, parts=parts)

    def same_code(self, key):
        return [kept for kept in self.kept.values() if kept.record.fingerprint == key.fingerprint]

    def delete(self, result_hash):
        with self.lock:
            found = self.kept.pop(result_hash, None)
            for workspace in self.workspaces():
                self.change_slots(workspace, lambda pair: pair)
            return found is not None

    def results(self):
        with self.lock:
            kept = list(reversed(self.kept.values()))
        return [StoredResult.of(k.record, k.columns, k.created_at, k.used_at) for k in kept]

    def slots(self, workspace):
        return self.pairs.get(workspace, SlotPair())

    def workspaces(self):
        return sorted(self.pairs)

    def change_slots(self, workspace, change):
        with self.lock:
            pair = SlotPair(*(slot for slot in change(self.slots(workspace)) if slot.hash in self.kept))
            self.pairs[workspace] = pair
            if pair.primary is None:
                del self.pairs[workspace]
            return pair

    def flush(self):
        pass

    def close(self):
        self.closed = True
