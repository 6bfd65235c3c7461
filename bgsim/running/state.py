"""What an engine knows: its lock, its clock, its settings and its tables. The parts of `bgsim.running` share it."""

from __future__ import annotations

import itertools
import math
import sys
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from bgsim.clock import Clock
from bgsim.queue.core import QueueCore
from bgsim.running.alarms import Alarms
from bgsim.running.lock import EngineLock
from bgsim.running.sleepers import Sleepers
from bgsim.threads.locks import Condition

if TYPE_CHECKING:
    from bgsim.config import EngineConfig
    from bgsim.errors import BackendError
    from bgsim.job import Job
    from bgsim.logs import JobLog
    from bgsim.running.run import Run
    from bgsim.storage import Store

_RECENT = 1000
"""The quantiles are those of the newest jobs, this many."""


class State:
    """Data only: the lock guards all of it, and the parts change it while they hold the lock.

    Attributes
    ----------
    lock : EngineLock
    monotonic, wall : callable
        The clock's times, without a call in between.
    queue : QueueCore
        Of runs; its members are jobs.
    calls : QueueCore
        Of plain callables. They need no running place and count in no limit of the queue, so they wait apart: in one
        order of service a simulation without a place would hold them up.
    running : list of Run
        Those with a running place: at most ``max_concurrent_simulations``, and those that are stopping.
    storing : list of Run
        Those whose end the store has not confirmed.
    to_store : deque of Run
        Those of them that wait for a worker to hand them to the store.
    to_checkpoint : deque of Run
        Running or suspended, of which a worker is to store what is finished.
    to_judge : deque of Run
        Running or suspended, of which a worker is to see whether they have enough replicates.
    by_key : dict of str to Run
        Stopping or storing, by the identity of their keys.
    stored_at : OrderedDict of str to float
        When the runs of the last seconds ended, by the identity of their keys, the oldest first.
    submissions : tuple of callable
        Each is called with a job that comes, before anything is told of it.
    held : set of (str, str or None)
        Names of simulations whose jobs are paused, also those to come: of one tenant, or of all.
    jobs : dict of str to Job
        Those that have not ended, by id, in the order of submission.
    leaving : int
        How many of them no run has any more: what they wait for is that their end is durable.
    resolving : dict of str to Job
        Those that have ended and whose futures are about to say so, by id.
    ended : OrderedDict of str to tuple
        How jobs ended, by id, the oldest first, for ``max_completed_age_seconds``; see `bgsim.running.status`.
    logs : dict of str to JobLog
        Of the jobs in `jobs` and `ended` that are plain Python.
    counts : Counter
        Since the engine began: by terminal state, and ``joined``, ``from_store``, ``retries``.
    waits_s, runs_s : deque of float
        How long the newest jobs waited for their start, and ran.
    paused, closed, stopped : bool
        Nothing is started; nothing is taken; no worker takes anything.
    store_error, journal_error : str or None
        Why the store and the journal refused their latest use.
    backend_error : BackendError or None
        Why nothing is computed any more.
    shut_out : dict of str to str
        Places of the backend that would compute other bits of some simulation, and why.
    unknown : set of str
        Names of simulations that the store has requests or schedules of, and that this process does not have.
    unreadable : dict of str to str
        By name, why schedules that the store has are not run.
    turns : iterator of int
        Numbers the turns in which runs and calls get workers.
    calls_running, call_turn : int
        Calls under way; the turn of the latest.
    sleepers : Sleepers
        The workers that wait for work.
    lanes : int
        How many chunks the backend takes at present.
    idle, room, alarm : threading.Condition
        Callers wait for the last end and for room in the queue, the timer thread for its next time.
    wanted_room : Counter
        Callers that wait for room, by their queue keys.
    alarms : Alarms
        When the engine has to do something by itself, apart from what the queues' timetables say.
    small_batches : int
        Workers that are on runs which take less than a switch of threads: they are back at once.
    pace : OrderedDict of (str, bytes) to float
        Replicates a second of one worker, by fingerprint and encoded parameters, the last used last.
    is_due : bool
        Whether time has changed a queue since `Scheduler.tick` did what is due.
    wakes_at : float
        When the timer thread looks again by itself; minus infinity while it is looking.
    """

    def __init__(self, config: EngineConfig, clock: Clock, store: Store) -> None:
        self.config = config
        self.clock = clock
        is_system = type(clock) is Clock
        self.monotonic: Callable[[], float] = time.monotonic if is_system else clock.monotonic
        self.wall: Callable[[], float] = time.time if is_system else clock.time
        self.store = store
        self.lock = EngineLock(self.wake)
        limits: dict[str, Any] = {"limits": config.limits, "rate_limits": config.rate_limits}
        self.queue = QueueCore(config.max_queue_size, age_after_s=config.age_after_s, **limits)
        self.calls = QueueCore(sys.maxsize, **limits)
        self.running: list[Run] = []
        self.storing: list[Run] = []
        self.to_store: deque[Run] = deque()
        self.to_checkpoint: deque[Run] = deque()
        self.to_judge: deque[Run] = deque()
        self.by_key: dict[str, Run] = {}
        self.stored_at: OrderedDict[str, float] = OrderedDict()  # a dict takes long to find its first after deletions
        self.submissions: tuple[Callable[[Job], None], ...] = ()
        self.held: set[tuple[str, str | None]] = set()
        self.jobs: dict[str, Job] = {}
        self.leaving = 0
        self.resolving: dict[str, Job] = {}
        self.ended: OrderedDict[str, tuple[Any, ...]] = OrderedDict()
        self.logs: dict[str, JobLog] = {}
        self.counts: Counter[str] = Counter()
        self.waits_s: deque[float] = deque(maxlen=_RECENT)
        self.runs_s: deque[float] = deque(maxlen=_RECENT)
        self.paused = self.closed = self.stopped = False
        self.store_error: str | None = None
        self.journal_error: str | None = None
        self.backend_error: BackendError | None = None
        self.shut_out: dict[str, str] = {}
        self.unknown: set[str] = set()
        self.unreadable: dict[str, str] = {}
        self.turns = itertools.count()
        self.calls_running = self.call_turn = 0
        self.sleepers = Sleepers(self.lock.raw)
        self.idle, self.room, self.alarm = [Condition(self.lock.raw) for _ in range(3)]
        self.small_batches = self.lanes = 0
        self.pace: OrderedDict[tuple[str, bytes], float] = OrderedDict()
        self.wanted_room: Counter[str | None] = Counter()
        self.alarms = Alarms()
        self.is_due = False
        self.wakes_at = -math.inf

    def now(self) -> float:
        """Return the time by the monotonic clock, and bring the queues up to it."""
        now = self.monotonic()
        if now >= self.queue.order.timetable.look_at:
            self.is_due |= self.queue.advance(now)
        if now >= self.calls.order.timetable.look_at:
            self.is_due |= self.calls.advance(now)
        return now

    @property
    def next_event_at(self) -> float:
        """When a queue changes by itself; infinity for never."""
        return min(self.queue.order.timetable.look_at, self.calls.order.timetable.look_at)

    def holds(self, job: Job) -> bool:
        """Tell whether the job's simulation is paused."""
        request = job.request
        name = request.simulation.name
        return (name, None) in self.held or (name, request.tenant) in self.held

    @property
    def is_idle(self) -> bool:
        """Whether every job and every call has ended."""
        return not (self.jobs or self.storing or self.calls_running or self.calls.order.waiting)

    def seconds_of(self, run: Run) -> float:
        """Return how long a worker takes for all that is wanted of a run; infinity where that is not known."""
        rate = self.pace.get(run.pace_key)
        return run.goal / rate if rate else math.inf

    def wake(self) -> None:
        """Wake the threads that wait for what this hold of the lock has brought; called at its end.

        1. A caller finds the queue full, and waits for room.
        2. Whatever makes room, or lets an entry with its key begin to wait, happens in a hold of the lock.
        3. At the end of that hold the caller is woken, and tries again. It may find that another one was faster.
        """
        if self.wanted_room and any(self.queue.may_fit(key) for key in self.wanted_room):
            self.room.notify_all()
        if not self.jobs and self.is_idle:
            self.idle.notify_all()
        look_at = self.queue.order.timetable.look_at, self.calls.order.timetable.look_at
        if min(self.alarms.at, *look_at) < self.wakes_at:
            self.alarm.notify()
