"""The verbs of an engine for a program that hosts it for others, such as the HTTP service."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import logging

    from bgsim.job import Job
    from bgsim.request import Request
    from bgsim.running.scheduler import Scheduler
    from bgsim.running.submitter import Submitter
    from bgsim.simulation import Simulation


class HostVerbs:
    """What `bgsim.Engine` offers to its host; any thread may call any method."""

    _scheduler: Scheduler
    _submitter: Submitter

    @property
    def is_durable(self) -> bool:
        """Whether its journal outlives the process, so that ``durable=True`` can be asked for."""
        return self._scheduler.events.owner is not None

    @property
    def paused(self) -> bool:
        """Whether it starts nothing, after `Engine.pause`."""
        return self._scheduler.state.paused

    def new_job_id(self, simulation: Simulation) -> str:
        """Return an id for a job, unique in the store for ever: to be written down before the job is submitted."""
        return self._submitter.new_id(simulation)

    def has_named(self, job_id: str) -> bool:
        """Tell whether `new_job_id` of this engine has returned an id, however long ago its job ended."""
        return self._submitter.has_named(job_id)

    def submit_request(self, request: Request, *, job_id: str | None = None, durable: bool = False) -> Job:
        """Submit a request that `bgsim.request.make_request` or `read_request` has made; see `Engine.submit`.

        Parameters
        ----------
        request : Request
        job_id : str, optional
            One of `new_job_id`, or that of a job which another engine on the store was asked for and no longer has.
        durable : bool
            Return when the store's file has the request.
        """
        return self._submitter.submit(request, job_id=job_id, durable=durable)

    def logs(self, job_id: str) -> list[logging.LogRecord]:
        """Return what a job has logged, as `Job.logs` does, for as long as the engine remembers it."""
        return self._scheduler.logs(job_id)
