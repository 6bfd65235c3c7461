"""Results kept by parameter hash, in a SQLite file or in memory, with two slots a workspace.

``base`` says what a store does; ``store`` is the file, ``memory`` the other; ``database`` opens the file, ``codec``
turns columns into bytes, ``slots`` says which result a slot points at.
"""

from bgsim.storage.base import Columns, Store, StoredResult
from bgsim.storage.memory import MemoryStore
from bgsim.storage.slots import Slot, SlotPair
from bgsim.storage.store import ResultStore

__all__ = ["Columns", "MemoryStore", "ResultStore", "Slot", "SlotPair", "Store", "StoredResult"]
