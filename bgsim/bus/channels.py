"""The bus's book: what it knows of each job, and who subscribed to what. The bus's lock guards all of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any
from weakref import ReferenceType

if TYPE_CHECKING:
    from bgsim.bus.subscription import Subscription
    from bgsim.bus.updates import ProgressUpdate

    Reference = ReferenceType[Subscription]
    Audience = tuple[Reference, ...]


class Channel:
    """What is known of one job.

    Attributes
    ----------
    sequence : int
        Of its newest update.
    current : ProgressUpdate or None
        Its newest update.
    subscribers : dict of references
        Those to this job.
    audience : tuple of references or None
        The same, as it is handed to the fan-out; None: to be made anew.
    slot, batch : list or None, int
        Its progress in the inbox, to be overwritten by newer progress as long as the inbox has that number.
    """

    __slots__ = ("audience", "batch", "current", "sequence", "slot", "subscribers")

    def __init__(self) -> None:
        self.sequence = 0
        self.current: ProgressUpdate | None = None
        self.subscribers: dict[Reference, None] = {}
        self.audience: Audience | None = ()
        self.slot: list[Any] | None = None
        self.batch = -1


class Channels:
    """All jobs and all subscribers.

    Subscribers are known by weak references, so that an iterator which its user has dropped goes by itself; callbacks,
    which nobody need hold, are held here. Adding and discarding one is O(1) for each of its jobs.

    Attributes
    ----------
    of : dict of str to Channel
        By job.
    to_all : dict of references
        Subscribers that are not to certain jobs.
    """

    def __init__(self) -> None:
        self.of: dict[str, Channel] = {}
        self.to_all: dict[Reference, None] = {}
        self._audience: Audience | None = ()  # `to_all`, as in a channel
        self._everybody: dict[Reference, None] = {}
        self._callbacks: set[Subscription] = set()

    def add(self, subscription: Subscription) -> list[ProgressUpdate]:
        """Add a subscriber; return the current states that she gets first."""
        reference = subscription._reference
        self._everybody[reference] = None
        if subscription.callback is not None:
            self._callbacks.add(subscription)
        if subscription.wanted.jobs is None:
            self.to_all[reference] = None
            self._audience = None
            return []
        return [state for job in subscription.wanted.jobs if (state := self.add_job(reference, job)) is not None]

    def add_job(self, reference: Reference, job: str) -> ProgressUpdate | None:
        """Add a subscriber to a job; return its current state."""
        channel = self.of.get(job)
        if channel is None:
            channel = self.of[job] = Channel()
        channel.subscribers[reference] = None
        channel.audience = None
        return channel.current

    def discard(self, references: Iterable[Reference], jobs: Iterable[str]) -> None:
        """Take subscribers out that get nothing any more, of these jobs' channels too."""
        for reference in references:
            self._everybody.pop(reference, None)
            if reference in self.to_all:
                del self.to_all[reference]
                self._audience = None
            subscription = reference()
            if subscription is not None:
                self._callbacks.discard(subscription)
        for job in jobs:
            channel = self.of.get(job)
            if channel is None:
                continue
            for reference in references:
                if reference in channel.subscribers:
                    del channel.subscribers[reference]
                    channel.audience = None
            if channel.current is None and not channel.subscribers:
                del self.of[job]

    def audiences(self, channel: Channel) -> tuple[Audience, Audience]:
        """Return who gets a job's update: those who subscribed to the job, and those to all."""
        if channel.audience is None:
            channel.audience = tuple(channel.subscribers)
        if self._audience is None:
            self._audience = tuple(self.to_all)
        return channel.audience, self._audience

    def subscriptions(self) -> list[Subscription]:
        """Return all that are alive."""
        return [subscription for reference in self._everybody if (subscription := reference()) is not None]

    def __len__(self) -> int:
        """Return the number of subscribers, those included that went unnoticed."""
        return len(self._everybody)
