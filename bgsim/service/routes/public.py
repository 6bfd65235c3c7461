"""What a client asks first: what is served, who it is, whether the service is well; and the streams of events."""

from __future__ import annotations

import enum
import inspect
from collections.abc import Callable
from typing import Any

import msgspec

from bgsim.errors import StoreError
from bgsim.kernels.outputs import Output
from bgsim.parameters.fields import Field
from bgsim.parameters.parameter_class import parameter_class
from bgsim.service.access import ROLES, cookie_header
from bgsim.service.events import Event
from bgsim.service.problems import ProblemError
from bgsim.service.routes.jobs import find_job
from bgsim.service.routing import Answer, Call, Routes
from bgsim.service.views import plain, view_of
from bgsim.simulation import Simulation

routes = Routes()


class SimulationName(msgspec.Struct):
    """A simulation in a list."""

    name: str
    short_name: str
    title: str


class SimulationList(msgspec.Struct):
    """The simulations that are served."""

    simulations: list[SimulationName]


class ParameterView(msgspec.Struct):
    """A parameter, as a form needs it."""

    name: str
    type: str
    required: bool
    derived: bool
    default: Any = None
    unit: str = ""
    range: str = ""
    doc: str = ""
    ge: float | None = None
    gt: float | None = None
    le: float | None = None
    lt: float | None = None
    choices: list[Any] | None = None


class OutputView(msgspec.Struct):
    """An output: a column of the result."""

    name: str
    dtype: str
    shape: list[int | str]
    scalar: bool


class SimulationView(msgspec.Struct):
    """A simulation: what it takes, what it gives, and what its jobs have by default."""

    name: str
    short_name: str
    doc: str
    fingerprint: str
    compiles: bool
    parameters: list[ParameterView] | None
    outputs: list[OutputView]
    defaults: dict[str, Any]


class SessionBody(msgspec.Struct, forbid_unknown_fields=True):
    """A token that a browser gets a cookie for."""

    token: str


class SessionView(msgspec.Struct):
    """Who the caller is, and what the caller may do."""

    token: str
    role: str
    tenant: str
    verbs: list[str]
    local: bool


@routes.get("/simulations", "read", answer=SimulationList)
def list_simulations(call: Call) -> Answer:
    """List the simulations that are served."""
    served = call.service.simulations
    found = [served.find(name) for name in served.names()]
    return Answer(SimulationList([SimulationName(s.name, s.short_name, _title(s)) for s in found]))


@routes.get("/simulations/{name}", "read", answer=SimulationView, statuses=(404,))
def show_simulation(call: Call) -> Answer:
    """Show a simulation: its parameters with units and ranges, its outputs, what its jobs have by default."""
    simulation = call.service.simulations.find(call.path["name"])
    found = simulation.parameters_class
    fields = [_parameter(field) for field in parameter_class(found).fields] if found else None
    overrides = call.service.settings.overrides.get(simulation.short_name)
    defaults: dict[str, Any] = {}
    for name in ("priority", "timeout_s", "group", "retry"):
        value = getattr(overrides, name, None)
        value = getattr(simulation.defaults, name) if value is None else value
        defaults[name] = _default(name, value)
    return Answer(
        SimulationView(
            simulation.name,
            simulation.short_name,
            inspect.cleandoc(simulation.__doc__ or ""),
            simulation.fingerprint,
            simulation.compiles,
            fields,
            [_output(output) for output in simulation.outputs],
            defaults,
        )
    )


def _title(simulation: Simulation) -> str:
    return (simulation.__doc__ or "").strip().partition("\n")[0]


def _default(name: str, value: Any) -> Any:
    if name == "priority" and not isinstance(value, str):
        return value.name.lower()
    if name == "retry" and value is not None:
        return {word: getattr(value, word) for word in ("retries", "backoff", "delay_s", "max_delay_s", "jitter")}
    return value


def _parameter(field: Field) -> ParameterView:
    limits = field.limits
    return ParameterView(
        field.name,
        field.type_name,
        field.required,
        field.derived,
        None if field.required or field.derived else plain(field.new_default()),
        limits.unit,
        limits.describe(),
        limits.doc,
        limits.ge,
        limits.gt,
        limits.le,
        limits.lt,
        _choices(field),
    )


def _choices(field: Field) -> list[Any] | None:
    """Return what a parameter may be, if that is a list: what it declares, or the names of an enum's members."""
    if field.limits.choices is not None:
        found: list[Any] = plain(list(field.limits.choices))
        return found
    kind = field.annotation
    return list(kind.__members__) if isinstance(kind, type) and issubclass(kind, enum.Enum) else None


def _output(output: Output) -> OutputView:
    return OutputView(output.name, str(output.dtype), list(output.shape), scalar=output.is_real_number)


# ---- the session of a browser ----------------------------------------------------------------------------


@routes.get("/session", "read", answer=SessionView)
def show_session(call: Call) -> Answer:
    """Say who the caller is, and what the caller may do."""
    caller = call.caller
    return Answer(
        SessionView(caller.token, caller.role, caller.tenant, list(ROLES[caller.role]), call.service.access.is_local)
    )


@routes.post("/session", None, body=SessionBody, status=204, statuses=(401,))
def begin_session(call: Call) -> Answer:
    """Exchange a token for a cookie, which scripts of a page cannot read."""
    token = call.body.token.strip()
    call.service.access.caller({"authorization": f"Bearer {token}"})
    header = cookie_header(call.headers, token, f"{call.prefix}/", is_secure=call.is_secure)
    return Answer(None, 204, {"Set-Cookie": header})


@routes.delete("/session", None, status=204)
def end_session(call: Call) -> Answer:
    """Delete the cookie."""
    return Answer(
        None, 204, {"Set-Cookie": cookie_header(call.headers, "", f"{call.prefix}/", is_secure=call.is_secure)}
    )


# ---- events --------------------------------------------------------------------------------------------

EVENT_STREAM = "text/event-stream"


@routes.get("/events", "read", answer=str, media_types=(EVENT_STREAM,), statuses=(503,))
def follow_all(call: Call) -> Answer:
    """Follow what happens to all jobs, as server-sent events.

    Events are job.submitted, job.started, job.progress, job.changed, job.completed, job.failed, job.cancelled,
    job.dead_lettered, engine and resync. With `Last-Event-ID` the stream goes on after that event, or says `resync` if
    it no longer has what came between; then ask for the jobs anew.
    """
    caller = call.caller

    def sees(event: Event) -> bool:
        return not caller.tenant or (event.tenant is not None and caller.sees(event.tenant))

    return _streamed(call, sees)


@routes.get("/jobs/{id}/events", "read", answer=str, media_types=(EVENT_STREAM,), statuses=(404, 410, 503))
def follow_job(call: Call) -> Answer:
    """Follow one job to its end, as server-sent events; the first is where it is now."""
    row, _ = find_job(call)
    answer = _streamed(call, lambda event: event.job == row.id)
    stream = answer.body
    live = call.service.recorder.live(row.id)  # after the stream has begun: an end that is not told yet will be in it
    row, job = call.service.recorder.as_it_is(row) if live is None else (live.row, live.job)
    stream.ends_with, stream.is_over = row.id, bool(row.state)
    if not call.headers.get("last-event-id") or stream.missed or row.state:
        name = f"job.{row.state}" if row.state else "job.changed"
        body = msgspec.json.encode({"job": view_of(row, job, call.prefix)})
        stream.first.append(f"event: {name}\ndata: ".encode() + body + b"\n\n")
    return answer


def _streamed(call: Call, sees: Callable[[Event], bool]) -> Answer:
    events = call.service.events
    if events.closed:
        raise ProblemError(503, "the service is closing", headers={"Retry-After": "5"})
    stream = events.follow(call.headers.get("last-event-id", ""), sees)
    stream.may_go_on = lambda: _is_known(call)
    headers = {"Cache-Control": "no-cache, no-transform", "X-Accel-Buffering": "no"}
    return Answer(stream, 200, headers, EVENT_STREAM)


def _is_known(call: Call) -> bool:
    """Tell whether the caller's token still counts; one that cannot be looked up does."""
    try:
        call.service.access.caller(call.headers)
    except ProblemError:
        return False
    except StoreError:
        return True
    return True
