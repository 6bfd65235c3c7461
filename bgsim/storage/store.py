"""The store in a SQLite file: one writer thread, readers that never wait for it.

::

    store() ──encode in the caller's thread──> backlog ──writer thread, one transaction a group──> file ──> on_stored
    load() ──> slots in memory, else the reader's connection ──> decode

The writer commits everything that has piled up at once (group commit), each result in a savepoint of its own, so that
one that fails fails alone. Reads are short and see whole transactions.
"""

from __future__ import annotations

import json
import math
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from bgsim.errors import DamagedResultError, StoreError
from bgsim.parameters import ParameterSet, ResultKey
from bgsim.storage.base import (
    DEFAULT_MAX_AGE_S,
    DEFAULT_MAX_BYTES,
    Columns,
    OnStored,
    Store,
    StoredResult,
    now_text,
)
from bgsim.storage.codec import MAX_BLOCK_BYTES, Block, decode_block, encode_block
from bgsim.storage.database import connect, open_database
from bgsim.storage.slots import Slot, SlotPair, pair_of, place

if TYPE_CHECKING:
    from numpy.typing import NDArray

BACKLOG_BYTES = 256 * 2**20
"""`ResultStore.store` waits while more than this is waiting to be written."""

_Blocks: TypeAlias = list[tuple[int, str, int, Block, bytes]]
"""First replicate, column name, its position, description, bytes."""


@dataclass(slots=True)
class _Task:
    """Something for the writer: run it in a savepoint, then say how it went."""

    work: Callable[[sqlite3.Connection], None]
    done: OnStored
    size_bytes: int = 0


class ResultStore(Store):
    """Results in one SQLite file, shared by threads and processes.

    Parameters
    ----------
    path : path-like
        Made when there is none.
    max_storage_bytes : int
        Of stored results; beyond it the least recently used go, never those in a slot nor the last one stored.
    max_age_s : float
        Results not used for so long go as well.

    Raises
    ------
    StoreError
        If the file cannot be used; see `bgsim.storage.database.open_database`.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        max_storage_bytes: int = DEFAULT_MAX_BYTES,
        max_age_s: float = DEFAULT_MAX_AGE_S,
    ) -> None:
        self.path = Path(path).expanduser().absolute()
        self.max_storage_bytes = max_storage_bytes
        self.max_age_s = max_age_s
        self.damaged = 0
        """Blocks that failed their checksum since the store was opened."""
        self._connection = open_database(self.path)
        # Guards `_reader` and `_in_slots`; SQLite is called under it, the writer never takes it.
        self._read_lock = threading.Lock()
        self._reader = connect(self.path)
        self._in_slots: dict[str, tuple[str, Columns]] = {}  # hash -> identity, columns; of slots used here
        # Guards the backlog and the three below it; a leaf.
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._backlog: deque[_Task] = deque()
        self._backlog_bytes = 0
        self._used: dict[str, str] = {}  # hash -> time of a load that is not written down yet
        self._closing = False
        self._writer = threading.Thread(target=self._write, name="bgsim-store", daemon=True)
        self._writer.start()

    # ---- reading -------------------------------------------------------------------------------------

    def find(self, key: ResultKey) -> int:
        with self._reading() as reader:
            row = reader.execute("SELECT identity, replicates FROM results WHERE hash = ?", (key.hash,)).fetchone()
        return row[1] if row is not None and row[0] == key.identity else 0

    def load(self, key: ResultKey, replicates: int) -> Columns | None:
        with self._lock:
            self._used[key.hash] = now_text()
        with self._reading() as reader:
            identity, columns = self._in_slots.get(key.hash, ("", {}))
            if identity == key.identity and _length(columns) >= replicates:
                return {name: column[:replicates] for name, column in columns.items()}
            row = reader.execute("SELECT identity FROM results WHERE hash = ?", (key.hash,)).fetchone()
            if row is None or row[0] != key.identity:
                return None
            rows = reader.execute(
                "SELECT first, name, dtype, shape, filter, raw_bytes, checksum, data FROM blocks "
                "WHERE hash = ? AND first < ? ORDER BY position, first",
                (key.hash, replicates),
            ).fetchall()
        try:
            return _join(rows, replicates)
        except DamagedResultError:
            self.damaged += 1
            self.delete(key.hash)
            return None

    def slots(self, workspace: str) -> SlotPair:
        with self._reading() as reader:
            return _read_slots(reader, workspace)

    def workspaces(self) -> list[str]:
        with self._reading() as reader:
            return [row[0] for row in reader.execute("SELECT DISTINCT workspace FROM slots ORDER BY 1")]

    def results(self) -> list[StoredResult]:
        from sqlite_utils import Database  # noqa: PLC0415 - costs more than NumPy to import

        with self._reading() as reader:
            rows = list(Database(reader).query("SELECT * FROM stored_results"))
        return [
            StoredResult(
                **{
                    **row,
                    "seed": int(row["seed"]),
                    "parameters": ParameterSet.values_from_json(row["parameters"]),
                }
            )
            for row in rows
        ]

    @property
    def location(self) -> str:
        return str(self.path)

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with self._read_lock:
            if self._closing:
                raise StoreError(f"the store {self.path} is closed")
            try:
                yield self._reader
            except sqlite3.Error as error:
                raise StoreError(f"the store {self.path} cannot be read: {error}") from error

    # ---- writing -------------------------------------------------------------------------------------

    def store(
        self,
        key: ResultKey,
        columns: Columns,
        *,
        workspace: str | None = None,
        on_stored: OnStored | None = None,
    ) -> None:
        done = on_stored or _ignore
        try:
            for column in columns.values():
                column.flags.writeable = False
            first = self.find(key)
            blocks = _split(columns, first)
        except StoreError as error:
            done(error)
            return

        def work(connection: sqlite3.Connection) -> None:
            self._write_result(connection, key, columns, first, blocks)
            if workspace is not None:
                self._write_slot(connection, key, _length(columns), workspace)

        def stored(error: Exception | None) -> None:
            if error is None and workspace is not None:
                self._keep_in_memory(key, columns)
            done(error)

        self._submit(_Task(work, stored, sum(len(block[4]) for block in blocks)))

    def place(self, key: ResultKey, replicates: int, workspace: str) -> None:
        def work(connection: sqlite3.Connection) -> None:
            if connection.execute("SELECT 1 FROM results WHERE hash = ?", (key.hash,)).fetchone():
                self._write_slot(connection, key, replicates, workspace)

        self._submit(_Task(work, _ignore))

    def delete(self, result_hash: str) -> bool:
        found: list[int] = []

        def work(connection: sqlite3.Connection) -> None:
            found.append(connection.execute("DELETE FROM results WHERE hash = ?", (result_hash,)).rowcount)

        self._run(work)
        with self._read_lock:
            self._in_slots.pop(result_hash, None)
        return found[0] > 0

    def cleanup(self) -> int:
        """Delete what is too old or too much, give the space back, and return how many results went."""
        removed: list[int] = []
        self._run(lambda connection: removed.append(self._evict(connection, "")))
        return removed[0]

    def flush(self) -> None:
        self._run(lambda _: None)

    def close(self) -> None:
        with self._lock:
            if self._closing:
                return
            self._closing = True
            self._changed.notify_all()
        if self._writer is not threading.current_thread():
            self._writer.join()

    def __repr__(self) -> str:
        return f"<ResultStore {self.path}>"

    def _run(self, work: Callable[[sqlite3.Connection], None]) -> None:
        """Have the writer do something, and wait for it."""
        finished = threading.Event()
        failed: list[Exception] = []

        def done(error: Exception | None) -> None:
            if error is not None:
                failed.append(error)
            finished.set()

        self._submit(_Task(work, done))
        finished.wait()
        if failed:
            raise failed[0]

    def _submit(self, task: _Task) -> None:
        with self._lock:
            while self._backlog_bytes > BACKLOG_BYTES and not self._closing:
                self._changed.wait()
            if not self._closing:
                self._backlog.append(task)
                self._backlog_bytes += task.size_bytes
                self._changed.notify_all()
                return
        task.done(StoreError(f"the store {self.path} is closed"))

    # ---- the writer thread ---------------------------------------------------------------------------

    def _write(self) -> None:
        while True:
            with self._lock:
                while not self._backlog and not self._closing:
                    self._changed.wait()
                tasks = list(self._backlog)
                self._backlog.clear()
                used, self._used = self._used, {}
                if not tasks and not used:
                    break
            errors = self._commit(tasks, used)
            with self._lock:
                self._backlog_bytes -= sum(task.size_bytes for task in tasks)
                self._changed.notify_all()
            for task, error in zip(tasks, errors, strict=True):
                task.done(error)
        with self._read_lock:
            self._reader.close()
        self._connection.close()

    def _commit(self, tasks: list[_Task], used: dict[str, str]) -> list[Exception | None]:
        """Do the tasks in one transaction; return an error or None for each."""
        connection = self._connection
        errors: list[Exception | None] = []
        try:
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany("UPDATE results SET used_at = ? WHERE hash = ?", [(t, h) for h, t in used.items()])
            for task in tasks:
                errors.append(self._in_savepoint(task))
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            failure = StoreError(f"the store {self.path} cannot be written: {error}")
            failure.__cause__ = error
            return [failure] * len(tasks)
        return errors

    def _in_savepoint(self, task: _Task) -> Exception | None:
        self._connection.execute("SAVEPOINT task")
        try:
            task.work(self._connection)
        except Exception as error:  # whatever it is, it is this task's, and the writer goes on
            if not self._connection.in_transaction:
                raise  # SQLite has rolled everything back: a full disk, say
            self._connection.execute("ROLLBACK TO task")
            if isinstance(error, StoreError):
                return error
            failure = StoreError(f"the store {self.path} cannot take this: {error}")
            failure.__cause__ = error
            return failure
        finally:
            if self._connection.in_transaction:
                self._connection.execute("RELEASE task")
        return None

    def _write_result(
        self, connection: sqlite3.Connection, key: ResultKey, columns: Columns, first: int, blocks: _Blocks
    ) -> None:
        replicates = _length(columns)
        row = connection.execute("SELECT identity, replicates FROM results WHERE hash = ?", (key.hash,)).fetchone()
        if row is not None and row[0] != key.identity:
            raise StoreError(f"another result is stored under the hash {key.hash}; it is kept, this one is not stored")
        held = row[1] if row is not None else 0
        if held >= replicates:
            return
        if held != first:  # another process has extended or evicted it since the blocks were made
            blocks = _split(columns, held)
        now = now_text()
        connection.execute(
            "INSERT INTO results VALUES (?, ?, ?, ?, ?, ?, ?, 0, ?, ?) ON CONFLICT (hash) DO UPDATE SET "
            "replicates = excluded.replicates, used_at = excluded.used_at",
            (
                key.hash,
                key.identity,
                key.simulation,
                key.fingerprint,
                str(key.seed),
                key.parameters.to_json(),
                replicates,
                now,
                now,
            ),
        )
        connection.executemany(
            "INSERT INTO blocks VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (key.hash, start, name, position, b.dtype, json.dumps(b.shape), b.filter, b.raw_bytes, b.checksum, data)
                for start, name, position, b, data in blocks
            ],
        )
        connection.execute(
            "UPDATE results SET stored_bytes = stored_bytes + ? WHERE hash = ?",
            (sum(len(block[4]) for block in blocks), key.hash),
        )
        self._evict(connection, key.hash)

    def _write_slot(self, connection: sqlite3.Connection, key: ResultKey, replicates: int, workspace: str) -> None:
        pair = place(_read_slots(connection, workspace), key.hash, replicates, now_text())
        connection.execute("DELETE FROM slots WHERE workspace = ?", (workspace,))
        connection.executemany(
            "INSERT INTO slots VALUES (?, ?, ?, ?, ?)",
            [(workspace, s.hash, s.replicates, s.generation, s.placed_at) for s in (pair.primary, pair.secondary) if s],
        )

    def _evict(self, connection: sqlite3.Connection, newest: str) -> int:
        """Delete the oldest results beyond the limits; return how many."""
        total = connection.execute("SELECT total(stored_bytes) FROM results").fetchone()[0]
        oldest = (datetime.now(UTC) - timedelta(seconds=self.max_age_s)).isoformat(timespec="microseconds")
        rows = connection.execute(
            "SELECT hash, stored_bytes, used_at FROM results "
            "WHERE hash != ? AND hash NOT IN (SELECT hash FROM slots) ORDER BY used_at",
            (newest,),
        )
        removed = []
        for result_hash, size, used_at in rows:
            if total <= self.max_storage_bytes and used_at >= oldest:
                break
            removed.append((result_hash,))
            total -= size
        connection.executemany("DELETE FROM results WHERE hash = ?", removed)
        if removed:
            connection.execute("PRAGMA incremental_vacuum").fetchall()
        return len(removed)

    def _keep_in_memory(self, key: ResultKey, columns: Columns) -> None:
        """Keep a result that a slot points at decoded, and let go of those that no slot points at any more."""
        with self._read_lock:
            if self._closing:
                return
            self._in_slots[key.hash] = (key.identity, columns)
            pinned = {row[0] for row in self._reader.execute("SELECT hash FROM slots")}
            for result_hash in self._in_slots.keys() - pinned:
                del self._in_slots[result_hash]


def _ignore(error: Exception | None) -> None:
    """Take no note: the caller did not ask."""


def _length(columns: Columns) -> int:
    return len(next(iter(columns.values()), ()))


def _split(columns: Columns, first: int) -> _Blocks:
    """Encode what comes after the first replicates, in blocks of at most `MAX_BLOCK_BYTES`."""
    blocks: _Blocks = []
    for position, (name, column) in enumerate(columns.items()):
        row_bytes = max(1, column.dtype.itemsize * math.prod(column.shape[1:]))
        rows = max(1, MAX_BLOCK_BYTES // row_bytes)
        for start in range(first, len(column), rows):
            blocks.append((start, name, position, *encode_block(column[start : start + rows])))
    return blocks


def _join(rows: list[tuple[Any, ...]], replicates: int) -> Columns | None:
    """Decode blocks, ordered by column and first replicate, into columns.

    Raises
    ------
    DamagedResultError
        If one is damaged, or missing between others.
    """
    parts: dict[str, list[NDArray[Any]]] = {}
    for first, name, dtype, shape, kind, raw_bytes, checksum, data in rows:
        pieces = parts.setdefault(name, [])
        if first != sum(map(len, pieces)):
            raise DamagedResultError(f"replicates before {first} of column {name!r} are missing")
        pieces.append(decode_block(Block(dtype, tuple(json.loads(shape)), kind, raw_bytes, checksum), data))
    columns = {
        name: (pieces[0] if len(pieces) == 1 else np.concatenate(pieces))[:replicates] for name, pieces in parts.items()
    }
    if len({len(column) for column in columns.values()}) > 1:
        raise DamagedResultError("columns have different lengths")
    for column in columns.values():
        column.flags.writeable = False
    return columns or None


def _read_slots(connection: sqlite3.Connection, workspace: str) -> SlotPair:
    rows = connection.execute(
        "SELECT hash, replicates, generation, placed_at FROM slots WHERE workspace = ?", (workspace,)
    )
    return pair_of([Slot(*row) for row in rows])
