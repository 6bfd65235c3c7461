"""The engine's lock: it does what was put off once it is released, and Ctrl-C does not tear what is done under it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from bgsim.ctrl_c import hold_ctrl_c, let_ctrl_c_through

logger = logging.getLogger("bgsim.engine")


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
        hold_ctrl_c()
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
        let_ctrl_c_through()
        if leaving is not None:
            raise leaving
