"""The contract of a store, kept by the one in a file, the one in memory, and the smallest one that can be written."""

from __future__ import annotations

from pathlib import Path

from store_dict import DictStore

from bgsim.storage import MemoryStore, ResultStore, Store
from bgsim.testing.stores import HistoryContract, JournalContract, StoreContract


class InFile:
    def make_store(self, tmp_path: Path) -> Store:
        return ResultStore(tmp_path / "s.db")


class InMemory:
    def make_store(self, tmp_path: Path) -> Store:
        return MemoryStore()


class InDict:
    def make_store(self, tmp_path: Path) -> Store:
        return DictStore()


class TestFile(InFile, StoreContract):
    pass


class TestFileJournal(InFile, JournalContract):
    pass


class TestFileHistory(InFile, HistoryContract):
    pass


class TestMemory(InMemory, StoreContract):
    pass


class TestMemoryJournal(InMemory, JournalContract):
    pass


class TestMemoryHistory(InMemory, HistoryContract):
    pass


class TestDict(InDict, StoreContract):
    pass


class TestDictJournal(InDict, JournalContract):
    pass


class TestDictHistory(InDict, HistoryContract):
    pass


def test_a_store_has_ten_methods_of_its_own() -> None:
    """To add one breaks every store that users have written."""
    names = "count load store delete results slots workspaces change_slots flush close"
    assert Store.__abstractmethods__ == frozenset(names.split())
