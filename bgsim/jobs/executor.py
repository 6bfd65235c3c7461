"""Plain callables on an engine's workers: a `concurrent.futures.Executor` with the standard library's semantics.

::

    submit ──> enqueue ──> the engine's queue ──> a worker runs the call ──> future resolved ──> call_back: callbacks
                  └─ withdraw <── future.cancel(), shutdown(cancel_futures=True)

The executor knows the engine by two functions, `Enqueue` and `CallBack`. Its own lock guards its counts and what is
waiting; neither of them, nor a callback, nor a call runs under it.
"""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, ParamSpec, Protocol, TypeAlias, TypeVar

from bgsim.checks import NotPicklable, check_integer, is_integer, refused
from bgsim.job import is_users
from bgsim.jobs.chunks import call_each, in_chunks, results_of
from bgsim.priority import Priority, PriorityName
from bgsim.threads import locks
from bgsim.threads.locks import Condition, Lock
from bgsim.threads.noted import NotedWaiters
from bgsim.threads.signals import HOLD, interruptibly, is_interrupt

P = ParamSpec("P")
T = TypeVar("T")

logger = logging.getLogger("bgsim.jobs.executor")


class Enqueue(Protocol):
    """What an executor needs of an engine."""

    def __call__(self, task: Callable[[], None], *, priority: Priority, group: str | None) -> Callable[[], bool]:
        """Have a worker call the task, once, and without a lock. Any thread may call this.

        The task takes no arguments and never raises. There is room for any number, as in the standard library's
        executors. An engine that is closed without running what waits calls the executors'
        ``shutdown(wait=False, cancel_futures=True)``, so that no caller waits for ever.

        Returns
        -------
        callable
            Withdraws the task: returns True if it was waiting and now will not be called, False if it is too late.

        Raises
        ------
        EngineClosedError
            If the engine is closed.
        """
        ...


class Waits(Protocol):
    """What takes note of the waits of functions that workers run; see `bgsim.running.waits.Waits`."""

    def begin(self, what: str, *, is_over: Callable[[], bool]) -> Any:
        """Note that a wait begins, or refuse it by a `DeadlockError`; `end` of what is returned is to follow."""
        ...

    def during(self, what: str, *, is_over: Callable[[], bool]) -> AbstractContextManager[None]:
        """Do both for a block."""
        ...


CallBack: TypeAlias = Callable[..., None]
"""Has a callback called with some arguments, soon, in the engine's callback thread; see `ProgressBus.call`."""


class EngineExecutor(NotPicklable, Executor):
    """Runs plain callables on an engine's workers; made by `Engine.executor`. Any thread may call any method.

    Calls wait in the engine's queue, among its simulations, by priority. Each takes a worker from its start to its end,
    and can be cancelled only until it starts. A call that waits for another, which has not started, needs a second
    worker, as with any executor. Shutting the executor down leaves the engine as it is.

    Parameters
    ----------
    enqueue : Enqueue
    call_back : CallBack
        What is to call the done-callbacks.
    waits : Waits
        What takes note of waits.
    priority : Priority or str
        Of all its calls.
    group : str, optional
        Counts against ``limits``.
    """

    instead = "make an engine in each process, and one of it"

    def __init__(
        self,
        enqueue: Enqueue,
        call_back: CallBack,
        waits: Waits,
        *,
        priority: Priority | PriorityName = Priority.NORMAL,
        group: str | None = None,
    ) -> None:
        self._enqueue = enqueue
        self._call_back = call_back
        self.waits = waits
        self._priority = Priority.of(priority)
        self._group = group
        self._lock = Lock()
        self._idle = Condition(self._lock.raw)
        self._shut_down = False
        self._unfinished = 0  # calls that are neither done nor withdrawn, and callbacks that have not returned
        # Those of them that no worker has taken; None until they are in the engine's queue.
        self._waiting: dict[Future[Any], tuple[_Task, Callable[[], bool]] | None] = {}
        self._callers: list[int] = []  # the threads that run one, or its callbacks

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Have ``fn(*args, **kwargs)`` called by a worker, and return its future.

        Raises
        ------
        RuntimeError
            If the executor is shut down or, as `EngineClosedError`, the engine closed.
        """
        with HOLD:  # a call that is counted is also in the queue
            return self._submit(_CallFuture(self), fn, args, kwargs)

    def _submit(
        self, future: Future[T], fn: Callable[..., T], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Future[T]:
        task = _Task(self, future, fn, args, kwargs)
        with self._lock:
            if self._shut_down:
                raise RuntimeError("cannot schedule new futures after shutdown; engine.executor() gives a new executor")
            self._unfinished += 1
            self._waiting[future] = None
        try:
            withdraw = self._enqueue(task, priority=self._priority, group=self._group)
        except BaseException:
            with self._lock:
                self._waiting.pop(future, None)
            self._count_down()
            raise
        with self._lock:
            if future in self._waiting:
                self._waiting[future] = task, withdraw
                return future
        if future.cancelled():  # by another thread that shut the executor down, when there was nothing to withdraw yet
            self._drop(future, task, withdraw)
        return future

    def map(
        self,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
    ) -> Iterator[T]:
        """Return an iterator over ``fn``'s results for the items of the iterables, in their order.

        The first exception ends it, as a time-out or closing it does; calls that have not started are then cancelled.

        Parameters
        ----------
        timeout : float, optional
            Seconds from now after which waiting for a result raises `TimeoutError`.
        chunksize : int
            How many calls are one task; more than one is worth it for calls that take less than a task costs.
        buffersize : int, optional
            How many tasks are submitted ahead of the results that were taken; the iterables, which may then be endless,
            are read no further. By default all are submitted at once.

        Raises
        ------
        TypeError, InvalidInputError
            If a size is not an integer of 1 or more.
        RuntimeError
            As `submit` does.
        """
        _check_size("chunksize", chunksize)
        if buffersize is not None:
            _check_size("buffersize", buffersize)
        deadline = None if timeout is None else time.monotonic() + timeout
        chunks = in_chunks(zip(*iterables, strict=False), chunksize)
        submissions = (self.submit(call_each, fn, chunk) for chunk in chunks)
        return results_of(deque(itertools.islice(submissions, buffersize)), submissions, deadline)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Accept no more calls. More than once does no harm.

        Parameters
        ----------
        wait : bool
            Return when all calls, and their callbacks, are done.
        cancel_futures : bool
            Cancel those that have not started.

        Raises
        ------
        RuntimeError
            If a call of this executor, or a callback, waits: it would wait for itself.
        """
        with self._lock:
            self._shut_down = True
            waiting = list(self._waiting) if cancel_futures else []
        for future in waiting:
            future.cancel()
        with self._lock:
            if wait and threading.get_ident() in self._callers:
                raise RuntimeError("a call cannot wait for its own executor to end; use shutdown(wait=False)")
        if wait:
            with self.waits.during("the end of an executor", is_over=lambda: not self._unfinished), self._lock:
                self._idle.wait_for(lambda: not self._unfinished)

    def __repr__(self) -> str:
        with self._lock:
            waiting, running = len(self._waiting), len(self._callers)
        return f"<EngineExecutor: {running} running, {waiting} waiting{', shut down' if self._shut_down else ''}>"

    def begin(self, future: Future[Any]) -> None:
        """Note that a worker has taken a call; for the call."""
        with self._lock:
            self._waiting.pop(future, None)
            self._callers.append(threading.get_ident())

    def end(self) -> None:
        """Note that this thread has done a call, or called a callback; for the call."""
        with self._lock:
            self._callers.remove(threading.get_ident())
        self._count_down()

    def hand_on(self, callback: Callable[[Any], object], future: Future[Any]) -> None:
        """Have a callback of a call that is done called; for its future."""
        with HOLD:
            with self._lock:
                self._unfinished += 1
            try:
                self._call_back(self._call_one, callback, future)
            except BaseException:
                self._count_down()
                raise

    def _call_one(self, callback: Callable[[Any], object], future: Future[Any]) -> None:
        with self._lock:
            self._callers.append(threading.get_ident())
        try:
            callback(future)
        finally:
            self.end()

    def withdraw(self, future: Future[Any]) -> None:
        """Take a cancelled call out of the queue, if it is still there; for its future."""
        with self._lock:
            waiting = self._waiting.pop(future, None)
        if waiting is not None:
            self._drop(future, *waiting)

    def _drop(self, future: Future[Any], task: _Task, withdraw: Callable[[], bool]) -> None:
        """Withdraw a cancelled call, and tell those who wait for its future.

        1. A cancels the future. 2. A worker takes the task. 3. A finds nothing to withdraw, and leaves the rest to the
        worker, who finds the future cancelled.
        """
        if withdraw():
            task.clear()
            future.set_running_or_notify_cancel()
            self._count_down()

    def _count_down(self) -> None:
        with self._lock:
            self._unfinished -= 1
            if not self._unfinished:
                self._idle.notify_all()


class _CallFuture(locks.Future[T]):
    """A future whose cancelling takes its call out of the queue."""

    def __init__(self, executor: EngineExecutor) -> None:
        super().__init__()
        self._waiters = NotedWaiters()
        self._executor = executor

    @property
    def waits(self) -> Waits:
        """What takes note of waits for it."""
        return self._executor.waits

    def result(self, timeout: float | None = None) -> T:
        """Wait for the result and return it; see `Job.result`."""
        wait = self._begin_wait(timeout)
        try:
            return super().result(timeout)
        finally:
            self = None  # type: ignore[assignment] # noqa: PLW0642 - what it raises has this frame, and it the exception
            if wait is not None:
                wait.end()

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Wait for the call to end, and return what it raised, or None."""
        wait = self._begin_wait(timeout)
        try:
            return super().exception(timeout)
        finally:
            if wait is not None:
                wait.end()

    def _begin_wait(self, timeout: float | None) -> Any:
        if self.done() or (timeout is not None and timeout <= 0):
            return None
        return self.waits.begin("a call of an executor", is_over=self.done)

    def add_done_callback(self, fn: Callable[[Future[T]], object]) -> None:
        """Have a function called with this future when the call is done, or withdrawn; see `Job.add_done_callback`."""
        if not callable(fn):
            raise refused("fn", fn, "callable")
        super().add_done_callback(partial(self._executor.hand_on, fn) if is_users(fn) else fn)

    def cancel(self) -> bool:
        if not super().cancel():
            return False
        self._executor.withdraw(self)
        return True


class _Task:
    """What a worker calls. It drops all its references before it runs, for a queue may keep it for longer."""

    __slots__ = ("_call",)

    def __init__(
        self,
        executor: EngineExecutor,
        future: Future[Any],
        fn: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> None:
        self._call: Any = (executor, future, fn, args, kwargs)

    def clear(self) -> None:
        """Let go of the call."""
        self._call = None

    def __call__(self) -> None:
        executor, future, fn, args, kwargs = self._call
        self.clear()
        executor.begin(future)
        try:
            if future.set_running_or_notify_cancel():
                try:
                    result = interruptibly(partial(fn, *args, **kwargs))
                except BaseException as error:
                    future.set_exception(error)
                    if is_interrupt(error):
                        raise
                else:
                    future.set_result(result)
                    del result
        except BaseException as error:
            if is_interrupt(error):
                raise
            # another thread has resolved it
            logger.critical("a call's future could not be resolved", exc_info=True)
        finally:
            # An exception's traceback keeps this frame, which must not in turn keep what has the exception.
            del future, fn, args, kwargs
            executor.end()


def _check_size(name: str, value: Any) -> None:
    if not is_integer(value):
        raise TypeError(f"{name} must be an integer of 1 or more; got {value!r}")
    check_integer(name, value)
