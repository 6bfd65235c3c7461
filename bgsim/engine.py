"""The engine: submit a simulation, get a handle back at once, and let threads do the rest.

How a request flows::

    submit ──> checked, hashed ──> in the store? ──yes──> a finished job
                                        │ no
                                        v
            queue (priority, duplicates joined) ──> running, at most max_concurrent_simulations
                                        │
               workers take chunks: the highest priority first, among equals the one with the fewest workers
                                        │            └─ a thread samples their counters ──> progress bus
                                        v
                      store (one writer, durable) ──> terminal update ──> future resolved

`Engine` checks what callers give and owns what has to be closed; the state machine and its locks are in
`bgsim.scheduler`, one run and its chunks in `bgsim.chunks`, a worker's thread in `bgsim.worker`.
"""

from __future__ import annotations

import atexit
import os
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bgsim.chunks import Run
from bgsim.config import EngineConfig
from bgsim.errors import InvalidInputError, NotStoredError, StoreError, nearest
from bgsim.job import Job, JobStatus
from bgsim.parameters import ResultKey
from bgsim.progress import ProgressUpdate, UpdateType
from bgsim.queue_manager import Priority, SimulationRequest
from bgsim.registry import find_simulation
from bgsim.scheduler import Scheduler
from bgsim.storage import Columns, MemoryStore, ResultStore, Store
from bgsim.streams import check_seed

if TYPE_CHECKING:
    from bgsim.parameters import ParameterSet
    from bgsim.queue_manager import QueueStats
    from bgsim.result import SimulationResult
    from bgsim.simulation import Simulation
    from bgsim.subscription import Subscription

CACHE_MODES = ("use", "refresh", "off", "only")

_ANSWER_BYTES = 8 * 2**20
"""A stored result up to this size is loaded in the submitting thread; a larger one by a worker."""


class Engine:
    """Runs simulations in the background of this process.

    Use it in a ``with`` block: leaving it waits for what was submitted; leaving it by an exception or Ctrl-C cancels,
    keeps the finished replicates, and comes back within about a second. Any thread may call any method.

    Parameters
    ----------
    store : path-like, Store or None
        Where results are kept: a SQLite file, made when there is none; a store, which stays open; or None for memory.
    config : EngineConfig, optional
    **settings
        Attributes of `EngineConfig`, which override it.

    Raises
    ------
    InvalidInputError
        If a setting is not allowed.
    StoreError
        If the store cannot be opened.

    Examples
    --------
    >>> from bgsim.models.options import asian_call
    >>> with bgsim.Engine() as engine:
    ...     job = engine.submit(asian_call, {"volatility": 0.3}, replicates=1000, seed=7)
    ...     result = job.result()
    >>> len(result["payoff"])
    1000
    """

    def __init__(
        self, store: str | Path | Store | None = None, *, config: EngineConfig | None = None, **settings: Any
    ) -> None:
        self.config = EngineConfig.of(config, settings)
        owned = not isinstance(store, Store)
        self.store = self._open(store)
        self._scheduler = Scheduler(self.config, self.store, close_store=owned)
        _alive.add(self._scheduler)
        # A dropped engine finishes what it was given, like an executor of the standard library.
        self._finalizer = weakref.finalize(self, _close_later, self._scheduler)
        self._finalizer.atexit = False

    # ---- jobs ----------------------------------------------------------------------------------------

    def submit(
        self,
        simulation: Simulation | str,
        parameters: Any = None,
        *,
        replicates: int,
        seed: int = 0,
        priority: Priority | str = Priority.NORMAL,
        allow_deduplication: bool = True,
        cache: str = "use",
        workspace: str | None = None,
        supersede: str | None = None,
        group: str | None = None,
        timeout_s: float | None = None,
        on_progress: Callable[[ProgressUpdate], Any] | None = None,
        block: bool = False,
        block_timeout_s: float | None = None,
    ) -> Job:
        """Hand over a simulation and return its handle.

        Parameters
        ----------
        simulation : Simulation or str
            Or a name that `bgsim.registry.find_simulation` knows.
        parameters : instance of its parameter class, mapping or None
            None takes every default.
        replicates : int
            1 or more. Those that are stored already are not computed again.
        seed : int
            0 or more. Replicate i depends on simulation, parameters, seed and i alone.
        priority : Priority or str
            ``low``, ``normal``, ``high`` or ``critical``.
        allow_deduplication : bool
            Join a queued or running job for the same result, instead of computing it twice.
        cache : {"use", "refresh", "off", "only"}
            Take from the store and add to it; compute and replace; neither; or take from it or raise.
        workspace : str, optional
            Whose slots the result goes to: by default the simulation's name, and none for a job of LOW priority.
        supersede : str, optional
            Replaces an older job with this word: drops it from the queue, or cancels it.
        group : str, optional
            Counts against ``limits``.
        timeout_s : float, optional
            Seconds that it may run, from its start; then it fails with `JobTimeoutError`.
        on_progress : callable, optional
            Called with each `ProgressUpdate`, as by `subscribe`.
        block : bool
            Wait while the queue is full, `block_timeout_s` at most, instead of raising.

        Returns
        -------
        Job

        Raises
        ------
        InvalidInputError
            Naming the argument, what was given and what is allowed. Nothing has started.
        QueueFullError
            If the queue is full.
        NotStoredError
            With ``cache="only"``, if the store has fewer replicates.
        EngineClosedError
            If the engine is closed.
        """
        if isinstance(simulation, str):
            simulation = find_simulation(simulation)
        bound = simulation.bind(parameters)
        replicates = _check_replicates(replicates)
        seed = check_seed(seed)
        urgency = Priority.of(priority)
        if cache not in CACHE_MODES:
            raise InvalidInputError(
                f"cache must be one of {', '.join(CACHE_MODES)}{nearest(str(cache), CACHE_MODES)}; got {cache!r}",
                field="cache",
                value=cache,
            )
        if timeout_s is not None and not timeout_s > 0:
            raise InvalidInputError(
                f"timeout_s must be more than 0 seconds; got {timeout_s!r}", field="timeout_s", value=timeout_s
            )
        if workspace is None and urgency > Priority.LOW:
            workspace = simulation.name
        self._check_size(simulation, bound, replicates, cache)
        key = ResultKey(simulation.name, simulation.fingerprint, seed, bound)
        job = Job(self._scheduler, simulation, bound, seed, replicates, urgency, workspace, timeout_s)
        watcher = self.subscribe(on_progress, job=job) if on_progress is not None else None
        try:
            self._hand_over(job, key, cache, allow_deduplication, supersede, group, block, block_timeout_s)
        except BaseException:
            if watcher is not None:
                watcher.unsubscribe()
            raise
        return job

    def status(self, job_id: str) -> JobStatus:
        """Return what a job is doing, or how it ended.

        Raises
        ------
        RequestNotFoundError
            If it is unknown, or ended more than ``max_completed_age_seconds`` ago.
        """
        return self._scheduler.status_of(job_id)

    def jobs(self) -> list[Job]:
        """Return the jobs that have not ended, in the order of submission."""
        return self._scheduler.live_jobs()

    def queue_stats(self) -> QueueStats:
        """Return what the queue holds."""
        return self._scheduler.queue.stats()

    def busy_s(self) -> float:
        """Return the seconds that all workers together have spent in kernels."""
        return self._scheduler.busy_s()

    def subscribe(
        self,
        callback: Callable[[ProgressUpdate], Any] | None = None,
        *,
        job: Job | str | None = None,
        min_type: UpdateType = UpdateType.STARTED,
        completions_only: bool = False,
        where: Callable[[ProgressUpdate], Any] | None = None,
        maxlen: int = 256,
    ) -> Subscription:
        """Subscribe to progress; see `ProgressBus.subscribe`."""
        return self._scheduler.bus.subscribe(
            callback,
            job=job.id if isinstance(job, Job) else job,
            min_type=min_type,
            completions_only=completions_only,
            where=where,
            maxlen=maxlen,
        )

    # ---- closing -------------------------------------------------------------------------------------

    def close(self, *, cancel: bool = False, timeout_s: float | None = None) -> list[Job]:
        """Accept no more jobs, let the others end, and stop the threads. More than once does no harm.

        Parameters
        ----------
        cancel : bool
            Cancel what has not ended, keeping finished replicates, and wait a second unless told otherwise.
        timeout_s : float, optional
            Wait at most so long.

        Returns
        -------
        list of Job
            Those whose kernels had not let go by then; they may still be running.
        """
        return self._scheduler.close(cancel=cancel, timeout_s=timeout_s)

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, kind: type[BaseException] | None, *exception: object) -> None:
        self.close(cancel=kind is not None)

    def __repr__(self) -> str:
        stats = self._scheduler.queue.stats()
        return (
            f"<Engine: {self.config.workers} workers, {stats.processing} running, {stats.waiting} waiting, "
            f"store: {self.store.location}>"
        )

    def _open(self, store: str | Path | Store | None) -> Store:
        if isinstance(store, Store):
            return store
        if store is None:
            return MemoryStore(self.config.max_storage_bytes)
        if not isinstance(store, str | os.PathLike):
            raise InvalidInputError(
                f"store must be a path, a Store, or None for memory; got {store!r}", field="store", value=store
            )
        return ResultStore(
            store, max_storage_bytes=self.config.max_storage_bytes, max_age_s=self.config.max_age_seconds
        )

    def _check_size(self, simulation: Simulation, parameters: ParameterSet, replicates: int, cache: str) -> None:
        """Refuse a result that would not fit into memory, or that the store would not take."""
        limits = {"max_result_bytes": self.config.max_result_bytes}
        if cache != "off" and self.config.auto_store_completed:
            limits["max_storage_bytes"] = self.store.max_storage_bytes
        size = replicates * simulation.replicate_bytes(parameters)
        for setting, limit in limits.items():
            if size > limit:
                raise InvalidInputError(
                    f"{replicates:,} replicates of {simulation.name} need {size:,} bytes, more than "
                    f"{setting}={limit:,}; ask for fewer, or raise it in EngineConfig",
                    field="replicates",
                    value=replicates,
                )

    def _hand_over(
        self,
        job: Job,
        key: ResultKey,
        cache: str,
        allow_deduplication: bool,
        supersede: str | None,
        group: str | None,
        block: bool,
        block_timeout_s: float | None,
    ) -> None:
        """Answer a job from the store, or queue it."""
        if cache in ("use", "only"):
            columns = self._stored(job, key, must=cache == "only")
            if columns is not None:
                self._scheduler.answer(job, columns)
                return
        request = SimulationRequest(
            id=job.id,
            key=f"{key.identity} {cache}" if allow_deduplication else None,
            replicates=job.replicates,
            priority=job.priority,
            payload=Run(job.simulation, job.parameters, job.seed, key, cache),
            group=group,
            supersede=supersede,
        )
        self._scheduler.submit(job, request, block=block, timeout_s=block_timeout_s)

    def _stored(self, job: Job, key: ResultKey, *, must: bool) -> Columns | None:
        """Return the job's columns if the store has them all and they are quickly loaded, or have to be there."""
        try:
            held = self.store.find(key)
            if held >= job.replicates:
                small = job.replicates * job.simulation.replicate_bytes(job.parameters) <= _ANSWER_BYTES
                columns = self.store.load(key, job.replicates) if small or must else None
                if columns is not None and job.workspace is not None:
                    self.store.place(key, job.replicates, job.workspace)
                if columns is not None or not must:
                    return columns
        except StoreError as error:
            if must:
                raise
            job._store_error = str(error)
            return None
        if must:
            raise NotStoredError(
                f"{held:,} of {job.replicates:,} replicates of {job.simulation.name} are stored in "
                f'{self.store.location}; cache="use" computes the others'
            )
        return None


def run(
    simulation: Simulation | str,
    parameters: Any = None,
    *,
    replicates: int,
    seed: int = 0,
    store: str | Path | Store | None = None,
    **settings: Any,
) -> SimulationResult:
    """Run a simulation and return its result; Ctrl-C cancels.

    Parameters
    ----------
    simulation, parameters, replicates, seed
        As for `Engine.submit`.
    store, **settings
        As for `Engine`.

    Examples
    --------
    >>> result = bgsim.run("bgsim.models.options.european_call", replicates=10_000, seed=1)
    >>> result
    SimulationResult of bgsim.models.options.european_call: 10,000 replicates, seed 1
      output       mean  standard error         sd        5 %       50 %       95 %
      payoff    10.6345        0.147869    14.7869          0    3.22734    40.9589
    """
    with Engine(store, **settings) as engine:
        return engine.submit(simulation, parameters, replicates=replicates, seed=seed).result()


def _check_replicates(replicates: Any) -> int:
    if isinstance(replicates, bool) or not isinstance(replicates, int | np.integer) or not 1 <= replicates < 2**63:
        raise InvalidInputError(
            f"replicates must be an integer of 1 or more; got {replicates!r}", field="replicates", value=replicates
        )
    return int(replicates)


# ---- the end of engines and of the process -----------------------------------------------------------

_alive: weakref.WeakSet[Scheduler] = weakref.WeakSet()


def _close_later(scheduler: Scheduler) -> None:
    """Close the scheduler of an engine that was dropped: finalizers must not wait."""
    threading.Thread(
        target=scheduler.close, kwargs={"cancel": False, "timeout_s": None}, name="bgsim-close", daemon=True
    ).start()


@atexit.register
def _close_all() -> None:
    for scheduler in list(_alive):
        scheduler.close(cancel=True, timeout_s=None)
