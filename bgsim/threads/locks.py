"""Locks, and what waits for other threads, that no signal handler leaves broken: see `bgsim.threads.signals`.

bgsim uses these and no others. What the standard library has is broken by a handler that raises in the main thread: a
condition may return without its lock and then release another thread's, a join takes a running thread for ended, and a
future's lock may stay held.
"""

from __future__ import annotations

import concurrent.futures
import math
import threading
import time
from _thread import RLock, allocate_lock
from collections.abc import Callable
from threading import get_ident
from typing import Any, TypeVar

from bgsim.threads import signals
from bgsim.threads.signals import HOLD, hold, interruptibly, let_go

T = TypeVar("T")

_LOOK_S = 0.5
"""The main thread's waits end so often, and go on: Python calls a signal's handler in between. A signal that comes
just before a wait, or that the system hands to another thread, does not end it."""


class Lock:
    """A lock during whose hold signal handlers wait. It is not reentrant.

    Attributes
    ----------
    raw : lock
        For those who hold signals back themselves.
    """

    __slots__ = ("raw",)

    def __init__(self) -> None:
        self.raw = allocate_lock()

    def __enter__(self) -> None:
        if get_ident() == signals.main:
            hold()
        self.raw.acquire()

    def __exit__(self, *exception: object) -> None:
        self.raw.release()
        if get_ident() == signals.main:
            let_go()


class Condition(threading.Condition):
    """A condition of a lock's `raw`; its wait lets signals through, and no handler leaves it without the lock."""

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until notified; return False if that did not come in time."""
        if get_ident() != signals.main:
            return super().wait(timeout)
        waiter, waiters, woken = allocate_lock(), self._waiters, False  # type: ignore[attr-defined]
        waiter.acquire()
        waiters.append(waiter)
        saved = self._release_save()  # type: ignore[attr-defined]
        until = math.inf if timeout is None else time.monotonic() + timeout
        try:
            left_s = math.inf
            while not woken and left_s > _LOOK_S:
                left_s = until - time.monotonic()
                woken = interruptibly(waiter.acquire, True, max(0.0, min(left_s, _LOOK_S)))
        finally:
            self._acquire_restore(saved)  # type: ignore[attr-defined]
            if not woken and waiter in waiters:
                waiters.remove(waiter)
        return woken


class FutureLock(RLock):  # type: ignore[misc]
    """The lock of a future: reentrant, as the standard library needs it, and signal handlers wait."""

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Take it, as any lock."""
        in_main = get_ident() == signals.main
        if in_main:
            hold()
        if RLock.acquire(self, blocking, timeout):
            return True
        if in_main:
            let_go()
        return False

    def release(self) -> None:
        """Release it."""
        RLock.release(self)
        if get_ident() == signals.main:
            let_go()

    __enter__ = acquire
    acquire_raw = RLock.acquire  # for those who hold signals back themselves
    release_raw = RLock.release

    def __exit__(self, *exception: object) -> None:
        RLock.release(self)
        if get_ident() == signals.main:
            let_go()


class Future(concurrent.futures.Future[T]):
    """A future on which the main thread waits, and whose lock no signal handler leaves held."""

    def __init__(self) -> None:
        self.lock = FutureLock()
        self._condition = Condition(self.lock)
        # As the standard library's constructor, which makes a condition of its own.
        vars(self).update(_state="PENDING", _result=None, _exception=None, _waiters=[], _done_callbacks=[])

    def ends_by(self, deadline: float | None) -> bool:
        """Wait until it is done; return False if that did not come in time, by `time.monotonic`."""
        try:
            super().exception(None if deadline is None else max(0.0, deadline - time.monotonic()))
        except concurrent.futures.CancelledError:
            return True
        except TimeoutError:
            return False
        return True

    # What a signal's handler raises within a callback would be taken for the callback's, logged and lost.

    def add_done_callback(self, fn: Callable[[concurrent.futures.Future[T]], object]) -> None:
        """Have a function called when it is done."""
        with HOLD:
            super().add_done_callback(fn)

    def cancel(self) -> bool:
        """Cancel it, if that is still possible."""
        with HOLD:
            return super().cancel()


class Latch:
    """An event that happens once."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._changed = Condition(self._lock.raw)
        self._is_set = False

    def set(self) -> None:
        """Say that it has happened."""
        with self._lock:
            self._is_set = True
            self._changed.notify_all()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait for it; return False if it did not happen in time."""
        with self._lock:
            return self._changed.wait_for(lambda: self._is_set, timeout_s)


class Thread(threading.Thread):
    """A daemon thread that the main thread can join.

    `threading.Thread.join` takes a thread for ended if a signal handler raises in it, and `start` may lose it.
    """

    def __init__(self, target: Callable[..., object], *arguments: Any, name: str, **options: Any) -> None:
        super().__init__(target=target, args=arguments, kwargs=options, name=name, daemon=True)
        self._has_ended = Latch()

    def start(self) -> None:
        """Start it."""
        with HOLD:
            super().start()

    def run(self) -> None:
        """Do what it is for."""
        try:
            super().run()
        finally:
            self._has_ended.set()

    def is_alive(self) -> bool:
        """Tell whether it has begun and not ended."""
        with HOLD:
            return super().is_alive()

    def join(self, timeout: float | None = None) -> None:
        """Wait for its end."""
        with HOLD:
            if super().is_alive() and self._has_ended.wait(timeout):
                super().join()


def call_in_thread(function: Callable[..., T], *arguments: Any) -> T:
    """Call what no signal handler may interrupt, and what takes long: in the main thread, wait for another one.

    A handler that raises ends the wait. The other thread goes on.
    """
    if get_ident() != signals.main:
        return function(*arguments)
    future: Future[T] = Future()

    def call() -> None:
        try:
            future.set_result(function(*arguments))
        except BaseException as error:
            future.set_exception(error)

    Thread(call, name="bgsim-compiler").start()
    return future.result()
