"""The engine's lock: it does what was put off once it is released."""

from __future__ import annotations

import threading
from collections.abc import Callable


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
        failure: BaseException | None = None
        for action in deferred:
            try:
                action()
            except BaseException as error:  # a Ctrl-C in a callback, say: the other jobs end all the same
                failure = failure or error
        if failure is not None:
            raise failure
