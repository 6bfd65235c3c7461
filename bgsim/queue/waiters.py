"""The threads that wait at the queue, for work or for room, and who is woken when."""

from __future__ import annotations

import math
from collections import Counter

from bgsim.queue.core import QueueCore
from bgsim.threads.locks import Condition, Lock


class Waiters:
    """Waiting by condition. Every method is called with the lock held.

    Before a thread releases the lock after a change, it calls `wake`, which wakes one waiting thread if there is
    something for it. The woken thread does the same when it leaves. So no work or room is left while a thread waits
    for it, whatever becomes of the woken threads, and a single change wakes a single thread:

    1. A waits for work without a time-out, B until an event at 10.
    2. At 10, B takes what has become due, and leaves.
    3. No thread watches for the event at 20 now: B, on leaving, wakes A, which waits until then.

    Parameters
    ----------
    lock : Lock
        The queue's.
    core : QueueCore
    """

    def __init__(self, lock: Lock, core: QueueCore) -> None:
        self._core = core
        self._order = core.order
        self._has_work = Condition(lock.raw)
        self._has_room = Condition(lock.raw)
        self._for_work = 0  # threads
        self._for_room: Counter[str | None] = Counter()  # threads, by the key that they want to put
        self._watched = math.inf  # until when that thread waits which looks at the next event
        self._anybody = False

    def wait_for_work(self, timeout_s: float, now: float) -> None:
        """Wait until there may be work."""
        self._for_work += 1
        try:
            self._wait(self._has_work, timeout_s, now)
        finally:
            self._for_work -= 1
            self._anybody = bool(self._for_work or self._for_room)

    def wait_for_room(self, key: str | None, timeout_s: float, now: float) -> None:
        """Wait until there may be room for a request with this key."""
        self._for_room[key] += 1
        try:
            self._wait(self._has_room, timeout_s, now)
        finally:
            self._for_room[key] -= 1
            if not self._for_room[key]:
                del self._for_room[key]
            self._anybody = bool(self._for_work or self._for_room)

    def wake(self, now: float, key: str | None = None) -> None:
        """Wake one thread for which there is work, and one for which there is room.

        With the key of a request that was put, all who want to put one with that key: joining needs no room.
        """
        if not self._anybody:
            return
        unwatched = self._order.timetable.look_at < self._watched
        if self._for_work and (unwatched or self._order.first(now) is not None):
            self._has_work.notify()
            unwatched = False
        if key in self._for_room and key in self._core.by_key:
            self._has_room.notify_all()
        elif self._for_room and (unwatched or self._order.waiting < self._core.capacity):
            self._has_room.notify()

    def wake_all(self) -> None:
        """Wake every thread: the queue is closed or has another size."""
        self._has_work.notify_all()
        self._has_room.notify_all()

    def _wait(self, condition: Condition, timeout_s: float, now: float) -> None:
        """Wait until woken; if no other thread watches the next event, not longer than until then."""
        until = self._order.timetable.look_at
        watches = until < self._watched
        if watches:
            self._watched = until
            timeout_s = min(timeout_s, max(0.0, until - now))
        self._anybody = True
        try:
            condition.wait(None if timeout_s == math.inf else timeout_s)
        finally:
            if watches and self._watched == until:
                self._watched = math.inf
