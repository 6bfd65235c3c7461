"""Recurring jobs of an engine: schedules that are kept in the store and run when they are due."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from bgsim.checks import check_name, refused
from bgsim.errors import BgsimError, EngineClosedError, InvalidInputError, QueueFullError
from bgsim.schedules.schedule import MAX_WAIT_S, Schedule, Schedules, schedules_table
from bgsim.storage.journal import ScheduledRequest
from bgsim.storage.times import time_text
from bgsim.threads.signals import is_interrupt

if TYPE_CHECKING:
    from bgsim.request import Request
    from bgsim.running.submitter import Submitter

logger = logging.getLogger("bgsim.engine")

_FULL_S = 1.0
"""How long to wait for room in the queue before a run is tried again."""


_FIRST_YEAR, _LAST_YEAR = 1900, 9000
"""Of the times in a schedule: a calendar ends at 9999."""


class RecurringJobs:
    """The schedules of an engine, by name; what `Engine.schedules` returns. Any thread may call any method.

    Iterate over it for the `Schedule` of each. It is also a periodic task of the engine's timers, which
    ask at least every minute, so that a wall clock that is set or a computer that slept is noticed.
    """

    def __init__(self, submitter: Submitter) -> None:
        self._submitter = submitter
        self._journal = submitter.scheduler.journal
        self._clock = submitter.scheduler.clock
        self._schedules = Schedules()
        self._unreadable = submitter.scheduler.state.unreadable
        self._active = submitter.scheduler.config.run_schedules
        self._not_before = -math.inf  # by the monotonic clock: when to look again after the store failed
        try:
            for kept in self._journal.schedules():
                self._take(kept.name, kept)
        except Exception as error:  # no cronsim, or a store that fails: jobs run all the same
            if is_interrupt(error):
                raise
            logger.warning("the schedules that the store keeps are not run: %s", error)

    def add(self, name: str, request: Request, *, cron: str, timezone: str, misfire: str, replace_it: bool) -> Schedule:
        """Keep a schedule, in the store too; see `Engine.schedule`."""
        name = check_name("name", name)
        if replace_it and name in self._unreadable:
            self._journal.remove_schedule(name)
        before = self._stored(name) if replace_it else None
        if before is not None and (before.paused or (before.cron, before.timezone) != (cron, timezone)):
            before = None  # it begins anew
        kept = ScheduledRequest(
            name=name,
            **request.kept(),
            options=request.options_json(),
            cron=cron,
            timezone=timezone,
            misfire=misfire,
            paused=False,
            last_run_at=None if before is None else before.last_run_at,
            created_at=time_text(self._clock.time()) if before is None else before.created_at,
        )
        schedule = _schedule_of(kept)
        self._schedules.add(schedule, replace=replace_it)
        self._submitter.remember(request.simulation)
        self._journal.put_schedule(kept)
        self._take(name, self._stored(name))
        self._look_again()
        return self._schedules.get(name)

    def get(self, name: str) -> Schedule:
        """Return a schedule.

        Raises
        ------
        RequestNotFoundError
            If there is none of that name; so for all that take a name.
        """
        return self._schedules.get(check_name("name", name))

    def pause(self, name: str) -> Schedule:
        """Let a schedule start nothing until it is resumed."""
        return self._keep(self._schedules.pause(check_name("name", name)))

    def resume(self, name: str) -> Schedule:
        """Let a paused schedule go on; what it missed is not made up for."""
        now = self._clock.time()
        resumed = self._schedules.resume(check_name("name", name), now)
        schedule = self._keep(replace(resumed, payload=replace(resumed.payload, created_at=time_text(now))))
        self._look_again()
        return schedule

    def remove(self, name: str) -> Schedule:
        """Forget a schedule, in the store too; jobs that it has started go on."""
        schedule = self._schedules.remove(check_name("name", name))
        self._journal.remove_schedule(schedule.name)
        return schedule

    def __iter__(self) -> Iterator[Schedule]:
        return iter(self._schedules)

    def __len__(self) -> int:
        return len(self._schedules)

    def __repr__(self) -> str:
        return f"<{len(self)} schedules{''.join(f'{chr(10)}  {schedule}' for schedule in self)}>"

    def _repr_html_(self) -> str:
        return schedules_table(self)._repr_html_()

    # ---- a periodic task of the timers------------------------------------------------------------------

    def wait_s(self) -> float:
        """Return in how many seconds to look again."""
        wait_s = self._schedules.wait_s(self._clock.time()) if self._runs() else None
        if wait_s is None:
            return math.inf
        return max(wait_s, self._not_before - self._clock.monotonic())

    def run(self) -> None:
        """Submit what is due; if the store fails, what it has not marked is due again a minute later."""
        if not self._runs() or self._clock.monotonic() < self._not_before:
            return
        before = {schedule.name: schedule for schedule in self._schedules}
        due = self._schedules.due(self._clock.time())
        if not due:
            return
        try:
            self._run(due, before)
        except Exception as error:
            for schedule in before.values():  # those that the store still knows as they are here
                self._schedules.add(schedule, replace=True)
            if is_interrupt(error):
                raise
            self._not_before = self._clock.monotonic() + MAX_WAIT_S
            logger.warning("the store cannot say which schedules are due, so they wait: %s", error)

    def _run(self, due: list[tuple[Schedule, datetime]], before: dict[str, Schedule]) -> None:
        """Mark each run in the store and submit it; take it out of `before` once it is marked."""
        stored = {kept.name: kept for kept in self._journal.schedules()}
        marks: dict[str, str] = {}  # by name: the newest run, where there are several
        for schedule, nominal in due:
            kept: ScheduledRequest = schedule.payload
            last_run_at = time_text(nominal.timestamp())
            previous = marks.get(kept.name, kept.last_run_at)
            if kept.name not in marks and stored.get(kept.name) != kept:
                self._take(kept.name, stored.get(kept.name))  # another process has run, changed or removed it
                before.pop(kept.name, None)
                continue
            if self._submitter.find(kept.simulation) is None:
                before.pop(kept.name, None)  # it waits for the next due time, and stays in the store as it is
                continue
            if not self._journal.mark_schedule_run(kept.name, last_run_at, previous):
                stored = {kept.name: kept for kept in self._journal.schedules()}  # as above, just now
                self._take(kept.name, stored.get(kept.name))
                before.pop(kept.name, None)
                continue
            before.pop(kept.name, None)
            marks[kept.name] = last_run_at
            kept = replace(kept, last_run_at=last_run_at)
            self._schedules.add(replace(schedule, payload=kept), replace=True)
            self._start(kept, previous)

    def _start(self, kept: ScheduledRequest, previous: str | None) -> None:
        """Submit a run that is marked as this engine's."""
        try:
            job = self._submitter.submit(self._submitter.read(kept))
        except (EngineClosedError, QueueFullError) as error:
            self._journal.mark_schedule_run(kept.name, previous, kept.last_run_at)  # for the engine that comes next
            self._take(kept.name, self._stored(kept.name))
            self._not_before = self._clock.monotonic() + _FULL_S
            logger.warning("the schedule %s could not start a run, and will try again: %s", kept.name, error)
        except BgsimError as error:
            logger.warning("the schedule %s could not start the run of %s: %s", kept.name, kept.last_run_at, error)
        except Exception as error:  # whatever its module raises, the others have to be run
            if is_interrupt(error):
                raise
            logger.exception("the schedule %s could not start the run of %s", kept.name, kept.last_run_at)
        else:
            logger.info("the schedule %s started %s, due at %s", kept.name, job.id, kept.last_run_at)

    def _stored(self, name: str) -> ScheduledRequest | None:
        """Return a schedule as the store has it."""
        return next((kept for kept in self._journal.schedules() if kept.name == name), None)

    def _runs(self) -> bool:
        """Whether this engine runs schedules, and takes jobs."""
        return self._active and not self._submitter.scheduler.state.closed

    def _take(self, name: str, kept: ScheduledRequest | None) -> None:
        """Take a schedule as the store has it; None if it has none."""
        try:
            schedule = None if kept is None else _schedule_of(kept)
        except InvalidInputError as error:  # the others are run all the same
            if self._unreadable.get(name) != str(error):
                logger.warning("the schedule %s, as the store has it, is not run: %s", name, error)
            self._unreadable[name], schedule = str(error), None
        else:
            self._unreadable.pop(name, None)
        if schedule is not None:
            self._schedules.add(schedule, replace=True)
        elif name in {schedule.name for schedule in self._schedules}:
            self._schedules.remove(name)

    def _keep(self, schedule: Schedule) -> Schedule:
        kept: ScheduledRequest = replace(schedule.payload, paused=schedule.paused)
        self._journal.put_schedule(kept)
        schedule = replace(schedule, payload=kept)
        self._schedules.add(schedule, replace=True)
        return schedule

    def _look_again(self) -> None:
        scheduler = self._submitter.scheduler
        with scheduler.lock:
            scheduler.timers.periodic_changed()


def _schedule_of(kept: ScheduledRequest) -> Schedule:
    """Return a schedule of the journal's.

    Raises
    ------
    InvalidInputError
        If it cannot be read.
    """
    last_run_at = None if kept.last_run_at is None else _time("last_run_at", kept.last_run_at)
    made_at = _time("created_at", kept.created_at)  # or resumed
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


def _time(field: str, text: str) -> datetime:
    """Return a time that a calendar can go on from."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None or not _FIRST_YEAR <= found.year <= _LAST_YEAR:
        raise refused(field, text, f"a time with a time zone, of the years {_FIRST_YEAR} to {_LAST_YEAR}")
    return found
