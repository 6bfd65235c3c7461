"""What a card, a bar or a row of a table says of one job: a plain dict of texts and numbers, made of its status."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bgsim.job import JobState
from bgsim.progress import format_duration
from bgsim.ui import text

if TYPE_CHECKING:
    from bgsim.job import Job, JobStatus

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


NO_JOB: dict[str, Any] = {
    **dict.fromkeys(("name", "word", "detail", "error", "count", "rate", "left"), ""),
    "moving": False,
    "fraction": 0.0,
    "actions": (),
    "ended": True,
}
"""What is said where there is no job."""


def job_line(job: Job) -> dict[str, Any]:
    """Return what is said of a job now; see `line_of`."""
    return line_of(job, job.status())


def line_of(job: Job, status: JobStatus) -> dict[str, Any]:
    """Return what is said of a job with a status.

    Returns
    -------
    dict
        JSON alone, and equal to another if both look the same: ``name``, ``word`` (where the job is, in one word),
        ``colour``, ``detail``, ``fraction``, ``moving`` (the bar's end is not known), ``count``, ``rate``, ``left``,
        ``error``, ``actions`` and ``ended``.
    """
    word = _word(job, status)
    return {
        "name": job.simulation.short_name,
        "word": word,
        "colour": COLOURS.get(word, "running"),
        "detail": ", ".join(filter(None, (_detail(status, word), _precision(job, word)))),
        "fraction": 1.0 if status.state is JobState.COMPLETED else round(status.fraction, 4),
        "moving": word in ("compiling", "storing"),
        "count": f"{status.replicates_completed:,} of {status.total_replicates:,}",
        "rate": text.rate(status.rate),
        "left": "first run; then cached" if word == "compiling" else text.left(status.estimated_time_remaining_s),
        "error": status.error or "",
        "actions": _actions(word),
        "ended": status.state.is_terminal,
    }


def _word(job: Job, status: JobStatus) -> str:
    if status.state is JobState.SUSPENDED and job.paused:
        return "paused"
    return status.phase if status.state is JobState.RUNNING else status.state.value


def _detail(status: JobStatus, word: str) -> str:
    match word:
        case "queued":
            return _wait(status)
        case "running" if status.waiting_for:
            return f"waits for {status.waiting_for}"
        case "compiling":
            return text.seconds(status.compiling_s or 0.0)
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


def _precision(job: Job, word: str) -> str:
    """Return what a running job goes on for, and of one that is completed whether that was reached."""
    precision = job.request.precision
    if precision is None or word not in ("running", "completed"):
        return ""
    if word == "running":
        return f"until {text.precision(precision)}"
    return "" if job.stopping is None else job.stopping.outcome


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
