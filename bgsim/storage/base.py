"""What a store does. `ResultStore` keeps results in a file, `MemoryStore` in memory.

A store has ten methods of its own: `count`, `load`, `store`, `delete`, `results`, `slots`, `workspaces`,
`change_slots`, `flush` and `close`; and a `journal`. `Store` builds the rest on them, and a store overrides what it can
do faster.
`bgsim.testing.stores` has the tests that every store passes.

The columns of a result are arrays, or, if it keeps a summary and no rows, `TallyColumn`s. To a store a `TallyColumn` is
much like an array: it has ``len``, ``shape``, ``dtype`` and ``nbytes``, and does not change. It is kept and loaded by
its `segments`, each with `first`, `count` and a `tally`. A tally is bytes by ``tally.to_bytes()``, and a tally again by
``Tally.from_bytes(dtype, shape, data)``, or by that of `PairTally` for a column of two outputs; it is never cut. So the
first n replicates are those segments that lie within them: `Columns.first` returns them, as it cuts arrays.
"""

from __future__ import annotations

import abc
import math
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

from bgsim.checks import NotPicklable, check_file_path, check_text
from bgsim.errors import StoreError
from bgsim.parameters.parameter_set import ResultKey
from bgsim.storage import slots as slot_pairs
from bgsim.storage.questions import Questions
from bgsim.storage.reports import CheckReport, CleanupReport
from bgsim.storage.slots import SlotPair
from bgsim.storage.times import now_text, time_text

if TYPE_CHECKING:
    from pathlib import Path

    from bgsim.storage.codec.columns import Columns
    from bgsim.storage.history import History
    from bgsim.storage.journal import Journal
    from bgsim.storage.records import Record, StoredResult

OnStored: TypeAlias = Callable[[Exception | None], None]
"""Called with None when a result is durable, or with the error; in any thread."""

DEFAULT_MAX_BYTES = 2**30
DEFAULT_MAX_AGE_S = math.inf


class Store(Questions, NotPicklable, abc.ABC):
    """Results by parameter hash, and two slots a workspace. Any thread may call any method.

    A result is stored from replicate 0 on and grows. A stored replicate never changes, since it is a function of the
    key. A store never evicts a result that a slot points at, nor the one stored last.

    Attributes
    ----------
    max_storage_bytes : int
        Of all that is stored; beyond it the least recently used results go.
    max_age_s : float
        A result that was last used longer ago goes as well; infinite by default.
    journal : Journal
        The requests that have not ended, those that have failed, and schedules. `MemoryJournal` keeps them in memory.
    history : History
        Jobs also after their end, and what a service keeps; by default in memory.
    """

    instead = "open the same file in each process: ResultStore(path)"

    journal: Journal
    max_storage_bytes: int = DEFAULT_MAX_BYTES
    max_age_s: float = DEFAULT_MAX_AGE_S

    @cached_property
    def history(self) -> History:
        """Jobs also after their end, and what a service keeps."""
        from bgsim.storage.memory_history import MemoryHistory  # noqa: PLC0415 - imports sqlite3; few stores need one

        found: History = vars(self).setdefault("history", MemoryHistory())  # one, also for threads that ask at once
        return found

    # ---- results -------------------------------------------------------------------------------------

    @abc.abstractmethod
    def count(self, key: ResultKey) -> int:
        """Return how many replicates of a result are stored, 0 if none. Takes microseconds.

        Of a summary it is how many are covered; fewer of them can be loaded only up to where a tally ends.
        """

    @abc.abstractmethod
    def load(self, key: ResultKey | str, replicates: int | None = None) -> Columns | None:
        """Return the first `replicates` of a result, or as many as there are; None if there are none.

        The arrays are read-only and may be shared; `Columns.versions` says what computed them. A damaged result is
        set aside, and None is returned. Loading a result uses it, for `max_age_s`.

        Of a summary, the tallies that lie within the first `replicates` are returned, which may cover fewer; None if
        there are none. They are shared, and nobody changes them.

        Parameters
        ----------
        key : ResultKey or str
            Or its whole parameter hash.
        replicates : int, optional
            All of them by default.
        """

    @abc.abstractmethod
    def store(
        self,
        key: ResultKey | Record,
        columns: Mapping[str, Any],
        *,
        workspace: str | None = None,
        held: int | None = None,
        on_stored: OnStored | None = None,
        finishes: Iterable[str] = (),
    ) -> None:
        """Store a result, or the new replicates of it, and place it in the workspace's primary slot.

        Returns when the work is handed over, which may wait for earlier work; `on_stored` says when it is durable.

        If columns of other names, dtypes or shapes are stored, or rows instead of a summary, those that come with a
        `ResultKey` have just been computed and replace them, however many there are; those that come with a `Record`
        are refused with a `StoreError`. `bgsim.storage.kinds` compares them.

        Tallies that cover more than is stored follow the stored ones if one of them ends where those do, else they
        replace them; tallies that cover no more change nothing.

        Parameters
        ----------
        key : ResultKey or Record
            The store keeps its `parts` while it has a result of its fingerprint.
        columns : Columns or dict of str to ndarray or TallyColumn
            From replicate 0 on; must not change any more. The versions of a plain dict's rows are unknown.
        workspace : str, optional
            None places it in no slot.
        held : int, optional
            How many of them the caller believes to be stored, so that the store encodes only the others. It may be
            wrong.
        on_stored : callable, optional
            Gets None, or the error; called once, in another thread or before this returns.
        finishes : iterable of str
            Requests that end with this result: they leave the journal in the commit that stores it, and stay in it if
            the result cannot be stored.
        """

    @abc.abstractmethod
    def delete(self, result_hash: str) -> bool:
        """Delete a result, from its slots too; return whether it was there."""

    @abc.abstractmethod
    def results(self) -> list[StoredResult]:
        """Return what is stored, the last used first; each record with the parts of its fingerprint."""

    # ---- slots ---------------------------------------------------------------------------------------

    @abc.abstractmethod
    def slots(self, workspace: str) -> SlotPair:
        """Return the workspace's slots."""

    @abc.abstractmethod
    def workspaces(self) -> list[str]:
        """Return the names of the workspaces that have a slot in use, sorted."""

    @abc.abstractmethod
    def change_slots(self, workspace: str, change: Callable[[SlotPair], SlotPair]) -> SlotPair:
        """Replace the workspace's slots by what a function makes of them; return the new ones.

        No other change of these slots comes between. Slots of results that are not stored are left out.

        Parameters
        ----------
        workspace : str
        change : callable
            Must not use the store; may be called more than once.
        """

    # ---- end -----------------------------------------------------------------------------------------

    @abc.abstractmethod
    def flush(self) -> None:
        """Return when everything handed over before is durable."""

    @abc.abstractmethod
    def close(self) -> None:
        """Flush, and refuse what comes later; closing again does nothing."""

    # ---- built on these; a store overrides what it can do faster -------------------------------------

    @property
    def location(self) -> str:
        """Where the results are, for people."""
        return type(self).__name__

    @property
    def permissions(self) -> int:
        """Those that a file made of it has at most."""
        return 0o666

    def get(self, result_hash: str) -> StoredResult | None:
        """Return what is stored under a parameter hash, without its columns."""
        check_text("result_hash", result_hash)
        return next((result for result in self.results() if result.hash == result_hash), None)

    @property
    def evicted(self) -> int:
        """Number of results that the limits have removed since the store was opened."""
        return 0

    def alerts(self) -> tuple[str, ...]:
        """Return a sentence for each thing that needs attention, such as a limit that cannot be kept."""
        return ()

    def size(self) -> tuple[int, int]:
        """Return how many results are stored, and how many bytes they take."""
        sizes = [result.stored_bytes for result in self.results()]
        return len(sizes), sum(sizes)

    def parts(self, fingerprint: str) -> dict[str, str]:
        """Return what a stored result's fingerprint was made of: the label of each dependency, and a short hash of it.

        Empty if no result of the fingerprint is stored, or if all were stored without it.
        """
        check_text("fingerprint", fingerprint)
        records = (result.record for result in self.results() if result.record.fingerprint == fingerprint)
        return next((dict(record.parts) for record in records if record.parts), {})

    def place(self, key: ResultKey, replicates: int, workspace: str) -> None:
        """Place a stored result, of which a request wants these replicates, in the workspace's primary slot."""
        stored = self.count(key)
        if stored:
            placed = key.hash, min(replicates, stored), now_text()
            self.change_slots(workspace, lambda pair: slot_pairs.place(pair, *placed))

    def swap(self, workspace: str) -> SlotPair:
        """Exchange primary and secondary slot, if both are in use; return the slots."""
        return self.change_slots(workspace, lambda pair: slot_pairs.swap(pair, now_text()))

    def clear(self, workspace: str) -> int:
        """Empty the workspace's slots; return how many were in use. The results stay, and may be evicted now."""
        before = SlotPair()

        def change(pair: SlotPair) -> SlotPair:
            nonlocal before
            before = pair
            return SlotPair()

        self.change_slots(workspace, change)
        return len(list(before))

    def evict(self, keep: Collection[str] = ()) -> CleanupReport:
        """Delete what is beyond the limits, the least recently used first, and say what went.

        Results that a slot points at stay, and so do those whose hashes are in `keep`. A store does this at the end of
        `store`, and keeps the new result.
        """
        kept = {slot.hash for workspace in self.workspaces() for slot in self.slots(workspace)} | set(keep)
        oldest = time_text(max(0.0, time.time() - self.max_age_s))
        results = self.results()
        total, before = (sum(result.stored_bytes for result in results),) * 2
        removed = []
        for result in reversed(results):
            if total <= self.max_storage_bytes and result.used_at >= oldest:
                break
            if result.hash not in kept and self.delete(result.hash):
                removed.append(result.hash)
                total -= result.stored_bytes
        return CleanupReport(tuple(removed), before - total)

    def cleanup(self) -> CleanupReport:
        """Delete what is beyond the limits, give the space back, and say what went."""
        return self.evict()

    def check(self, *, repair: bool = False) -> CheckReport:  # noqa: ARG002 - for stores that may be damaged
        """Read everything and say what is wrong; with `repair`, remove that and keep the rest.

        A store that nothing can damage counts its results and columns.
        """
        results = self.results()
        return CheckReport(len(results), sum(len(result.summary) for result in results))

    def export(self, result_hash: str, path: str | Path) -> None:
        """Write a result to a ``.npz``, ``.csv`` or ``.parquet`` file; see `bgsim.storage.transfer.write_result`.

        Raises
        ------
        StoreError
            If the result is not there.
        """
        from bgsim.storage.transfer import check_suffix, write_result  # noqa: PLC0415 - most callers never export

        check_suffix(target := check_file_path("path", path))
        check_text("result_hash", result_hash)
        result, columns = self.get(result_hash), self.load(result_hash)
        if result is None or columns is None:
            raise StoreError(f"there is no result {result_hash} in {self.location}")
        try:
            write_result(target, result.record, columns, self.permissions)
        except OSError as error:
            raise StoreError(f"{target} cannot be written: {error.strerror or error}") from error

    def import_(self, path: str | Path) -> list[str]:
        """Take in an exported ``.npz`` file, or all of another store's file; return the hashes.

        A result that is stored already stays, and grows if the file has more of it.

        Raises
        ------
        StoreError
            If the file is neither, or cannot be stored.
        """
        from bgsim.storage.transfer import read_results  # noqa: PLC0415 - most callers never import

        errors: list[Exception] = []
        hashes = []
        for record, columns in read_results(check_file_path("path", path), self.max_storage_bytes):
            self.store(record, columns, on_stored=lambda error: errors.append(error) if error else None)
            hashes.append(record.hash)
        self.flush()
        if errors:
            raise errors[0]
        return hashes

    def resolve(self, prefix: str) -> str:
        """Return the one stored hash that begins with these digits.

        Raises
        ------
        StoreError
            If there is none, or more than one.
        """
        check_text("prefix", prefix)
        found = [r.hash for r in self.results() if r.hash.startswith(prefix.lower())] if prefix else []
        if len(found) != 1:
            raise StoreError(
                f"{len(found) or 'no'} stored results begin with {prefix!r} in {self.location}; "
                + ("give more digits" if found else "`bgsim store ls` lists them")
            )
        return found[0]
