"""What an engine has been asked for and has not finished, what has failed for good, and what is due again and again.

Every store has a journal, so that after a crash the requests that it interrupted are found, and can be taken over by
one engine alone. ``file_journal`` keeps it in the store's file, ``memory_journal`` in memory.

An engine registers as an *owner* and gives its heartbeat now and then. A request is *interrupted* when its owner is
dead (`bgsim.storage.owners`) or has been released.
"""

from __future__ import annotations

import abc
from collections.abc import Iterable
from dataclasses import dataclass

MAX_DEAD_LETTERS = 1000
"""Beyond it the oldest go."""


@dataclass(frozen=True, slots=True)
class PendingRequest:
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
        A JSON object: what else `Engine.submit` was told.
    submitted_at : str
        ISO-8601, UTC.
    started : bool
        Whether it has begun to run under its present owner.
    crashes : int
        How many owners have died while it ran.
    owner : str
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


@dataclass(frozen=True, slots=True)
class DeadLetter:
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


@dataclass(frozen=True, slots=True)
class ScheduledRequest:
    """A request that is made again and again.

    Attributes
    ----------
    name : str
        Unique in the store.
    simulation, parameters, seed, replicates, options
        As in `PendingRequest`.
    cron, timezone, misfire : str
        When, by which clock, and what is done about a time that was missed; the engine gives them their meaning.
    paused : bool
    last_run_at : str or None
        ISO-8601, UTC: the due time that was run last.
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


class Journal(abc.ABC):
    """Pending requests, dead letters and schedules. Any thread may call any method.

    `register`, `heartbeat`, `release`, `add`, `start`, `remove` and `add_dead_letter` take microseconds, wait for
    nothing and never raise: what they were told becomes durable soon, at the latest with the next `flush`, and in the
    order in which they were told. A store that cannot be written says so once in the log. All others see what these
    have been told before, and raise a `StoreError` if the store cannot be used.
    """

    # ---- owners --------------------------------------------------------------------------------------

    @abc.abstractmethod
    def register(self, owner: str) -> None:
        """Say that an engine lives in this process."""

    @abc.abstractmethod
    def heartbeat(self, owner: str) -> None:
        """Say that it still does; every few seconds. After a failure this tries to write again."""

    @abc.abstractmethod
    def release(self, owner: str) -> None:
        """Say that it was closed in an orderly way; what it still has pending is then interrupted."""

    # ---- pending requests ----------------------------------------------------------------------------

    @abc.abstractmethod
    def add(self, request: PendingRequest) -> None:
        """Note a request; its owner is in it. One with the same id is replaced."""

    @abc.abstractmethod
    def start(self, id: str) -> None:
        """Note that a request has begun to run."""

    @abc.abstractmethod
    def remove(self, id: str) -> None:
        """Note that a request has ended; of an unknown one nothing."""

    @abc.abstractmethod
    def interrupted(self) -> list[PendingRequest]:
        """Return the requests whose owner is dead or released, the oldest first."""

    @abc.abstractmethod
    def claim(self, owner: str, ids: Iterable[str] | None = None) -> list[PendingRequest]:
        """Take interrupted requests over and return them as they are then, the oldest first.

        Each goes to one caller alone, in whatever process. One that had started has crashed once more, and has not
        started under its new owner.

        Parameters
        ----------
        owner : str
            A registered one.
        ids : iterable of str, optional
            Those alone, as far as they are interrupted; all by default.
        """

    # ---- dead letters --------------------------------------------------------------------------------

    @abc.abstractmethod
    def add_dead_letter(self, letter: DeadLetter) -> None:
        """Note what has failed for good; beyond `MAX_DEAD_LETTERS` the oldest go."""

    @abc.abstractmethod
    def dead_letters(self) -> list[DeadLetter]:
        """Return what has failed for good, the newest first."""

    @abc.abstractmethod
    def take_dead_letter(self, id: str) -> DeadLetter | None:
        """Remove a dead letter and return it, to one caller alone; None if there is none."""

    # ---- schedules -----------------------------------------------------------------------------------

    @abc.abstractmethod
    def put_schedule(self, schedule: ScheduledRequest) -> None:
        """Keep a schedule, in the place of one with the same name; it is durable when this returns.

        If that one has the same times (`cron` and `timezone`), its last run stays: somebody may just have run it.
        """

    @abc.abstractmethod
    def schedules(self) -> list[ScheduledRequest]:
        """Return the schedules, by name."""

    @abc.abstractmethod
    def remove_schedule(self, name: str) -> bool:
        """Forget a schedule; return whether it was there."""

    @abc.abstractmethod
    def mark_schedule_run(self, name: str, last_run_at: str | None, previous: str | None) -> bool:
        """Note that a due time is being run, and return True to one caller alone, in whatever process.

        Parameters
        ----------
        name : str
        last_run_at : str or None
            The due time; what was `previous`, to take a mark back.
        previous : str or None
            What `ScheduledRequest.last_run_at` was; if it is something else by now, somebody else was first.
        """

    @abc.abstractmethod
    def flush(self) -> None:
        """Return when all that the journal has been told before is durable.

        Raises
        ------
        StoreError
            If it cannot be written; it is kept in memory.
        """
