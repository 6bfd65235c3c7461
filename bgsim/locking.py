"""The engine's lock: it does what was put off once it is released."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

logger = logging.getLogger("bgsim.engine")


class DeferringLock:
    """A lock with a list of things to be done when it is released: resolving futures, calling what others gave us.

    Under it no kernel runs, no subscriber or done-callback is called, and no store is touched. Not reentrant.
    """

    __slots__ = ("_deferred", "raw")

    def __init__(self) -> None:
        self.raw = threading.Lock()  # for conditions
        self._deferred: list[Callable[[], object]] = []

    def defer(self, action: Callable[[], object]) -> None:
        """Do something after the release; to be called while the lock is held."""
        self._deferred.append(action)

    def __enter__(self) -> None:
        self.raw.acquire()

    def __exit__(self, *exception: object) -> None:
        deferred = self._deferred
        if not deferred:
            self.raw.release()
            return
        self._deferred = []
        self.raw.release()
        interrupt: BaseException | None = None
        for action in deferred:
            try:
                action()
            except Exception:  # what comes after it resolves futures that somebody waits for
                logger.exception("what was put off until the engine's lock was free raised")
            except BaseException as error:  # Ctrl-C; the others have to be done all the same
                interrupt = error
        if interrupt is not None:
            raise interrupt
