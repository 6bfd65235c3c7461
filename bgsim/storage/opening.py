"""From what a user names as the store of an engine to the store."""

from __future__ import annotations

import os
from pathlib import Path

from bgsim.checks import refused
from bgsim.storage.base import Store
from bgsim.storage.memory import MemoryStore
from bgsim.storage.sqlite.store import ResultStore


def open_store(store: str | Path | Store | None, max_storage_bytes: int, max_age_s: float) -> Store:
    """Return a store as it is, the one in a file, or a new one in memory.

    Raises
    ------
    InvalidInputError, StoreError
    """
    if isinstance(store, Store):
        return store
    if store is None or store in (":memory:", Path(":memory:")):  # the latter as SQLite's users write it
        return MemoryStore(max_storage_bytes, max_age_s)
    if not isinstance(store, str | os.PathLike):
        raise refused("store", store, "a path, a Store, or None for memory")
    return ResultStore(store, max_storage_bytes=max_storage_bytes, max_age_s=max_age_s)
