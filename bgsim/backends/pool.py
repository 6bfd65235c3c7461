"""An executor, and the one that takes its place when it breaks because a process of it has ended."""

from __future__ import annotations

import logging
import multiprocessing
import multiprocessing.connection
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import BrokenExecutor
from concurrent.futures.process import ProcessPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from bgsim.backends.blocks import attached
from bgsim.backends.remote import begin, compute
from bgsim.control import new_control_block
from bgsim.errors import BackendError, named_text, text_of
from bgsim.threads.locks import Lock

if TYPE_CHECKING:
    from concurrent.futures import Future

    from bgsim.backends.blocks import BlockAddress
    from bgsim.backends.remote import ChunkTask, Reply

logger = logging.getLogger("bgsim.engine")

MakeExecutor: TypeAlias = Callable[[], Any]
"""Returns a new executor: anything with ``submit`` and ``shutdown``."""

_MOST_STILLBORN = 3
"""After this many executors that break before their first task, no other is made."""

_END_S = 2.0
"""How long the processes of an executor that is shut down may take to end."""


def processes(count: int) -> MakeExecutor:
    """Return what makes a pool of processes, which are begun anew and not forked: a fork copies locks that are held."""
    return lambda: ProcessPoolExecutor(count, multiprocessing.get_context("spawn"), begin)


def another_like(executor: Any) -> MakeExecutor | None:
    """Return what makes another executor of the same kind; None if that is not known."""
    loky, count = sys.modules.get("loky"), getattr(executor, "_max_workers", None)  # neither has a public name for it
    if loky is not None and isinstance(executor, loky.ProcessPoolExecutor):
        return lambda: loky.get_reusable_executor(count)
    if type(executor) is not ProcessPoolExecutor:
        return None
    initializer, arguments = vars(executor)["_initializer"], vars(executor)["_initargs"]
    return lambda: ProcessPoolExecutor(count, multiprocessing.get_context("spawn"), initializer, arguments)


class Begun(NamedTuple):
    """An executor that was given its first task.

    Attributes
    ----------
    executor : Executor
    number : int
        How many there were before it.
    greeting : Future
        Of the first task; chunks come after it.
    """

    executor: Any
    number: int
    greeting: Future[None]


class Pool:
    """An executor, for any thread.

    Parameters
    ----------
    executor : Executor or None
        The first; None to make it.
    make : callable or None
        Makes one, when the one before is broken; None if nothing can.

    Attributes
    ----------
    error : str
        Why there is no executor any more; empty while there is.
    """

    def __init__(self, executor: Any, make: MakeExecutor | None) -> None:
        self.error = ""
        self._make = make
        self._lock = Lock()  # guards what follows
        self._is_ours = executor is None
        self._executor = executor
        self._begun: Begun | None = None
        self._is_closed = False
        self._stillborn = 0
        self._ending: list[threading.Thread] = []  # of executors that are shut down

    def open(self) -> None:
        """Have the first executor begin: if it forks, it does so now, while this engine's threads do nothing.

        Raises
        ------
        BackendError
            If it takes no task, and nothing makes another.
        """
        with self._lock:
            try:
                self._begin(0)
            except BrokenExecutor as error:
                if self._make is None or self._is_ours:
                    raise self._gone(f"the executor is broken ({text_of(error)})") from error
                self._is_ours = True
                self._begin(0)

    def _begin(self, number: int) -> None:
        if self._is_ours:
            assert self._make is not None
            self._executor = self._make()
        try:
            greeting = self.submit(self._executor, begin)
        except BrokenExecutor:
            raise
        except Exception as error:
            raise self._gone(f"the executor takes no tasks: {named_text(error)}") from error
        self._begun = Begun(self._executor, number, greeting)

    def submit(self, executor: Any, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """Hand a task to an executor, which may start a process for it.

        Ctrl-C in a terminal goes to all processes there. One of ours that is being started must not act on that; it has
        the signal blocked until `begin` ignores it.
        """
        if not self._is_ours or not hasattr(signal, "pthread_sigmask"):
            return executor.submit(function, *arguments)  # type: ignore[no-any-return]
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            return executor.submit(function, *arguments)  # type: ignore[no-any-return]
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def _gone(self, why: str) -> BackendError:
        advice = "Look at the function that makes it"
        if self._make is None:
            advice = "Give ExecutorBackend a function that returns an executor, or leave it out"
        self.error = f"{why}. {advice}"
        return BackendError(self.error)

    def begun(self) -> Begun:
        """Return the present executor."""
        with self._lock:
            assert self._begun is not None
            return self._begun

    def replace(self, broken: Begun, why: BaseException) -> None:
        """Put another executor in the place of a broken one; more than once does no harm.

        Raises
        ------
        BackendError
            If there is none.
        """
        greeting = broken.greeting
        with self._lock:
            if self._is_closed:  # its processes were ended
                raise BackendError("the engine is closed")
            if broken is not self._begun:
                return
            self._stillborn = 0 if greeting.done() and greeting.exception() is None else self._stillborn + 1
            if self._make is None:
                raise self._gone(f"the executor is broken ({text_of(why)}), and nothing makes another") from why
            if self._stillborn >= _MOST_STILLBORN:
                self.error = (
                    f"the executor's processes end before they do anything ({text_of(why)}): does the script that "
                    'starts them have its `if __name__ == "__main__":`?'
                )
                raise BackendError(self.error) from why
            if self._is_ours:
                self._note_end(self._executor)
                self._executor.shutdown(wait=False)
            self._is_ours = True
            try:
                self._begin(broken.number + 1)
            except BrokenExecutor as error:
                raise self._gone(f"the executor is broken ({text_of(error)}), and so is the next") from error

    def release(self, begun: Begun) -> None:
        """Break an executor that waits for a process that has ended; more than once does no harm.

        The process was killed while it sent a reply. The executor's own thread waits for the rest, and its other
        processes for their turn. So the end of the pipe that this process holds is closed, and they are killed: then
        the thread meets the end of the pipe.
        """
        inside = _inside(begun.executor)
        with self._lock:
            if inside is None or inside.writer.closed:
                return
            inside.writer.close()
        logger.warning("a process of the executor has ended while it sent a reply: its other processes are ended, too")
        for process in inside.processes:
            _kill(process.pid)

    def close(self, busy: Iterable[int]) -> None:
        """Shut down what was made here; processes that are still busy, by their ids, are killed.

        So are those that do not end: one may have been killed with the lock for its reply, for which others wait.
        """
        with self._lock:
            self._is_closed = True
            if not self._is_ours or self._begun is None:
                return
            executor = self._begun.executor
            self._note_end(executor)
        inside = _inside(executor)
        try:
            _shut_down(executor)
        except Exception as error:  # of an executor of whatever kind: the engine closes what else it has
            logger.warning("the executor cannot be shut down: %s", named_text(error))
        for number in busy:
            if number not in (0, os.getpid()):
                _kill(number)
        if inside is not None and (left := _those_left(inside.processes)):
            for process in left:
                _kill(process.pid)
            inside.writer.close()
        deadline = time.monotonic() + _END_S
        for thread in self._ending:
            if thread is not threading.current_thread():
                thread.join(max(0.0, deadline - time.monotonic()))

    def _note_end(self, executor: Any) -> None:
        """Note the thread of an executor before it is shut down.

        1. The interpreter ends, and wakes that thread through a pipe, if that is open.
        2. The thread ends meanwhile, and closes the pipe.
        3. The interpreter writes to what is closed, and prints an error. So `close` waits for the thread.
        """
        thread = getattr(executor, "_executor_manager_thread", None)  # the standard library's and loky's
        if isinstance(thread, threading.Thread):
            self._ending = [*(one for one in self._ending if one.is_alive()), thread]


class _Inside(NamedTuple):
    """What an executor keeps to itself.

    Attributes
    ----------
    processes : list of Process
    writer : Connection
        The end of the pipe of replies that is for its processes, and that this one holds as well.
    """

    processes: list[Any]
    writer: Any


def _inside(executor: Any) -> _Inside | None:
    """Return what is inside an executor of processes, as the standard library's or loky's; None of any other."""
    processes, queue = getattr(executor, "_processes", None), getattr(executor, "_result_queue", None)
    writer = getattr(queue, "_writer", None)
    return _Inside(list(processes.values()), writer) if isinstance(processes, dict) and writer is not None else None


def ended(executor: Any) -> set[int]:
    """Return the ids of an executor's processes that have ended, and that it has not noticed yet."""
    inside = _inside(executor)
    return {process.pid for process in inside.processes if _has_ended(process, 0.0)} if inside is not None else set()


def _those_left(processes: Iterable[Any]) -> list[Any]:
    """Return the processes that have not ended when all have had the time for it."""
    deadline = time.monotonic() + _END_S
    return [process for process in processes if not _has_ended(process, max(0.0, deadline - time.monotonic()))]


def _has_ended(process: Any, timeout_s: float) -> bool:
    return bool(multiprocessing.connection.wait([process.sentinel], timeout_s))


def _kill(process: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL if os.name == "posix" else signal.SIGTERM)


def _shut_down(executor: Any) -> None:
    try:
        executor.shutdown(wait=False, cancel_futures=True)
    except TypeError:  # loky's has other arguments
        executor.shutdown(wait=False)


def compute_at(task: ChunkTask, place: BlockAddress) -> Reply:
    """Compute a chunk in an executor's process, with a control block that it shares if it is on the same host."""
    control = attached(place)
    reply = compute(task, new_control_block() if control is None else control, is_on_host=control is not None)
    reply.sees_orders = control is not None
    return reply
