"""Sweeps over HTTP: a job for each point of a grid or a design.

The jobs of a sweep have a tag of their own, ``sweep:`` and the sweep's id, which begins with its time. So the history
knows the sweep as long as it knows its jobs, also after a restart, and a sweep is listed, cancelled and retried as any
jobs with a tag are.
"""

from __future__ import annotations

import math
import re
import secrets
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from msgspec import Meta

from bgsim.errors import InvalidInputError
from bgsim.job_status import JobState
from bgsim.jobs.designs import check_grid, combinations, designed
from bgsim.request import make_request
from bgsim.service.problems import ProblemError
from bgsim.service.routes.bodies import JobOptionsBody, Name
from bgsim.service.routes.jobs import options_of, read_parameters
from bgsim.service.routes.tenants import absent
from bgsim.service.routing import Answer, Call, Routes
from bgsim.service.views import parameters_of, plain, total_of
from bgsim.storage.history import JobQuery
from bgsim.storage.times import time_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bgsim.request import Request
    from bgsim.service.core import Service
    from bgsim.service.recorder import Live
    from bgsim.storage.history import JobRow

routes = Routes()

MOST_POINTS = 1000
"""Of a sweep. A grid is counted before it is written out."""

_TAG = "sweep:"

_LOOKED_AT = 100_000
"""Replicates of a point that one request reads for its means, where they are not known."""


class SweepBody(JobOptionsBody, forbid_unknown_fields=True, kw_only=True):
    """A sweep that is asked for: a job for each combination, or for each point of a design."""

    simulation: Name
    grid: dict[str, list[Any]]
    parameters: dict[str, Any] = msgspec.field(default_factory=dict)
    design: Literal["sobol", "latin"] | None = None
    points: Annotated[int, Meta(ge=1, le=MOST_POINTS)] | None = None


class SweepStarted(msgspec.Struct):
    """A sweep that has been submitted."""

    id: str
    points: int
    tag: str
    links: dict[str, str]


class PointView(msgspec.Struct):
    """A point: the parameters that vary, and the means of what is finished."""

    parameters: dict[str, Any]
    job: str
    state: str
    fraction: float
    replicates_completed: int
    means: dict[str, float | None]
    error: str | None = None


class SweepView(msgspec.Struct):
    """A sweep as it is now."""

    id: str
    simulation: str
    short_name: str
    replicates: int
    seed: int
    parameters: dict[str, Any]
    grid: dict[str, list[Any]]
    points: list[PointView]
    completed: int
    failed: int
    cancelled: int
    total: int
    tag: str
    links: dict[str, str]


@routes.post("/sweeps", "submit", body=SweepBody, answer=SweepStarted, status=202, statuses=(404, 422, 429, 501, 503))
def submit_sweep(call: Call) -> Answer:
    """Submit a job for each combination of a grid's values, or for each point of a design over ranges.

    All points are checked before the first is submitted. With one seed they share their random numbers, so that they
    can be compared pairwise. The jobs have the tag `sweep:ID`.
    """
    sweep_id = f"{int(call.service.engine.clock.time()):08x}{secrets.token_hex(4)}"
    requests = _requests(call, call.body, f"{_TAG}{sweep_id}")
    for request in requests:
        call.service.check_limits(call.caller, request)
    _submit_all(call, requests)
    links = _links(call, sweep_id)
    return Answer(
        SweepStarted(sweep_id, len(requests), f"{_TAG}{sweep_id}", links),
        202,
        {"Location": links["self"], "Retry-After": "1"},
    )


def _requests(call: Call, body: SweepBody, tag: str) -> list[Request]:
    simulation = call.service.simulations.find(body.simulation)
    _check_size(body)
    options = options_of(call.service, simulation, body)
    options["tags"] = (*options["tags"], tag)
    if body.design is None:
        points = combinations(body.grid)
    else:
        points = designed(simulation, body.grid, body.design, body.points, body.seed)
    return [
        make_request(
            simulation,
            read_parameters(simulation, body.parameters | point),
            tenant=call.caller.tenant or None,
            **options,
        )
        for point in points
    ]


def _check_size(body: SweepBody) -> None:
    check_grid(body.grid)
    if not body.grid:
        raise InvalidInputError("grid must have a parameter or more; got none", field="grid", value=body.grid)
    if body.design is not None:
        return
    if body.points is not None:
        raise InvalidInputError("points needs a design; a grid has all combinations", field="points", value=body.points)
    size = math.prod(len(values) for values in body.grid.values())
    if size > MOST_POINTS:
        raise InvalidInputError(
            f"grid must have at most {MOST_POINTS:,} combinations; got {size:,}", field="grid", value=size
        )


def _submit_all(call: Call, requests: Sequence[Request]) -> None:
    """Submit all points, or none; return when no crash loses them.

    Raises
    ------
    ProblemError
        429, 503.
    """
    service = call.service
    _check_room(call, len(requests))
    with service.submitting(call.caller, ""):
        taken = []
        try:
            for request in requests:
                taken.append(_take(service, service.new_row(call.caller, request), request))
        except BaseException:
            for live in taken:
                service.cancel(live)
            raise
        service.engine.store.flush()


def _check_room(call: Call, points: int) -> None:
    service, caller = call.service, call.caller
    most = service.settings.limits_of(caller.role).max_open_jobs
    open_jobs = sum(live.row.token == caller.token for live in service.recorder.all_live())
    wait = {"Retry-After": str(service.retry_after_s())}
    if open_jobs + points > most:
        raise ProblemError(
            429,
            f"this token has {open_jobs} jobs that have not ended, and may have {most}; {points} more are too many",
            headers=wait,
        )
    queue = service.engine.stats().queue
    if queue.waiting + points > queue.capacity:
        raise ProblemError(
            503, f"the queue holds {queue.waiting} of {queue.capacity} jobs; {points} more do not fit", headers=wait
        )


def _take(service: Service, row: JobRow, request: Request) -> Live:
    return service.recorder.submit_soon(row, lambda: service.engine.submit_request(request, job_id=row.id))


@routes.get("/sweeps/{id}", "read", answer=SweepView, statuses=(404,))
def show_sweep(call: Call) -> Answer:
    """Show a sweep: each point's state, how far it is, and the means of its outputs so far."""
    sweep_id = call.path["id"]
    rows = _rows(call, sweep_id)
    if not rows:
        raise absent("sweep", sweep_id)
    first = rows[0]
    parameters = [parameters_of(row.parameters) for row in rows]
    varied = _varied(parameters)
    points = [
        _point(call, row, {name: each.get(name) for name in varied}) for row, each in zip(rows, parameters, strict=True)
    ]
    counts = {state: sum(point.state == state.value for point in points) for state in JobState}
    return Answer(
        SweepView(
            id=sweep_id,
            simulation=first.simulation,
            short_name=first.simulation.rpartition(".")[2],
            replicates=first.replicates,
            seed=int(first.seed),
            parameters={name: value for name, value in parameters[0].items() if name not in varied},
            grid=varied,
            points=points,
            completed=counts[JobState.COMPLETED],
            failed=counts[JobState.FAILED],
            cancelled=counts[JobState.CANCELLED],
            total=len(points),
            tag=f"{_TAG}{sweep_id}",
            links=_links(call, sweep_id),
        )
    )


def _links(call: Call, sweep_id: str) -> dict[str, str]:
    return {"self": call.link(f"/sweeps/{sweep_id}"), "jobs": call.link(f"/jobs?tag={_TAG}{sweep_id}")}


def _rows(call: Call, sweep_id: str) -> list[JobRow]:
    """Return the jobs of a sweep, in the order of its points."""
    if not re.fullmatch(r"[0-9a-f]{16}", sweep_id):
        return []
    since = time_text(max(0, int(sweep_id[:8], 16) - 1))  # so that the history need not look at what is older
    query = JobQuery(tenant=call.caller.tenant or None, tag=f"{_TAG}{sweep_id}", since=since, limit=2 * MOST_POINTS)
    newest: dict[str, JobRow] = {}
    for row in sorted(call.service.history.jobs(query), key=_place):
        newest[row.parameters] = row  # in the place of the first: a point that was retried is shown as it is now
    return list(newest.values())


def _place(row: JobRow) -> tuple[str, int]:
    number = row.id.rpartition("-")[2]
    return row.submitted_at, int(number) if number.isdecimal() else 0


def _varied(parameters: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Return the parameters that differ, with their values in the order in which they come."""
    found: dict[str, list[Any]] = {}
    since: dict[str, int] = {}  # the first point that differs from the first one: the last to vary comes first
    for name in parameters[0]:
        values: dict[bytes, Any] = {}
        for place, each in enumerate(parameters):
            text = msgspec.json.encode(each.get(name))
            if text not in values:
                values[text] = each.get(name)
                since[name] = since.get(name) or place  # that of the first is 0
        if len(values) > 1:
            found[name] = list(values.values())
    return {name: found[name] for name in sorted(found, key=lambda name: -since[name])}


def _point(call: Call, row: JobRow, varied: dict[str, Any]) -> PointView:
    row, job = call.service.recorder.as_it_is(row)
    if job is None:
        done = row.replicates_completed / total_of(row)
        means = _stored_means(call, row)
        state = row.state or "queued"
        return PointView(varied, row.id, state, done, row.replicates_completed, means, row.error or None)
    status = job.status()
    means = {}
    if status.state is JobState.RUNNING:
        for output in job.simulation.outputs:
            if output.is_real_number:
                means[output.name] = _number(job.estimate(output.name, further=_LOOKED_AT).mean)
    completed = status.replicates_completed
    return PointView(varied, row.id, status.state.value, status.fraction, completed, means, status.error)


def _stored_means(call: Call, row: JobRow) -> dict[str, float | None]:
    store, wanted = call.service.engine.store, row.replicates_completed
    found = store.get(row.result_hash) if row.result_hash and wanted else None
    if found is not None and found.replicates == wanted:
        return {name: _number(each.mean) for name, each in found.summary.items() if each.mean is not None}
    if found is not None and found.replicates > wanted:  # another job has asked for more
        known = call.service.simulations.known(row.simulation)
        rows = wanted if found.keep == "summary" else min(wanted, _LOOKED_AT)
        first = store.load_result(found, known, replicates=rows)
        return {name: _number(each.mean) for name, each in first.summary().items()}
    job = call.service.recorder.in_memory(row.id)
    if job is None or not job.partial().replicates:
        return {}
    return {name: _number(each.mean) for name, each in job.partial().summary().items()}


def _number(value: Any) -> float | None:
    """Return a mean that is one finite number, else None."""
    with suppress(TypeError, ValueError):
        found = float(plain(value))
        return found if math.isfinite(found) else None
    return None
