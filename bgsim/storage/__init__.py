"""Results by parameter hash, in a SQLite file or in memory, with two slots a workspace.

``base`` defines a store; ``memory`` is the one without a file. ``records`` describes results, ``slots`` places them,
``reports`` says what a clean-up or a check found, ``limits`` what a store may keep. ``opening`` opens the one that an
engine is given. ``large_values`` keeps large parameters apart, ``points`` and ``nearest`` find similar ones.
``questions`` has what people ask a store: ``finding`` says which results are meant, ``listing`` shows them,
``loaded`` makes one what a job returns, ``explain`` says why a request hits or misses.
``transfer`` exports and imports, by ``npz`` for that kind of file and ``tally_arrays`` for summaries in it.
``journal`` defines the journal of requests, ``memory_journal`` keeps it without a file, ``owners`` tells which
engines live. ``history`` defines the history of jobs, with tokens, deliveries and an audit log; ``history_schema``
has its tables, ``history_tables`` the statements, ``sql_history`` the methods, ``memory_history`` keeps it without a
file. ``rows`` reads rows of any values as dataclasses, ``bulk`` writes many at once.

``codec`` turns columns into blocks of bytes: ``columns``, ``segments``, ``codec``, ``tallies``, ``filters``,
``parallel``.

``sqlite`` is the store in a file. ``store`` has its methods; ``file`` the file in use, ``writer`` the thread that
writes, ``readers`` the connections that read, ``upkeep`` the end of each transaction. ``file_journal`` and
``file_history`` collect what need not be waited for. ``database`` opens files, ``schema`` makes and migrates them,
``forks`` closes them while the process forks. ``tables``, ``journal_tables``, ``loading``, ``listings``, ``search``,
``values`` and ``eviction`` have the statements. ``check`` reads everything, ``salvage`` saves what it can read of a
damaged file. ``permissions`` keeps what is beside a file as private.
"""

from bgsim.storage.base import Store
from bgsim.storage.codec.columns import Columns, checked_columns, kinds
from bgsim.storage.journal import DeadLetter, Journal, PendingRequest, ScheduledRequest
from bgsim.storage.memory import MemoryStore
from bgsim.storage.memory_journal import MemoryJournal
from bgsim.storage.opening import open_store
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
    "kinds",
    "open_store",
]


def __dir__() -> list[str]:
    return __all__
