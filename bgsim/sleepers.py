"""The threads that wait at the queue, for work or for room, and who is woken when."""

from __future__ import annotations

import math
import threading
from collections import Counter

from bgsim.roster import Roster


class Sleepers:
    """Waiting by condition. Every method is called with the lock held.

    Before the lock is released after a change, `wake` looks whether there is something for somebody who waits, and
    wakes one such thread; whoever was woken does the same when he leaves. So nothing is left lying while somebody
    waits for it, whatever becomes of those who were woken, and a single change wakes a single thread:

    1. A waits for work without a time-out, B until an event at 10.
    2. At 10, B takes what has become due, and leaves.
    3. Nobody watches for the event at 20 now: B, on leaving, wakes A, who waits until then.

    Parameters
    ----------
    lock : threading.Lock
        The queue's.
    roster : Roster
    """

    def __init__(self, lock: threading.Lock, roster: Roster) -> None:
        self._roster = roster
        self._line = roster.line
        self._has_work = threading.Condition(lock)
        self._has_room = threading.Condition(lock)
        self._for_work = 0  # threads
        self._watched = math.inf  # until when the one of them waits who looks at the next event
        self._for_room: Counter[str | None] = Counter()  # threads, by the key that they want to put
        self.anybody = False

    def wait_for_work(self, timeout_s: float, now: float) -> None:
        """Wait until woken; if nobody else watches the next event, not longer than until then."""
        until = self._line.timetable.look_at
        watches = until < self._watched
        if watches:
            self._watched = until
            timeout_s = min(timeout_s, max(0.0, until - now))
        self._for_work += 1
        self.anybody = True
        try:
            self._has_work.wait(None if timeout_s == math.inf else timeout_s)
        finally:
            self._for_work -= 1
            self.anybody = bool(self._for_work or self._for_room)
            if watches and self._watched == until:
                self._watched = math.inf

    def wait_for_room(self, key: str | None, timeout_s: float | None) -> bool:
        """Wait until a request with this key may fit or the queue is closed; return False if neither came in time."""
        self._for_room[key] += 1
        self.anybody = True
        try:
            return self._has_room.wait_for(lambda: self._may_fit(key), timeout_s)
        finally:
            self._for_room[key] -= 1
            if not self._for_room[key]:
                del self._for_room[key]
            self.anybody = bool(self._for_work or self._for_room)

    def wake(self, now: float, key: str | None = None) -> None:
        """Wake one thread for which there is work, and one for which there is room.

        With the key of a request that was put, all who want to put one with that key: joining needs no room.
        """
        if not self.anybody:
            return
        if self._for_work and (self._line.timetable.look_at < self._watched or self._line.first(now) is not None):
            self._has_work.notify()
        if key is not None and key in self._for_room:
            self._has_room.notify_all()
        elif self._for_room and self._line.waiting < self._roster.capacity:
            self._has_room.notify()

    def wake_all(self) -> None:
        """Wake everybody: the queue is closed or has another size."""
        self._has_work.notify_all()
        self._has_room.notify_all()

    def _may_fit(self, key: str | None) -> bool:
        roster = self._roster
        return roster.closed or self._line.waiting < roster.capacity or key in roster.by_key
