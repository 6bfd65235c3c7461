"""The engine's lock: it does what was put off once it is released, and Ctrl-C does not tear what is done under it."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable
from threading import get_ident

from bgsim.ctrl_c import CtrlC

logger = logging.getLogger("bgsim.engine")


CTRL_C = CtrlC()
"""Held back by whoever has the lock, and by a worker that is between two pieces of work in the main thread."""

_main = threading.main_thread().ident


def _find_main() -> None:
    global _main  # noqa: PLW0603 - a forked child's main thread is the one that forked
    _main = get_ident()


def in_main_thread() -> bool:
    """Tell whether this is the thread in which signal handlers are called."""
    return get_ident() == _main


def interruptible() -> None:
    """Let Ctrl-C interrupt what follows, until `CTRL_C.open` is false again; raise one that has come by now."""
    CTRL_C.open = True
    if (came := CTRL_C.taken()) is not None:
        came(signal.SIGINT, None)


def let_ctrl_c_through() -> None:
    """End a `hold` of `CTRL_C`, and raise what has come."""
    if (came := CTRL_C.let_go()) is not None:
        came(signal.SIGINT, None)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_find_main)


class DeferringLock:
    """A lock with a list of things to be done when it is released: resolving futures, calling what others gave us.

    Under it no kernel runs, no subscriber or done-callback is called, and no store is touched. Not reentrant.

    To wait for a condition, take `raw`, since Ctrl-C has to end the wait; also to read, which is quicker.
    """

    __slots__ = ("_deferred", "raw")

    def __init__(self) -> None:
        self.raw = threading.Lock()  # for conditions
        self._deferred: list[Callable[[], object]] = []

    @property
    def owes(self) -> bool:
        """Whether something is to be done after the release; to be asked while the lock is held."""
        return bool(self._deferred)

    def defer(self, action: Callable[[], object]) -> None:
        """Do something after the release; to be called while the lock is held."""
        self._deferred.append(action)

    def __enter__(self) -> None:
        if get_ident() == _main:
            CTRL_C.hold()
        self.raw.acquire()

    def __exit__(self, *exception: object) -> None:
        deferred, self._deferred = self._deferred, []  # its own, also if empty: others append to the new one at once
        self.raw.release()
        leaving: BaseException | None = None
        for action in deferred:
            try:
                action()
            except Exception:  # what comes after it resolves futures that somebody waits for
                logger.exception("what was put off until the engine's lock was free raised")
            except BaseException as error:  # a callback calls sys.exit, say
                leaving = leaving or error
        if get_ident() == _main:
            let_ctrl_c_through()
        if leaving is not None:
            raise leaving
