"""Progress: a bus that hands the updates of jobs to subscribers.

::

    publish ──> inbox ──fan-out thread──> each matching subscription's buffer ──> iterator
                                                                              └─> dispatcher ──> callback
                                                                                      └─> post ──> callback elsewhere

Publishing takes one short lock, calls no subscriber, and costs the same for any number of them. The inbox holds a job's
newest progress and every STARTED and terminal update, so the number of jobs bounds it; done-callbacks come behind their
job's updates, by `ProgressBus.call`. Threads start with the first subscription or call. The fan-out thread runs no code
of subscribers; the dispatcher's does, see `bgsim.bus.delivery`.

Guarantees
----------
- Per job STARTED comes first and once, the sequence is strictly increasing, one terminal update is the last.
- A terminal update reaches every matching subscriber, however slow; progress may be conflated.
- No lock is held while a callback, predicate, executor, loop or post is called; callbacks run in one thread, whose name
  begins with ``bgsim-callbacks``. One that
  raises is logged, counted, and keeps its subscription; one that does not return delays the others once, by
  `patience_s`.
- A late subscriber to a job gets its current state first.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Executor
from threading import get_ident
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from bgsim.bus.bars import notebook_bar, tqdm_bar
from bgsim.bus.batch_progress import BatchProgress, BatchUpdate, batch_of
from bgsim.bus.channels import BusStats, Channel, Channels
from bgsim.bus.delivery import Dispatcher, SingleCall
from bgsim.bus.filters import Filter
from bgsim.bus.post import check_delivery, post_to
from bgsim.bus.subscription import Subscription
from bgsim.bus.updates import NOTHING, ProgressUpdate, UpdateType, format_duration
from bgsim.checks import NotPicklable, check_integer
from bgsim.errors import NoThreadError, start_thread
from bgsim.threads import signals
from bgsim.threads.locks import Lock, Thread
from bgsim.threads.signals import HOLD, hold, let_go

if TYPE_CHECKING:
    from weakref import ReferenceType

    from bgsim.bus.batch_progress import WatchedJob
    from bgsim.bus.channels import Posted
    from bgsim.bus.delivery import Served
    from bgsim.bus.post import Post

__all__ = [
    "BatchProgress", "BatchUpdate", "BusStats", "ProgressBus", "ProgressUpdate", "Subscription", "UpdateType",
    "batch_of", "format_duration", "notebook_bar", "tqdm_bar",
]  # fmt: skip


def __dir__() -> list[str]:
    return __all__


logger = logging.getLogger("bgsim.progress")

_STARTED, _PROGRESS, _COMPLETED = UpdateType.STARTED, UpdateType.PROGRESS, UpdateType.COMPLETED
# Every job publishes: in `publish`, tuples and `acquire` take half the time of attributes, constructor and `Lock`.
_SEQUENCE: Final = 1
_TYPE: Final = 2
_new_tuple = tuple.__new__


class ProgressBus(NotPicklable):
    """Takes updates from any thread and delivers them to subscribers in its own threads.

    Parameters
    ----------
    threads : bool
        Without threads, `deliver` does the work in the calling thread.
    patience_s : float
        How long a callback may delay the others before they go on in another thread.
    clock : callable
        Measures the patience: seconds that never run backwards.
    """

    instead = "pickle the updates"

    def __init__(
        self, *, threads: bool = True, patience_s: float = 1.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._threads = threads
        self._channels = Channels()
        self._dispatcher = Dispatcher(patience_s=patience_s, clock=clock, threads=threads)
        # Guards the thread; taken before those of channels and dispatcher.
        self._lock = Lock()
        self._fan_out_thread: Thread | None = None

    # ---- publishing ----------------------------------------------------------------------------------

    def publish(
        self,
        simulation_id: str,
        update_type: UpdateType,
        *,
        fraction: float = 0.0,
        replicates_completed: int = 0,
        total_replicates: int = 0,
        estimated_time_remaining_ms: float | None = None,
        current_phase: str = "running",
        messages: tuple[str, ...] = (),
        metadata: Mapping[str, Any] = NOTHING,
    ) -> ProgressUpdate | None:
        """Publish an update of a job; the bus adds sequence and time.

        Returns
        -------
        ProgressUpdate or None
            None when nothing was published: progress before STARTED, STARTED a second time, anything after the
            terminal update, or the bus is closed.
        """
        now = time.time()
        channels = self._channels
        holds = get_ident() == signals.main and (signals.are_open or not signals.holds)  # else the caller does
        if holds:
            hold()
        channels.lock.raw.acquire()
        try:
            if channels.closed:
                return None
            channel = channels.of.get(simulation_id)
            if channel is None:
                if update_type is _PROGRESS:
                    return None
                channel = channels.of[simulation_id] = Channel()
                sequence = 1
            elif (current := channel.current) is None:
                if update_type is _PROGRESS:
                    return None
                sequence = 1
            elif update_type is _STARTED or current[_TYPE] >= _COMPLETED:
                return None
            else:
                sequence = current[_SEQUENCE] + 1
            channel.current = update = _new_tuple(
                ProgressUpdate,
                (
                    simulation_id,
                    sequence,
                    update_type,
                    fraction,
                    replicates_completed,
                    total_replicates,
                    estimated_time_remaining_ms,
                    current_phase,
                    messages,
                    now,
                    metadata if type(metadata) is MappingProxyType else MappingProxyType(metadata),
                ),
            )
            if channel.subscribers or channels.to_all:
                channels.post(channel, update, update_type)
            return update
        finally:
            channels.lock.raw.release()
            if holds:
                let_go()

    def current(self, simulation_id: str) -> ProgressUpdate | None:
        """Return the job's newest update."""
        return self._channels.current(simulation_id)

    def forget(self, simulation_id: str) -> None:
        """Drop the state of a job that has ended; do nothing to a job that has not.

        What is published under its id from then on belongs to another job.
        """
        self._channels.forget(simulation_id)

    # ---- subscribing ---------------------------------------------------------------------------------

    def subscribe(
        self,
        callback: Callable[[ProgressUpdate], Any] | None = None,
        *,
        job: Any = None,
        min_type: UpdateType = UpdateType.STARTED,
        completions_only: bool = False,
        simulation: Any = None,
        workspace: str | None = None,
        where: Callable[[ProgressUpdate], Any] | None = None,
        maxlen: int = 256,
        later: int = 0,
        executor: Executor | None = None,
        loop: asyncio.AbstractEventLoop | None = None,
        post: Post | None = None,
    ) -> Subscription:
        """Subscribe to the updates that pass all the given filters.

        Parameters
        ----------
        callback : callable, optional
            Called with each update on the bus's callback thread. Without one, iterate over what is returned.
        job : Job, str or iterable of them, optional
            Only these jobs' updates, beginning with their current state.
        min_type : UpdateType
            Only updates of this type or a later one.
        completions_only : bool
            Only terminal updates.
        simulation : Simulation or str, optional
            Only jobs of this simulation.
        workspace : str, optional
            Only jobs for this workspace.
        where : callable, optional
            Only updates for which this predicate is true. One that raises does not match. It may see fewer updates
            than are published, since progress is conflated first.
        maxlen : int
            How many pending updates make the buffer full; a full buffer conflates progress.
        later : int
            With `job`, how many more jobs `Subscription.add_job` will add.
        executor : concurrent.futures.Executor, optional
            Calls the callback in its threads instead.
        loop : asyncio event loop, optional
            Calls the callback instead, and awaits it if it is a coroutine function.
        post : callable, optional
            Calls the callback elsewhere: ``post(call)`` has ``call()`` called once, and raises if it no longer can. It
            may return a `concurrent.futures.Future` of the call, as an executor's ``submit`` does. For Tk,
            ``lambda call: root.after(0, call)``.

        Raises
        ------
        InvalidInputError
            Naming the argument, what was given and what is allowed.
        EngineClosedError
            If the bus is closed.
        """
        wanted = Filter.of(job, min_type, completions_only, simulation, workspace, where)
        maxlen, later = check_integer("maxlen", maxlen), check_integer("later", later, least=0)
        check_delivery(callback, executor, loop, post)
        subscription = Subscription(
            self,
            self._channels,
            callback,
            wanted,
            maxlen=maxlen,
            later=later,
            post=post_to(executor, loop, post),
            awaits=loop is not None,
        )
        if not subscription.ended:
            self._start_thread()
        self._channels.add(subscription)
        return subscription

    def call(self, callback: Callable[..., Any], *arguments: Any) -> None:
        """Have something called once in the callback thread, behind the updates that were published before.

        What it raises is logged. On a bus without threads `deliver` calls it. Of a closed bus a new thread does.
        """
        call = SingleCall(callback, arguments)
        if not self._channels.post_call(call):
            self._dispatcher.put([call])
            return
        try:
            self._start_thread()
        except NoThreadError as error:
            logger.warning("callbacks wait until the bus is closed, or used again: %s", error)

    def batch(
        self,
        jobs: Mapping[str, int] | Iterable[WatchedJob],
        callback: Callable[[BatchUpdate], Any] | None = None,
        *,
        later: Iterable[int] = (),
        executor: Executor | None = None,
        loop: asyncio.AbstractEventLoop | None = None,
        post: Post | None = None,
    ) -> BatchProgress:
        """Subscribe to several jobs as one.

        Parameters
        ----------
        jobs : mapping of str to int, or iterable of Job
            Ids and the replicates that each job is asked for, or jobs of this bus's engine.
        callback, executor, loop, post
            As for `subscribe`. Without a callback, iterate over what is returned.
        later : iterable of int
            The replicates of each job that `BatchProgress.add` will name; until then it is pending.
        """
        return BatchProgress(self, jobs, callback, later=later, executor=executor, loop=loop, post=post)

    @property
    def closed(self) -> bool:
        """Whether `close` has been called."""
        return self._channels.closed

    def stats(self) -> BusStats:
        """Return the counts of the bus."""
        return BusStats(**self._channels.counts(), overdue_callbacks=self._dispatcher.overdue)

    def close(self, wait_s: float = 0.0) -> None:
        """Deliver all updates, make all calls, end every iterator, and stop the threads; a callback may close.

        This waits for a callback that does not return, `wait_s` or `patience_s` at most, whichever is longer, but not
        for executors, loops and posts.
        """
        if not self._channels.close():
            return
        with self._lock:
            thread = self._fan_out_thread
        if thread is None:
            self._deliver()
        elif thread is not threading.current_thread():
            thread.join()
        self._dispatcher.close(wait_s)

    def __enter__(self) -> ProgressBus:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    # ---- delivering ----------------------------------------------------------------------------------

    def deliver(self) -> None:
        """Fan out updates and call callbacks in the calling thread until none is left.

        For a bus without threads; one with threads needs no call. Returns at once while another thread, or a callback
        below this call, delivers.
        """
        if not self._threads:
            with HOLD:  # an update that was taken is delivered, and only its callback is interrupted
                self._deliver()

    def _deliver(self) -> None:
        if not self._channels.claim():
            return
        try:
            self._dispatcher.run_ready()
            while batch := self._channels.take_or_release():
                self._fan_out(batch)
                self._dispatcher.run_ready()
        except BaseException:  # Ctrl-C in a callback
            self._channels.release()
            raise
        if self._channels.closed:
            self._end_all()

    def _start_thread(self) -> None:
        with self._lock:
            if self._fan_out_thread is None and self._threads and not self._channels.closed:
                thread = Thread(self._run, name="bgsim-progress")
                start_thread(thread)
                self._fan_out_thread = thread

    def _run(self) -> None:
        """Fan out, and have the dispatcher go on when a call is overdue."""
        look_again_s: float | None = None
        while (batch := self._channels.take(look_again_s)) is not None:
            self._fan_out(batch)
            look_again_s = self._dispatcher.attend()
        self._end_all()

    def _fan_out(self, batch: list[Posted]) -> None:
        """Offer updates to their subscriptions; one thread at a time, without a lock."""
        to_call: list[Served] = []
        dead: list[ReferenceType[Subscription]] = []
        for update, audience, to_all, _ in batch:
            if isinstance(update, SingleCall):
                to_call.append(update)
                continue
            terminal = update.update_type >= _COMPLETED
            for references in (audience, to_all):
                for reference in references:
                    subscription = reference()
                    if subscription is None:
                        dead.append(reference)
                        continue
                    if subscription.offer(update):
                        to_call.append(subscription)
                    if terminal:
                        subscription.job_ended(update.simulation_id)
        if dead:
            updates = [update for update, *_ in batch if isinstance(update, ProgressUpdate)]
            self._channels.prune(dead, {update.simulation_id for update in updates})
        if to_call:
            self._dispatcher.put(to_call)

    def _end_all(self) -> None:
        for subscription in self._channels.subscriptions():
            subscription.end()
