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

`Engine` is what callers see, and owns what has to be closed; what runs is in `bgsim.running`.
"""

from __future__ import annotations

import logging
import secrets
import weakref
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, Unpack

from bgsim.backends.threads import ThreadBackend
from bgsim.checks import NotPicklable, refused
from bgsim.clock import Clock, ManualClock
from bgsim.config import EngineConfig, EngineSettings
from bgsim.job import Job
from bgsim.jobs.comparing import CompareVerbs
from bgsim.jobs.hosting import HostVerbs
from bgsim.jobs.pauses import PauseVerbs
from bgsim.jobs.recovery import Heartbeat, Recovery
from bgsim.jobs.statuses import StatusVerbs
from bgsim.jobs.verbs import JobVerbs
from bgsim.parameters.keep import Keep
from bgsim.parameters.parameter_class import P
from bgsim.precision import Precision
from bgsim.priority import Priority, PriorityName
from bgsim.progress import ProgressUpdate
from bgsim.registry import find_if_named
from bgsim.request import CacheMode, Request
from bgsim.retry import Retry
from bgsim.running.scheduler import Scheduler
from bgsim.running.shutdown import abandon, close, dropped, open_engines, opened, warn_of_rivals
from bgsim.running.stats import in_words, stats_of
from bgsim.running.submitter import Submitter
from bgsim.schedules.recurring import RecurringJobs
from bgsim.schedules.verbs import ScheduleVerbs
from bgsim.simulation import Simulation
from bgsim.storage import Store, open_store
from bgsim.storage.memory_journal import MemoryJournal
from bgsim.tables import Listing, Table
from bgsim.threads.signals import HOLD, interruptibly, is_interrupt

if TYPE_CHECKING:
    from bgsim.backends.base import Backend
    from bgsim.result import SimulationResult

logger = logging.getLogger("bgsim.engine")


class Engine(NotPicklable, JobVerbs, CompareVerbs, StatusVerbs, PauseVerbs, ScheduleVerbs, HostVerbs):
    """Runs simulations in the background of this process.

    Use it in a ``with`` block: leaving it waits for what was submitted; leaving it by an exception or Ctrl-C cancels,
    keeps the finished replicates, and comes back within about a second. Any thread may call any method.

    Parameters
    ----------
    store : path-like, Store or None
        Where results are kept: a SQLite file, made when there is none; a store, which stays open; or None or
        ``":memory:"`` for memory.
    config : EngineConfig, optional
        The settings in one object.
    clock : Clock, optional
        For tests: a `ManualClock`.
    backend : Backend, optional
        What computes chunks; by default threads of this process, `EngineConfig.workers` of them. A backend serves one
        engine, which closes it.
    **settings
        Each attribute of `EngineConfig`, by its name; overrides `config`.

    Raises
    ------
    InvalidInputError
        If a setting is not allowed.
    StoreError
        If the store cannot be opened.
    NoThreadError
        If the system starts no more threads. Nothing is left behind.

    Examples
    --------
    >>> from bgsim.models.options import asian_call
    >>> with bgsim.Engine() as engine:
    ...     job = engine.submit(asian_call, {"volatility": 0.3}, replicates=1000, seed=7)
    ...     result = job.result()
    >>> len(result["payoff"])
    1000
    """

    instead = "make one in each process, with the path of the same store"

    def __init__(
        self,
        store: str | Path | Store | None = None,
        *,
        config: EngineConfig | None = None,
        clock: Clock | None = None,
        backend: Backend | None = None,
        **settings: Unpack[EngineSettings],
    ) -> None:
        self.config = config = EngineConfig.of(config, settings)
        if backend is not None and config.immediate:
            raise refused("backend", backend, "None for an immediate engine: the thread that steps it computes")
        if backend is None:
            backend = ThreadBackend(1 if config.immediate else config.workers, config.chunk_target_ms / 1000)
        self.backend: Backend = backend
        self.clock = clock or (ManualClock() if self.config.immediate else Clock())
        self._began, owned = self.clock.monotonic(), not isinstance(store, Store)
        with HOLD:  # or its threads would outlive an engine that nobody gets
            self.store = open_store(store, self.config.max_storage_bytes, self.config.max_age_seconds)
            try:
                self._begin(owned=owned)
            except BaseException:  # such as limits that are not allowed, or a system that starts no thread
                if owned:
                    self.store.close()
                raise
            self._finalizer = weakref.finalize(self, dropped, self._scheduler)
            self._finalizer.atexit = False
            opened(self._scheduler, self)
            try:
                if self.config.recover:
                    interruptibly(self.recover)
            except Exception as error:  # of the store: jobs run all the same, and it may be asked for again
                if is_interrupt(error):
                    raise
                logger.warning("what was interrupted cannot be recovered now: %s", error)
        warn_of_rivals(self._scheduler)

    def _begin(self, *, owned: bool) -> None:
        """Put the parts together, and start the threads; if one cannot be started, stop the others."""
        journal = self.store.journal if self.config.journal else MemoryJournal()
        owner = None if isinstance(journal, MemoryJournal) else f"engine-{secrets.token_hex(8)}"  # memory ends with it
        self._scheduler = Scheduler(
            self.config, self.store, journal, self.backend, owner=owner, close_store=owned, clock=self.clock
        )
        self._submitter = Submitter(self._scheduler)
        self._recovery = Recovery(self._submitter, owner)
        self._recurring = RecurringJobs(self._submitter)
        self._scheduler.timers.periodic.append(self._recurring)
        if owner is not None:
            self._scheduler.events.register()
            self._scheduler.timers.periodic.append(Heartbeat(self._scheduler, owner))
        try:
            self._scheduler.start()
        except BaseException:
            abandon(self._scheduler)
            raise

    # ---- jobs ----------------------------------------------------------------------------------------

    def submit(
        self,
        simulation: Simulation[P] | str,
        parameters: P | Mapping[str, Any] | None = None,
        *,
        replicates: int | Precision,
        seed: int = 0,
        keep: Keep = "columns",
        priority: Priority | PriorityName | None = None,
        allow_deduplication: bool = True,
        cache: CacheMode = "use",
        workspace: str | None = None,
        supersede: str | None = None,
        debounce_s: float | None = None,
        max_wait_s: float | None = None,
        group: str | None = None,
        delay_s: float = 0.0,
        at: datetime | None = None,
        timeout_s: float | None = None,
        queue_timeout_s: float | None = None,
        deadline_s: float | None = None,
        retry: Retry | None = None,
        tags: Sequence[str] = (),
        tenant: str | None = None,
        on_progress: Callable[[ProgressUpdate], Any] | None = None,
        block: bool = False,
        block_timeout_s: float | None = None,
        durable: bool = False,
    ) -> Job[P]:
        """Hand over a simulation and return its handle.

        Parameters
        ----------
        simulation : Simulation or str
            Or a name that `bgsim.registry.find_simulation` knows.
        parameters : instance of its parameter class, mapping or None
            None takes every default.
        replicates : int or Precision
            1 or more; or how well an output's mean has to be known, for as many as that needs. Those that are stored
            already are not computed again.
        seed : int
            0 or more. Replicate i depends on simulation, parameters, seed and i alone.
        keep : {"columns", "summary"}
            Every replicate's values; or exact sums, counts and quantiles of them, whose size does not grow with the
            replicates: then the job returns a `SummaryResult`.
        priority : Priority or str, optional
            ``low``, ``normal``, ``high`` or ``critical``; by default what the simulation declares, else ``normal``.
        allow_deduplication : bool
            Join a queued or running job for the same result, instead of computing it twice.
        cache : {"use", "refresh", "off", "only"}
            Take from the store and add to it; compute and replace; neither; or take from it or raise.
        workspace : str, optional
            Whose slots the result goes to: by default the simulation's name, and none for a job of LOW priority.
        supersede : str, optional
            Replaces an older job with this word: drops it from the queue, or cancels it.
        debounce_s, max_wait_s : float, optional
            With `supersede`: start when no newer one has come for `debounce_s`, but wait at most `max_wait_s`.
        group : str, optional
            Counts against ``limits`` and ``rate_limits``; by default what the simulation declares.
        delay_s, at : float, datetime, optional
            Start no sooner than so many seconds from now, or than this time by the wall clock, with its time zone.
        timeout_s : float, optional
            Seconds that it may run, pauses not counted; then it fails with `JobTimeoutError`.
        queue_timeout_s, deadline_s : float, optional
            Seconds within which it has to start; within which it has to be done.
        retry : Retry, optional
            When a failure is tried again; by default what the simulation declares, else never. Of jobs that share a run
            the most retries count.
        tags : sequence of str
            Words to find the job by: at most 16, each of 100 characters at most.
        tenant : str, optional
            For whom it is: a name without ``/``. Runs, results and slots are shared within a tenant only, and its
            workspaces and words of `supersede` begin with ``tenant/``.
        on_progress : callable, optional
            Called with each `ProgressUpdate`, as by `subscribe`.
        block : bool
            Wait while the queue is full, `block_timeout_s` at most, instead of raising.
        durable : bool
            Return when the store's file has the request, so that no crash loses it; `StoreError` if that fails.

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
            If the engine is closed, or belongs to the parent of this forked process.
        """
        found = simulation if isinstance(simulation, Simulation) else find_if_named(simulation)
        request = Request(
            found,
            found.bind(parameters),
            replicates=replicates,  # type: ignore[arg-type] # it takes a precision apart
            seed=seed,
            keep=keep,
            priority=priority,
            allow_deduplication=allow_deduplication,
            cache=cache,
            workspace=workspace,
            supersede=supersede,
            debounce_s=debounce_s,
            max_wait_s=max_wait_s,
            group=group,
            delay_s=delay_s,
            at=at,
            timeout_s=timeout_s,
            queue_timeout_s=queue_timeout_s,
            deadline_s=deadline_s,
            retry=retry,
            tags=tags,
            tenant=tenant,
        )
        return self._submitter.submit(
            request, on_progress=on_progress, block=block, block_timeout_s=block_timeout_s, durable=durable
        )

    # ---- the end -------------------------------------------------------------------------------------

    def drain(self, timeout_s: float | None = None) -> bool:
        """Wait until every job has ended; return whether that came within `timeout_s`. Others may be submitted."""
        return self._scheduler.drain(timeout_s)

    def clean(self, older_than_s: float = 0.0) -> int:
        """Forget the jobs that ended longer ago than that; return how many. Results stay in the store."""
        return self._scheduler.job_table.forget(older_than_s)

    def step(self) -> bool:
        """Do one unit of work in this thread, if the engine is immediate; return False when nothing is due."""
        return self._scheduler.step()

    def close(self, *, cancel: bool = False, timeout_s: float | None = None) -> list[Job]:
        """Accept no more jobs, let the others end, and stop the threads. More than once does no harm.

        Parameters
        ----------
        cancel : bool
            Cancel what has not ended, keeping finished replicates, and wait a second unless told otherwise.
        timeout_s : float, optional
            How long to wait. What has not ended by then is cancelled, keeping finished replicates, and stays in the
            store's journal, where the next engine finds it interrupted.

        Returns
        -------
        list of Job
            Those that had not ended by then; the kernel of one that is still `JobState.CANCELLING` runs on.
        """
        left = close(self._scheduler, cancel=cancel, timeout_s=timeout_s)
        self._finalizer.detach()
        return left

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *exception: object) -> None:
        gave_up = self._scheduler.state.stopped  # a close within the block has waited for as long as it was told to
        self.close(cancel=gave_up or kind is not None, timeout_s=0.0 if gave_up else None)

    def __repr__(self) -> str:
        stats = stats_of(self._scheduler, self._began).queue
        return (
            f"<Engine: {in_words(self.backend)}, {stats.processing} running, {stats.waiting} waiting, "
            f"store: {self.store.location}>"
        )


def _engines_table(engines: Sequence[Engine]) -> Table:
    counts = [(engine, engine.stats().queue) for engine in engines]
    rows = [(in_words(e.backend), queue.processing, queue.waiting, e.store.location) for e, queue in counts]
    return Table(("computed by", "running", "waiting", "store"), rows)


def engines() -> list[Engine]:
    """Return the engines of this process whose threads have not ended, the oldest first.

    Also one that no name refers to any more, while it ends its jobs: a cell of a notebook that is run again leaves the
    engine of the first time behind. ``engine.jobs()`` says what each does, ``engine.close(cancel=True)`` ends it.
    """
    return Listing(open_engines(), _engines_table)


def run(
    simulation: Simulation[P] | str,
    parameters: P | Mapping[str, Any] | None = None,
    *,
    replicates: int | Precision,
    seed: int = 0,
    keep: Keep = "columns",
    store: str | Path | Store | None = None,
    backend: Backend | None = None,
    **settings: Unpack[EngineSettings],
) -> SimulationResult:
    """Run a simulation and return its result; Ctrl-C cancels.

    Parameters
    ----------
    simulation, parameters, replicates, seed, keep
        As for `Engine.submit`.
    store, backend, **settings
        As for `Engine`.

    Examples
    --------
    >>> result = bgsim.run("bgsim.models.options.european_call", replicates=10_000, seed=1)
    >>> result
    SimulationResult of bgsim.models.options.european_call: 10,000 replicates, seed 1
      output     mean  standard error       sd  5 %     50 %     95 %
      payoff  10.6345        0.147869  14.7869    0  3.22734  40.9589
    """
    with Engine(store, backend=backend, **settings) as engine:
        return engine.submit(simulation, parameters, replicates=replicates, seed=seed, keep=keep).result()
