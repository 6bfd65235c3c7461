"""What a card says of one job: a plain dict of texts and numbers, made of the job's status and its live results.

A state is small, holds no job, and is equal to another if a card would look the same.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from bgsim.job import JobState
from bgsim.progress import format_duration
from bgsim.ui.notebook import text

if TYPE_CHECKING:
    from bgsim.job import Job, JobStatus
    from bgsim.simulation import Simulation

MOST_OUTPUTS = 4
"""Outputs whose running mean a card has."""

FURTHER = 20_000
"""Replicates that one look reads of each output, so that it takes no longer where more are computed."""

FINE, BARS, TAIL = 512, 40, 0.002
"""Bins that are asked for, bars that are drawn, and the part of the values that is left out on each side."""

COLOURS = {
    "queued": "waiting",
    "delayed": "waiting",
    "suspended": "paused",
    "paused": "paused",
    "cancelling": "paused",
    "completed": "done",
    "failed": "failed",
    "cancelled": "cancelled",
}
"""Of the words that say where a job is; all others are those of a running one."""

INTERRUPTED = "Interrupted: still running in the background; job.cancel() stops it."


def job_state(job: Job, note: str = "") -> dict[str, Any]:
    """Return what a card says of a job now.

    Parameters
    ----------
    job : Job
    note : str
        Said of it while it has not ended.

    Returns
    -------
    dict
        JSON alone: ``kind``, ``name``, ``about``, ``word`` (where the job is, in one word), ``colour``, ``detail``,
        ``fraction``, ``moving`` (the bar's end is not known), ``count``, ``rate``, ``left``, ``outputs`` (pairs of
        name and text), ``histogram`` (None, or a dict), ``note``, ``error``, ``actions`` and ``ended``.
    """
    status = job.status()
    word = _word(job, status)
    ended = status.state.is_terminal
    is_empty = ended and not status.replicates_completed
    return {
        "kind": "job",
        "name": job.simulation.short_name,
        "about": _about(job),
        "word": word,
        "colour": COLOURS.get(word, "running"),
        "detail": _detail(job, status, word),
        "fraction": 1.0 if status.state is JobState.COMPLETED else round(status.fraction, 4),
        "moving": word in ("compiling", "storing"),
        "count": f"{status.replicates_completed:,} of {status.total_replicates:,}",
        "rate": text.rate(status.rate),
        "left": "first run; then cached" if word == "compiling" else text.left(status.estimated_time_remaining_s),
        "outputs": [] if is_empty else outputs(job, ended=ended),
        "histogram": None if is_empty else histogram(job, ended=ended),
        "note": "" if ended or word == "paused" else note,
        "error": status.error or "",
        "actions": _actions(word),
        "ended": ended,
    }


def _word(job: Job, status: JobStatus) -> str:
    if status.state is JobState.SUSPENDED and job.paused:
        return "paused"
    return status.phase if status.state is JobState.RUNNING else status.state.value


def _detail(job: Job, status: JobStatus, word: str) -> str:
    match word:
        case "queued":
            return _wait(status)
        case "compiling":
            began = job.started_at or job.submitted_at
            return text.seconds(job.submitted_at + status.elapsed_s - began)
        case "suspended":
            return "more urgent jobs run"
        case "cancelling":
            return "when its present replicates are done"
        case "completed":
            stored = f", {status.from_store:,} from the store" if status.from_store else ""
            unsaved = ", not stored" if status.store_error else ""
            return f"in {format_duration(1000 * status.elapsed_s)}{stored}{unsaved}"
        case "cancelled":
            kept = status.replicates_completed
            return f"{kept:,} finished replicates are kept" if kept else ""
        case "failed":
            return f"after {format_duration(1000 * status.elapsed_s)}"
    return f"{status.attempts} failed attempts" if status.attempts else ""


def _wait(status: JobStatus) -> str:
    words = []
    if status.position:
        words.append(f"{status.position:,} before it")
    if status.estimated_wait_s is not None and status.estimated_wait_s >= 1:
        words.append(f"starts in about {text.seconds(status.estimated_wait_s)}")
    return ", ".join(words)


def _actions(word: str) -> list[str]:
    if word in ("completed", "failed", "cancelled"):
        return []
    if word == "cancelling":
        return ["cancelling"]
    return ["resume" if word == "paused" else "pause", "cancel"]


def _about(job: Job) -> str:
    parts = [text.setting(job.parameters), f"seed {job.seed}"]
    return " · ".join(filter(None, parts))


def scalar_outputs(simulation: Simulation) -> list[str]:
    """Return the names of the outputs that are a real number a replicate."""
    return [o.name for o in simulation.outputs if not o.shape and o.dtype.kind in "biuf"]


def outputs(job: Job, *, ended: bool) -> list[list[str]]:
    """Return the first outputs by name, with mean and standard error: so far, or in the end of all replicates."""
    found = []
    for name in scalar_outputs(job.simulation)[:MOST_OUTPUTS]:
        estimate = job.estimate(name, further=None if ended else FURTHER)
        found.append([name, text.with_error(estimate)])
    return found


def histogram(job: Job, *, ended: bool) -> dict[str, Any] | None:
    """Return the first output's histogram: heights from 0 to 100, and the ends of the axis as text."""
    names = scalar_outputs(job.simulation)
    if not names:
        return None
    found = job.histogram(names[0], bins=FINE, further=None if ended else FURTHER)
    counts, edges = bulk([int(count) for count in found.counts], [float(edge) for edge in found.edges])
    return {
        "name": names[0],
        "heights": heights(counts),
        "low": text.end(edges[0]) if counts else "",
        "high": text.end(edges[-1]) if counts else "",
    }


def bulk(counts: list[int], edges: list[float]) -> tuple[list[int], list[float]]:
    """Return the part of a histogram that has all but `TAIL` of the values on each side, in at most `BARS` bars."""
    total = sum(counts)
    if not total:
        return [], []
    first, last, below, above = 0, len(counts), 0, 0
    while below + counts[first] <= TAIL * total:
        below += counts[first]
        first += 1
    while above + counts[last - 1] <= TAIL * total:
        above += counts[last - 1]
        last -= 1
    step = math.ceil((last - first) / BARS)
    starts = range(first, last, step)
    return [sum(counts[i : min(i + step, last)]) for i in starts], [*[edges[i] for i in starts], edges[last]]


def heights(counts: list[int]) -> list[int]:
    """Return counts as percentages of the largest; what is not 0 stays visible."""
    return [math.ceil(100 * count / max(counts)) for count in counts]
