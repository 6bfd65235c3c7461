"""The dispatcher: calls callbacks in one thread, and goes on in another when one of them does not return.

::

    fan-out thread ──put──> ready ──> the leader: takes a subscription, calls its callback a few times, puts it back
          │
          └─attend──> has a call taken longer than the patience while others wait? then a new thread leads,
                      and the old one retires when its callback returns

At most `MAX_THREADS` threads exist. When all of them are in calls that do not return, the first that returns leads.
Nothing polls: the fan-out thread reads the clock after each `put`, and again when a call would be overdue.

Where the system starts no thread, what is ready waits for the next `put`, `attend` or `close`, which try again.
"""

from __future__ import annotations

import itertools
import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from bgsim.errors import NoThreadError, start_thread
from bgsim.threads.locks import Condition, Lock, Thread
from bgsim.threads.signals import interruptibly, is_interrupt

logger = logging.getLogger("bgsim.progress")

MAX_THREADS = 8

_TURNS = 32
"""Turns in a row for one subscription while others wait."""


class Served(Protocol):
    """What the dispatcher gives turns to: a subscription with a callback, or a single call.

    Attributes
    ----------
    callback : callable or None
        What a turn calls.
    """

    callback: Callable[..., Any] | None

    def take_turn(self, survived: type[BaseException]) -> bool:
        """Call the callback once; return whether another turn is due. What it raises is noted if it is `survived`."""


class SingleCall:
    """A callback that is called once, with some arguments.

    What it raises is logged. Only what a signal's handler raises in it goes on to the caller of the thread.
    """

    __slots__ = ("_arguments", "callback")

    def __init__(self, callback: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        self.callback: Callable[..., Any] | None = callback
        self._arguments = arguments

    def take_turn(self, survived: type[BaseException]) -> bool:
        """Call it, unless that has begun before."""
        callback, self.callback = self.callback, None
        if callback is not None:
            try:
                interruptibly(callback, *self._arguments)
            except BaseException as error:
                if is_interrupt(error) or (isinstance(error, KeyboardInterrupt) and not isinstance(error, survived)):
                    raise
                logger.exception("a callback raised: %r", callback)
            self._arguments = ()  # the dispatcher's thread keeps its last call until the next
        return False


class _Runner:
    """A thread that calls callbacks.

    Attributes
    ----------
    began : float or None
        When its call began; None between calls. The thread itself writes it, without the lock.
    callback : callable
        Its last callback.
    """

    __slots__ = ("began", "callback", "thread")

    def __init__(self) -> None:
        self.began: float | None = None
        self.callback: Callable[..., Any] | None = None
        self.thread: Thread | None = None


class Dispatcher:
    """Calls the callbacks of subscriptions that have updates in their buffers.

    Parameters
    ----------
    patience_s : float
        How long a call may take while others wait.
    clock : callable
        Seconds that never run backwards.
    threads : bool
        Without threads, `run_ready` makes the calls.
    """

    def __init__(self, *, patience_s: float, clock: Callable[[], float], threads: bool) -> None:
        self._patience_s = patience_s
        self._clock = clock
        self._threads = threads
        self._numbers = itertools.count()
        # Guards everything below; a leaf.
        self._lock = Lock()
        self._arrived = Condition(self._lock.raw)  # the leader waits for work
        self._changed = Condition(self._lock.raw)  # `close` waits for the leader to end
        self._ready: deque[Served] = deque()  # each once; a thread takes a subscription out while it serves it
        self._leader: _Runner | None = None
        self._runners: set[_Runner] = set()  # the leader, and those that will retire
        self._asleep = False  # the leader waits
        self._closing = False

    def put(self, ready: Iterable[Served]) -> None:
        """Add subscriptions that have updates and that no thread serves, and single calls.

        After `close` a new thread serves them, and ends.
        """
        with self._lock:
            self._ready.extend(ready)
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
            After how many seconds to call this again; None for after the next `put`.
        """
        with self._lock:
            leader = self._leader
            if not self._ready or not self._threads:
                return None
            if leader is None:  # there was no thread to be had
                self._lead_by_new_thread()
                return self._patience_s
            left = self._patience_left(leader)
            if left > 0:
                return left
            if len(self._runners) >= MAX_THREADS:
                return None  # the first that returns leads
            callback = leader.callback
            if not self._lead_by_new_thread():
                return self._patience_s
        logger.warning("a progress callback, %r, does not return; the others go on in a new thread", callback)
        return self._patience_s

    @property
    def overdue(self) -> int:
        """How many threads are in calls that do not return."""
        with self._lock:
            return len(self._runners - {self._leader})

    def run_ready(self) -> None:
        """Serve the ready subscriptions in the calling thread."""
        here = _Runner()
        while True:
            with self._lock:
                if not self._ready:
                    return
                subscription = self._ready.popleft()
            self._serve(here, subscription)

    def close(self, wait_s: float = 0.0) -> None:
        """Serve what is ready, then stop; wait for calls under way `wait_s`, or the patience if that is longer.

        A callback that closes does not wait for itself.
        """
        with self._lock:
            self._closing = True
            self._arrived.notify()
            if any(runner.thread is threading.current_thread() for runner in self._runners):
                return
        until = self._clock() + wait_s
        overdue: _Runner | None = None
        while True:
            self.attend()
            with self._lock:
                leader, left = self._leader, until - self._clock()
                if leader is not None:
                    left = max(left, self._patience_left(leader))
                if not self._runners or (left <= 0 and (not self._ready or leader is overdue)):
                    break
                overdue = leader if left <= 0 else None  # and `attend` gives it a successor, if there can be one
                self._changed.wait(max(left, 0.0))
        if not self._runners:
            self.run_ready()  # there was no thread to be had

    def _run(self, runner: _Runner) -> None:
        while True:
            with self._lock:
                if not self._may_lead(runner):
                    self._runners.discard(runner)
                    self._changed.notify_all()
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

    def _serve(self, runner: _Runner, subscription: Served) -> None:
        """Give a subscription some turns, or a single call its one."""
        own = runner.thread is not None
        survived = BaseException if own else Exception
        runner.callback = subscription.callback
        for _ in range(_TURNS):
            runner.began = self._clock()
            try:
                again = subscription.take_turn(survived)
            except BaseException:  # Ctrl-C in the thread that called `run_ready`
                self._put_back(subscription)
                raise
            runner.began = None
            if not again:
                return
            if own and runner is not self._leader:
                break
        self._put_back(subscription)

    def _put_back(self, subscription: Served) -> None:
        """Queue a served subscription behind the others."""
        with self._lock:
            self._ready.append(subscription)
            if self._asleep:
                self._asleep = False
                self._arrived.notify()

    # ---- under the lock ------------------------------------------------------------------------------

    def _lead_by_new_thread(self) -> bool:
        """Let a new thread lead; return False if the system starts none."""
        runner = _Runner()
        name = f"bgsim-callbacks-{next(self._numbers)}"
        runner.thread = Thread(self._run, runner, name=name)
        before, self._leader = self._leader, runner
        self._runners.add(runner)
        try:
            start_thread(runner.thread)
        except NoThreadError as error:
            self._leader = before
            self._runners.discard(runner)
            logger.warning("callbacks wait until another is due, or the bus is closed: %s", error)
            return False
        return True

    def _may_lead(self, runner: _Runner) -> bool:
        leader = self._leader
        return leader is None or leader is runner or self._patience_left(leader) <= 0

    def _patience_left(self, leader: _Runner) -> float:
        began = leader.began
        return self._patience_s if began is None else began + self._patience_s - self._clock()
