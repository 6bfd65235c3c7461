"""What a store does; `ResultStore` keeps it in a file, `MemoryStore` in memory."""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bgsim.parameters import ResultKey
    from bgsim.storage.slots import SlotPair

Columns: TypeAlias = "dict[str, NDArray[Any]]"
"""Output name to values, in the order of the outputs; the first axis is the replicates, from 0 on."""

OnStored: TypeAlias = Callable[[Exception | None], None]
"""Called in the store's thread when a result is durable, or with the error."""

DEFAULT_MAX_BYTES = 2**30
DEFAULT_MAX_AGE_S = 7 * 24 * 3600.0


@dataclass(frozen=True, slots=True)
class StoredResult:
    """What a store holds of one result, without its columns.

    Attributes
    ----------
    hash, simulation : str
    seed : int
    parameters : mapping
        As plain values.
    replicates : int
        From 0 on.
    stored_bytes : int
    created_at, used_at : str
        ISO-8601, UTC.
    """

    hash: str
    simulation: str
    seed: int
    parameters: Mapping[str, Any]
    replicates: int
    stored_bytes: int
    created_at: str
    used_at: str


class Store(abc.ABC):
    """Results by parameter hash, and two slots a workspace. Any thread may call any method.

    A result is stored from replicate 0 on and grows; what is stored never changes, since a replicate is a function of
    the key. Results that a slot points at, and the one stored last, are never evicted.
    """

    @abc.abstractmethod
    def find(self, key: ResultKey) -> int:
        """Return how many replicates of a result are stored, 0 if none. Costs microseconds."""

    @abc.abstractmethod
    def load(self, key: ResultKey, replicates: int) -> Columns | None:
        """Return the first `replicates` of a result, or as many as there are; None if there are none.

        The arrays are read-only and may be shared.
        """

    @abc.abstractmethod
    def store(
        self,
        key: ResultKey,
        columns: Columns,
        *,
        workspace: str | None = None,
        on_stored: OnStored | None = None,
    ) -> None:
        """Store a result, or what is new of it, and place it in the workspace's primary slot.

        Returns when the work is handed over, which may wait for earlier work; `on_stored` says when it is durable.

        Parameters
        ----------
        key : ResultKey
        columns : dict of str to ndarray
            From replicate 0 on; must not change any more.
        workspace : str, optional
            None places it in no slot.
        on_stored : callable, optional
            Gets None, or the error; called once, in another thread or before this returns.
        """

    @abc.abstractmethod
    def place(self, key: ResultKey, replicates: int, workspace: str) -> None:
        """Place a stored result in the workspace's primary slot: it was asked for again."""

    @abc.abstractmethod
    def slots(self, workspace: str) -> SlotPair:
        """Return the workspace's slots."""

    @abc.abstractmethod
    def workspaces(self) -> list[str]:
        """Return the names of the workspaces that have a slot in use."""

    @abc.abstractmethod
    def results(self) -> list[StoredResult]:
        """Return what is stored, the last used first."""

    @abc.abstractmethod
    def delete(self, result_hash: str) -> bool:
        """Delete a result, from its slots too; return whether it was there."""

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


def now_text() -> str:
    """Return the time as the store writes it: ISO-8601, UTC, microseconds."""
    return datetime.now(UTC).isoformat(timespec="microseconds")
