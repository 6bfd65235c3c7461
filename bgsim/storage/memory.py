"""A store in memory: for engines without a file."""

from __future__ import annotations

import json
import threading

from bgsim.parameters import ResultKey
from bgsim.storage.base import DEFAULT_MAX_BYTES, Columns, OnStored, Store, StoredResult, now_text
from bgsim.storage.slots import SlotPair, place


class _Held:
    __slots__ = ("columns", "created_at", "key", "used_at")

    def __init__(self, key: ResultKey, columns: Columns) -> None:
        self.key = key
        self.columns = columns
        self.created_at = self.used_at = now_text()

    @property
    def replicates(self) -> int:
        return len(next(iter(self.columns.values())))

    @property
    def nbytes(self) -> int:
        return sum(column.nbytes for column in self.columns.values())


class MemoryStore(Store):
    """Results in a dictionary, bounded by their size; gone with the process.

    Parameters
    ----------
    max_storage_bytes : int
        Beyond it the least recently used results go, never those in a slot nor the last one stored.
    """

    def __init__(self, max_storage_bytes: int = DEFAULT_MAX_BYTES) -> None:
        self.max_storage_bytes = max_storage_bytes
        self._lock = threading.Lock()  # guards both; nothing is called under it
        self._held: dict[str, _Held] = {}  # the last used last
        self._slots: dict[str, SlotPair] = {}

    def find(self, key: ResultKey) -> int:
        with self._lock:
            held = self._get(key)
            return held.replicates if held else 0

    def load(self, key: ResultKey, replicates: int) -> Columns | None:
        with self._lock:
            held = self._get(key)
            if held is None:
                return None
            self._held[key.hash] = self._held.pop(key.hash)
            held.used_at = now_text()
            return {name: column[:replicates] for name, column in held.columns.items()}

    def store(
        self,
        key: ResultKey,
        columns: Columns,
        *,
        workspace: str | None = None,
        on_stored: OnStored | None = None,
    ) -> None:
        for column in columns.values():
            column.flags.writeable = False
        new = _Held(key, columns)
        with self._lock:
            old = self._get(key)
            if old is None or old.replicates < new.replicates:
                self._held.pop(key.hash, None)
                self._held[key.hash] = new
            if workspace is not None:
                self._place(key, new.replicates, workspace)
            self._evict(key.hash)
        if on_stored is not None:
            on_stored(None)

    def place(self, key: ResultKey, replicates: int, workspace: str) -> None:
        with self._lock:
            if self._get(key) is not None:
                self._place(key, replicates, workspace)

    def slots(self, workspace: str) -> SlotPair:
        with self._lock:
            return self._slots.get(workspace, SlotPair())

    def workspaces(self) -> list[str]:
        with self._lock:
            return sorted(self._slots)

    def results(self) -> list[StoredResult]:
        with self._lock:
            held = list(reversed(self._held.values()))
        return [
            StoredResult(
                h.key.hash,
                h.key.simulation,
                h.key.seed,
                json.loads(h.key.parameters.to_json()),
                h.replicates,
                h.nbytes,
                h.created_at,
                h.used_at,
            )
            for h in held
        ]

    def delete(self, result_hash: str) -> bool:
        with self._lock:
            for workspace, pair in list(self._slots.items()):
                kept = [s for s in (pair.primary, pair.secondary) if s is not None and s.hash != result_hash]
                self._slots[workspace] = SlotPair(*kept)
                if not kept:
                    del self._slots[workspace]
            return self._held.pop(result_hash, None) is not None

    def flush(self) -> None:
        """Do nothing: storing is done when it returns."""

    def close(self) -> None:
        """Do nothing."""

    @property
    def location(self) -> str:
        return "memory"

    def __repr__(self) -> str:
        return f"<MemoryStore: {len(self._held)} results>"

    def _get(self, key: ResultKey) -> _Held | None:
        held = self._held.get(key.hash)
        return held if held is not None and held.key.identity == key.identity else None

    def _place(self, key: ResultKey, replicates: int, workspace: str) -> None:
        self._slots[workspace] = place(self._slots.get(workspace, SlotPair()), key.hash, replicates, now_text())

    def _evict(self, newest: str) -> None:
        total = sum(held.nbytes for held in self._held.values())
        if total <= self.max_storage_bytes:
            return
        pinned = {s.hash for pair in self._slots.values() for s in (pair.primary, pair.secondary) if s} | {newest}
        for result_hash in list(self._held):
            if total <= self.max_storage_bytes:
                return
            if result_hash not in pinned:
                total -= self._held.pop(result_hash).nbytes
