"""The verbs of an engine for jobs by the clock."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Unpack

from bgsim.registry import find_if_named
from bgsim.request import JobOptions, make_request

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bgsim.parameters.parameter_class import P
    from bgsim.schedules.recurring import RecurringJobs
    from bgsim.schedules.schedule import Schedule
    from bgsim.simulation import Simulation


class ScheduleVerbs:
    """What `bgsim.Engine` does by the clock; any thread may call any method."""

    _recurring: RecurringJobs

    def schedule(
        self,
        simulation: Simulation[P] | str,
        parameters: P | Mapping[str, Any] | None = None,
        *,
        replicates: int,
        cron: str,
        name: str | None = None,
        timezone: str = "UTC",
        misfire: Literal["once", "skip", "all"] = "once",
        replace: bool = False,
        **options: Unpack[JobOptions],
    ) -> Schedule:
        """Submit a job again and again; kept in the store, and run by any engine on it.

        Needs the packages of the extra ``schedule``. A stored result is answered from the store; give
        ``cache="refresh"`` to compute each time.

        Parameters
        ----------
        simulation, parameters, replicates, **options
            As for `submit`.
        cron : str
            Minute, hour, day of month, month, day of week: ``"0 2 * * *"``.
        name : str, optional
            Unique; by default the simulation's name.
        timezone : str
            A name of the IANA database, such as ``"Europe/Berlin"``.
        misfire : {"once", "skip", "all"}
            What becomes of runs that were missed: one for all of them, none, or each.
        replace : bool
            Take the place of a schedule with this name, instead of raising. With the same times it goes on from the
            last run, so a program may declare its schedules at each start, and none that was missed is forgotten.

        Raises
        ------
        InvalidInputError
            Naming what is not allowed.
        MissingExtraError
            Without cronsim.
        """
        request = make_request(find_if_named(simulation), parameters, replicates=replicates, **options)
        return self._recurring.add(
            name or request.simulation.name,
            request,
            cron=cron,
            timezone=timezone,
            misfire=misfire,
            replace_it=replace,
        )

    def schedules(self) -> RecurringJobs:
        """Return the schedules, to list, pause, resume and remove."""
        return self._recurring
