"""The verbs of an engine for many jobs at once, and for what earlier engines have left."""

from __future__ import annotations

import concurrent.futures
import itertools
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Unpack

from bgsim.checks import check_integer, check_word, normal_names, refused
from bgsim.jobs.batch import ORDERS, Batch
from bgsim.jobs.designs import check_grid, combinations, designed
from bgsim.jobs.executor import EngineExecutor
from bgsim.jobs.sweep import Sweep
from bgsim.jobs.watch import Watch
from bgsim.parameters.parameter_set import ParameterSet
from bgsim.priority import Priority, PriorityName
from bgsim.progress import ProgressUpdate, UpdateType
from bgsim.registry import find_if_named
from bgsim.request import ChangedOptions, JobOptions, Request, make_request
from bgsim.running.at_work import WorkerStatus, workers_of
from bgsim.running.submissions import Submissions
from bgsim.streams import check_seed
from bgsim.tables import HasCard

if TYPE_CHECKING:
    import asyncio

    from bgsim.bus.post import Post
    from bgsim.bus.subscription import Subscription
    from bgsim.config import EngineConfig
    from bgsim.job import Job, JobStatus
    from bgsim.jobs.recovery import Recovery
    from bgsim.parameters.parameter_class import P
    from bgsim.precision import Precision
    from bgsim.result import SimulationResult
    from bgsim.running.scheduler import Scheduler
    from bgsim.running.submitter import Submitter
    from bgsim.simulation import Simulation
    from bgsim.storage.journal import DeadLetter, PendingRequest


class JobVerbs(HasCard):
    """What `bgsim.Engine` is beside one job at a time; any thread may call any method."""

    config: EngineConfig
    _scheduler: Scheduler
    _submitter: Submitter
    _recovery: Recovery

    submit: Callable[..., Job]

    # ---- seeing --------------------------------------------------------------------------------------

    @property
    def closed(self) -> bool:
        """Whether it takes no more jobs; those that it has may go on."""
        return self._scheduler.state.closed

    def recent(self, most: int = 20) -> list[JobStatus]:
        """Return what the newest jobs are doing, or how they ended, the newest first.

        Parameters
        ----------
        most : int
            Of those that ended longer than ``max_completed_age_seconds`` ago, none.
        """
        return self._scheduler.reader.recent(check_integer("most", most))

    # ---- many jobs -----------------------------------------------------------------------------------

    def submit_many(
        self,
        simulation: Simulation[P] | str,
        parameter_sets: Iterable[P | Mapping[str, Any] | None],
        *,
        replicates: int | Precision,
        **options: Unpack[JobOptions],
    ) -> Batch[P]:
        """Submit a job for each parameter set, all with the same options, as the queue has room.

        Parameters
        ----------
        simulation, replicates, **options
            As for `submit`.
        parameter_sets : iterable
            Each as for `submit`. All are checked before the first is submitted.
        """
        found = find_if_named(simulation)
        requests = [make_request(found, p, replicates=replicates, **options) for p in parameter_sets]
        return Batch(self._submitter, requests)

    def sweep(
        self,
        simulation: Simulation[P] | str,
        grid: Mapping[str, Collection[Any]],
        parameters: Mapping[str, Any] | None = None,
        *,
        replicates: int | Precision,
        design: Literal["sobol", "latin"] | None = None,
        points: int | None = None,
        **options: Unpack[JobOptions],
    ) -> Sweep[P]:
        """Submit a job for each combination of values, or for each point of a design, as the queue has room.

        With one seed, all points share their random numbers, so that they can be compared pairwise.

        Parameters
        ----------
        simulation, replicates, **options
            As for `submit`.
        grid : mapping of str to sequence
            The values of each parameter that is varied; for a design its range, ``(low, high)`` or
            ``(low, high, "log")``. Integer parameters get integers.
        parameters : mapping or ParameterSet, optional
            The others. Of a set its class must be able to make the same set again; see `ParameterSet.arguments`.
        design : {"sobol", "latin"}, optional
            A scrambled Sobol' sequence, or a Latin hypercube, by scipy and the sweep's seed.
        points : int, optional
            Of the design; a power of 2 for a Sobol' sequence.

        Raises
        ------
        InvalidInputError
            Naming the argument. All points are checked before the first is submitted.
        MissingExtraError
            If there is a design, and scipy is not installed.
        """
        found = find_if_named(simulation)
        check_grid(grid)
        if parameters is not None and not isinstance(parameters, Mapping):
            raise refused("parameters", parameters, "a mapping of names to values, for a sweep")
        grid = normal_names("grid", grid)
        fixed = parameters.arguments() if isinstance(parameters, ParameterSet) else parameters or {}
        fixed = dict(normal_names("parameters", fixed))

        def request_at(point: dict[str, Any]) -> Request:
            return make_request(found, fixed | point, replicates=replicates, **options)

        if design is None and points is None:
            return Sweep(self._submitter, grid, combinations(grid), request_at)
        seed = check_seed(options.get("seed", 0))
        return Sweep(self._submitter, {}, designed(found, grid, design, points, seed), request_at)

    def map(
        self,
        simulation: Simulation[P] | str,
        parameter_sets: Iterable[P | Mapping[str, Any] | None],
        *,
        replicates: int | Precision,
        ahead: int | None = None,
        **options: Unpack[JobOptions],
    ) -> Iterator[SimulationResult]:
        """Yield the result for each parameter set, in their order; the first failure is raised.

        Parameters
        ----------
        simulation, replicates, **options
            As for `submit`.
        parameter_sets : iterable
            Taken as needed, so it may be endless.
        ahead : int, optional
            How many jobs to submit ahead of the one that is yielded; by default twice ``max_concurrent_simulations``.
        """
        found = find_if_named(simulation)
        count = 2 * self.config.max_concurrent_simulations if ahead is None else check_integer("ahead", ahead, least=0)
        remaining = iter(parameter_sets)
        jobs: list[Job] = []

        def submit_next() -> None:
            for parameters in itertools.islice(remaining, 1):
                jobs.append(self.submit(found, parameters, replicates=replicates, block=True, **options))

        try:
            for _ in range(max(1, count)):
                submit_next()
            while jobs:
                result = jobs.pop(0).result()
                submit_next()
                yield result
        finally:
            for job in jobs:
                job.cancel()

    @staticmethod
    def as_completed(
        jobs: Iterable[Job[P]],
        *,
        order: Literal["completion", "submission"] = "completion",
        timeout_s: float | None = None,
    ) -> Iterator[Job[P]]:
        """Yield jobs as they end, or in the order given.

        Parameters
        ----------
        jobs : iterable of Job
        order : {"completion", "submission"}
        timeout_s : float, optional
            How long to wait in all.

        Raises
        ------
        TimeoutError
            If some had not ended by then.
        """
        check_word("order", order, ORDERS)
        wanted = list(jobs)
        if order == "completion":
            ended = concurrent.futures.as_completed(wanted, timeout_s)
            for _ in wanted:
                with wanted[0].waits.during("the next of several jobs", wanted):
                    job = next(ended)
                yield job  # type: ignore[misc]
            return
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        for job in wanted:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            if not concurrent.futures.wait([job], left).done:
                raise TimeoutError(f"{job.id} did not end within {timeout_s} s")
            yield job

    def executor(
        self, *, priority: Priority | PriorityName = Priority.NORMAL, group: str | None = None
    ) -> EngineExecutor:
        """Return a `concurrent.futures.Executor` whose plain callables wait for this engine's workers.

        Parameters
        ----------
        priority, group
            Of its calls, beside the simulations. Groups count calls and simulations apart.
        """
        executor = EngineExecutor(
            self._call, self._scheduler.call_back, self._scheduler.waits, priority=priority, group=group
        )
        self._scheduler.executors.add(executor)
        return executor

    def _call(self, task: Callable[[], None], *, priority: Priority, group: str | None) -> Callable[[], bool]:
        """Have a worker call something; a method, so that an executor keeps its engine from being closed."""
        return self._scheduler.call(task, priority=priority, group=group)

    # ---- seeing --------------------------------------------------------------------------------------

    def watch(self, job: Job, *, every_s: float = 0.5) -> Watch:
        """Look at a job now and then, until it has ended: what it is doing, and what is finished of its result.

        Parameters
        ----------
        job : Job
        every_s : float
            Seconds between two looks; the last comes as soon as the job has ended. In an immediate engine each look but
            the first does one unit of work instead.

        Returns
        -------
        iterator of Snapshot
            For ``for`` and ``async for``.

        Raises
        ------
        JobTimeoutError
            While iterating, in an immediate engine in which nothing is due.
        """
        return Watch(self._scheduler, job, every_s)

    def on_submit(self, callback: Callable[[Job], Any]) -> Submissions:
        """Have a function called with each job that the engine takes from now on, whoever or whatever asks for it.

        Also with those that the store answers, and those of schedules, sweeps, dead letters and recovery. It comes in
        the callback thread, in the order of submission; what it raises is logged.

        Returns
        -------
        Submissions
            Its ``unsubscribe()`` ends it. A callback of `subscribe` that needs to know each job before its updates
            calls ``tell()`` first.

        Raises
        ------
        InvalidInputError
            If `callback` is not callable.
        """
        self._scheduler.check_process()
        return Submissions(self._scheduler.state, self._scheduler.bus, callback)

    def at_work(self) -> list[WorkerStatus]:
        """Return what each worker does at this moment, in the order of their numbers."""
        return workers_of(self._scheduler)

    def subscribe(
        self,
        callback: Callable[[ProgressUpdate], Any] | None = None,
        *,
        job: Job | str | Iterable[Job | str] | None = None,
        min_type: UpdateType = UpdateType.STARTED,
        completions_only: bool = False,
        simulation: Simulation | str | None = None,
        workspace: str | None = None,
        where: Callable[[ProgressUpdate], Any] | None = None,
        maxlen: int = 256,
        executor: concurrent.futures.Executor | None = None,
        loop: asyncio.AbstractEventLoop | None = None,
        post: Post | None = None,
    ) -> Subscription:
        """Subscribe to progress; see `ProgressBus.subscribe`."""
        self._scheduler.check_process()
        return self._scheduler.bus.subscribe(
            callback,
            job=job,
            min_type=min_type,
            completions_only=completions_only,
            simulation=simulation,
            workspace=workspace,
            where=where,
            maxlen=maxlen,
            executor=executor,
            loop=loop,
            post=post,
        )

    # ---- dead letters, recovery ----------------------------------------------------------------------

    def dead_letters(self) -> list[DeadLetter]:
        """Return the jobs that failed for good, with parameters, attempts and tracebacks; the newest first."""
        return self._recovery.dead_letters()

    def retry(self, letter_id: str, **changes: Unpack[ChangedOptions]) -> Job:
        """Submit a dead letter again and take it out.

        Parameters
        ----------
        letter_id : str
            The id of the job that failed.
        **changes
            Arguments of `submit` that are to be different, such as ``parameters`` or ``timeout_s``.

        Raises
        ------
        RequestNotFoundError
            If there is no such letter.
        InvalidInputError, SimulationNotFoundError
            If it cannot be submitted so, or this process has not imported its simulation; it is kept.
        """
        return self._recovery.retry(letter_id, dict(changes))

    def discard(self, letter_id: str) -> DeadLetter:
        """Take a dead letter out and return it.

        Raises
        ------
        RequestNotFoundError
            If there is no such letter.
        """
        return self._recovery.discard(letter_id)

    def export_dead_letters(self, path: str | Path) -> int:
        """Write the dead letters to a ``.json`` or ``.csv`` file; return how many."""
        return self._recovery.export(path)

    def interrupted(self) -> list[PendingRequest]:
        """Return the requests that were pending when their process crashed or was closed before they ended."""
        return self._recovery.interrupted()

    def recover(self, ids: Iterable[str] | None = None) -> list[Job]:
        """Submit interrupted requests again, going on from what is stored; several engines may do so at once.

        One that ran in three crashes, or can no longer be made, becomes a dead letter. One whose simulation this
        process has neither submitted nor imported stays in the store: a store does not choose what is imported.

        Parameters
        ----------
        ids : iterable of str, optional
            Those alone; all by default.

        Returns
        -------
        list of Job
            With the ids that they had.
        """
        return self._recovery.recover(ids)
