"""Where submissions come in: answered from the store, or handed to the scheduler.

It is what `Engine.submit`, batches, schedules, dead letters and recovery have in common. It holds no engine, so that
one which nobody holds any more can be closed.
"""

from __future__ import annotations

import itertools
import math
import secrets
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from bgsim.errors import IdentityError, InvalidInputError, NotStoredError
from bgsim.job import Job
from bgsim.registry import find_simulation
from bgsim.request import Submission, read_submission

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bgsim.progress import ProgressUpdate
    from bgsim.running.scheduler import Scheduler
    from bgsim.simulation import Simulation
    from bgsim.storage import Columns
    from bgsim.storage.journal import DeadLetter, PendingRequest, ScheduledRequest

_ANSWER_BYTES = 8 * 2**20
"""A stored result up to this size is loaded in the submitting thread; a larger one by a worker."""


class Desk:
    """Takes submissions. Any thread may call any method."""

    def __init__(self, scheduler: Scheduler) -> None:
        self.scheduler = scheduler
        self._store = scheduler.store
        self._numbers = itertools.count(1)
        self._token = secrets.token_hex(4)  # job ids are unique in a store, for ever
        self._simulations: dict[str, Simulation] = {}  # by name: those submitted here, wherever they were defined

    def submit(
        self,
        submission: Submission,
        *,
        on_progress: Callable[[ProgressUpdate], Any] | None = None,
        block: bool = False,
        block_timeout_s: float | None = None,
        job_id: str | None = None,
        crashes: int = 0,
        recovered: bool = False,
    ) -> Job:
        """Take a submission and return its handle; see `Engine.submit`.

        Parameters
        ----------
        job_id : str, optional
            One of `new_id`, or that of a job which a crash has interrupted.
        crashes, recovered : int, bool
            As for `Job`.
        """
        scheduler = self.scheduler
        scheduler.check_process()
        scheduler.check_open()
        simulation = submission.simulation
        self._simulations[simulation.name] = simulation
        self._check_size(submission)
        if scheduler.config.identity == "strict" and submission.not_followed is not None:
            raise IdentityError(submission.not_followed, field="simulation", value=simulation.name)
        submission.revision.warn_of_limits(submission.not_followed)
        submission.revision.warn_of_biased_draws()
        if job_id is None:
            job_id = self.new_id(simulation)
        now, wall = scheduler.clock.monotonic(), scheduler.clock.time()
        job = Job(scheduler, job_id, submission, now, wall, crashes, recovered=recovered)
        watcher = scheduler.bus.subscribe(on_progress, job=job.id) if on_progress is not None else None
        try:
            columns, missed = self._stored(job) if submission.cache in ("use", "only") else (None, False)
            if columns is not None:
                scheduler.answer(job, columns)
            else:
                missed_at = now if missed else -math.inf
                scheduler.submit(job, missed_at=missed_at, block=block, timeout_s=block_timeout_s)
        except BaseException:
            if watcher is not None:
                watcher.unsubscribe()
            raise
        if scheduler.config.immediate:
            scheduler.drive()
        return job

    def new_id(self, simulation: Simulation) -> str:
        """Return an id for a job."""
        return f"{simulation.short_name}-{self._token}-{next(self._numbers)}"

    def find(self, name: str) -> Simulation:
        """Return a simulation by name: one that was submitted here, or one that can be imported.

        Raises
        ------
        SimulationNotFoundError
        """
        return self._simulations.get(name) or find_simulation(name)

    def remember(self, simulation: Simulation) -> None:
        """Find this simulation by its name from now on."""
        self._simulations[simulation.name] = simulation

    def read(
        self, kept: PendingRequest | DeadLetter | ScheduledRequest, changes: Mapping[str, Any] | None = None
    ) -> Submission:
        """Return the submission that the journal keeps, with changes.

        Raises
        ------
        SimulationNotFoundError, InvalidInputError
        """
        simulation = self.find(kept.simulation)
        return read_submission(simulation, kept.parameters, kept.seed, kept.replicates, kept.options, changes)

    def _check_size(self, submission: Submission) -> None:
        """Refuse a result that would not fit into memory, or that the store would not take."""
        config = self.scheduler.config
        size = submission.size_bytes
        limits = {"max_result_bytes": config.max_result_bytes}
        if submission.cache != "off" and config.auto_store_completed:
            limits["max_storage_bytes"] = self._store.max_storage_bytes
        for setting, limit in limits.items():
            if size > limit:
                raise InvalidInputError(
                    f"{submission.replicates:,} replicates of {submission.simulation.name} need {size:,} bytes, more "
                    f"than {setting}={limit:,}; ask for fewer, or raise it in EngineConfig",
                    field="replicates",
                    value=submission.replicates,
                )

    def _stored(self, job: Job) -> tuple[Columns | None, bool]:
        """Return the job's columns if the store has them all and they are quickly loaded, or have to be there.

        And whether it is certain that the store has nothing.
        """
        submission, store = job.submission, self._store
        must = submission.cache == "only"
        try:
            held = store.find(submission.key)
            if held >= submission.replicates:
                small = submission.size_bytes <= _ANSWER_BYTES
                columns = store.load(submission.key, submission.replicates) if small or must else None
                if columns is not None and len(next(iter(columns.values()))) < submission.replicates:
                    columns = None  # somebody has just deleted it and stored less
                if columns is not None and submission.workspace is not None:
                    store.place(submission.key, submission.replicates, submission.workspace)
                if columns is not None or not must:
                    return columns, False
                held = 0
        except Exception as error:  # a StoreError, or what a store raises that breaks its contract
            if must:
                raise
            job.record.store_error = str(error)
            return None, False
        if must:
            raise NotStoredError(
                f"{held:,} of {submission.replicates:,} replicates of {submission.simulation.name} are stored in "
                f'{store.location}; cache="use" computes the others'
            )
        return None, not held
