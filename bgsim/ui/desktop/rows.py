"""Which jobs a table shows, and what it says of each; it knows no toolkit."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from bgsim.ui.job_line import job_line

if TYPE_CHECKING:
    from bgsim.job import Job

MOST_ROWS = 200
"""That many are kept; the oldest that have ended make room."""

TURN_S = 0.01
"""How long one look at many jobs takes at most; the next goes on with the others."""

COLUMNS = ("Job", "State", "Progress", "Rate", "Left")


class Row:
    """What a table says of one job.

    Attributes
    ----------
    job : Job or None
        None once it has ended, so that no table keeps a result alive.
    job_id : str
    word : str or None
        Of `supersede`.
    line : dict
        As `bgsim.ui.job_line` makes it.
    """

    def __init__(self, job: Job) -> None:
        self.job: Job | None = job
        self.job_id = job.id
        self.word = job.supersede
        self.line: dict[str, Any] = {}
        self.refresh()

    def refresh(self) -> bool:
        """Look at the job again; return whether anything has changed."""
        job = self.job
        if job is None:
            return False
        line = job_line(job)
        changed, self.line = line != self.line, line
        if line["ended"]:
            self.job = None
        return changed

    @property
    def texts(self) -> tuple[str, ...]:
        """What stands in the columns."""
        line = self.line
        state = ", ".join(filter(None, (line["word"], line["detail"])))
        return self.job_id, state, f"{100 * line['fraction']:.0f} %", line["rate"], line["left"]

    @property
    def note(self) -> str:
        """What is said of the job where there is more room: why it failed, or how far it is."""
        return str(self.line["error"] or f"{self.job_id}: {self.line['count']}")


class Rows:
    """The rows of a table, the newest first. A job takes the row of the one that it supersedes."""

    def __init__(self) -> None:
        self.all: list[Row] = []
        self._next = 0

    def place_of(self, job: Job) -> int | None:
        """Return the number of the row that a job has or takes over; None if it gets a new one."""
        word = job.supersede
        for number, row in enumerate(self.all):
            if row.job_id == job.id or (word is not None and row.word == word):
                return number
        return None

    def surplus(self) -> int | None:
        """Return the number of the row that is to go, or None."""
        if len(self.all) <= MOST_ROWS:
            return None
        return next((n for n in reversed(range(len(self.all))) if self.all[n].job is None), None)

    def refresh(self) -> list[int]:
        """Look at the jobs again, as many as there is time for; return the numbers of the rows that have changed."""
        changed, until = [], time.perf_counter() + TURN_S
        for _ in range(len(self.all)):
            number = self._next % len(self.all)
            self._next = number + 1
            if self.all[number].refresh():
                changed.append(number)
            if time.perf_counter() > until:
                break
        return changed

    def refresh_job(self, job: Job) -> list[int]:
        """Look at one job again; return the number of its row if that has changed."""
        return [number for number, row in enumerate(self.all) if row.job is job and row.refresh()]

    @property
    def rest(self) -> bool:
        """Whether no row changes any more."""
        return all(row.job is None for row in self.all)


def press(job: Job | None, action: str) -> None:
    """Do what a button or a menu says: ``pause``, ``resume`` or ``cancel``."""
    if job is not None and action in ("pause", "resume", "cancel"):
        getattr(job, action)()
