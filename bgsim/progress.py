"""Progress: what happens to jobs, published to whoever subscribed.

::

    publish ──> inbox ──fan-out thread──> each matching subscription's buffer ──> iterator
                                                                              └─> callback thread ──> callback

Publishing takes one short lock and calls nobody. The inbox holds one progress update a job, the newest, and every
STARTED and terminal one, so it is bounded by the number of jobs. Threads start with the first subscription.

Guarantees
----------
- Per job the sequence is strictly increasing, and nothing follows a terminal update.
- A terminal update reaches every matching subscriber, however slow; progress may be conflated.
- Callbacks and predicates run outside every lock, callbacks all on one thread; one that raises is logged, counted,
  and keeps its subscription.
- A late subscriber to a job gets its current state first.
"""

from __future__ import annotations

import enum
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from bgsim.errors import EngineClosedError, InvalidInputError
from bgsim.subscription import Subscription

logger = logging.getLogger("bgsim.progress")


class UpdateType(enum.IntEnum):
    """What an update says; a job has one STARTED, any number of PROGRESS, and one terminal update."""

    STARTED = 0
    PROGRESS = 1
    COMPLETED = 2
    FAILED = 3
    CANCELLED = 4

    @property
    def is_terminal(self) -> bool:
        """Whether it is a job's last."""
        return self >= UpdateType.COMPLETED


class ProgressUpdate(NamedTuple):
    """What one job was doing at one moment. Immutable.

    Attributes
    ----------
    simulation_id : str
        The job's id.
    sequence : int
        Counts the job's updates from 1; gaps are conflated progress.
    update_type : UpdateType
    fraction : float
        Part of the replicates that is done, 0 to 1.
    replicates_completed, total_replicates : int
    estimated_time_remaining_ms : float or None
        None until there is something to estimate from.
    current_phase : str
        ``queued``, ``compiling``, ``running``, ``storing``, or the terminal state.
    messages : tuple of str
        What a person may want to know now.
    timestamp : float
        Seconds since the epoch.
    metadata : mapping
        ``simulation``, ``workspace``, and on progress ``rate`` (replicates a second).
    """

    simulation_id: str
    sequence: int
    update_type: UpdateType
    fraction: float = 0.0
    replicates_completed: int = 0
    total_replicates: int = 0
    estimated_time_remaining_ms: float | None = None
    current_phase: str = "queued"
    messages: tuple[str, ...] = ()
    timestamp: float = 0.0
    metadata: Mapping[str, Any] = {}

    @property
    def update_id(self) -> str:
        """Unique among all updates."""
        return f"{self.simulation_id}:{self.sequence}"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON can hold them."""
        return {
            **self._asdict(),
            "update_id": self.update_id,
            "update_type": self.update_type.name,
            "messages": list(self.messages),
            "metadata": dict(self.metadata),
        }

    def __str__(self) -> str:
        text = f"{self.current_phase} {self.fraction:.1%} ({self.replicates_completed:,}/{self.total_replicates:,})"
        if self.estimated_time_remaining_ms is not None and not self.update_type.is_terminal:
            text += f", {format_duration(self.estimated_time_remaining_ms)} left"
        return "; ".join((text, *self.messages))


def format_duration(milliseconds: float) -> str:
    """Return a duration with the unit that fits: ``"250 ms"``, ``"3.1 s"``, ``"4 min 05 s"``, ``"2 h 10 min"``."""
    if milliseconds < 1000:
        return f"{milliseconds:.0f} ms"
    seconds = milliseconds / 1000
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"


class _Channel:
    """What the bus knows of one job."""

    __slots__ = ("current", "sequence", "slot", "subscriptions")

    def __init__(self) -> None:
        self.sequence = 0
        self.current: ProgressUpdate | None = None
        self.subscriptions: tuple[Subscription, ...] = ()  # to this job; replaced, never changed
        self.slot: list[Any] | None = None  # its progress item in the inbox, to be overwritten by newer progress


class ProgressBus:
    """Takes updates from any thread and hands them to subscribers in threads of its own."""

    def __init__(self) -> None:
        # Guards all below, and the state of no other object. A leaf: no other lock is taken under it.
        self._lock = threading.Lock()
        self._arrived = threading.Condition(self._lock)
        self._inbox: deque[list[Any]] = deque()  # [update, subscriptions to the job, subscriptions to all]
        self._channels: dict[str, _Channel] = {}
        self._everything: tuple[Subscription, ...] = ()
        self._all: set[Subscription] = set()
        self._closed = False
        self._fan_out: threading.Thread | None = None
        self._callbacks = _CallbackThread()

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
        metadata: Mapping[str, Any] | None = None,
    ) -> ProgressUpdate | None:
        """Publish an update of a job; the bus adds sequence and time.

        Returns
        -------
        ProgressUpdate or None
            None when the job has had its terminal update, or the bus is closed: nothing was published.
        """
        with self._lock:
            channel = self._channels.get(simulation_id)
            if channel is None:
                channel = self._channels[simulation_id] = _Channel()
            if self._closed or (channel.current is not None and channel.current.update_type.is_terminal):
                return None
            channel.sequence += 1
            update = ProgressUpdate(
                simulation_id,
                channel.sequence,
                update_type,
                fraction,
                replicates_completed,
                total_replicates,
                estimated_time_remaining_ms,
                current_phase,
                messages,
                time.time(),
                metadata or {},
            )
            channel.current = update
            if channel.subscriptions or self._everything:
                self._post(channel, update)
            return update

    def subscribe(
        self,
        callback: Callable[[ProgressUpdate], Any] | None = None,
        *,
        job: str | Iterable[str] | None = None,
        min_type: UpdateType = UpdateType.STARTED,
        completions_only: bool = False,
        where: Callable[[ProgressUpdate], Any] | None = None,
        maxlen: int = 256,
    ) -> Subscription:
        """Subscribe to updates.

        Parameters
        ----------
        callback : callable, optional
            Called with each update on the bus's callback thread. Without one, iterate over what is returned.
        job : str or iterable of str, optional
            Only these jobs' updates, beginning with their current state.
        min_type : UpdateType
            Only updates of this type or a later one.
        completions_only : bool
            Only terminal updates.
        where : callable, optional
            Only updates for which it is true; run on the bus's thread. One that raises does not match.
        maxlen : int
            Size of the buffer.

        Raises
        ------
        EngineClosedError
            If the bus is closed.
        """
        if isinstance(maxlen, bool) or not isinstance(maxlen, int) or maxlen < 1:
            raise InvalidInputError(
                f"maxlen must be an integer of 1 or more; got {maxlen!r}", field="maxlen", value=maxlen
            )
        jobs = None if job is None else frozenset([job] if isinstance(job, str) else job)
        least = UpdateType.COMPLETED if completions_only else UpdateType(min_type)
        subscription = Subscription(self, callback, jobs, least, where, maxlen)
        with self._lock:
            if self._closed:
                raise EngineClosedError("the progress bus is closed; make a new engine to go on")
            self._all.add(subscription)
            if jobs is None:
                self._everything = (*self._everything, subscription)
            for name in jobs or ():
                channel = self._channels.setdefault(name, _Channel())
                channel.subscriptions = (*channel.subscriptions, subscription)
                channel.slot = None  # what is published from now on comes after the current state
                if channel.current is not None:
                    self._inbox.append([channel.current, (subscription,), ()])
            if self._fan_out is None:
                self._fan_out = threading.Thread(target=self._run, name="bgsim-progress", daemon=True)
                self._fan_out.start()
            self._arrived.notify()
        return subscription

    def current(self, simulation_id: str) -> ProgressUpdate | None:
        """Return the job's newest update."""
        with self._lock:
            channel = self._channels.get(simulation_id)
            return channel.current if channel is not None else None

    def forget(self, simulation_id: str) -> None:
        """Drop what is kept of a finished job."""
        with self._lock:
            self._channels.pop(simulation_id, None)

    def close(self) -> None:
        """Deliver what was published, end every iterator, and stop the threads; may be called from a callback."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._arrived.notify()
            thread = self._fan_out
        if thread is not None and thread is not threading.current_thread():
            thread.join()
        self._callbacks.close()

    def _post(self, channel: _Channel, update: ProgressUpdate) -> None:
        item = [update, channel.subscriptions, self._everything]
        if update.update_type is UpdateType.PROGRESS and channel.slot:
            channel.slot[:] = item  # the one in the inbox has not been taken; it carries the newer one now
            return
        self._inbox.append(item)
        channel.slot = item if update.update_type is UpdateType.PROGRESS else None
        self._arrived.notify()

    def _run(self) -> None:
        """Fan out, in a thread of its own."""
        while True:
            with self._lock:
                while not self._inbox and not self._closed:
                    self._arrived.wait()
                if not self._inbox:
                    break
                item = self._inbox.popleft()
                update, for_job, for_all = item
                item.clear()  # so that `_post` no longer writes into it
            for subscription in (*for_job, *for_all):
                if self._matches(subscription, update) and subscription._offer(update):
                    self._callbacks.put(subscription)
            if update.update_type.is_terminal:
                for subscription in for_job:
                    if subscription._job_ended(update.simulation_id):
                        self._remove(subscription)
        with self._lock:
            remaining = list(self._all)
        for subscription in remaining:
            subscription._end()

    def _matches(self, subscription: Subscription, update: ProgressUpdate) -> bool:
        if update.update_type < subscription.min_type:
            return False
        if subscription.where is None:
            return True
        try:
            return bool(subscription.where(update))
        except Exception:
            subscription.failed += 1
            if subscription.failed == 1:
                logger.exception("a predicate of a progress subscription raised; it counts as no match")
            return False

    def _remove(self, subscription: Subscription) -> None:
        with self._lock:
            self._all.discard(subscription)
            self._everything = tuple(s for s in self._everything if s is not subscription)
            for name in subscription.jobs or ():
                channel = self._channels.get(name)
                if channel is not None:
                    channel.subscriptions = tuple(s for s in channel.subscriptions if s is not subscription)
                    if channel.current is None and not channel.subscriptions:
                        del self._channels[name]


class _CallbackThread:
    """Runs callbacks one after another, so that a slow one delays only other callbacks."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards all below
        self._arrived = threading.Condition(self._lock)
        self._ready: deque[Subscription] = deque()
        self._closing = False
        self._thread: threading.Thread | None = None

    def put(self, subscription: Subscription) -> None:
        with self._lock:
            self._ready.append(subscription)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="bgsim-callbacks", daemon=True)
                self._thread.start()
            self._arrived.notify()

    def close(self) -> None:
        """Run what is ready, then stop; from a callback, return at once."""
        with self._lock:
            thread = self._thread
            self._closing = True
            self._arrived.notify()
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def _run(self) -> None:
        while True:
            with self._lock:
                while not self._ready:
                    if self._closing:
                        return
                    self._arrived.wait()
                subscription = self._ready.popleft()
            update = subscription._next_for_callback()
            if update is None or subscription.callback is None:
                continue
            try:
                subscription.callback(update)
            except Exception:
                subscription.failed += 1
                logger.exception("a progress callback raised on %s", update)
            self.put(subscription)  # behind the others; it is taken off when its buffer is empty
