"""Progress: what happens to jobs, published to whoever subscribed.

::

    publish ──> inbox ──fan-out thread──> each matching subscription's buffer ──> iterator
                                                                              └─> dispatcher ──> callback
                                                                                      └─> executor or loop ──> callback

Publishing takes one short lock, calls nobody, and costs the same however many subscribe. The inbox holds one progress
update a job, the newest, and every STARTED and terminal one, so it is bounded by the number of jobs. Threads start with
the first subscription. Nobody's code runs on the fan-out thread; callbacks run on the dispatcher's, see
`bgsim.bus.delivery`.

Guarantees
----------
- Per job STARTED comes first and once, the sequence is strictly increasing, one terminal update is the last.
- A terminal update reaches every matching subscriber, however slow; progress may be conflated.
- Callbacks, predicates, executors and loops are called outside every lock, callbacks all in one thread. One that raises
  is logged, counted, and keeps its subscription; one that does not return holds up the others once, for `patience_s`.
- A late subscriber to a job gets its current state first.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from weakref import ReferenceType

from bgsim.bus.bars import notebook_bar, tqdm_bar
from bgsim.bus.batch_progress import BatchProgress, BatchUpdate, batch_of
from bgsim.bus.channels import Channel, Channels
from bgsim.bus.delivery import Dispatcher
from bgsim.bus.filters import Filter, check_delivery
from bgsim.bus.subscription import Subscription
from bgsim.bus.updates import NOTHING, ProgressUpdate, UpdateType, format_duration
from bgsim.errors import EngineClosedError

if TYPE_CHECKING:
    from bgsim.job import Job

__all__ = [
    "BatchProgress",
    "BatchUpdate",
    "BusStats",
    "ProgressBus",
    "ProgressUpdate",
    "Subscription",
    "UpdateType",
    "batch_of",
    "format_duration",
    "notebook_bar",
    "tqdm_bar",
]

_STARTED, _PROGRESS, _COMPLETED = UpdateType.STARTED, UpdateType.PROGRESS, UpdateType.COMPLETED
_new_tuple = tuple.__new__


@dataclass(frozen=True, slots=True)
class BusStats:
    """What a bus has done and holds.

    Attributes
    ----------
    published, conflated : int
        Updates that were published, and those that a newer one replaced before they were fanned out.
    jobs, subscriptions, waiting : int
        Jobs that are known, open subscriptions, updates that are not fanned out yet.
    failed_callbacks, failed_predicates : int
        Calls that raised.
    overdue_callbacks : int
        Calls that have not returned and were given up on.
    """

    published: int
    conflated: int
    jobs: int
    subscriptions: int
    waiting: int
    failed_callbacks: int
    failed_predicates: int
    overdue_callbacks: int


class ProgressBus:
    """Takes updates from any thread and hands them to subscribers in threads of its own.

    Parameters
    ----------
    threads : bool
        Without, `deliver` does the work in the thread that calls it.
    patience_s : float
        How long a callback may keep others waiting before they go on in another thread.
    clock : callable
        For that, seconds that never run backwards.
    """

    def __init__(
        self, *, threads: bool = True, patience_s: float = 1.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._threads = threads
        self._dispatcher = Dispatcher(patience_s=patience_s, clock=clock, threads=threads)
        # Guards all below. A leaf: no other lock is taken under it.
        self._lock = threading.Lock()
        self._arrived = threading.Condition(self._lock)
        self._inbox: list[list[Any]] = []  # [update, subscribers to the job, subscribers to all]
        self._batch = 0  # the number of this inbox
        self._channels = Channels()
        self._asleep = False  # the fan-out thread is
        self._delivering = False  # somebody is in `deliver`
        self._closed = False
        self._fan_out_thread: threading.Thread | None = None
        self._forgotten = self._conflated = 0
        self._failed = {"callback": 0, "predicate": 0}

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
        with self._lock:
            if self._closed:
                return None
            channel = self._channels.of.get(simulation_id)
            if channel is None:
                if update_type is _PROGRESS:
                    return None
                channel = self._channels.of[simulation_id] = Channel()
            else:
                current = channel.current
                if current is None:
                    if update_type is _PROGRESS:
                        return None
                elif update_type is _STARTED or current.update_type >= _COMPLETED:
                    return None
            channel.sequence = sequence = channel.sequence + 1
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
            if channel.subscribers or self._channels.to_all:
                self._post(channel, update, update_type)
            return update

    def current(self, simulation_id: str) -> ProgressUpdate | None:
        """Return the job's newest update."""
        with self._lock:
            channel = self._channels.of.get(simulation_id)
            return channel.current if channel is not None else None

    def forget(self, simulation_id: str) -> None:
        """Drop what is kept of a job that has ended; nothing happens to one that has not.

        What is published under its id from then on is another job's.
        """
        with self._lock:
            channel = self._channels.of.get(simulation_id)
            if channel is not None and channel.current is not None and channel.current.update_type >= _COMPLETED:
                del self._channels.of[simulation_id]
                self._forgotten += channel.sequence

    def _post(self, channel: Channel, update: ProgressUpdate, update_type: UpdateType) -> None:
        """Put an update into the inbox; under the lock."""
        if update_type is _PROGRESS:
            if channel.slot is not None and channel.batch == self._batch:
                channel.slot[0] = update
                self._conflated += 1
                return
            channel.batch = self._batch
        channel.slot = [update, *self._channels.audiences(channel)]
        self._inbox.append(channel.slot)
        if self._asleep:
            self._asleep = False
            self._arrived.notify()

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
        executor: Executor | None = None,
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> Subscription:
        """Subscribe to updates; of several filters all have to apply.

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
            Only updates for which it is true. One that raises does not match. It may be asked about fewer updates than
            are published, for progress is conflated first.
        maxlen : int
            How many updates may wait before progress is conflated.
        executor : concurrent.futures.Executor, optional
            Where to call the callback instead; one of threads.
        loop : asyncio event loop, optional
            Where to call the callback instead, or to await it.

        Raises
        ------
        InvalidInputError
            Naming the argument, what was given and what is allowed.
        EngineClosedError
            If the bus is closed.
        """
        wanted = Filter.of(job, min_type, completions_only, simulation, workspace, where)
        check_delivery(callback, maxlen, executor, loop)
        return self._add(Subscription(self, callback, wanted, maxlen, executor, loop))

    def _add(self, subscription: Subscription) -> Subscription:
        with self._lock:
            if self._closed:
                raise EngineClosedError("the progress bus is closed; make a new engine to go on")
            if subscription._ended:
                return subscription  # it is to no job at all
            self._batch += 1  # progress that is posted from now on goes to the new subscriber too
            for state in self._channels.add(subscription):
                self._inbox.append([state, (subscription._reference,), ()])
            if self._fan_out_thread is None and self._threads:
                self._fan_out_thread = threading.Thread(target=self._run, name="bgsim-progress", daemon=True)
                self._fan_out_thread.start()
            self._asleep = False
            self._arrived.notify()
        return subscription

    def _add_job(self, subscription: Subscription, simulation_id: str) -> None:
        """Let a subscription to jobs be to one more."""
        with self._lock:
            subscription.wanted = subscription.wanted.with_job(simulation_id)
            self._batch += 1
            state = self._channels.add_job(subscription._reference, simulation_id)
            if state is not None:
                self._inbox.append([state, (subscription._reference,), ()])
                self._asleep = False
                self._arrived.notify()

    def batch(
        self,
        jobs: Mapping[str, int] | Iterable[Job],
        callback: Callable[[BatchUpdate], Any] | None = None,
        *,
        later: Iterable[int] = (),
        executor: Executor | None = None,
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> BatchProgress:
        """Subscribe to several jobs as one.

        Parameters
        ----------
        jobs : mapping of str to int, or iterable of Job
            Ids and how many replicates each job is asked for, or jobs of this bus's engine.
        callback, executor, loop
            As for `subscribe`. Without a callback, iterate over what is returned.
        later : iterable of int
            How many replicates each job is asked for that `BatchProgress.add` will name; until then it is pending.
        """
        return BatchProgress(self, jobs, callback, later=later, executor=executor, loop=loop)

    def stats(self) -> BusStats:
        """Return what the bus has done and holds."""
        overdue = self._dispatcher.overdue
        with self._lock:
            channels = list(self._channels.of.values())
            counts = {
                "published": self._forgotten,
                "conflated": self._conflated,
                "subscriptions": len(self._channels),
                "waiting": len(self._inbox),
                "failed_callbacks": self._failed["callback"],
                "failed_predicates": self._failed["predicate"],
            }
        counts["published"] += sum(channel.sequence for channel in channels)
        return BusStats(**counts, jobs=len(channels), overdue_callbacks=overdue)

    def close(self) -> None:
        """Deliver what was published, end every iterator, and stop the threads; may be called from a callback.

        A callback that does not return is waited for `patience_s` at most. Executors and loops are not waited for.
        """
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._arrived.notify()
            thread = self._fan_out_thread
        if thread is not None and thread is not threading.current_thread():
            thread.join()
        self.deliver()
        self._dispatcher.close()

    def __enter__(self) -> ProgressBus:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    # ---- delivering ----------------------------------------------------------------------------------

    def deliver(self) -> None:
        """Fan out what was published and call callbacks, in the calling thread, until nothing is left.

        For a bus without threads; any other does so by itself. While one thread is here, another, or a callback that
        one of them runs, returns at once.
        """
        with self._lock:
            if self._delivering or self._threads:
                return
            self._delivering = True
        try:
            while True:
                self._dispatcher.run_ready()
                with self._lock:
                    # In one step, so that whoever posts after it and finds somebody here is not left alone.
                    self._delivering = bool(self._inbox)
                    if not self._inbox:
                        closed = self._closed
                        break
                self._fan_out(self._take_batch())
        except BaseException:  # Ctrl-C in a callback
            self._delivering = False
            raise
        if closed:
            self._end_all()

    def _deliver_if_threadless(self) -> None:
        if not self._threads:
            self.deliver()

    def _take_batch(self) -> list[list[Any]]:
        """Return all that was posted; from now on it belongs to the caller."""
        with self._lock:
            batch, self._inbox = self._inbox, []
            self._batch += 1
            return batch

    def _run(self) -> None:
        """Fan out, in a thread of its own, and see to it that the dispatcher goes on."""
        look_again_s: float | None = None
        while True:
            with self._lock:
                if not self._inbox:
                    if self._closed:
                        break
                    self._asleep = True
                    self._arrived.wait(look_again_s)
                    self._asleep = False
            self._fan_out(self._take_batch())
            look_again_s = self._dispatcher.attend()
        self._end_all()

    def _fan_out(self, batch: list[list[Any]]) -> None:
        """Offer updates to their subscriptions; by one thread at a time, without the lock."""
        to_call: list[Subscription] = []
        dead: list[ReferenceType[Subscription]] = []
        for update, audience, to_all in batch:
            terminal = update.update_type >= _COMPLETED
            for references in (audience, to_all):
                for reference in references:
                    subscription = reference()
                    if subscription is None:
                        dead.append(reference)
                        continue
                    if subscription._offer(update):
                        to_call.append(subscription)
                    if terminal and subscription._job_ended(update.simulation_id):
                        self._remove(subscription)
        if dead:
            with self._lock:
                self._channels.discard(dead, {update.simulation_id for update, _, _ in batch})
        if to_call:
            self._dispatcher.put(to_call)

    def _end_all(self) -> None:
        with self._lock:
            remaining = self._channels.subscriptions()
        for subscription in remaining:
            subscription._end()

    def _remove(self, subscription: Subscription) -> None:
        """Take a subscription out that gets nothing any more."""
        with self._lock:
            self._channels.discard([subscription._reference], subscription.wanted.jobs or ())

    def _count_failure(self, what: str) -> None:
        with self._lock:
            self._failed[what] += 1
