"""A post to Qt's event loop: has a callable called in the application's thread."""

from __future__ import annotations

import contextlib
from collections import deque
from typing import TYPE_CHECKING, Any

from bgsim.ui.qt.binding import QtCore, check_thread

if TYPE_CHECKING:
    from collections.abc import Callable

    from bgsim.bus.post import Post


class _Waker(QtCore.QObject):
    """Lives in the application's thread, and never ends: another thread may be posting to it at any time."""

    posted = QtCore.Signal()  # without an argument, which Qt would copy and free under its own locks

    def __init__(self) -> None:
        super().__init__()
        self.calls: deque[Callable[[], Any]] = deque()
        self.posted.connect(self._call, QtCore.Qt.ConnectionType.QueuedConnection)

    def _call(self) -> None:
        self.calls.popleft()()


_wakers: list[_Waker] = []


def to_gui() -> Post:
    """Return a post to the application's thread, for ``engine.subscribe(draw, post=to_gui())``.

    It is safe from any thread at any time. It does not know which windows there still are: `QtJobs` does.

    Raises
    ------
    GuiError
        If there is no application, or this is not its thread.
    """
    check_thread("to_gui")
    thread = QtCore.QThread.currentThread()
    waker = next((known for known in _wakers if known.thread() == thread), None)
    if waker is None:
        waker = _Waker()
        _wakers.append(waker)
    calls, emit = waker.calls, waker.posted.emit

    def post(call: Callable[[], Any]) -> None:
        calls.append(call)
        with contextlib.suppress(RuntimeError):  # the process ends, and PySide6 has deleted all there is
            emit()

    return post
