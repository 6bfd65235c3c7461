"""The engine's lock: it runs deferred actions after its release, and keeps Ctrl-C from interrupting its holder."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from bgsim.ctrl_c import hold_ctrl_c, let_ctrl_c_through

logger = logging.getLogger("bgsim.engine")


class EngineLock:
    """A lock with a list of actions to run after its release: resolving futures, calling what users gave.

    Under it no kernel runs, no subscriber or done-callback is called, and no store is touched. It is not reentrant.
    Take `raw` to wait for a condition, since Ctrl-C has to end the wait, and to read, which is quicker.

    Parameters
    ----------
    before_release : callable
        Called at the end of each hold: wakes the threads that wait for what has happened.
    """

    __slots__ = ("_before_release", "_deferred", "_holds_ctrl_c", "raw")

    def __init__(self, before_release: Callable[[], None]) -> None:
        self.raw = threading.Lock()  # for conditions
        self._before_release = before_release
        self._deferred: list[Callable[[], object]] = []
        self._holds_ctrl_c = False

    @property
    def has_deferred(self) -> bool:
        """Whether an action waits for the release; to be asked while the lock is held."""
        return bool(self._deferred)

    def defer(self, action: Callable[[], object]) -> None:
        """Run an action after the release; to be called while the lock is held."""
        self._deferred.append(action)

    def __enter__(self) -> None:
        holds_ctrl_c = hold_ctrl_c()
        self.raw.acquire()
        self._holds_ctrl_c = holds_ctrl_c

    def __exit__(self, *exception: object) -> None:
        try:
            self._before_release()
        finally:
            holds_ctrl_c, deferred = self._holds_ctrl_c, None
            if self._deferred:  # the next holder has a list of its own
                deferred, self._deferred = self._deferred, []
            self.raw.release()
            if deferred is not None:
                leaving = _run_all(deferred)
                if holds_ctrl_c:
                    let_ctrl_c_through()
                if leaving is not None:
                    raise leaving
            elif holds_ctrl_c:
                let_ctrl_c_through()


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
