"""How the service is doing: counts, waits, what each worker computes, alerts, and the queue of each simulation.

A caller of a tenant gets the counts of that tenant's jobs, and the waits and rates of the whole engine.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import astuple
from typing import TYPE_CHECKING, Any

import msgspec

from bgsim import __version__
from bgsim.job_status import JobState
from bgsim.service.routes.tenants import find_simulation
from bgsim.service.routing import Answer, Call, Routes

if TYPE_CHECKING:
    from bgsim.running.stats import Alert, Quantiles

routes = Routes()

TEXTS = {
    "failed": "{failed} jobs have failed; /v1/dead-letters says which, and why",
    "waiting": "{waiting} jobs wait for their start",
}
"""What alerts say where the engine's own words mean a program."""


class QuantilesView(msgspec.Struct):
    """Of the newest thousand jobs, in seconds; null where there are none."""

    p50: float | None
    p90: float | None
    p99: float | None


class QueueCounts(msgspec.Struct):
    """Runs that wait and that are served, of the whole engine."""

    waiting: int
    delayed: int
    processing: int
    capacity: int
    by_priority: dict[str, int]


class WorkerView(msgspec.Struct):
    """What a worker does."""

    worker: int
    job: str | None
    phase: str
    place: str = ""


class StatsView(msgspec.Struct):
    """What the service has done and is doing."""

    states: dict[str, int]
    queue: QueueCounts
    queue_wait_s: QuantilesView
    run_time_s: QuantilesView
    replicates_per_second: float
    utilisation: float
    joined: int
    from_store: int
    retries: int
    stored_results: int | None
    stored_bytes: int | None
    workers: list[WorkerView]
    paused: bool
    draining: bool
    version: str


class AlertView(msgspec.Struct):
    """What needs attention: a warning, or an error, which is something that does not work."""

    severity: str
    text: str
    kind: str
    job: str | None = None


class HealthView(msgspec.Struct):
    """Whether anything needs attention. A warning leaves `healthy` true, an error does not."""

    ok: bool
    healthy: bool
    status: str
    alerts: list[AlertView]
    failed: int
    waiting: int
    total_jobs: int
    stalled: list[str]
    overdue: list[str]
    store_error: str | None
    evicted: int | None


class QueueView(msgspec.Struct):
    """The jobs of one simulation."""

    simulation: str
    short_name: str
    waiting: int
    active: int
    delayed: int
    completed: int
    failed: int
    cancelled: int
    failed_rate: float
    paused: bool


class QueueList(msgspec.Struct):
    """The queues of the simulations that are served or have jobs."""

    queues: list[QueueView]


@routes.get("/stats", "read", answer=StatsView)
def show_stats(call: Call) -> Answer:
    """Show counts by state, waits, rates, and what each worker computes.

    `states` counts jobs now, and those that have ended for as long as the service remembers them.
    """
    service = call.service
    stats = service.engine.stats()
    queue = stats.queue
    counts = QueueCounts(
        queue.waiting, queue.delayed, queue.processing, queue.capacity,
        {name.lower(): count for name, count in queue.by_priority.items()},
    )  # fmt: skip
    whole = not call.caller.tenant
    states = {state.value: 0 for state in JobState} | _states(call)
    return Answer(
        StatsView(
            states=states,
            queue=counts,
            queue_wait_s=_quantiles(stats.queue_wait_s),
            run_time_s=_quantiles(stats.run_time_s),
            replicates_per_second=stats.replicates_per_second,
            utilisation=stats.utilisation,
            joined=stats.joined,
            from_store=stats.from_store,
            retries=stats.retries,
            stored_results=stats.stored_results if whole else None,
            stored_bytes=stats.stored_bytes if whole else None,
            workers=_workers(call),
            paused=service.engine.paused,
            draining=service.draining,
            version=__version__,
        )
    )


def _quantiles(found: Quantiles) -> QuantilesView:
    return QuantilesView(*(None if math.isnan(value) else value for value in astuple(found)))


def _workers(call: Call) -> list[WorkerView]:
    """Return what each worker does; of another tenant's job the phase alone."""
    found = []
    for one in call.service.engine.at_work():
        live = None if one.job is None else call.service.recorder.live(one.job)
        seen = live is not None and call.caller.sees(live.row.tenant)
        found.append(WorkerView(one.worker, one.job if seen else None, one.phase, one.place))
    return found


def _states(call: Call, simulation: str | None = None) -> Counter[str]:
    """Return how many jobs that the caller sees are in each state, of one simulation or of all."""
    recorder = call.service.recorder
    found = Counter(
        live.job.state.value  # which has ended, it may be, and is not written down yet
        for live in recorder.all_live()
        if not live.row.state
        and call.caller.sees(live.row.tenant)
        and (simulation is None or live.row.simulation == simulation)
    )
    for (tenant, name, ended), count in recorder.tallies.counts().items():
        if ended and call.caller.sees(tenant) and (simulation is None or name == simulation):
            found[ended] += count
    return found


# ---- health --------------------------------------------------------------------------------------------


@routes.get("/health", "read", answer=HealthView)
def show_health(call: Call) -> Answer:
    """Say whether anything needs attention: jobs that fail or wait, that stall, a store that refuses."""
    service, caller = call.service, call.caller
    health = service.engine.health()
    mine = {
        job_id: (live := service.recorder.live(job_id)) is None or caller.sees(live.row.tenant)
        for job_id in (*health.stalled, *health.overdue)
    }
    states = _states(call)
    failed = states["failed"] if caller.tenant else health.failed
    waiting = sum(states[word] for word in ("queued", "delayed")) if caller.tenant else health.waiting
    counts = {"failed": failed, "waiting": waiting}
    alerts = [_alert(alert, counts) for alert in health.alerts if _concerns(call, alert, mine, counts)]
    healthy = not any(alert.severity == "error" for alert in alerts)
    return Answer(
        HealthView(
            ok=not alerts,
            healthy=healthy,
            status="ok" if not alerts else "warning" if healthy else "error",
            alerts=alerts,
            failed=failed,
            waiting=waiting,
            total_jobs=states.total(),
            stalled=[job_id for job_id in health.stalled if mine[job_id]],
            overdue=[job_id for job_id in health.overdue if mine[job_id]],
            store_error=health.store_error,
            evicted=None if caller.tenant else health.evicted,
        )
    )


def _concerns(call: Call, alert: Alert, mine: dict[str, bool], counts: dict[str, int]) -> bool:
    """Tell whether a caller of a tenant is to see an alert."""
    if not call.caller.tenant:
        return True
    config = call.service.engine.config
    if alert.kind in counts:
        return counts[alert.kind] > (config.alert_failed if alert.kind == "failed" else config.alert_waiting)
    return mine.get(alert.job, False) if alert.job else alert.kind == "store"


def _alert(alert: Alert, counts: dict[str, int]) -> AlertView:
    text = TEXTS[alert.kind].format(**counts) if alert.kind in TEXTS else str(alert)
    return AlertView("error" if alert.is_error else "warning", text, alert.kind, alert.job or None)


# ---- queues --------------------------------------------------------------------------------------------


@routes.get("/queues", "read", answer=QueueList)
def list_queues(call: Call) -> Answer:
    """List the queue of each simulation: how many of its jobs wait, run, have ended, and whether it is paused."""
    service = call.service
    names = {service.simulations.find(name).name for name in service.simulations.names()}
    names |= {live.row.simulation for live in service.recorder.all_live() if call.caller.sees(live.row.tenant)}
    return Answer(QueueList([queue_of(call, name) for name in sorted(names)]))


@routes.get("/queues/{simulation}", "read", answer=QueueView, statuses=(404,))
def show_queue(call: Call) -> Answer:
    """Show the queue of one simulation."""
    return Answer(queue_of(call, find_simulation(call, call.path["simulation"]).name))


def queue_of(call: Call, name: str) -> QueueView:
    """Return the queue of a simulation as the caller sees it."""
    states = _states(call, name)
    completed, failed = states["completed"], states["failed"]
    paused: set[Any] = {tenant for held, tenant in call.service.engine.paused_simulations() if held == name}
    return QueueView(
        simulation=name,
        short_name=name.rpartition(".")[2],
        waiting=states["queued"] + states["suspended"],
        active=states["running"] + states["cancelling"],
        delayed=states["delayed"],
        completed=completed,
        failed=failed,
        cancelled=states["cancelled"],
        failed_rate=failed / (completed + failed) if failed else 0.0,
        paused=None in paused or (call.caller.tenant in paused if call.caller.tenant else False),
    )
