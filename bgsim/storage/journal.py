"""The journal: requests that have not ended, those that have failed for good, and schedules.

Every store has a journal. After a crash the requests that it interrupted are found there, and one engine alone takes
each over. ``file_journal`` keeps the journal in the store's file, ``memory_journal`` in memory.

An engine registers as an *owner* and gives its heartbeat every few seconds. A request is *interrupted* when its owner
is dead (`bgsim.storage.owners`) or was released.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from bgsim.parameters.nesting import read_json
from bgsim.storage.rows import NO_COLUMN
from bgsim.storage.times import ago
from bgsim.tables import Table, Tabular, in_short

MAX_DEAD_LETTERS = 1000
"""The oldest beyond it go."""

_SHOWN = 100
"""Characters of an error in a table."""


@dataclass(frozen=True, slots=True, repr=False)
class PendingRequest(Tabular):
    """A request that has not ended.

    Attributes
    ----------
    id : str
        Unique for ever.
    simulation : str
        Its name.
    parameters, seed : str
        JSON, and decimal: as a `Record` has them.
    replicates : int
    options : str
        A JSON object: the other arguments of `Engine.submit`.
    submitted_at : str
        ISO-8601, UTC.
    started : bool
        Whether it has started under its present owner.
    crashes : int
        Owners that died while it ran, since its last checkpoint.
    owner : str
    stored : int
        How many of its replicates were in the store at its last checkpoint.
    """

    id: str
    simulation: str
    parameters: str
    seed: str
    replicates: int
    options: str
    submitted_at: str
    started: bool = False
    crashes: int = 0
    owner: str = ""
    stored: int = field(default=0, metadata=NO_COLUMN)

    def __repr__(self) -> str:
        return in_short(f"PendingRequest {self.id}", _what(self))

    def _table(self) -> Table:
        return pending_table([self])


@dataclass(frozen=True, slots=True, repr=False)
class DeadLetter(Tabular):
    """A request that has failed for good.

    Attributes
    ----------
    id, simulation, parameters, seed, replicates, options, submitted_at
        As in `PendingRequest`.
    failed_at : str
        ISO-8601, UTC.
    attempts : str
        A JSON list of objects with ``at``, ``error`` and ``traceback``, the first attempt first.
    """

    id: str
    simulation: str
    parameters: str
    seed: str
    replicates: int
    options: str
    submitted_at: str
    failed_at: str
    attempts: str

    @property
    def error(self) -> str:
        """What the last attempt raised, as a text; empty where that cannot be read."""
        try:
            return str(read_json(self.attempts)[-1]["error"])
        except (ValueError, TypeError, LookupError):
            return ""

    def __repr__(self) -> str:
        return in_short(f"DeadLetter {self.id}", f"{self.error}; {_what(self)}")

    def _table(self) -> Table:
        rows = [("simulation", self.simulation), ("parameters", self.parameters), ("seed", self.seed)]
        return Table((), [*rows, ("failed", ago(self.failed_at)), ("error", self.error)], title=self.id)


@dataclass(frozen=True, slots=True, repr=False)
class ScheduledRequest:
    """A request that is made at due times.

    Attributes
    ----------
    name : str
        Unique in the store.
    simulation, parameters, seed, replicates, options
        As in `PendingRequest`.
    cron, timezone, misfire : str
        When, in which time zone, and what to do about a missed time; the engine gives them their meaning.
    paused : bool
    last_run_at : str or None
        ISO-8601, UTC: the last due time that was run.
    created_at : str
        ISO-8601, UTC.
    """

    name: str
    simulation: str
    parameters: str
    seed: str
    replicates: int
    options: str
    cron: str
    timezone: str
    misfire: str
    paused: bool
    last_run_at: str | None
    created_at: str

    def __repr__(self) -> str:
        return in_short(f"ScheduledRequest {self.name}", f"{self.cron} {self.timezone}, {_what(self)}")


def pending_table(requests: Sequence[PendingRequest]) -> Table:
    """Return a table of requests that have not ended."""
    rows = [
        (r.id, r.simulation.rpartition(".")[2], r.replicates, r.stored, r.crashes, ago(r.submitted_at))
        for r in requests
    ]
    return Table(("request", "simulation", "replicates", "stored", "crashes", "submitted"), rows)


def letters_table(letters: Sequence[DeadLetter]) -> Table:
    """Return a table of requests that have failed for good."""
    rows = [
        (r.id, r.simulation.rpartition(".")[2], r.replicates, ago(r.failed_at), r.error.partition("\n")[0][:_SHOWN])
        for r in letters
    ]
    return Table(("dead letter", "simulation", "replicates", "failed", "error"), rows)


def _what(request: PendingRequest | DeadLetter | ScheduledRequest) -> str:
    return f"{request.simulation}, {request.replicates:,} replicates, seed {request.seed}, {request.parameters}"


class Journal(abc.ABC):
    """Pending requests, dead letters and schedules. Any thread may call any method.

    `register`, `heartbeat`, `release`, `add`, `start`, `remove` and `add_dead_letter` take microseconds, wait for
    nothing and never raise. Their changes become durable soon, at the latest with the next `flush`, in the order of the
    calls; a store that cannot be written logs that once. All other methods see these changes, and raise a `StoreError`
    if the store cannot be used.
    """

    # ---- owners --------------------------------------------------------------------------------------

    @abc.abstractmethod
    def register(self, owner: str) -> None:
        """Note that an engine lives in this process."""

    @abc.abstractmethod
    def heartbeat(self, owner: str) -> None:
        """Note that it still does, every few seconds; after a failure, try to write again."""

    @abc.abstractmethod
    def release(self, owner: str) -> None:
        """Note that it was closed in an orderly way; its pending requests are then interrupted."""

    def is_written(self, on_written: Callable[[Exception | None], None]) -> bool:  # noqa: ARG002 - an override uses it
        """Tell whether all earlier changes are durable, or cannot be made so.

        If not, `on_written` is called once, in another thread, when they are, or with the error. A journal that cannot
        say takes them for durable.
        """
        return True

    # ---- pending requests ----------------------------------------------------------------------------

    @abc.abstractmethod
    def add(self, request: PendingRequest) -> None:
        """Note a request, with its owner; it replaces one with the same id."""

    @abc.abstractmethod
    def start(self, id: str) -> None:
        """Note that a request has started."""

    @abc.abstractmethod
    def remove(self, id: str) -> None:
        """Note that a request has ended; an unknown id is ignored."""

    @abc.abstractmethod
    def interrupted(self) -> list[PendingRequest]:
        """Return the requests whose owner is dead or released, the oldest first."""

    @abc.abstractmethod
    def claim(self, owner: str, ids: Iterable[str] | None = None) -> list[PendingRequest]:
        """Take over interrupted requests and return them as changed, the oldest first.

        Each goes to one caller alone, across processes. One that had started has crashed once more, and counts as not
        started under its new owner.

        Parameters
        ----------
        owner : str
            A registered one.
        ids : iterable of str, optional
            Claims only these, if they are interrupted; all by default.
        """

    # ---- dead letters --------------------------------------------------------------------------------

    @abc.abstractmethod
    def add_dead_letter(self, letter: DeadLetter) -> None:
        """Note a request that has failed for good; beyond `MAX_DEAD_LETTERS` the oldest go."""

    @abc.abstractmethod
    def dead_letters(self) -> list[DeadLetter]:
        """Return the requests that have failed for good, the newest first."""

    @abc.abstractmethod
    def take_dead_letter(self, id: str) -> DeadLetter | None:
        """Remove a dead letter and return it, to one caller alone; None if there is none."""

    # ---- schedules -----------------------------------------------------------------------------------

    @abc.abstractmethod
    def put_schedule(self, schedule: ScheduledRequest) -> None:
        """Store a schedule durably, in place of one with the same name.

        If that one has the same times (`cron` and `timezone`), its last run stays: another engine may just have run it.
        """

    @abc.abstractmethod
    def schedules(self) -> list[ScheduledRequest]:
        """Return the schedules, by name."""

    @abc.abstractmethod
    def remove_schedule(self, name: str) -> bool:
        """Delete a schedule; return whether it was there."""

    @abc.abstractmethod
    def mark_schedule_run(self, name: str, last_run_at: str | None, previous: str | None) -> bool:
        """Note that a due time is being run, and return True to one caller alone, across processes.

        Parameters
        ----------
        name : str
        last_run_at : str or None
            The due time; or the former `previous`, to undo a mark.
        previous : str or None
            The `ScheduledRequest.last_run_at` that the caller knows; if it has changed, another caller was first.
        """

    @abc.abstractmethod
    def flush(self) -> None:
        """Return when all earlier changes are durable.

        Raises
        ------
        StoreError
            If they cannot be written; they stay in memory.
        """
