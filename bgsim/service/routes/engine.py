"""What an admin does to the whole engine, and to the queue of one simulation."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from bgsim.service.routes.statistics import QueueView, queue_of
from bgsim.service.routes.tenants import check_shared, find_simulation
from bgsim.service.routing import Answer, Call, Routes
from bgsim.storage.times import time_text

routes = Routes()

_WEEK_S = 7 * 86_400.0

_MOST_TOLD = 1000
"""Jobs of a queue of which the streams are told one by one when it is paused or resumed."""


class EngineView(msgspec.Struct):
    """Whether the engine runs and takes jobs, and how many have not ended."""

    paused: bool
    draining: bool
    open_jobs: int


class CleanBody(msgspec.Struct, forbid_unknown_fields=True):
    """Which jobs are forgotten: those that ended longer ago."""

    older_than_s: Annotated[float, Meta(ge=0, le=1e10)] = _WEEK_S


class CleanView(msgspec.Struct):
    """How many jobs were forgotten."""

    forgotten: int


def _engine(call: Call, status: int = 200) -> Answer:
    service = call.service
    open_jobs = sum(not live.row.state for live in service.recorder.all_live())
    return Answer(EngineView(service.engine.paused, service.draining, open_jobs), status)


@routes.get("/engine", "read", answer=EngineView, statuses=(403,))
def show_engine(call: Call) -> Answer:
    """Say whether the engine runs and takes jobs."""
    check_shared(call, "the engine")
    return _engine(call)


@routes.post("/engine/pause", "manage", answer=EngineView)
def pause(call: Call) -> Answer:
    """Start nothing more; what runs stops after its present replicates, and loses nothing."""
    check_shared(call, "to pause the engine")
    call.service.engine.pause()
    return _engine(call)


@routes.post("/engine/resume", "manage", answer=EngineView)
def resume(call: Call) -> Answer:
    """Go on after a pause, and take jobs again after a drain."""
    check_shared(call, "to resume the engine")
    call.service.draining = False
    call.service.engine.resume()
    return _engine(call)


@routes.post("/engine/drain", "manage", answer=EngineView, status=202)
def drain(call: Call) -> Answer:
    """Take no more jobs, and let the others end; `/readyz` answers 503 from now on, until the engine is resumed."""
    check_shared(call, "to drain the engine")
    call.service.draining = True
    return _engine(call, 202)


@routes.post("/engine/clean", "manage", body=CleanBody, answer=CleanView, statuses=(422,))
def clean(call: Call) -> Answer:
    """Forget the jobs that ended longer ago than that, by default a week; their results stay in the store."""
    check_shared(call, "to forget jobs")
    service, age_s = call.service, call.body.older_than_s
    before = time_text(max(0.0, service.engine.clock.time() - age_s))
    service.engine.clean(age_s)
    forgotten = service.history.forget_jobs(before, service.settings.history_jobs)
    service.recorder.tallies.changed()
    return Answer(CleanView(forgotten))


# ---- a queue -------------------------------------------------------------------------------------------


@routes.post("/queues/{simulation}/pause", "manage", answer=QueueView, statuses=(404,))
def pause_queue(call: Call) -> Answer:
    """Pause the jobs of a simulation, and those to come; of the caller's tenant, if it has one.

    They stay paused until they are resumed, or the service ends.
    """
    simulation = find_simulation(call, call.path["simulation"])
    call.service.engine.pause_simulation(simulation, tenant=call.caller.tenant or None)
    return _told(call, simulation.name)


@routes.post("/queues/{simulation}/resume", "manage", answer=QueueView, statuses=(404,))
def resume_queue(call: Call) -> Answer:
    """Let the jobs of a simulation go on; those that were paused by hand stay paused."""
    simulation = find_simulation(call, call.path["simulation"])
    call.service.engine.resume_simulation(simulation, tenant=call.caller.tenant or None)
    return _told(call, simulation.name)


def _told(call: Call, name: str) -> Answer:
    """Tell the streams of the jobs that have changed, and answer with their queue."""
    found = [
        live.row.id
        for live in call.service.recorder.all_live()
        if live.row.simulation == name and not live.row.state and call.caller.sees(live.row.tenant)
    ]
    for job_id in found[:_MOST_TOLD]:
        call.service.told_of_change(job_id, call.prefix)
    return Answer(queue_of(call, name))
