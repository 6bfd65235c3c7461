"""Jobs over HTTP: submitting, listing, following and changing them."""

from __future__ import annotations

import hashlib
import json
import math
import zlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import msgspec

from bgsim.checks import refused
from bgsim.errors import InvalidInputError
from bgsim.parameters.parameter_class import parameter_class
from bgsim.precision import Precision
from bgsim.priority import Priority
from bgsim.request import make_request
from bgsim.retry import Retry
from bgsim.service.problems import FieldProblem, ProblemError
from bgsim.service.routes.bodies import JobBody, JobChanges, JobList, JobOptionsBody, JobsQuery, RetryChanges
from bgsim.service.routing import Answer, Call, Later, Routes
from bgsim.service.views import JobView, read_object, view_of
from bgsim.storage.history import JobRow
from bgsim.storage.times import time_text

if TYPE_CHECKING:
    from bgsim.job import Job
    from bgsim.request import Request
    from bgsim.service.core import Service
    from bgsim.service.recorder import Live
    from bgsim.simulation import Simulation

routes = Routes()

_MOST_WAITED_S = 300.0
"""The longest `Prefer: wait`."""

_KEY_LENGTH = 255

_NOT_IN_JSON = ("inf", "-inf", "nan")
"""Numbers that it lacks."""


# ---- submitting ----------------------------------------------------------------------------------------


@routes.post("/jobs", "submit", body=JobBody, answer=JobView, status=202, statuses=(200, 404, 409, 422, 429, 503))
def submit(call: Call) -> Answer | Later:
    """Submit a job.

    Answers at once, with 202 and the job's address; with 200 if the store had the result, or if the job ended within
    the seconds of `Prefer: wait=N`. The same `Idempotency-Key` within 24 hours gives the same job.
    """
    service, body = call.service, call.body
    key, digest = _idempotency(call)
    if key and (known := _known(call, key)) is not None:
        return _answer_again(call, known, digest)
    request = request_of(call, body)
    webhook = "" if body.webhook is None else json.dumps(service.checked_webhook(msgspec.to_builtins(body.webhook)))
    with service.submitting(call.caller, key):
        if key and (known := _known(call, key)) is not None:  # a twin was answered meanwhile
            return _answer_again(call, known, digest)
        row = service.new_row(call.caller, request, idempotency_key=key, request_hash=digest, webhook=webhook)
        taken = service.take(row, request)
    if isinstance(taken, JobRow):
        return _answer_again(call, taken, digest)
    return _submitted(call, taken)


def request_of(call: Call, body: JobBody, **more: Any) -> Request:
    """Return the engine's request for a body, within the limits of the caller's role.

    Raises
    ------
    InvalidInputError, SimulationNotFoundError, ProblemError
    """
    simulation = call.service.simulations.find(body.simulation)
    options = options_of(call.service, simulation, body)
    options |= {"supersede": body.supersede, "debounce_s": body.debounce_s}
    request = make_request(
        simulation,
        read_parameters(simulation, body.parameters),
        tenant=call.caller.tenant or None,
        **options,
        **more,
    )
    call.service.check_limits(call.caller, request)
    return request


def options_of(service: Service, simulation: Simulation, body: JobOptionsBody) -> dict[str, Any]:
    """Return the options of `Engine.submit` that a body asks for, with what the service has in place of defaults."""
    overrides = service.settings.overrides.get(simulation.short_name)
    options: dict[str, Any] = {name: getattr(body, name) for name in JobOptionsBody.__struct_fields__}
    options["retry"] = None if body.retry is None else Retry(**msgspec.structs.asdict(body.retry))
    options["tags"] = tuple(body.tags)
    options["replicates"] = _replicates_of(body)
    del options["precision"]
    if body.at is not None and body.at.tzinfo is None:
        raise refused("at", body.at.isoformat(), "a time with its time zone, such as 2026-10-01T14:30:00Z")
    for name in ("priority", "timeout_s", "group", "retry"):
        if options[name] is None and overrides is not None:
            options[name] = getattr(overrides, name)
    return options


def _replicates_of(body: JobOptionsBody) -> int | Precision:
    """Return how many replicates a body asks for: a number, or what says when there are enough.

    Raises
    ------
    InvalidInputError
    """
    if (body.replicates is None) == (body.precision is None):
        given = "neither" if body.replicates is None else "both"
        raise InvalidInputError(
            f"give either replicates or precision, whose maximum is the most replicates; got {given}",
            field="replicates",
            value=body.replicates,
        )
    if body.precision is None:
        assert body.replicates is not None
        return body.replicates
    return Precision(**msgspec.structs.asdict(body.precision))


def read_parameters(simulation: Simulation, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return parameters from JSON, which has no infinity: numbers may be given as ``"inf"``, ``"-inf"``, ``"nan"``."""
    found = simulation.parameters_class
    numbers = {field.name for field in parameter_class(found).fields if field.annotation is not str} if found else ()
    return {
        name: float(value) if isinstance(value, str) and name in numbers and value.lower() in _NOT_IN_JSON else value
        for name, value in given.items()
    }


def _idempotency(call: Call) -> tuple[str, str]:
    key = call.headers.get("idempotency-key", "").strip().strip('"')
    if not key:
        return "", ""
    if len(key) > _KEY_LENGTH or not key.isprintable():
        raise ProblemError(
            422,
            f"Idempotency-Key must be a printable text of at most {_KEY_LENGTH} characters",
            errors=[FieldProblem("too long, or not printable", parameter="Idempotency-Key")],
        )
    return key, hashlib.sha256(b"POST /v1/jobs " + call.raw).hexdigest()


def _known(call: Call, key: str) -> JobRow | None:
    """Return the job that a key of the caller's stands for."""
    now = time_text(call.service.engine.clock.time())
    return call.service.history.job_by_key(call.caller.token, key, now)


def _answer_again(call: Call, row: JobRow, digest: str) -> Answer:
    """Answer a request that came before."""
    if row.request_hash != digest:
        raise ProblemError(
            422,
            f"this Idempotency-Key stands for another request, which became {row.id}; a new request needs a new key",
            errors=[FieldProblem("used for another request", parameter="Idempotency-Key")],
        )
    view = view_of(*call.service.recorder.as_it_is(row), call.prefix)
    return _accepted(call, view, {"Idempotency-Replayed": "true"})


def _submitted(call: Call, live: Live) -> Answer | Later:
    def then() -> Answer:
        view = call.service.view(live.row.id, call.prefix)
        return _accepted(call, view, {}, done=view.state in ("completed", "failed", "cancelled"))

    seconds = _preferred_wait_s(call.headers.get("prefer", ""))
    if seconds and live.job.finished_at is None:
        return Later(live.job.when_done, seconds, then, call.link(f"/jobs/{live.row.id}"))
    return then()


def _accepted(call: Call, view: JobView, headers: dict[str, str], *, done: bool = False) -> Answer:
    headers = headers | {"Location": call.link(f"/jobs/{view.id}")}
    if not done:
        headers["Retry-After"] = str(retry_after_s(view))
    return Answer(view, 200 if done else 202, headers)


def retry_after_s(view: JobView) -> int:
    """Return after how many seconds it makes sense to look at a job again, from how fast it goes."""
    guess = view.estimated_time_remaining_s
    if guess is None:
        guess = view.estimated_wait_s
    return min(60, max(1, math.ceil(guess))) if guess is not None and math.isfinite(guess) else 1


def _preferred_wait_s(header: str) -> float:
    for part in header.split(","):
        name, _, value = part.strip().partition("=")
        if name.strip().lower() == "wait":
            try:
                return min(max(0.0, float(value.partition(";")[0])), _MOST_WAITED_S)
            except ValueError:
                return 0.0
    return 0.0


def accepted(call: Call, job_id: str) -> Answer:
    """Answer with a job that has been submitted, and where it is."""
    return Answer(
        call.service.view(job_id, call.prefix), 202, {"Location": call.link(f"/jobs/{job_id}"), "Retry-After": "1"}
    )


# ---- seeing --------------------------------------------------------------------------------------------


def find_job(call: Call) -> tuple[JobRow, Job | None]:
    """Return the row of the job that the path names, with the job while it has not ended.

    Raises
    ------
    ProblemError
        404 if there is none that the caller may see; 410 if it is forgotten, for a caller who sees all.
    """
    job_id = call.path["id"]
    found = call.service.recorder.find(job_id)
    if found is not None and call.caller.sees(found[0].tenant):
        return found
    if found is None and not call.caller.tenant and call.service.engine.has_named(job_id):  # by then it is nobody's
        raise ProblemError(410, f"{job_id} ended long ago and is forgotten; its result may still be in the store")
    raise ProblemError(404, f"there is no job {job_id!r}")


@routes.get("/jobs", "read", query=JobsQuery, answer=JobList, statuses=(422,), takes_parameters=True)
def list_jobs(call: Call) -> Answer:
    """List jobs, the newest first.

    Filters: `state` (one or several, separated by commas), `simulation`, `tag`, `parameter.NAME=VALUE`, `since` and
    `until` (times, or how long ago: `3 h`). `cursor` goes on where a page ended; so does the header `Link`.
    """
    query = call.query
    rows = call.service.search(
        call.caller,
        states=query.state, simulation=query.simulation, tag=query.tag, parameters=call.parameters,
        since=query.since, until=query.until, limit=query.limit + 1, before=read_cursor(query.cursor),
    )  # fmt: skip
    page = rows[: query.limit]
    following = cursor_of(page[-1]) if len(rows) > query.limit else None
    headers = {}
    if following is not None:
        headers["Link"] = f'<{call.link("/jobs")}?{_query_of(call, following)}>; rel="next"'
    return Answer(JobList([_listed(call, row) for row in page], following), headers=headers)


def _listed(call: Call, row: JobRow) -> JobView:
    return view_of(*call.service.recorder.as_it_is(row), call.prefix, whole=False)


def cursor_of(row: JobRow) -> str:
    """Return where a page that ends with this job goes on."""
    return f"{row.submitted_at}~{row.id}"


def read_cursor(text: str) -> tuple[str, str] | None:
    """Return what a page comes after, None for nothing.

    Raises
    ------
    InvalidInputError
    """
    if not text:
        return None
    at, tilde, job_id = text.partition("~")
    if not tilde:
        raise refused("cursor", text, "what `next` of the page before has")
    return at, job_id


def _query_of(call: Call, cursor: str) -> str:
    given = {name: getattr(call.query, name) for name in JobsQuery.__struct_fields__ if getattr(call.query, name)}
    given |= {f"parameter.{name}": msgspec.json.encode(value).decode() for name, value in call.parameters.items()}
    return urlencode(given | {"cursor": cursor})


@routes.get("/jobs/{id}", "read", answer=JobView, statuses=(304, 404, 410))
def show_job(call: Call) -> Answer:
    """Show a job: what it does, how far it is, why it waits, how it ended."""
    row, job = find_job(call)
    view = view_of(row, job, call.prefix)
    body = msgspec.json.encode(view)
    tag = f'W/"{zlib.crc32(body):08x}-{len(body):x}"'
    headers = {"ETag": tag, "Cache-Control": "private, no-cache"}
    if not row.state:
        headers["Retry-After"] = str(retry_after_s(view))
    if tag in call.headers.get("if-none-match", ""):
        return Answer(None, 304, headers)
    return Answer(body, 200, headers)


# ---- changing ------------------------------------------------------------------------------------------


def find_live(call: Call, verb: str) -> Live:
    """Return the job that the path names, if it has not ended.

    Raises
    ------
    ProblemError
        409 that names its state.
    """
    row, _ = find_job(call)
    live = call.service.recorder.live(row.id)
    if live is None or live.job.moved_to.is_terminal:
        state = call.service.recorder.as_it_is(row)[0].state or "of another process"
        raise ProblemError(409, f"{row.id} is {state}, so it cannot be {verb}")
    return live


@routes.patch("/jobs/{id}", "control", body=JobChanges, answer=JobView, statuses=(404, 409, 410, 422))
def change_job(call: Call) -> Answer:
    """Change the priority or the tags of a job."""
    changes = call.body
    if changes.priority is None and changes.tags is None:
        raise InvalidInputError("nothing is changed; give priority or tags", field="priority")
    if changes.priority is not None:
        live = find_live(call, "given another priority")
        live.job.set_priority(changes.priority)
        options = {**read_object(live.row.options), "priority": Priority.of(changes.priority).name.lower()}
        call.service.change(live.row.id, options=json.dumps(options))
    if changes.tags is not None:
        call.service.change(find_job(call)[0].id, tags=json.dumps(list(dict.fromkeys(changes.tags))))
    return Answer(call.service.told_of_change(call.path["id"], call.prefix))


@routes.post("/jobs/{id}/cancel", "control", answer=JobView, status=202, statuses=(404, 409, 410))
def cancel(call: Call) -> Answer:
    """Cancel a job; its finished replicates are kept."""
    return _cancelled(call)


@routes.delete("/jobs/{id}", "control", answer=JobView, status=202, statuses=(404, 409, 410))
def delete(call: Call) -> Answer:
    """Cancel a job."""
    return _cancelled(call)


def _cancelled(call: Call) -> Answer:
    live = find_live(call, "cancelled")
    call.service.cancel(live)
    return Answer(call.service.told_of_change(live.row.id, call.prefix), 202)


@routes.post("/jobs/{id}/pause", "control", answer=JobView, status=202, statuses=(404, 409, 410))
def pause(call: Call) -> Answer:
    """Hold a job until it is resumed; nothing of it is lost."""
    live = find_live(call, "paused")
    if not live.job.pause():
        raise ProblemError(409, f"{live.row.id} is {live.job.state.value}, so it cannot be paused")
    return Answer(call.service.told_of_change(live.row.id, call.prefix), 202)


@routes.post("/jobs/{id}/resume", "control", answer=JobView, status=202, statuses=(404, 409, 410))
def resume(call: Call) -> Answer:
    """Let a paused job go on."""
    live = find_live(call, "resumed")
    if not live.job.resume():
        raise ProblemError(409, f"{live.row.id} is {live.job.state.value} and not paused, so it cannot be resumed")
    return Answer(call.service.told_of_change(live.row.id, call.prefix), 202)


@routes.post(
    "/jobs/{id}/retry", "submit", body=RetryChanges, answer=JobView, status=202, statuses=(200, 404, 409, 410, 422, 503)
)
def retry(call: Call) -> Answer | Later:
    """Run a job that has ended again, as it was or with changes; a failed one leaves the dead letters."""
    row, _ = find_job(call)
    if not row.state:
        raise ProblemError(409, f"{row.id} has not ended, so it cannot be run again")
    changes = {name: value for name, value in msgspec.structs.asdict(call.body).items() if value is not None}
    return _submitted(call, call.service.run_again(call.caller, row, changes, webhook=row.webhook))
