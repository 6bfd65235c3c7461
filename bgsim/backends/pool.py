"""An executor, and the one that takes its place when it breaks because a process of it has ended."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterable
from concurrent.futures.process import ProcessPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from bgsim.backends.blocks import attached
from bgsim.backends.remote import begin, compute
from bgsim.control import new_control_block
from bgsim.errors import BackendError, text_of
from bgsim.threads.locks import Lock

if TYPE_CHECKING:
    from concurrent.futures import Future

    from bgsim.backends.blocks import Place
    from bgsim.backends.remote import Reply, Task

MakeExecutor: TypeAlias = Callable[[], Any]
"""Returns a new executor: anything with ``submit`` and ``shutdown``."""

_MOST_STILLBORN = 3
"""An executor may break so many times before it does anything; then it never will."""


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
        self._stillborn = 0

    def open(self) -> None:
        """Have the first executor begin: if it forks, it does so now, while this engine's threads do nothing."""
        with self._lock:
            self._begin(0)

    def _begin(self, number: int) -> None:
        if self._is_ours:
            assert self._make is not None
            self._executor = self._make()
        self._begun = Begun(self._executor, number, self._executor.submit(begin))

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
            if broken is not self._begun:
                return
            self._stillborn = 0 if greeting.done() and greeting.exception() is None else self._stillborn + 1
            if self._make is None:
                self.error = (
                    f"the executor is broken ({text_of(why)}), and nothing makes another: give ExecutorBackend a "
                    "function that returns one, or leave it out"
                )
            elif self._stillborn >= _MOST_STILLBORN:
                self.error = (
                    f"the executor's processes end before they do anything ({text_of(why)}): does the script that "
                    'starts them have its `if __name__ == "__main__":`?'
                )
            if self.error:
                raise BackendError(self.error) from why
            if self._is_ours:
                self._executor.shutdown(wait=False)
            self._is_ours = True
            self._begin(broken.number + 1)

    def close(self, busy: Iterable[int]) -> None:
        """Shut down what was made here; processes that are still busy, by their ids, are killed."""
        with self._lock:
            if not self._is_ours or self._begun is None:
                return
            executor = self._begun.executor
        executor.shutdown(wait=False, cancel_futures=True)
        for number in busy:
            if number not in (0, os.getpid()):
                with suppress(ProcessLookupError):
                    os.kill(number, signal.SIGKILL if os.name == "posix" else signal.SIGTERM)


def compute_at(task: Task, place: Place) -> Reply:
    """Compute a chunk in an executor's process, with a control block that it shares if it is on the same host."""
    control = attached(place)
    reply = compute(task, new_control_block() if control is None else control)
    reply.sees_orders = control is not None
    return reply
