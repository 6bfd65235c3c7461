"""What a store does; `ResultStore` keeps it in a file, `MemoryStore` in memory."""

from __future__ import annotations

import abc
import json
import math
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeAlias

from bgsim.errors import StoreError
from bgsim.parameters import ParameterSet

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from bgsim.parameters import ResultKey
    from bgsim.simulation import Simulation
    from bgsim.storage.compare import Comparison
    from bgsim.storage.explain import Explanation
    from bgsim.storage.journal import Journal
    from bgsim.storage.slots import SlotPair

Columns: TypeAlias = "dict[str, NDArray[Any]]"
"""Output name to values, in the order of the outputs; the first axis is the replicates, from 0 on."""

OnStored: TypeAlias = Callable[[Exception | None], None]
"""Called in the store's thread when a result is durable, or with the error."""

DEFAULT_MAX_BYTES = 2**30
DEFAULT_MAX_AGE_S = 7 * 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Record:
    """What a result is a function of, in the form in which it is kept.

    Attributes
    ----------
    hash, identity, simulation, fingerprint : str
        As in `ResultKey`.
    seed, parameters : str
        Decimal; JSON.
    """

    hash: str
    identity: str
    simulation: str
    fingerprint: str
    seed: str
    parameters: str

    @classmethod
    def of(cls, key: ResultKey) -> Record:
        """Return the record of a key."""
        return cls(key.hash, key.identity, key.simulation, key.fingerprint, str(key.seed), key.parameters.to_json())

    @property
    def row(self) -> tuple[str, ...]:
        """All of it, in this order."""
        return (self.hash, self.identity, self.simulation, self.fingerprint, self.seed, self.parameters)

    @property
    def checksum(self) -> int:
        """CRC-32 of all of it, zero bytes between."""
        return zlib.crc32("\0".join(self.row).encode())

    def values(self) -> dict[str, Any]:
        """Return the parameters as plain values.

        Raises
        ------
        StoreError
            If they are no JSON.
        """
        try:
            return ParameterSet.values_from_json(self.parameters)
        except (ValueError, TypeError, KeyError) as error:
            raise StoreError(f"the parameters of result {self.hash} cannot be read: {error}") from error


@dataclass(frozen=True, slots=True)
class OutputSummary:
    """Statistics of one stored output; None where they say nothing: arrays, complex numbers, structures.

    Attributes
    ----------
    dtype : str
    mean, sd, minimum, maximum : float or None
        Over the replicates; of a boolean output the mean is the proportion.
    """

    dtype: str
    mean: float | None = None
    sd: float | None = None
    minimum: float | None = None
    maximum: float | None = None

    @classmethod
    def of(
        cls,
        dtype: str,
        replicates: int,
        mean: float | None,
        squares: float | None,
        minimum: float | None,
        maximum: float | None,
    ) -> OutputSummary:
        """Return the summary, given the sum of the squared differences from the mean."""
        sd = None if squares is None or replicates < 2 else math.sqrt(squares / (replicates - 1))
        return cls(dtype, mean, sd, minimum, maximum)


@dataclass(frozen=True, slots=True)
class StoredResult:
    """What a store holds of one result, without its columns.

    Attributes
    ----------
    record : Record
    parameters : mapping
        As plain values.
    replicates : int
        From 0 on.
    stored_bytes : int
    created_at, used_at : str
        ISO-8601, UTC.
    summary : mapping of str to OutputSummary
        By output.
    """

    record: Record
    parameters: Mapping[str, Any]
    replicates: int
    stored_bytes: int
    created_at: str
    used_at: str
    summary: Mapping[str, OutputSummary] = field(default_factory=dict)

    @property
    def hash(self) -> str:
        """The parameter hash."""
        return self.record.hash

    @property
    def simulation(self) -> str:
        """The simulation's name."""
        return self.record.simulation

    @property
    def seed(self) -> int:
        """The seed."""
        return int(self.record.seed)

    @property
    def age_s(self) -> float:
        """Seconds since it was first stored."""
        return (datetime.now(UTC) - datetime.fromisoformat(self.created_at)).total_seconds()

    def as_json(self) -> dict[str, Any]:
        """Return all of it as JSON can hold it."""
        return {
            "hash": self.hash,
            "simulation": self.simulation,
            "fingerprint": self.record.fingerprint,
            "seed": self.seed,
            "parameters": json.loads(self.record.parameters),
            "replicates": self.replicates,
            "stored_bytes": self.stored_bytes,
            "created_at": self.created_at,
            "used_at": self.used_at,
            "summary": {
                name: {n: getattr(s, n) for n in ("dtype", "mean", "sd", "minimum", "maximum")}
                for name, s in self.summary.items()
            },
        }


@dataclass(frozen=True, slots=True)
class CleanupReport:
    """What a clean-up removed.

    Attributes
    ----------
    removed : tuple of str
        Hashes.
    removed_bytes : int
        Their stored size.
    file_bytes : int
        By how much the file shrank.
    """

    removed: tuple[str, ...]
    removed_bytes: int
    file_bytes: int = 0


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What a check found.

    Attributes
    ----------
    results, blocks : int
        How many were read and compared with their checksums.
    problems : tuple of str
        What is wrong, a sentence each.
    repaired : tuple of str
        What was done about it.
    """

    results: int
    blocks: int
    problems: tuple[str, ...] = ()
    repaired: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether nothing was wrong."""
        return not self.problems


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

        The arrays are read-only and may be shared. A result that turns out to be damaged is set aside, and none.

        Parameters
        ----------
        key : ResultKey or str
            A whole parameter hash will do.
        replicates : int, optional
            All of them by default.
        """

    @abc.abstractmethod
    def store(
        self,
        key: ResultKey | Record,
        columns: Columns,
        *,
        workspace: str | None = None,
        on_stored: OnStored | None = None,
        finishes: Iterable[str] = (),
    ) -> None:
        """Store a result, or what is new of it, and place it in the workspace's primary slot.

        Returns when the work is handed over, which may wait for earlier work; `on_stored` says when it is durable.

        Parameters
        ----------
        key : ResultKey or Record
        columns : dict of str to ndarray
            From replicate 0 on; must not change any more.
        workspace : str, optional
            None places it in no slot.
        on_stored : callable, optional
            Gets None, or the error; called once, in another thread or before this returns.
        finishes : iterable of str
            Requests that end with this result: they leave the journal in the commit that stores it. If it cannot be
            stored, they are still there.
        """

    @abc.abstractmethod
    def results(self) -> list[StoredResult]:
        """Return what is stored, the last used first."""

    def size(self) -> tuple[int, int]:
        """Return how many results are stored, and how many bytes they take."""
        found = self.results()
        return len(found), sum(result.stored_bytes for result in found)

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


def checked_columns(columns: Columns, max_bytes: int) -> Columns:
    """Return the columns read-only, without memory that they do not use.

    Raises
    ------
    StoreError
        If they cannot be stored: none, of different lengths, empty, of objects, or more than the limit.
    """
    lengths = {len(column) for column in columns.values()}
    if len(lengths) != 1 or 0 in lengths:
        raise StoreError(f"a result needs columns of one length of 1 or more; got the lengths {sorted(lengths)}")
    for name, column in columns.items():
        if column.dtype.hasobject:
            raise StoreError(f"column {name!r} of dtype {column.dtype} cannot be stored; use numbers")
    size = sum(column.nbytes for column in columns.values())
    if size > max_bytes:
        raise StoreError(
            f"a result of {size:,} bytes is larger than max_storage_bytes={max_bytes:,}; raise that, or ask for fewer "
            "replicates"
        )
    found = {}
    for name, column in columns.items():
        base = column.base
        lone = column.copy() if getattr(base, "nbytes", 0) > 2 * column.nbytes + 4096 else column
        lone.flags.writeable = False
        found[name] = lone
    return found
