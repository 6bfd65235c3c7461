"""Where a job is, and what it is doing at one moment."""

from __future__ import annotations

import enum
from dataclasses import dataclass, fields

from bgsim.bus.updates import format_share
from bgsim.errors import printable
from bgsim.progress import format_duration
from bgsim.tables import Table, Tabular, in_short


class JobState(enum.Enum):
    """Where a job is. The last three are terminal."""

    QUEUED = "queued"
    DELAYED = "delayed"
    RUNNING = "running"
    SUSPENDED = "suspended"
    CANCELLING = "cancelling"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    __hash__ = object.__hash__  # members are compared by identity, and `Enum` hashes their names in Python

    @property
    def is_terminal(self) -> bool:
        """Whether nothing follows it."""
        return self in TERMINAL


TERMINAL = frozenset({JobState.COMPLETED, JobState.FAILED, JobState.CANCELLED})

TRANSITIONS: dict[JobState, frozenset[JobState]] = {
    before: frozenset(JobState(name) for name in after.split())
    for before, after in {
        JobState.QUEUED: "delayed running suspended cancelling cancelled",
        JobState.DELAYED: "queued running suspended cancelling completed cancelled",
        JobState.RUNNING: "delayed suspended cancelling completed cancelled",
        JobState.SUSPENDED: "queued delayed running cancelling completed cancelled",
        JobState.CANCELLING: "failed cancelled",
        JobState.COMPLETED: "",
        JobState.FAILED: "",
        JobState.CANCELLED: "",
    }.items()
}
"""Which states may follow which.

RUNNING to DELAYED waits for the next attempt, and DELAYED to QUEUED is that its time has come. SUSPENDED is paused by
hand or overtaken; a job that was paused before it started goes back to QUEUED. QUEUED to CANCELLING is a job that has
waited for too long, or joined a suspended run and is its last. A suspended or delayed run may turn out to be COMPLETED:
its last chunk was in hand, or the job that wanted more has left. A job that fails, at a time-out or by a replicate that
raised, is CANCELLING until its kernel has stopped and its dead letter is kept.
"""


@dataclass(frozen=True, slots=True, repr=False)
class JobStatus(Tabular):
    """What a job is doing at one moment.

    Attributes
    ----------
    id, simulation : str
    state : JobState
    phase : str
        ``queued``, ``compiling``, ``running``, ``storing``, or the state.
    fraction : float
        Part of the replicates that is done, 0 to 1.
    replicates_completed, total_replicates : int
    from_store : int
        How many of them were in the store already.
    position : int or None
        How many jobs are served before it, while it is queued.
    estimated_wait_s : float or None
        Until it starts, while it is queued; None until there is something to estimate from.
    waiting_for : str or None
        Why it does not run, or stop: while it is queued, delayed or suspended; while it runs on a backend without
        workers; and while it is cancelled where no order reaches its kernels.
    rate : float or None
        Replicates a second, while it runs.
    estimated_time_remaining_s : float or None
    elapsed_s : float
        Since it was submitted, to its end.
    compiling_s : float or None
        For how long it has been compiling, while it does; what the disk keeps of it takes a quarter of a second.
    attempts : int
        How often it was tried again after a failure.
    overdue_s : float or None
        How long ago it was asked to stop, while its kernel has not stopped.
    store_error : str or None
        Why the result could not be stored; it is delivered all the same.
    error : str or None
        Why it failed.
    """

    id: str
    simulation: str
    state: JobState
    phase: str
    fraction: float
    replicates_completed: int
    total_replicates: int
    from_store: int
    position: int | None
    estimated_wait_s: float | None
    waiting_for: str | None
    rate: float | None
    estimated_time_remaining_s: float | None
    elapsed_s: float
    compiling_s: float | None
    attempts: int
    overdue_s: float | None
    store_error: str | None
    error: str | None

    def __str__(self) -> str:
        text = f"{self.simulation}: {self.state.value}"
        if self.state is JobState.QUEUED and self.position is not None:
            text += f", {self.position} before it"
        if self.estimated_wait_s is not None:
            text += f", starts in about {format_duration(1000 * self.estimated_wait_s)}"
        phase = self.phase if self.compiling_s is None else f"compiling for {format_duration(1000 * self.compiling_s)}"
        if self.state in (JobState.RUNNING, JobState.SUSPENDED, JobState.CANCELLING):
            text += "" if phase in (self.state.value, "queued") else f" ({phase})"
            text += f" {format_share(self.fraction, self.replicates_completed, self.total_replicates)}"
        if self.estimated_time_remaining_s is not None:
            text += f", {format_duration(1000 * self.estimated_time_remaining_s)} left"
        if self.overdue_s is not None:
            text += f", asked to stop {format_duration(1000 * self.overdue_s)} ago"
        if self.attempts:
            text += f", {self.attempts} failed attempts"
        if self.from_store and self.state is JobState.COMPLETED:
            text += f", {self.from_store:,} of {self.total_replicates:,} from the store"
        for problem in (self.error, self.store_error):
            if problem:
                text += f"; {problem}"
        return printable(text)

    def __repr__(self) -> str:
        return in_short(f"JobStatus {self.id}", str(self))

    def _table(self) -> Table:
        values = [(f.name, getattr(self, f.name)) for f in fields(self)]
        rows = [
            (name.removesuffix("_s").replace("_", " "), _shown(name, value))
            for name, value in values
            if value is not None and name != "simulation"
        ]
        return Table((), rows, title=self.simulation)


def _shown(name: str, value: object) -> object:
    """Return an attribute of a status as a table has it."""
    if isinstance(value, JobState):
        return value.value
    if name == "fraction" and isinstance(value, float):
        return f"{100 * value:.1f} %"
    return format_duration(1000 * value) if name.endswith("_s") and isinstance(value, float) else value
