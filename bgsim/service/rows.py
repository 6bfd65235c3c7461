"""The row of a job in the history, when it is asked for and when it has ended."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from bgsim.job import JobState
from bgsim.storage.history import JobRow
from bgsim.storage.times import time_text

if TYPE_CHECKING:
    from bgsim.job import Job
    from bgsim.request import Request


def row_of(job: Job, **more: Any) -> JobRow:
    """Return the row of a job that has just been submitted."""
    return row_of_request(job.request, job.id, job.asked_at, **more)


def row_of_request(request: Request, job_id: str, asked_at: float, **more: Any) -> JobRow:
    """Return the row of a request.

    Parameters
    ----------
    request : Request
    job_id : str
    asked_at : float
        Seconds since the epoch.
    **more
        Other attributes of `JobRow`.
    """
    given = dict.fromkeys(("token", "idempotency_key", "request_hash", "webhook"), "") | more
    return JobRow(
        id=job_id,
        tenant=request.tenant or "",
        **request.kept(),
        options=request.options_json(now=asked_at),
        tags=json.dumps(list(request.tags)),
        submitted_at=time_text(asked_at),
        **given,
    )


def time_of(job: Job, moment: float | None) -> str | None:
    """Return what a moment of a job is by the wall clock, as a row has it."""
    return None if moment is None else time_text(job.asked_at + (moment - job.submitted_at))


def ended_row(row: JobRow, job: Job) -> JobRow:
    """Return the row of a job that has ended."""
    state = job.moved_to
    return replace(
        row,
        state=state.value,
        started_at=time_of(job, job.started_at),
        ended_at=time_of(job, job.finished_at),
        replicates_completed=job.replicates_done,
        from_store=job.from_store,
        retries=job.attempts,
        error=job.error or "",
        store_error=job.store_error or "",
        result_hash="" if state is JobState.FAILED or job.request.cache == "off" else job.request.key.hash,
    )
