"""The engine's lock: it does what was put off once it is released, and Ctrl-C does not tear what is done under it."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import logging
import os
import signal
import threading
from collections.abc import Callable
from threading import get_ident
from typing import Any

logger = logging.getLogger("bgsim.engine")


class _CtrlC:
    """Holds Ctrl-C back while the main thread changes the engine's state: half done, everybody would wait for ever.

    Python calls signal handlers in the main thread alone, so only that one uses it. What is held back is raised when
    the lock has been released. `_signal` is what `signal` wraps, without its enums, which cost microseconds.
    """

    def __init__(self) -> None:
        self._depth = 0
        self._handler: Callable[[int, Any], object] | None = None  # what is to be called; None if nothing is held back
        self._came = False

    def hold(self) -> None:
        if not self._depth:
            handler = _signal.getsignal(signal.SIGINT)
            if callable(handler):
                _signal.signal(signal.SIGINT, self._note)  # one that comes before this is raised, and nothing has begun
                self._handler = handler
        self._depth += 1

    def let_go(self) -> None:
        self._depth -= 1
        if self._depth or self._handler is None:
            return
        handler, self._handler = self._handler, None
        _signal.signal(signal.SIGINT, handler)
        if self._came:
            self._came = False
            handler(signal.SIGINT, None)

    def _note(self, *_: object) -> None:
        self._came = True


_ctrl_c = _CtrlC()
_main = threading.main_thread().ident


def _find_main() -> None:
    global _main  # noqa: PLW0603 - a forked child's main thread is the one that forked
    _main = get_ident()


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

    def defer(self, action: Callable[[], object]) -> None:
        """Do something after the release; to be called while the lock is held."""
        self._deferred.append(action)

    def __enter__(self) -> None:
        if get_ident() == _main:
            _ctrl_c.hold()
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
            _ctrl_c.let_go()
        if leaving is not None:
            raise leaving
