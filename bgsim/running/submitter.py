"""Where requests come in: answered from the store, or handed to the scheduler.

`Engine.submit`, batches, schedules, dead letters and recovery share it. It holds no engine, so that an engine which the
user has dropped can be closed.
"""

from __future__ import annotations

import itertools
import logging
import math
import secrets
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from bgsim.errors import IdentityError, InvalidInputError, NotStoredError, OutputError, SimulationNotFoundError
from bgsim.job import Job
from bgsim.registry import find_known
from bgsim.request import Request, read_request
from bgsim.running.looks import stopping_of
from bgsim.running.records import tell_if_numba_is_off
from bgsim.running.stored import load_stored
from bgsim.storage import Columns
from bgsim.threads.signals import HOLD, interruptibly, is_interrupt

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bgsim.progress import ProgressUpdate
    from bgsim.running.scheduler import Scheduler
    from bgsim.simulation import Simulation
    from bgsim.storage.journal import DeadLetter, PendingRequest, ScheduledRequest

logger = logging.getLogger("bgsim.engine")

_MOST_TOLD = 10
"""Unknown simulations that are logged; `Engine.health` names all."""

_ANSWER_BYTES = 8 * 2**20
"""A stored result up to this size is loaded in the submitting thread; a larger one by a worker."""


def unknown_here(name: str) -> str:
    """Return the sentence that says why what the store keeps of a simulation waits, and what to do."""
    return (
        f"the store has requests or schedules of the simulation {name!r}, which is unknown here, and a store does not "
        "choose what is imported. Import the module that defines it, then call engine.recover(); until then they wait"
    )


class Submitter:
    """Takes requests. Any thread may call any method."""

    def __init__(self, scheduler: Scheduler) -> None:
        self.scheduler = scheduler
        self._store = scheduler.store
        self._numbers = itertools.count(1)
        self._named = 0  # the newest of them
        self._token = secrets.token_hex(4)  # job ids are unique in a store, for ever
        self._simulations: dict[str, Simulation] = {}  # by name: those submitted here, wherever they were defined
        self._is_strict = scheduler.config.identity == "strict"

    def submit(
        self,
        request: Request,
        *,
        on_progress: Callable[[ProgressUpdate], Any] | None = None,
        block: bool = False,
        block_timeout_s: float | None = None,
        durable: bool = False,
        job_id: str | None = None,
        recovered: PendingRequest | None = None,
    ) -> Job:
        """Take a request and return its handle; see `Engine.submit`.

        Parameters
        ----------
        job_id : str, optional
            One of `new_id`, or that of a job which a crash has interrupted.
        recovered : PendingRequest, optional
            What the journal kept of that job.
        """
        scheduler = self.scheduler
        scheduler.check_process()
        simulation = request.simulation
        self._simulations[simulation.name] = simulation
        self._check(request)
        if durable and scheduler.events.owner is None:
            raise InvalidInputError(
                "durable=True needs a journal that outlives the process; give the engine a store in a file, and "
                "journal=True",
                field="durable",
                value=durable,
            )
        now, wall = scheduler.state.monotonic(), scheduler.state.wall()
        if job_id is None:
            job_id = self.new_id(simulation)
        job = Job(scheduler, job_id, request, now, wall)
        if recovered is not None:
            job.crashes, job.stored, job.recovered = recovered.crashes, recovered.stored, True
        if request.is_timed:
            job.run_left_s = request.timeout_s
            job.deadline = None if request.deadline_s is None else now + request.deadline_s
        watcher = scheduler.bus.subscribe(on_progress, job=job.id) if on_progress is not None else None
        try:
            with HOLD:
                columns, missed = self._stored(job) if request.cache in ("use", "only") else (None, False)
                if columns is not None:
                    scheduler.answer(job, columns)
                else:
                    missed_at = now if missed else -math.inf
                    scheduler.submit(job, missed_at=missed_at, block=block, timeout_s=block_timeout_s)
                    if durable:
                        self._write(job)
        except BaseException:
            if watcher is not None:
                watcher.unsubscribe()
            raise
        if scheduler.config.immediate:
            scheduler.drive()
        return job

    def _write(self, job: Job) -> None:
        """Return when the journal has a job, or cancel it and raise the store's error."""
        try:
            self.scheduler.journal.flush()
        except BaseException:
            self.scheduler.cancel(job)
            raise

    def new_id(self, simulation: Simulation) -> str:
        """Return an id for a job."""
        self._named = number = next(self._numbers)
        return f"{simulation.short_name}-{self._token}-{number}"

    def has_named(self, job_id: str) -> bool:
        """Tell whether `new_id` has returned an id."""
        name, _, number = job_id.rpartition("-")
        is_ours = name.endswith(f"-{self._token}") and number.isascii() and number.isdecimal() and len(number) < 20
        return is_ours and 0 < int(number) <= self._named

    def find(self, name: str) -> Simulation | None:
        """Return a simulation that the store names, if it was submitted here or this process has imported it.

        Of the others the engine's state keeps the names.
        """
        found = self._simulations.get(name) or find_known(name)
        unknown = self.scheduler.state.unknown
        if found is None and name not in unknown:
            unknown.add(name)
            if len(unknown) <= _MOST_TOLD:
                logger.warning("%s", unknown_here(name))
        elif found is not None:
            unknown.discard(name)
        return found

    def remember(self, simulation: Simulation) -> None:
        """Find this simulation by its name from now on."""
        self._simulations[simulation.name] = simulation

    def read(
        self, kept: PendingRequest | DeadLetter | ScheduledRequest, changes: Mapping[str, Any] | None = None
    ) -> Request:
        """Return the request that the journal keeps, with changes.

        Raises
        ------
        SimulationNotFoundError, InvalidInputError
        """
        simulation = self.find(kept.simulation)
        if simulation is None:
            raise SimulationNotFoundError(unknown_here(kept.simulation))
        return read_request(simulation, kept.parameters, kept.seed, kept.replicates, kept.options, changes)

    def _check(self, request: Request) -> None:
        """Refuse what the engine does not take: anything once it is closed, code that it cannot follow, large results.

        Raises
        ------
        EngineClosedError, IdentityError, InvalidInputError
        """
        if self.scheduler.state.closed:
            self.scheduler.check_open()
        if not request.revision.is_clean:
            self._check_revision(request)
        if not request.revision.compiles:
            tell_if_numba_is_off()
        config, size = self.scheduler.config, request.size_bytes
        stores = request.cache != "off" and config.auto_store_completed
        if size <= config.max_result_bytes and not (stores and size > self._store.max_storage_bytes):
            return
        setting, limit = "max_result_bytes", config.max_result_bytes
        if size <= limit:
            setting, limit = "max_storage_bytes", self._store.max_storage_bytes
        instead = "ask for fewer"
        if request.precision is not None:
            instead = "give the Precision a smaller maximum"
        if request.keep == "columns":
            instead += ', give keep="summary"'
        raise InvalidInputError(
            f"{request.replicates:,} replicates of {request.simulation.name} need {size:,} bytes, more than "
            f"{setting}={limit:,}; {instead}, or raise it in EngineConfig",
            field="replicates",
            value=request.replicates,
        )

    def _check_revision(self, request: Request) -> None:
        """Refuse code that cannot be followed, or warn of it."""
        if request.not_followed is not None:
            if self._is_strict:
                raise IdentityError(request.not_followed, field="simulation", value=request.simulation.name)
            request.revision.warn_of_limits(request.not_followed)

    def _stored(self, job: Job) -> tuple[Columns | None, bool]:
        """Return the job's columns if the store has them all and they are quickly loaded, or have to be there.

        And whether it is certain that the store has nothing to begin with.
        """
        request, store = job.request, self._store
        must, why = request.cache == "only", ""
        try:
            held = store.count(request.key)
            if held >= min([request.replicates, *request.looks()]):
                columns = None
                loaded = min(held, request.replicates)
                if must or loaded * request.size_bytes <= _ANSWER_BYTES * request.replicates:
                    columns, why = interruptibly(load_stored, store, request, request.replicates)
                if columns is not None:
                    columns = _enough_of(job, columns)
                if columns is not None and request.workspace is not None:
                    store.place(request.key, job.replicates, request.workspace)
                if columns is not None or not must:
                    return columns, bool(why)
        except Exception as error:  # a StoreError, or what a store raises that breaks its contract
            if must or is_interrupt(error) or isinstance(error, OutputError):  # the last is of a precision's bounds
                raise
            job.store_error = str(error)
            return None, False
        if must:
            raise NotStoredError(_not_stored(request, held, store.location, why))
        return None, not held


def _enough_of(job: Job, stored: Columns) -> Columns | None:
    """Return what a job needs of what is stored; None if it needs more.

    There may be less than the store has just said: another process may have deleted it and stored less, and a summary
    is kept of some numbers of replicates alone.
    """
    if job.request.precision is not None:
        job.stopping = stopping_of(job.request.precision, stored)
        if job.stopping is None:
            return None
        job.replicates = job.stopping.replicates
    if len(next(iter(stored.values()))) < job.replicates:
        return None
    return Columns.first(stored, job.replicates)


def _not_stored(request: Request, held: int, location: str, why: str) -> str:
    name = request.simulation.name
    if why:
        return f'the result of {name} that is stored in {location} cannot be used: {why}; cache="use" computes it again'
    if request.precision is not None:
        wanted, there = f"what {request.precision!r} needs", f"{held:,} replicates"
    elif held < request.replicates:
        wanted, there = "the others", f"{held:,} of {request.replicates:,} replicates"
    elif request.keep == "summary":
        there = f"a summary of {held:,} replicates, which is kept of some numbers but not of {request.replicates:,},"
        return f'{there} is all that is stored of {name} in {location}; cache="use" computes what is missing'
    else:  # another process has just deleted it
        wanted, there = "the others", f"0 of {request.replicates:,} replicates"
    return f'{there} of {name} are stored in {location}; cache="use" computes {wanted}'
