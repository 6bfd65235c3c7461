"""Results kept by parameter hash, in a SQLite file or in memory, with two slots a workspace.

``base`` says what a store does; ``store`` is the one in a file, ``memory`` the other. ``columns``, ``records`` and
``reports`` are what goes in and comes out.

Of the file: ``file`` is the file in use, ``writer`` the thread that writes, ``readers`` are the connections that read.
``database`` opens it, ``forks`` closes it while the process forks, ``schema`` has its tables, ``tables`` what is done
to them, ``bulk`` many rows with one statement, ``upkeep`` what is done at every commit. ``loading`` and ``segments``
turn rows into columns and back, ``codec`` into bytes, with ``filters``, and on all cores with ``parallel``. ``check``
reads everything, ``salvage`` saves what is left of a damaged file.

``journal`` says what is kept of requests; ``file_journal`` and ``memory_journal`` keep it, ``journal_tables`` has the
statements, ``owners`` tells who is alive.

Of both: ``slots`` says which results the slots point at, ``compare`` compares them, ``explain`` says why a request is
answered or not, ``transfer`` takes results out and in.
"""

from bgsim.storage.base import Store
from bgsim.storage.codec.columns import Columns, checked_columns
from bgsim.storage.journal import DeadLetter, Journal, PendingRequest, ScheduledRequest
from bgsim.storage.memory import MemoryStore
from bgsim.storage.memory_journal import MemoryJournal
from bgsim.storage.records import Record, StoredResult
from bgsim.storage.slots import Slot, SlotPair
from bgsim.storage.sqlite.salvage import read_store
from bgsim.storage.sqlite.store import ResultStore
from bgsim.storage.transfer import register_reader

register_reader(b"SQLite format 3\0", read_store)

__all__ = [
    "Columns",
    "DeadLetter",
    "Journal",
    "MemoryJournal",
    "MemoryStore",
    "PendingRequest",
    "Record",
    "ResultStore",
    "ScheduledRequest",
    "Slot",
    "SlotPair",
    "Store",
    "StoredResult",
    "checked_columns",
]
