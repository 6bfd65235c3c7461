"""What becomes of jobs, handed on to the one thread of a window: in order, conflated, each end once; without a toolkit.

::

    callback thread ──note──> news (a job once) ──> held until 1/30 s after the job's last update ──> receiver
          │                                                                     │
          └─post, unless the window's thread is awake                           └─deliver: the window's thread, in turns

The callback thread notes a job's newest update in place of the one before, so a busy window gets one and not a
thousand. It posts only when the window's thread has nothing else to wake up for: one post is outstanding at a time.
"""

from __future__ import annotations

import heapq
import itertools
import math
import time
from collections import deque
from functools import partial
from threading import get_ident
from typing import TYPE_CHECKING, Any, Protocol

from bgsim.errors import GuiError
from bgsim.threads.locks import Lock

if TYPE_CHECKING:
    from collections.abc import Callable

    from bgsim.bus.subscription import Subscription
    from bgsim.engine import Engine
    from bgsim.job import Job
    from bgsim.progress import ProgressUpdate

INTERVAL_S = 1 / 30
"""Between two updates of one job, at the least."""

TURN_S = 0.02
"""After that long `deliver` returns, so that the window paints and takes input, however slow its slots are."""


_QUIT_S = 0.5
"""How long the end of an application waits for kernels to stop."""


def end_with_application(engine: Engine) -> None:
    """Cancel what an engine runs, keeping finished replicates, and close it: its application ends."""
    if not engine.closed:
        engine.close(cancel=True, timeout_s=_QUIT_S)


class Receiver(Protocol):
    """What is told; in the window's thread, without a lock."""

    def job_progressed(self, job: Job, update: ProgressUpdate) -> None:
        """Take the newest update of a job."""

    def job_finished(self, job: Job) -> None:
        """Take that a job has ended, however it did; once, behind its last update."""

    def job_completed(self, job: Job) -> None:
        """Take that a job has a result, and that nothing newer has superseded it."""


class _Watched:
    """One job.

    Attributes
    ----------
    job : Job or None
        None once all is told, for the job holds this.
    update : ProgressUpdate or None
        The newest, until it is told.
    has_ended : bool
    is_queued : bool
        Whether it is in the news or held; each job is there once.
    told_at : float
    is_superseded : bool
    """

    __slots__ = ("has_ended", "is_queued", "is_superseded", "job", "subscription", "told_at", "update")

    def __init__(self, job: Job) -> None:
        self.job: Job | None = job
        self.subscription: Subscription | None = None
        self.update: ProgressUpdate | None = None
        self.has_ended = self.is_queued = self.is_superseded = False
        self.told_at = -math.inf


class Relay:
    """Tells a receiver in one thread what becomes of jobs. All but what jobs call is for that thread, which makes it.

    Guarantees
    ----------
    - A job's updates come in order, at most 30 a second; of those between, the newest.
    - `job_finished` comes once a job, after the job's last update, and when ``job.done()``; also of a job that the
      store has answered at once.
    - From the moment at which a newer job of the same word of `supersede` is watched, no update of the older comes, and
      no `job_completed`.
    - After `close` nothing comes. A receiver may close, watch, and call `deliver` again, as a dialog does.

    Parameters
    ----------
    post : callable, optional
        Has `deliver` called in the window's thread, from any thread. Without it, the window polls.
    clock : callable
        Seconds that never run backwards.
    """

    def __init__(self, post: Callable[[], Any] | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._thread = get_ident()
        self._post = post
        self._clock = clock
        self._watched: dict[str, _Watched] = {}
        self._newest: dict[str, _Watched] = {}  # by word of `supersede`
        self._held: list[tuple[float, int, _Watched]] = []  # a heap: those that have news, by the time to tell it
        self._numbers = itertools.count()
        # Guards all below, and `update`, `has_ended` and `is_queued` of what is watched; a leaf.
        self._lock = Lock()
        self._news: deque[_Watched] = deque()
        self._is_awake = False  # it has been posted, or `deliver` has said when it is to be called again
        self.closed = False

    @property
    def jobs(self) -> list[Job]:
        """Those whose end has not been told."""
        return [watched.job for watched in self._watched.values() if watched.job is not None]

    def check_thread(self) -> None:
        """Refuse a call from elsewhere.

        Raises
        ------
        GuiError
            If this is another thread than that of the window.
        """
        if get_ident() != self._thread:
            raise GuiError(
                "this is for the window's thread; from another one, call the engine itself, whose methods are for any"
            )

    def watch(self, engine: Engine, job: Job) -> None:
        """Tell of a job from now on, its present state first; a job that is watched already is not watched twice.

        Raises
        ------
        EngineClosedError
            If the engine's callbacks have ended.
        """
        self.check_thread()
        if self.closed or job.id in self._watched:
            return
        watched = _Watched(job)
        watched.subscription = engine.subscribe(partial(self._note, watched), job=job, maxlen=1)
        self._watched[job.id] = watched
        if job.supersede is not None:
            older = self._newest.get(job.supersede)
            if older is not None:
                older.is_superseded = True
            self._newest[job.supersede] = watched
        job.add_done_callback(partial(self._note_end, watched))

    def deliver(self, receiver: Receiver) -> float | None:
        """Tell what is due; in the window's thread.

        Returns
        -------
        float or None
            After how many seconds to call this again; None until the next post.
        """
        self.check_thread()
        began = self._clock()
        while True:
            due = self._next()
            if not isinstance(due, _Watched):
                return due
            self._tell(due, receiver)
            if self._clock() - began > TURN_S:
                return 0.0

    def close(self) -> None:
        """Tell nothing more; the jobs go on."""
        self.end()
        watched, self._watched = self._watched, {}
        self._newest.clear()
        with self._lock:
            self._news.clear()
            self._held.clear()
        for each in watched.values():
            each.job = None
            if each.subscription is not None:
                each.subscription.unsubscribe()

    def end(self) -> None:
        """Tell nothing more, and do no more about it: for a destructor.

        The garbage collector may call that in any thread, and there in the midst of what takes a lock. So this takes
        none, and what is watched is let go of when it has news.
        """
        self.closed = True

    # ---- called by jobs, in the callback thread -------------------------------------------------------

    def _note(self, watched: _Watched, update: ProgressUpdate) -> None:
        with self._lock:
            watched.update = update
            wake = self._queue(watched)
        if wake:
            self._wake()
        elif self.closed and watched.subscription is not None:
            watched.subscription.unsubscribe()

    def _note_end(self, watched: _Watched, _: Job) -> None:
        with self._lock:
            watched.has_ended = True
            wake = self._queue(watched)
        if wake:
            self._wake()

    def _queue(self, watched: _Watched) -> bool:
        """Add a job to the news; return whether the window's thread has to be woken. Under the lock."""
        if self.closed:
            watched.job = watched.update = None
            return False
        if not watched.is_queued:
            watched.is_queued = True
            self._news.append(watched)
        wakes, self._is_awake = not self._is_awake, True
        return wakes

    def _wake(self) -> None:
        if self._post is not None:
            self._post()

    # ---- in the window's thread -----------------------------------------------------------------------

    def _next(self) -> _Watched | float | None:
        """Return the next job that has news that are due, or the seconds until then, or None."""
        now = self._clock()
        with self._lock:
            while self._news:
                watched = self._news.popleft()
                heapq.heappush(self._held, (watched.told_at + INTERVAL_S, next(self._numbers), watched))
            if not self._held or self.closed:
                self._is_awake = False
                return None
            left = self._held[0][0] - now
            return left if left > 0 else heapq.heappop(self._held)[2]

    def _tell(self, watched: _Watched, receiver: Receiver) -> None:
        """Tell one thing of a job: its newest update, or else its end."""
        with self._lock:
            update, watched.update = watched.update, None
            if watched.is_superseded:
                update = None
            ends = watched.has_ended and update is None
            watched.is_queued = watched.has_ended and not ends
            if watched.is_queued:  # its end comes next
                heapq.heappush(self._held, (self._clock(), next(self._numbers), watched))
        job = watched.job
        if job is None:
            return
        if update is not None:
            watched.told_at = self._clock()  # a dialog that the receiver opens may deliver meanwhile
            receiver.job_progressed(job, update)
            watched.told_at = self._clock()
        elif ends:
            self._end(watched, job, receiver)

    def _end(self, watched: _Watched, job: Job, receiver: Receiver) -> None:
        watched.job = None
        self._watched.pop(job.id, None)
        if job.supersede is not None and self._newest.get(job.supersede) is watched:
            del self._newest[job.supersede]
        has_result = not job.cancelled() and job.exception() is None
        receiver.job_finished(job)
        if has_result and not watched.is_superseded and not self.closed:
            receiver.job_completed(job)
