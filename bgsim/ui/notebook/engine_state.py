"""What a card says of an engine: its newest jobs, each with a bar."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bgsim.job import JobState
from bgsim.progress import format_duration
from bgsim.running.stats import in_words
from bgsim.ui import text
from bgsim.ui.job_line import COLOURS

if TYPE_CHECKING:
    from bgsim.engine import Engine
    from bgsim.job import JobStatus

MOST_ROWS = 12
"""Jobs that a card has."""

_STARTED = (JobState.RUNNING, JobState.CANCELLING)


def engine_state(engine: Engine) -> dict[str, Any]:
    """Return what a card says of an engine now: all that runs, and beside it what is newest; JSON alone."""
    jobs = engine.jobs()
    running = [job for job in jobs if job.moved_to in _STARTED]
    newest = engine.recent(MOST_ROWS)
    listed = {status.id for status in newest}
    older = [job.status() for job in reversed(running[-MOST_ROWS:]) if job.id not in listed]
    kept = newest[: MOST_ROWS - len(older)] + older
    return {
        "kind": "engine",
        "name": "engine",
        "about": f"{in_words(engine.backend)} · store: {engine.store.location}",
        "word": "running" if running else "waiting" if jobs else "idle",
        "colour": "running" if running else "waiting",
        "detail": ", ".join(_counts(len(running), len(jobs) - len(running))),
        "rows": [_row(status) for status in kept],
        "more": max(0, len(jobs) - sum(not s.state.is_terminal for s in kept)),
        "note": "; ".join(engine.backend.alerts()),
        "actions": [],
        "ended": False,
    }


def _counts(running: int, waiting: int) -> list[str]:
    return [f"{number:,} {word}" for number, word in ((running, "running"), (waiting, "waiting")) if number]


def _row(status: JobStatus) -> dict[str, Any]:
    word = status.phase if status.state is JobState.RUNNING else status.state.value
    ended = status.state.is_terminal
    took = format_duration(1000 * status.elapsed_s) if ended else text.left(status.estimated_time_remaining_s)
    return {
        "name": status.simulation.rpartition(".")[2],
        "number": "#" + status.id.rpartition("-")[2],
        "id": status.id,
        "word": word,
        "colour": COLOURS.get(word, "running"),
        "fraction": round(status.fraction, 3),
        "count": f"{status.total_replicates:,}",
        "time": took,
        "error": status.error or "",
    }
