"""Holding Ctrl-C back while the main thread does what must not be left half done."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import signal
from collections.abc import Callable
from typing import Any


class CtrlC:
    """Holds Ctrl-C back from `hold` to `let_go`: half done, everybody would wait for ever.

    Python calls signal handlers in the main thread alone, so only that one uses it. `_signal` is what `signal` wraps,
    without its enums, which cost microseconds.

    Attributes
    ----------
    open : bool
        Whether it goes through all the same, to interrupt somebody else's code; until the next `hold`, and again after
        the `let_go` for that. To set it is a single step, which nothing interrupts.
    """

    def __init__(self) -> None:
        self.open = False
        self._outer: list[bool] = []  # what `open` was before each `hold`
        self._handler: Callable[[int, Any], object] | None = None  # what is to be called; None if nothing is held back
        self._came = False

    def hold(self) -> None:
        """Take note of Ctrl-C from now on; for each `hold` there is a `let_go`."""
        was, self.open = self.open, False
        if not self._outer:
            handler = _signal.getsignal(signal.SIGINT)
            if callable(handler):
                _signal.signal(signal.SIGINT, self._note)  # one that comes before this is raised, and nothing has begun
                self._handler = handler
        self._outer.append(was)

    def let_go(self) -> Callable[[int, Any], object] | None:
        """Let it through again; return what is to be called, if it has come and is no longer held by anybody."""
        outer = self._outer.pop()
        if self._outer:
            self.open = outer
            return self.taken() if outer else None
        if self._handler is None:
            return None
        handler, self._handler = self._handler, None
        _signal.signal(signal.SIGINT, handler)
        came, self._came = self._came, False
        return handler if came else None

    def taken(self) -> Callable[[int, Any], object] | None:
        """Return what is to be called, if it has come; then it counts as called."""
        came, self._came = self._came, False
        return self._handler if came else None

    def _note(self, number: int, frame: Any) -> None:
        if self.open and self._handler is not None:
            self._handler(number, frame)
        else:
            self._came = True
