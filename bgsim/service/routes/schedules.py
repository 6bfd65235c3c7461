"""Schedules over HTTP: jobs by the clock, in words, with their next runs.

A schedule's name is one of its tenant: the store keeps it as ``tenant/name``. A caller without a tenant names the
tenant in the query.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal
from urllib.parse import quote

import msgspec
from msgspec import Meta

from bgsim.errors import InvalidInputError
from bgsim.request import make_request, read_request
from bgsim.service.problems import ProblemError
from bgsim.service.routes.bodies import JobOptionsBody, Name, PriorityWord
from bgsim.service.routes.jobs import accepted, options_of, read_parameters
from bgsim.service.routes.tenants import absent, tenant_of
from bgsim.service.routing import Answer, Call, Routes
from bgsim.service.views import MOST_LISTED, JobView, parameters_of, read_object
from bgsim.storage.times import time_text

if TYPE_CHECKING:
    from bgsim.request import Request
    from bgsim.schedules.schedule import Schedule
    from bgsim.storage.journal import ScheduledRequest

routes = Routes()

_RUNS = 5
"""How many of the next runs are shown."""

Misfire = Literal["once", "skip", "all"]
ScheduleName = Annotated[str, Meta(min_length=1, max_length=200, pattern="^[^/]+$")]
Expression = Annotated[str, Meta(min_length=1, max_length=100)]
"""A cron expression: bounded before it is read."""

Zone = Annotated[str, Meta(min_length=1, max_length=100)]


class ScheduleBody(JobOptionsBody, forbid_unknown_fields=True, kw_only=True):
    """A schedule that is asked for."""

    simulation: Name
    cron: Expression
    name: ScheduleName | None = None
    timezone: Zone = "UTC"
    misfire: Misfire = "once"
    paused: bool = False
    parameters: dict[str, Any] = msgspec.field(default_factory=dict)


class ScheduleChanges(msgspec.Struct, forbid_unknown_fields=True):
    """What is to be different; what is left out stays."""

    paused: bool | None = None
    cron: Expression | None = None
    timezone: Zone | None = None
    misfire: Misfire | None = None
    parameters: dict[str, Any] | None = None
    replicates: Annotated[int, Meta(ge=1)] | None = None
    seed: Annotated[int, Meta(ge=0)] | None = None
    priority: PriorityWord | None = None


class TenantQuery(msgspec.Struct, forbid_unknown_fields=True):
    """Whose it is, for a caller who sees all tenants."""

    tenant: str = ""


class ScheduleView(msgspec.Struct):
    """A schedule: what it runs, when, in words, and the next runs."""

    name: str
    simulation: str
    short_name: str
    parameters: dict[str, Any]
    replicates: int
    seed: int
    cron: str
    timezone: str
    words: str
    misfire: str
    paused: bool
    last_run_at: str | None
    next_runs: list[str]
    options: dict[str, Any]
    tags: list[str]
    tenant: str | None
    links: dict[str, str]


class ScheduleList(msgspec.Struct):
    """All schedules that the caller sees, by name."""

    schedules: list[ScheduleView]


@dataclass(frozen=True, slots=True)
class _Found:
    """A schedule, whose it is, and the name that the tenant knows it by."""

    schedule: Schedule
    tenant: str
    name: str

    @property
    def kept(self) -> ScheduledRequest:
        """What the store has of it."""
        kept: ScheduledRequest = self.schedule.payload
        return kept


@routes.get("/schedules", "read", answer=ScheduleList)
def list_schedules(call: Call) -> Answer:
    """List the schedules, with their expressions in words and the next five runs."""
    found = sorted(_all(call), key=lambda each: (each.name, each.tenant))
    return Answer(ScheduleList([_view(call, each, whole=False) for each in found]))


@routes.get("/schedules/{name}", "read", query=TenantQuery, answer=ScheduleView, statuses=(404, 422))
def show_schedule(call: Call) -> Answer:
    """Show a schedule."""
    return Answer(_view(call, _find(call)))


@routes.post(
    "/schedules", "schedule", body=ScheduleBody, answer=ScheduleView, status=201, statuses=(404, 409, 422, 501, 503)
)
def add_schedule(call: Call) -> Answer:
    """Have a job run by the clock. The name is the simulation's unless one is given; it must be new."""
    body, tenant = call.body, call.caller.tenant
    simulation = call.service.simulations.find(body.simulation)
    request = make_request(
        simulation,
        read_parameters(simulation, body.parameters),
        tenant=tenant or None,
        **options_of(call.service, simulation, body),
    )
    call.service.check_limits(call.caller, request)
    name = body.name or simulation.name
    if any(each.name == name and each.tenant == tenant for each in _all(call)):
        raise ProblemError(409, f"there is a schedule {name!r} already; change it by PATCH, or delete it")
    _add(call, _kept_name(tenant, name), request, body.cron, body.timezone, body.misfire, paused=body.paused)
    found = _find_named(call, name, tenant)
    return Answer(_view(call, found), 201, {"Location": _links(call, found)["self"]})


@routes.patch(
    "/schedules/{name}", "schedule", body=ScheduleChanges, query=TenantQuery, answer=ScheduleView,
    statuses=(404, 422, 501, 503),
)  # fmt: skip
def change_schedule(call: Call) -> Answer:
    """Pause or resume a schedule, or change when it runs and what.

    With other times it begins anew; what was missed while it was paused is not made up for.
    """
    found = _find(call)
    changes = {name: value for name, value in msgspec.structs.asdict(call.body).items() if value is not None}
    if not changes:
        raise InvalidInputError("nothing is changed; give paused, cron or what else is to be different", field="paused")
    kept, schedules = found.kept, call.service.engine.schedules()
    paused = changes.pop("paused", kept.paused)
    times = {name: changes.pop(name, getattr(kept, name)) for name in ("cron", "timezone", "misfire")}
    is_changed = changes or any(getattr(kept, name) != value for name, value in times.items())
    if is_changed:
        request = _request(call, kept, changes)
        call.service.check_limits(call.caller, request)
        _add(call, kept.name, request, **times, paused=paused, replace=True)
    elif paused != kept.paused:
        (schedules.pause if paused else schedules.resume)(kept.name)
    return Answer(_view(call, _find_named(call, found.name, found.tenant)))


@routes.delete("/schedules/{name}", "schedule", query=TenantQuery, status=204, statuses=(404, 422))
def remove_schedule(call: Call) -> Answer:
    """Delete a schedule; jobs that it has started go on."""
    call.service.engine.schedules().remove(_find(call).kept.name)
    return Answer(None, 204)


@routes.post(
    "/schedules/{name}/run", "schedule", query=TenantQuery, answer=JobView, status=202, statuses=(404, 422, 429, 503)
)
def run_schedule(call: Call) -> Answer:
    """Run the job of a schedule now; its times stay as they are."""
    live = call.service.start(call.caller, _request(call, _find(call).kept, {}))
    return accepted(call, live.row.id)


# ---- finding and keeping -------------------------------------------------------------------------------


def _all(call: Call) -> list[_Found]:
    """Return the schedules that the caller sees."""
    found = []
    for schedule in call.service.engine.schedules():
        tenant = tenant_of(schedule.payload)
        if call.caller.sees(tenant):
            found.append(
                _Found(schedule, tenant, schedule.name.removeprefix(f"{tenant}/") if tenant else schedule.name)
            )
    return found


def _find(call: Call) -> _Found:
    """Return the schedule that the path names.

    Raises
    ------
    ProblemError
        404.
    """
    return _find_named(call, call.path["name"], call.caller.tenant or call.query.tenant)


def _find_named(call: Call, name: str, tenant: str) -> _Found:
    seen = _all(call)
    for each in seen:
        if each.name == name and each.tenant == tenant:
            return each
    raise absent("schedule", name, [each.name for each in seen if each.tenant == tenant])


def _kept_name(tenant: str, name: str) -> str:
    return f"{tenant}/{name}" if tenant else name


def _request(call: Call, kept: ScheduledRequest, changes: dict[str, Any]) -> Request:
    """Return what a schedule runs, with changes."""
    simulation = call.service.simulations.find(kept.simulation)
    if "parameters" in changes:
        changes = {**changes, "parameters": read_parameters(simulation, changes["parameters"])}
    return read_request(simulation, kept.parameters, kept.seed, kept.replicates, kept.options, changes or None)


def _add(
    call: Call, name: str, request: Request, cron: str, timezone: str, misfire: str, *, paused: bool,
    replace: bool = False,
) -> None:  # fmt: skip
    schedules = call.service.engine.schedules()
    schedules.add(name, request, cron=cron, timezone=timezone, misfire=misfire, replace_it=replace)
    if paused:
        schedules.pause(name)


def _view(call: Call, found: _Found, *, whole: bool = True) -> ScheduleView:
    schedule, kept = found.schedule, found.kept
    options = read_object(kept.options)
    tags = options.pop("tags", [])
    if "precision" in options:
        options["precision"] = read_object(options["precision"])
    last = schedule.last_run_at
    return ScheduleView(
        name=found.name,
        simulation=kept.simulation,
        short_name=kept.simulation.rpartition(".")[2],
        parameters=parameters_of(kept.parameters, most=None if whole else MOST_LISTED),
        replicates=kept.replicates,
        seed=int(kept.seed),
        cron=schedule.cron,
        timezone=schedule.timezone,
        words=schedule.words,
        misfire=schedule.misfire,
        paused=schedule.paused,
        last_run_at=None if last is None else time_text(last.timestamp()),
        next_runs=[time_text(at.timestamp()) for at in schedule.upcoming(call.service.engine.clock.time(), _RUNS)],
        options=options,
        tags=[str(tag) for tag in tags] if isinstance(tags, list) else [],
        tenant=found.tenant or None,
        links=_links(call, found),
    )


def _links(call: Call, found: _Found) -> dict[str, str]:
    at = call.link(f"/schedules/{quote(found.name, safe='')}")
    query = f"?tenant={quote(found.tenant)}" if found.tenant and not call.caller.tenant else ""
    return {"self": f"{at}{query}", "run": f"{at}/run{query}"}
