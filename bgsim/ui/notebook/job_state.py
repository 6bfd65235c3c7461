"""What a card says of one job: a plain dict of texts and numbers, made of the job's status and its live results.

A state is small, holds no job, and is equal to another if a card would look the same.
"""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from bgsim.ui import text
from bgsim.ui.job_line import line_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bgsim.job import Job, JobStatus
    from bgsim.simulation import Simulation

MOST_OUTPUTS = 4
"""Outputs whose running mean a card has."""

RESULTS_S = 0.3
"""Between two looks at estimates and histogram."""

FURTHER = 20_000
"""Replicates that one look reads of each output, so that it takes no longer where more are computed."""

FINE, BARS, TAIL = 512, 40, 0.002
"""Bins that are asked for, bars that are drawn, and the part of the values that is left out on each side."""

INTERRUPTED = "Interrupted: still running in the background; job.cancel() stops it."


class Results:
    """What a card says of a job's parameters and outputs.

    It reads outputs while there is more to read, three times a second at most. For one thread at a time.
    """

    def __init__(self) -> None:
        self._seen: tuple[Any, ...] = ()
        self._read_at = -math.inf
        self._lags = False  # not all finished replicates have been read
        self._found: dict[str, Any] = {}
        self._about = ("", "")

    def about(self, job: Job) -> str:
        """Return a job's parameters and seed."""
        if self._about[0] != job.id:
            self._about = (job.id, " · ".join(filter(None, (text.setting(job.parameters), f"seed {job.seed}"))))
        return self._about[1]

    def read(self, job: Job, status: JobStatus, now: float) -> dict[str, Any]:
        """Return ``outputs`` and ``histogram``.

        Parameters
        ----------
        job : Job
        status : JobStatus
            Its status now.
        now : float
            Seconds, by a clock that does not run backwards.
        """
        done, ended = status.replicates_completed, status.state.is_terminal
        seen = (job.id, done, ended)
        is_early = now - self._read_at < RESULTS_S and not ended and seen[0] in self._seen
        if (seen != self._seen or self._lags) and not is_early:
            self._seen, self._read_at = seen, now
            is_empty = ended and not done
            self._found = {"outputs": [], "histogram": None}
            if not is_empty:
                self._lags = _outputs(job, self._found, ended=ended) < done and not ended
                self._found["histogram"] = _histogram(job, ended=ended)
        return self._found


def job_state(job: Job, note: str = "", results: Results | None = None, now: float = 0.0) -> dict[str, Any]:
    """Return what a card says of a job now.

    Parameters
    ----------
    job : Job
    note : str
        Said of it while it has not ended.
    results : Results, optional
        What was read of its outputs before.
    now : float
        For `results`.

    Returns
    -------
    dict
        JSON alone: ``kind``, ``name``, ``about``, ``word`` (where the job is, in one word), ``colour``, ``detail``,
        ``fraction``, ``moving`` (the bar's end is not known), ``count``, ``rate``, ``left``, ``outputs`` (pairs of
        name and text), ``histogram`` (None, or a dict), ``note``, ``error``, ``actions`` and ``ended``.
    """
    results = results or Results()
    status = job.status()
    line = line_of(job, status)
    return {
        "kind": "job",
        "about": results.about(job),
        **line,
        **results.read(job, status, now),
        "note": "" if line["ended"] or line["word"] == "paused" else note,
    }


def scalar_outputs(simulation: Simulation) -> list[str]:
    """Return the names of the outputs that are a real number a replicate."""
    return [o.name for o in simulation.outputs if o.is_real_number]


def _outputs(job: Job, found: dict[str, Any], *, ended: bool) -> int:
    """Put the first outputs with mean and standard error where they are wanted; return from how many replicates."""
    count = sys.maxsize
    for name in scalar_outputs(job.simulation)[:MOST_OUTPUTS]:
        estimate = job.estimate(name, further=None if ended else FURTHER)
        found["outputs"].append([name, text.with_error(estimate)])
        count = min(count, estimate.count)
    return count


def _histogram(job: Job, *, ended: bool) -> dict[str, Any] | None:
    """Return the first output's histogram: heights from 0 to 100, and the ends of the axis as text."""
    names = scalar_outputs(job.simulation)
    if not names:
        return None
    found = job.histogram(names[0], bins=FINE, further=None if ended else FURTHER)
    counts, edges = bulk(found.counts, found.edges)
    return {
        "name": names[0],
        "heights": heights(counts),
        "low": text.end(edges[0]) if counts else "",
        "high": text.end(edges[-1]) if counts else "",
    }


def bulk(counts: NDArray[np.int64], edges: NDArray[np.float64]) -> tuple[list[int], list[float]]:
    """Return the part of a histogram that has all but `TAIL` of the values on each side, in at most `BARS` bars."""
    upwards = np.cumsum(counts)
    total = upwards[-1] if len(counts) else 0
    if not total:
        return [], []
    first = int(np.searchsorted(upwards, TAIL * total, side="right"))
    last = int(np.searchsorted(upwards, total - TAIL * total, side="left")) + 1
    starts = np.arange(first, last, math.ceil((last - first) / BARS))
    return np.add.reduceat(counts[:last], starts).tolist(), [*edges[starts].tolist(), float(edges[last])]


def heights(counts: list[int]) -> list[int]:
    """Return counts as percentages of the largest; what is not 0 stays visible."""
    top = max(counts, default=1)
    return [math.ceil(100 * count / top) for count in counts]
