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
    """

    def __init__(self) -> None:
        self._depth = 0
        self._handler: Callable[[int, Any], object] | None = None  # what is to be called; None if nothing is held back
        self._came = False

    def hold(self) -> None:
        """Take note of Ctrl-C from now on; for each `hold` there is a `let_go`."""
        if not self._depth:
            handler = _signal.getsignal(signal.SIGINT)
            if callable(handler):
                _signal.signal(signal.SIGINT, self._note)  # one that comes before this is raised, and nothing has begun
                self._handler = handler
        self._depth += 1

    def let_go(self) -> Callable[[int, Any], object] | None:
        """Let it through again; return what is to be called, if it has come, with the last that was held."""
        self._depth -= 1
        if self._depth or self._handler is None:
            return None
        handler, self._handler = self._handler, None
        _signal.signal(signal.SIGINT, handler)
        came, self._came = self._came, False
        return handler if came else None

    def _note(self, *_: object) -> None:
        self._came = True
