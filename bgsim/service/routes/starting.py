"""Jobs that a route starts by itself: of sweeps, schedules and dead letters."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bgsim.service.routes.jobs import current_view
from bgsim.service.routing import Answer
from bgsim.service.rows import row_of_request
from bgsim.storage.history import JobRow

if TYPE_CHECKING:
    from bgsim.request import Request
    from bgsim.service.recorder import Live
    from bgsim.service.routing import Call


def new_row(call: Call, request: Request, *, webhook: str = "") -> JobRow:
    """Return the row of a job that the caller asks for."""
    engine = call.service.engine
    job_id = engine.new_job_id(request.simulation)
    return row_of_request(request, job_id, engine.clock.time(), token=call.caller.token, webhook=webhook)


def start(call: Call, request: Request, *, webhook: str = "") -> Live:
    """Submit a job for the caller; return when no crash loses it.

    Raises
    ------
    ProblemError
        If the caller may not, or the service takes no more jobs.
    """
    service = call.service
    service.check_limits(call.caller, request)
    with service.submitting(call.caller, ""):
        taken = service.take(new_row(call, request, webhook=webhook), request)
    assert not isinstance(taken, JobRow)  # it has no key
    return taken


def accepted(call: Call, job_id: str) -> Answer:
    """Answer with a job that has been submitted, and where it is."""
    return Answer(current_view(call, job_id), 202, {"Location": call.link(f"/jobs/{job_id}"), "Retry-After": "1"})
