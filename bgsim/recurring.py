"""Recurring jobs of an engine: schedules that are kept in the store and run when they are due."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from bgsim.errors import BgsimError
from bgsim.ledger import time_text
from bgsim.schedules import Schedule, Schedules
from bgsim.storage.journal import ScheduledRequest

if TYPE_CHECKING:
    from bgsim.desk import Desk
    from bgsim.submission import Submission

logger = logging.getLogger("bgsim.engine")


class RecurringJobs:
    """The schedules of an engine, by name; what `Engine.schedules` returns. Any thread may call any method.

    Iterate over it for the `Schedule` of each. It is also a chore of the engine's timekeeper, which asks at least every
    minute, so that a wall clock that is set or a computer that slept is noticed.
    """

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._journal = desk.scheduler.journal
        self._clock = desk.scheduler.clock
        self._schedules = Schedules()
        if desk.scheduler.config.run_schedules:
            for kept in self._journal.schedules():
                self._schedules.add(_schedule_of(kept))

    def add(
        self, name: str, submission: Submission, *, cron: str, timezone: str, misfire: str, replace_it: bool
    ) -> Schedule:
        """Keep a schedule, in the store too; see `Engine.schedule`."""
        now = time_text(self._clock.time())
        kept = ScheduledRequest(
            name=name,
            simulation=submission.simulation.name,
            parameters=submission.parameters.to_json(),
            seed=str(submission.seed),
            replicates=submission.replicates,
            options=submission.options_json(),
            cron=cron,
            timezone=timezone,
            misfire=misfire,
            paused=False,
            last_run_at=None,
            created_at=now,
        )
        schedule = _schedule_of(kept)
        self._schedules.add(schedule, replace=replace_it)
        self._desk.remember(submission.simulation)
        self._journal.put_schedule(kept)
        self._look_again()
        return schedule

    def get(self, name: str) -> Schedule:
        """Return a schedule.

        Raises
        ------
        RequestNotFoundError
            If there is none of that name; so for all that take a name.
        """
        return self._schedules.get(name)

    def pause(self, name: str) -> Schedule:
        """Let a schedule start nothing until it is resumed."""
        return self._keep(self._schedules.pause(name))

    def resume(self, name: str) -> Schedule:
        """Let a paused schedule go on; what it missed is not made up for."""
        now = self._clock.time()
        resumed = self._schedules.resume(name, now)
        schedule = self._keep(replace(resumed, payload=replace(resumed.payload, created_at=time_text(now))))
        self._look_again()
        return schedule

    def remove(self, name: str) -> Schedule:
        """Forget a schedule, in the store too; jobs that it has started go on."""
        schedule = self._schedules.remove(name)
        self._journal.remove_schedule(name)
        return schedule

    def __iter__(self) -> Iterator[Schedule]:
        return iter(self._schedules)

    def __len__(self) -> int:
        return len(self._schedules)

    def __repr__(self) -> str:
        return f"<{len(self)} schedules{''.join(f'{chr(10)}  {schedule}' for schedule in self)}>"

    # ---- a chore of the timekeeper ---------------------------------------------------------------------

    def wait_s(self) -> float:
        """Return in how many seconds to look again."""
        wait_s = self._schedules.wait_s(self._clock.time())
        return math.inf if wait_s is None else wait_s

    def run(self) -> None:
        """Submit what is due, unless the engine is closing."""
        if self._desk.scheduler.closed:
            return
        marks: dict[str, str] = {}  # by name: the newest run, where there are several
        for schedule, nominal in self._schedules.due(self._clock.time()):
            kept: ScheduledRequest = schedule.payload
            last_run_at = time_text(nominal.timestamp())
            previous = marks.get(kept.name, kept.last_run_at)
            if not self._journal.mark_schedule_run(kept.name, last_run_at, previous):
                self._reload(kept.name)  # another process runs it, or has changed or removed it
                continue
            marks[kept.name] = last_run_at
            kept = replace(kept, last_run_at=last_run_at)
            self._schedules.add(replace(schedule, payload=kept), replace=True)
            try:
                job = self._desk.submit(self._desk.read(kept))
            except BgsimError:
                logger.exception("the schedule %s could not start the run of %s", kept.name, last_run_at)
            else:
                logger.info("the schedule %s started %s, due at %s", kept.name, job.id, last_run_at)

    def _reload(self, name: str) -> None:
        kept = next((kept for kept in self._journal.schedules() if kept.name == name), None)
        if kept is None:
            self._schedules.remove(name)
        else:
            self._schedules.add(_schedule_of(kept), replace=True)

    def _keep(self, schedule: Schedule) -> Schedule:
        kept: ScheduledRequest = replace(schedule.payload, paused=schedule.paused)
        self._journal.put_schedule(kept)
        schedule = replace(schedule, payload=kept)
        self._schedules.add(schedule, replace=True)
        return schedule

    def _look_again(self) -> None:
        scheduler = self._desk.scheduler
        with scheduler.lock:
            scheduler.timekeeper.chores_changed()


def _schedule_of(kept: ScheduledRequest) -> Schedule:
    last_run_at = None if kept.last_run_at is None else datetime.fromisoformat(kept.last_run_at)
    made_at = datetime.fromisoformat(kept.created_at)  # or resumed
    return Schedule(
        kept.name,
        kept.cron,
        since=made_at if last_run_at is None else max(made_at, last_run_at),
        timezone=kept.timezone,
        misfire=kept.misfire,
        paused=kept.paused,
        last_run_at=last_run_at,
        payload=kept,
    )
