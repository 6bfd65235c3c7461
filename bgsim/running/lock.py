"""The engine's lock: it runs deferred actions after its release, and signal handlers wait for both."""

from __future__ import annotations

import logging
from collections.abc import Callable
from threading import get_ident

from bgsim.threads import signals
from bgsim.threads.locks import Lock
from bgsim.threads.signals import hold, let_go

logger = logging.getLogger("bgsim.engine")


class EngineLock:
    """A lock with a list of actions to run after its release: resolving futures, calling what users gave.

    Under it no kernel runs, no subscriber or done-callback is called, and no store is touched. It is not reentrant.

    Parameters
    ----------
    before_release : callable
        Called at the end of each hold: wakes the threads that wait for what has happened.

    Attributes
    ----------
    plain : Lock
        The same lock without actions: to wait for a condition, and to read, which is quicker.
    raw : lock
        The same for other threads than the main thread.
    """

    __slots__ = ("_before_release", "_deferred", "plain", "raw")

    def __init__(self, before_release: Callable[[], None]) -> None:
        self.plain = Lock()
        self.raw = self.plain.raw
        self._before_release = before_release
        self._deferred: list[Callable[[], object]] = []

    @property
    def has_deferred(self) -> bool:
        """Whether an action waits for the release; to be asked while the lock is held."""
        return bool(self._deferred)

    def defer(self, action: Callable[[], object]) -> None:
        """Run an action after the release; to be called while the lock is held."""
        self._deferred.append(action)

    def __enter__(self) -> None:
        if get_ident() == signals.main:
            hold()
        self.raw.acquire()

    def __exit__(self, *exception: object) -> None:
        leaving: BaseException | None = None
        try:
            self._before_release()
        finally:
            deferred = None
            if self._deferred:  # the next holder has a list of its own
                deferred, self._deferred = self._deferred, []
            self.raw.release()
            try:
                if deferred is not None:
                    leaving = _run_all(deferred)
            finally:
                if get_ident() == signals.main:
                    let_go()
        if leaving is not None:
            raise leaving


def _run_all(actions: list[Callable[[], object]]) -> BaseException | None:
    """Run every action; return what one raised to end its thread, such as SystemExit."""
    leaving: BaseException | None = None
    for action in actions:
        try:
            action()
        except Exception:  # the actions after it resolve futures that callers wait for
            logger.exception("what was put off until the engine's lock was free raised")
        except BaseException as error:
            leaving = leaving or error
    return leaving
