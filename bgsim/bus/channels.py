"""The state of the bus under its one lock: jobs, subscribers, and updates that are not fanned out yet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any
from weakref import ReferenceType

from bgsim.bus.updates import UpdateType
from bgsim.errors import EngineClosedError
from bgsim.tables import Table, Tabular
from bgsim.threads.locks import Condition, Lock

if TYPE_CHECKING:
    from bgsim.bus.delivery import SingleCall
    from bgsim.bus.subscription import Subscription
    from bgsim.bus.updates import ProgressUpdate

    Reference = ReferenceType[Subscription]
    Audience = tuple[Reference, ...]

Posted = list[Any]
"""An update in the inbox: ``[update, subscribers to its job, subscribers to all, number of the inbox]``.

Or, in the place of an update, a single call, which comes after the updates before it.
"""

_PROGRESS, _COMPLETED = UpdateType.PROGRESS, UpdateType.COMPLETED


@dataclass(frozen=True, slots=True)
class BusStats(Tabular):
    """Counts of a bus.

    Attributes
    ----------
    published, conflated : int
        Updates published, and those that a newer one replaced before the fan-out.
    jobs, subscriptions, waiting : int
        Known jobs, open subscriptions, updates before the fan-out.
    failed_callbacks, failed_predicates : int
        Calls that raised.
    overdue_callbacks : int
        Calls that do not return, so that another thread makes the others.
    """

    published: int
    conflated: int
    jobs: int
    subscriptions: int
    waiting: int
    failed_callbacks: int
    failed_predicates: int
    overdue_callbacks: int

    def _table(self) -> Table:
        return Table((), [(f.name.replace("_", " "), getattr(self, f.name)) for f in fields(self)])


class Channel:
    """The state of one job.

    Attributes
    ----------
    current : ProgressUpdate or None
        Its newest update.
    subscribers : dict of references, or None
        The subscribers to this job; None until it has one.
    audience : tuple of references or None
        The same, as the fan-out takes them; None when `subscribers` has changed.
    posted : Posted or None
        Its last progress that was put into an inbox.
    """

    __slots__ = ("audience", "current", "posted", "subscribers")

    def __init__(self) -> None:
        self.current: ProgressUpdate | None = None
        self.subscribers: dict[Reference, None] | None = None
        self.audience: Audience | None = ()
        self.posted: Posted | None = None


class Channels:
    """All jobs, all subscribers, and the inbox.

    The inbox holds a job's newest progress and every STARTED and terminal update, so the number of jobs bounds it.
    Subscribers are held by weak references, so that an iterator ends when its user drops it; callbacks are held
    strongly. Adding and removing a subscriber is O(1) for each of its jobs.

    Attributes
    ----------
    lock : Lock
        Guards everything here and in each `Channel`. A leaf: no other lock is taken under it.
    of : dict of str to Channel
        By job.
    to_all : dict of references
        Subscribers that did not name jobs.
    closed : bool
        Whether the bus refuses updates and subscribers.
    """

    def __init__(self) -> None:
        self.lock = Lock()
        self.of: dict[str, Channel] = {}
        self.to_all: dict[Reference, None] = {}
        self.closed = False
        self._to_all: Audience | None = ()  # `to_all`, as in a channel
        self._all: dict[Reference, None] = {}
        self._callbacks: set[Subscription] = set()
        self._inbox: list[Posted] = []
        self._batch = 0  # the number of this inbox
        self._arrived = Condition(self.lock.raw)
        self._asleep = False  # a thread waits in `take`
        self._claimed = False  # a thread delivers, see `claim`
        self._forgotten = self._conflated = 0
        self._failed: Counter[str] = Counter()

    # ---- jobs ----------------------------------------------------------------------------------------

    def post(self, channel: Channel, update: ProgressUpdate, update_type: UpdateType) -> None:
        """Put an update of a job into the inbox, or let it replace the job's older progress; under the lock."""
        if update_type is _PROGRESS:
            if channel.posted is not None and channel.posted[3] == self._batch:
                channel.posted[0] = update
                self._conflated += 1
                return
            channel.posted = posted = [update, *self._audiences(channel), self._batch]
        else:
            posted = [update, *self._audiences(channel), self._batch]
        self._inbox.append(posted)
        if self._asleep:
            self._wake()

    def post_call(self, call: SingleCall) -> bool:
        """Put a call behind the updates in the inbox; return False if the bus is closed."""
        with self.lock:
            if self.closed:
                return False
            self._inbox.append([call, (), (), self._batch])
            if self._asleep:
                self._wake()
            return True

    def current(self, job: str) -> ProgressUpdate | None:
        """Return the job's newest update."""
        with self.lock:
            channel = self.of.get(job)
            return None if channel is None else channel.current

    def forget(self, job: str) -> None:
        """Drop the channel of a job that has ended."""
        with self.lock:
            channel = self.of.get(job)
            current = None if channel is None else channel.current
            if current is not None and current.update_type >= _COMPLETED:
                del self.of[job]
                self._forgotten += current.sequence

    # ---- subscribers ---------------------------------------------------------------------------------

    def add(self, subscription: Subscription) -> None:
        """Add a subscriber; it gets the current states of its jobs first.

        Raises
        ------
        EngineClosedError
            If the bus is closed.
        """
        with self.lock:
            if self.closed:
                raise EngineClosedError("the progress bus is closed; make a new engine to go on")
            if subscription.ended:
                return  # it is to no job at all
            self._all[subscription.reference] = None
            if subscription.callback is not None:
                self._callbacks.add(subscription)
            self._batch += 1  # progress from now on goes to the new subscriber too
            if subscription.jobs is None:
                self.to_all[subscription.reference] = None
                self._to_all = None
            else:
                for job in subscription.jobs:
                    self._join(subscription.reference, job)
            self._wake()

    def add_job(self, subscription: Subscription, job: str) -> None:
        """Add a subscriber to one more job."""
        with self.lock:
            if subscription.reference in self._all:
                self._batch += 1
                self._join(subscription.reference, job)
                self._wake()

    def remove(self, subscription: Subscription) -> None:
        """Remove a subscriber."""
        with self.lock:
            self._discard([subscription.reference], subscription.jobs or ())

    def prune(self, dead: list[Reference], jobs: Iterable[str]) -> None:
        """Remove dropped iterators, from the channels of these jobs too."""
        with self.lock:
            self._discard(dead, jobs)

    def subscriptions(self) -> list[Subscription]:
        """Return all subscriptions that are alive."""
        with self.lock:
            return [subscription for reference in self._all if (subscription := reference()) is not None]

    def count_failure(self, what: str) -> None:
        """Count a callback or predicate that raised."""
        with self.lock:
            self._failed[what] += 1

    # ---- the fan-out ---------------------------------------------------------------------------------

    def take(self, timeout_s: float | None) -> list[Posted] | None:
        """Wait for updates and return them all: none after the timeout, None when the bus is closed."""
        with self.lock:
            if not self._inbox:
                if self.closed:
                    return None
                self._asleep = True
                self._arrived.wait(timeout_s)
                self._asleep = False
            return self._take()

    def claim(self) -> bool:
        """Let the calling thread deliver; return False while another does."""
        with self.lock:
            claimed, self._claimed = self._claimed, True
            return not claimed

    def take_or_release(self) -> list[Posted]:
        """Return all updates; if there are none, release the claim.

        Both in one step: a thread that posts later and finds the claim taken relies on its holder.
        """
        with self.lock:
            self._claimed = bool(self._inbox)
            return self._take()

    def release(self) -> None:
        """Let another thread deliver."""
        with self.lock:
            self._claimed = False

    def close(self) -> bool:
        """Refuse updates and subscribers from now on; return False if the bus was closed before."""
        with self.lock:
            closed, self.closed = self.closed, True
            self._wake()
            return not closed

    def counts(self) -> dict[str, int]:
        """Return the counts of `BusStats`, but for overdue callbacks."""
        with self.lock:
            newest = [channel.current for channel in self.of.values()]
            counts = {
                "conflated": self._conflated,
                "jobs": len(newest),
                "subscriptions": len(self._all),
                "waiting": len(self._inbox),
                "failed_callbacks": self._failed["callback"],
                "failed_predicates": self._failed["predicate"],
            }
            forgotten = self._forgotten
        return {**counts, "published": forgotten + sum(update.sequence for update in newest if update is not None)}

    # ---- under the lock ------------------------------------------------------------------------------

    def _audiences(self, channel: Channel) -> tuple[Audience, Audience]:
        """Return the subscribers to the job, and those to all jobs."""
        if channel.audience is None:
            channel.audience = tuple(channel.subscribers or ())
        if self._to_all is None:
            self._to_all = tuple(self.to_all)
        return channel.audience, self._to_all

    def _wake(self) -> None:
        self._asleep = False
        self._arrived.notify()

    def _take(self) -> list[Posted]:
        inbox, self._inbox = self._inbox, []
        self._batch += 1
        return inbox

    def _join(self, reference: Reference, job: str) -> None:
        """Add a subscriber to a job, and post it the job's current state."""
        channel = self.of.get(job)
        if channel is None:
            channel = self.of[job] = Channel()
        if channel.subscribers is None:
            channel.subscribers = {}
        channel.subscribers[reference] = None
        channel.audience = None
        if channel.current is not None:
            self._inbox.append([channel.current, (reference,), (), self._batch])

    def _discard(self, references: list[Reference], jobs: Iterable[str]) -> None:
        for reference in references:
            self._all.pop(reference, None)
            if reference in self.to_all:
                del self.to_all[reference]
                self._to_all = None
            subscription = reference()
            if subscription is not None:
                self._callbacks.discard(subscription)
        for job in jobs:
            channel = self.of.get(job)
            if channel is None or channel.subscribers is None:
                continue
            for reference in references:
                if reference in channel.subscribers:
                    del channel.subscribers[reference]
                    channel.audience = None
            if channel.current is None and not channel.subscribers:
                del self.of[job]
