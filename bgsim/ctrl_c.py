"""Holding Ctrl-C back while the main thread does what must not be left half done.

`hold_ctrl_c` and `let_ctrl_c_through` are for the engine, and nothing in other threads; `CtrlC` is what they share with
forks, which have one of their own.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import os
import signal
import threading
from collections.abc import Callable
from threading import get_ident
from typing import Any, TypeVar

T = TypeVar("T")


class CtrlC:
    """Holds Ctrl-C back from `hold` to `let_go`: half done, every caller would wait for ever.

    Python calls signal handlers in the main thread alone, so only that one uses it. `_signal` is what `signal` wraps,
    without its enums, which cost microseconds.

    Attributes
    ----------
    open : bool
        Whether it goes through all the same, to interrupt the user's code; until the next `hold`, and again after
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
        if not self._outer:
            return None  # in a forked child: it was another thread when this one should have held it
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


_engines = CtrlC()
"""Held back by the thread that has an engine's lock, and by a worker in the main thread between two pieces of work."""

_main = threading.main_thread().ident


def _find_main() -> None:
    global _main  # noqa: PLW0603 - a forked child's main thread is the one that forked
    _main = get_ident()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_find_main)


def in_main_thread() -> bool:
    """Tell whether this is the thread in which signal handlers are called."""
    return get_ident() == _main


def hold_ctrl_c() -> bool:
    """Hold Ctrl-C back, in the main thread; return whether this is it, and `let_ctrl_c_through` is to follow."""
    if get_ident() != _main:
        return False
    _engines.hold()
    return True


def let_ctrl_c_through() -> None:
    """End what `hold_ctrl_c` has begun, and raise what has come."""
    if get_ident() == _main and (came := _engines.let_go()) is not None:
        came(signal.SIGINT, None)


def interruptibly(function: Callable[..., T], *arguments: Any) -> T:
    """Call a user's function, which Ctrl-C may interrupt though it is held; so may one that has come by now."""
    in_main = in_main_thread()
    try:
        if in_main:
            _engines.open = True
            if (came := _engines.taken()) is not None:
                came(signal.SIGINT, None)
        return function(*arguments)
    finally:
        if in_main:
            _engines.open = False
