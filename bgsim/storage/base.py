"""What a store does; `ResultStore` keeps it in a file, `MemoryStore` in memory."""

from __future__ import annotations

import abc
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from bgsim.errors import StoreError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from bgsim.parameters.parameter_set import ResultKey
    from bgsim.simulation import Simulation
    from bgsim.storage.codec.columns import Columns
    from bgsim.storage.compare import Comparison
    from bgsim.storage.explain import Explanation
    from bgsim.storage.journal import Journal
    from bgsim.storage.records import Record, StoredResult
    from bgsim.storage.reports import CheckReport, CleanupReport
    from bgsim.storage.slots import SlotPair

OnStored: TypeAlias = Callable[[Exception | None], None]
"""Called in the store's thread when a result is durable, or with the error."""

DEFAULT_MAX_BYTES = 2**30
DEFAULT_MAX_AGE_S = 7 * 24 * 3600.0


class Store(abc.ABC):
    """Results by parameter hash, and two slots a workspace. Any thread may call any method.

    A result is stored from replicate 0 on and grows; what is stored never changes, since a replicate is a function of
    the key. Results that a slot points at, and the one stored last, are never evicted.

    Attributes
    ----------
    max_storage_bytes : int
        Of stored results.
    journal : Journal
        What was asked for and has not ended, and what has failed.
    """

    max_storage_bytes: int
    journal: Journal

    # ---- results -------------------------------------------------------------------------------------

    @abc.abstractmethod
    def find(self, key: ResultKey) -> int:
        """Return how many replicates of a result are stored, 0 if none. Costs microseconds."""

    @abc.abstractmethod
    def load(self, key: ResultKey | str, replicates: int | None = None) -> Columns | None:
        """Return the first `replicates` of a result, or as many as there are; None if there are none.

        The arrays are read-only and may be shared; `Columns.versions` says what computed them. A result that turns out
        to be damaged is set aside, and none.

        Parameters
        ----------
        key : ResultKey or str
            A whole parameter hash will do.
        replicates : int, optional
            All of them by default.
        """

    @abc.abstractmethod
    def parts(self, fingerprint: str) -> dict[str, str]:
        """Return what a stored result's fingerprint was made of: the label of each dependency, and a short hash of it.

        It is empty for a fingerprint of which no result is stored, or whose results were stored without it.
        """

    @abc.abstractmethod
    def store(
        self,
        key: ResultKey | Record,
        columns: Mapping[str, NDArray[Any]],
        *,
        workspace: str | None = None,
        held: int | None = None,
        on_stored: OnStored | None = None,
        finishes: Iterable[str] = (),
    ) -> None:
        """Store a result, or what is new of it, and place it in the workspace's primary slot.

        Returns when the work is handed over, which may wait for earlier work; `on_stored` says when it is durable.

        Parameters
        ----------
        key : ResultKey or Record
            Its `parts` are kept as long as the store has a result of its fingerprint.
        columns : Columns or dict of str to ndarray
            From replicate 0 on; must not change any more. The versions of a plain dict's rows are unknown.
        workspace : str, optional
            None places it in no slot.
        held : int, optional
            How many of them are stored, as far as the caller knows: then the store need not look before it encodes the
            others. It may be wrong by now.
        on_stored : callable, optional
            Gets None, or the error; called once, in another thread or before this returns.
        finishes : iterable of str
            Requests that end with this result: they leave the journal in the commit that stores it. If it cannot be
            stored, they are still there.
        """

    @abc.abstractmethod
    def results(self) -> list[StoredResult]:
        """Return what is stored, the last used first."""

    @abc.abstractmethod
    def size(self) -> tuple[int, int]:
        """Return how many results are stored, and how many bytes they take."""

    @abc.abstractmethod
    def get(self, result_hash: str) -> StoredResult | None:
        """Return what is stored under a parameter hash, without its columns."""

    @abc.abstractmethod
    def delete(self, result_hash: str) -> bool:
        """Delete a result, from its slots too; return whether it was there."""

    # ---- slots ---------------------------------------------------------------------------------------

    @abc.abstractmethod
    def place(self, key: ResultKey, replicates: int, workspace: str) -> None:
        """Place a stored result in the workspace's primary slot: so many replicates were asked for again."""

    @abc.abstractmethod
    def slots(self, workspace: str) -> SlotPair:
        """Return the workspace's slots."""

    @abc.abstractmethod
    def workspaces(self) -> list[str]:
        """Return the names of the workspaces that have a slot in use."""

    @abc.abstractmethod
    def swap(self, workspace: str) -> SlotPair:
        """Exchange primary and secondary slot, if both are in use; return the slots."""

    @abc.abstractmethod
    def clear(self, workspace: str) -> int:
        """Empty the workspace's slots; return how many were in use. The results stay, and may be evicted now."""

    # ---- care ----------------------------------------------------------------------------------------

    @abc.abstractmethod
    def cleanup(self) -> CleanupReport:
        """Delete what is too old or too much, give the space back, and say what went."""

    @abc.abstractmethod
    def check(self, *, repair: bool = False) -> CheckReport:
        """Read everything and say what is wrong; with `repair`, remove that and keep the rest."""

    @abc.abstractmethod
    def flush(self) -> None:
        """Return when everything handed over before is durable."""

    @abc.abstractmethod
    def close(self) -> None:
        """Flush and let go of the file; more than once does nothing."""

    @property
    @abc.abstractmethod
    def location(self) -> str:
        """Where it is, for people."""

    # ---- made of the above ---------------------------------------------------------------------------

    def compare(self, workspace: str, *, confidence: float = 0.95) -> Comparison:
        """Compare the workspace's slots: parameters, and the differences of the outputs' means.

        See `bgsim.storage.compare.compare_slots`.
        """
        from bgsim.storage.compare import compare_slots  # noqa: PLC0415 - for those who ask

        return compare_slots(self, workspace, confidence=confidence)

    def most_similar(
        self, parameters: Any, *, simulation: Simulation | str | None = None
    ) -> tuple[StoredResult, float] | None:
        """Return the stored result whose parameters are most like these, and how alike, from 0 to 1; None if none.

        See `bgsim.storage.explain.most_similar`.
        """
        from bgsim.storage.explain import most_similar  # noqa: PLC0415 - for those who ask

        return most_similar(self.results(), parameters, simulation)

    def explain(self, simulation: Simulation, parameters: Any = None, *, replicates: int, seed: int = 0) -> Explanation:
        """Say whether a request would be answered, cut, extended or computed, and why.

        See `bgsim.storage.explain.explain`.
        """
        from bgsim.storage.explain import explain  # noqa: PLC0415 - for those who ask

        return explain(self, simulation, parameters, replicates, seed)

    def export(self, result_hash: str, path: str | Path) -> None:
        """Write a result to a ``.npz``, ``.csv`` or ``.parquet`` file; see `bgsim.storage.transfer.export_result`."""
        from bgsim.storage.transfer import export_result  # noqa: PLC0415 - for those who ask

        export_result(self, result_hash, path)

    def import_(self, path: str | Path) -> list[str]:
        """Take in an exported ``.npz`` file, or all of another store's file; return the hashes.

        See `bgsim.storage.transfer.import_results`.
        """
        from bgsim.storage.transfer import import_results  # noqa: PLC0415 - for those who ask

        return import_results(self, path)

    def resolve(self, prefix: str) -> str:
        """Return the one stored hash that begins with these digits.

        Raises
        ------
        StoreError
            If there is none, or more than one.
        """
        found = [r.hash for r in self.results() if r.hash.startswith(prefix.lower())] if prefix else []
        if len(found) != 1:
            raise StoreError(
                f"{len(found) or 'no'} stored results begin with {prefix!r} in {self.location}; "
                + ("give more digits" if found else "`bgsim store ls` lists them")
            )
        return found[0]
