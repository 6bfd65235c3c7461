"""The dispatcher: calls callbacks in one thread, and goes on in another when one of them does not come back.

::

    fan-out thread ──put──> ready ──> the leader: takes a subscription, calls its callback a few times, puts it back
          │
          └─attend──> has a call taken longer than the patience while others wait? then a new thread leads,
                      and the old one retires when its callback returns

At most `MAX_THREADS` threads exist. When all of them are in calls that do not return, the one that does first leads.
Nobody polls: somebody looks at the clock when a subscription is put, and once more when a call would be overdue.
"""

from __future__ import annotations

import itertools
import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bgsim.bus.subscription import Subscription

logger = logging.getLogger("bgsim.progress")

MAX_THREADS = 8

_TURN = 32
"""Calls in a row for one subscription while others wait."""


class _Runner:
    """A thread that calls callbacks.

    Attributes
    ----------
    began : float or None
        When its call began; None between calls. Written by the thread itself, without the lock.
    callback : callable
        The last that it called.
    """

    __slots__ = ("began", "callback", "thread")

    def __init__(self) -> None:
        self.began: float | None = None
        self.callback: Callable[..., Any] | None = None
        self.thread: threading.Thread | None = None


class Dispatcher:
    """Calls the callbacks of subscriptions that have something in their buffers.

    Parameters
    ----------
    patience_s : float
        How long a call may take while others wait.
    clock : callable
        Seconds that never run backwards.
    threads : bool
        Without, `run_ready` has to be called.
    """

    def __init__(self, *, patience_s: float, clock: Callable[[], float], threads: bool) -> None:
        self._patience_s = patience_s
        self._clock = clock
        self._threads = threads
        self._numbers = itertools.count()
        # Guards all below; a leaf.
        self._lock = threading.Lock()
        self._arrived = threading.Condition(self._lock)  # the leader waits for work
        self._changed = threading.Condition(self._lock)  # `close` waits for the leader to end
        self._ready: deque[Subscription] = deque()  # each once; those in somebody's hands are not here
        self._leader: _Runner | None = None
        self._runners: set[_Runner] = set()  # all with a thread: the leader, and those that will retire
        self._asleep = False  # the leader is
        self._closing = False

    def put(self, subscriptions: Iterable[Subscription]) -> None:
        """Take subscriptions that have something to be called with, and are not in here."""
        with self._lock:
            self._ready.extend(subscriptions)
            if self._leader is None and self._threads:
                self._lead_by_new_thread()
            elif self._asleep:
                self._asleep = False
                self._arrived.notify()

    def attend(self) -> float | None:
        """Let a new thread lead if a call is overdue while others wait.

        Returns
        -------
        float or None
            After how many seconds to call this again; None: when something has been put.
        """
        with self._lock:
            leader = self._leader
            if leader is None or not self._ready:
                return None
            left = self._patience_left(leader)
            if left > 0:
                return left
            if len(self._runners) >= MAX_THREADS:
                return None  # the first of them to return takes the lead
            callback = leader.callback
            self._lead_by_new_thread()
        logger.warning("a progress callback, %r, does not return; the others go on in a new thread", callback)
        return self._patience_s

    @property
    def overdue(self) -> int:
        """How many threads are in calls that were given up on."""
        with self._lock:
            return len(self._runners - {self._leader})

    def run_ready(self) -> None:
        """Call what is ready, in the calling thread."""
        here = _Runner()
        while True:
            with self._lock:
                if not self._ready:
                    return
                subscription = self._ready.popleft()
            self._serve(here, subscription)

    def close(self) -> None:
        """Call what is ready, then stop. Waits for the last call no longer than the patience, from a callback not."""
        with self._lock:
            self._closing = True
            self._arrived.notify()
            if any(runner.thread is threading.current_thread() for runner in self._runners):
                return
        while True:
            self.attend()
            with self._lock:
                leader = self._leader
                if leader is None:
                    return
                left = self._patience_left(leader)
                if left <= 0 and (not self._ready or len(self._runners) >= MAX_THREADS):
                    return
                self._changed.wait(max(left, 0.0))

    def _run(self, runner: _Runner) -> None:
        while True:
            with self._lock:
                if not self._may_lead(runner):
                    self._runners.discard(runner)
                    return
                self._leader = runner
                while not self._ready:
                    if self._closing:
                        self._runners.discard(runner)
                        self._leader = None
                        self._changed.notify_all()
                        return
                    self._asleep = True
                    self._arrived.wait()
                subscription = self._ready.popleft()
            self._serve(runner, subscription)

    def _serve(self, runner: _Runner, subscription: Subscription) -> None:
        """Call a callback with some of what has piled up, or send the executor or the loop to do it."""
        runner.callback = subscription.callback
        if subscription.executor is not None or subscription.loop is not None:
            runner.began = self._clock()
            _hand_on(subscription)
            runner.began = None
            return
        for _ in range(_TURN):
            update = subscription._next()
            if update is None:
                return
            runner.began = self._clock()
            try:
                subscription._call(update)
            except BaseException as error:
                if runner.thread is None:  # Ctrl-C in the thread that called `run_ready`
                    self._put_back(subscription)
                    raise
                subscription._note_failure("callback", update, error)
            runner.began = None
            if runner.thread is not None and runner is not self._leader:
                break
        self._put_back(subscription)

    def _put_back(self, subscription: Subscription) -> None:
        """Queue a subscription behind the others, by whoever had it in hand."""
        with self._lock:
            self._ready.append(subscription)
            if self._asleep:
                self._asleep = False
                self._arrived.notify()

    # ---- under the lock ------------------------------------------------------------------------------

    def _lead_by_new_thread(self) -> None:
        runner = _Runner()
        name = f"bgsim-callbacks-{next(self._numbers)}"
        runner.thread = threading.Thread(target=self._run, args=(runner,), name=name, daemon=True)
        self._runners.add(runner)
        self._leader = runner
        runner.thread.start()

    def _may_lead(self, runner: _Runner) -> bool:
        leader = self._leader
        return leader is None or leader is runner or self._patience_left(leader) <= 0

    def _patience_left(self, leader: _Runner) -> float:
        began = leader.began
        return self._patience_s if began is None else began + self._patience_s - self._clock()


def _hand_on(subscription: Subscription) -> None:
    try:
        if subscription.loop is not None:
            subscription.loop.call_soon_threadsafe(subscription._begin_in_loop)
        elif subscription.executor is not None:
            subscription.executor.submit(subscription._run).add_done_callback(subscription._run_ended)
    except Exception as error:  # it has been shut down
        subscription._give_up(error)
