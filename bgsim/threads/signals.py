"""Signal handlers wait while the main thread does what must be neither left nor met half done.

Python calls a signal's handler in the main thread, between any two bytecodes. A handler that comes while that thread
holds a lock of bgsim would wait for itself for ever if it calls bgsim too, and leave a lock held or a change half made
if it raises, as Ctrl-C and many a handler of SIGTERM or SIGALRM do. So the locks of bgsim are `bgsim.threads.locks`:
while the main thread holds one, the handlers of all signals are replaced by one that takes a note. At the end of the
hold the user's handlers are put back, and those whose signals have come are called, in the order in which they came.

Other ways, and why they were not taken:

- A signal mask holds back nothing: another thread takes the signal, and Python calls its handler in the main thread.
- A handler that stays replaced is seen: asyncio, for one, asks whether Ctrl-C still has its default handler.
- Another thread could make each change, and the main thread wait for it: that takes two switches of threads a call.
- A reentrant lock lets the handler meet what is half changed.

The user may set any handler at any time, so each outermost hold looks at all of them: 1.5 us, and 0.7 us for each that
is set. A hold within another one, and any in another thread, costs a comparison or two. What C code has set is not
replaced (`faulthandler.register`), and `signal.siginterrupt` has to be set again after a hold.

Whatever takes long opens the holds, with `interruptibly`: a wait, what the user wrote. No lock is held then.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found] # what `signal` wraps, without its enums, which cost microseconds
import os
import threading
from collections import deque
from collections.abc import Callable
from threading import get_ident
from types import BuiltinFunctionType
from typing import Any, TypeVar

T = TypeVar("T")

main: int | None = threading.main_thread().ident
"""The thread in which Python calls signal handlers."""

_NUMBERS = tuple(sorted(_signal.valid_signals()))

# The main thread alone uses what follows. Each change is a single step, between which a handler may run.
holds: list[bool] = []  # for each hold, whether signals went through before it
are_open = False  # they go through all the same, within the holds
_handlers: dict[int, Any] = {}  # the user's, of all signals whose handlers were ever replaced
_came: deque[tuple[int, Any]] = deque()  # signals that came meanwhile, each with the frame that it came in
_times_put_back = _times_called = 0
_look: tuple[list[Any], list[int], list[Any]] = ([], [], [])
"""The handlers at the latest look, the positions of those to be replaced, and what a look finds when they are."""


# ---- holding -----------------------------------------------------------------------------------------


def hold() -> None:
    """Let the handlers of all signals wait from now on; in the main thread. For each `hold` there is a `let_go`."""
    global are_open  # noqa: PLW0603 - there is one main thread
    was, are_open = are_open, False
    if was or not holds:
        try:
            _replace()
        except BaseException:  # of a handler that was not replaced yet: nothing has begun
            are_open = was
            raise
    holds.append(was)


def let_go() -> None:
    """End a `hold`; if it was the last one, call the handlers whose signals have come, which may raise."""
    global are_open  # noqa: PLW0603
    if not holds:
        return  # in a forked child: it was another thread when this one should have begun it
    was = holds.pop()
    try:
        if holds:
            are_open = was
        else:
            _put_back()
    finally:
        if _came and (was or not holds):
            _call_handlers()


def let_go_quietly() -> list[int]:
    """End a `hold` where what a handler raises is lost; return the signals that have come, to be sent once more."""
    global are_open  # noqa: PLW0603
    if not holds:
        return []
    was = holds.pop()
    if holds and not was:
        return []
    found = [number for number, _ in _came]
    _came.clear()
    if holds:
        are_open = was
    else:
        _put_back()
    return found


def interruptibly(function: Callable[..., T], *arguments: Any) -> T:
    """Call what takes long or a user wrote, and let signals through meanwhile; those that have come, too."""
    global are_open  # noqa: PLW0603
    if get_ident() != main or not holds:
        return function(*arguments)
    was, times = are_open, _times_called
    try:
        are_open = True
        if _came:
            _call_handlers()
        return function(*arguments)
    finally:
        are_open = was
        if not was and not (type(function) is BuiltinFunctionType and times == _times_called):
            _replace()  # the function, or a handler, may have set new ones


def in_main_thread() -> bool:
    """Tell whether this is the thread in which signal handlers are called."""
    return get_ident() == main


def is_interrupt(error: BaseException) -> bool:
    """Tell whether a signal's handler raised this in the main thread, and not the code that it came in.

    It is known of what comes out of `interruptibly` within a hold: while the handlers are replaced.
    """
    return get_ident() == main and (isinstance(error, KeyboardInterrupt) or hasattr(error, _MARK))


_MARK = "_raised_by_a_signal_handler"


# ---- the handlers ------------------------------------------------------------------------------------


def _note(number: int, frame: Any) -> None:
    """Handle a signal while its own handler is replaced: call that, or take note of the signal."""
    if number not in [came for came, _ in list(_came)]:  # as the system, which keeps one of a kind
        _came.append((number, frame))
    if not holds:
        _put_back()  # an interrupt of `_replace` or `_put_back` has left it
        _call_handlers()
    elif are_open:
        _call_handlers()


def _call_handlers() -> None:
    """Call the handlers of the signals that have come; all of them, even if one raises."""
    global _times_called  # noqa: PLW0603
    _times_called += 1
    raised: BaseException | None = None
    while True:
        try:
            number, frame = _came.popleft()
        except IndexError:
            break
        try:
            _handlers[number](number, frame)
        except BaseException as error:
            if error.__context__ is None and error is not raised:
                error.__context__ = raised
            raised = error
    if raised is not None:
        setattr(raised, _MARK, True)
        try:
            raise raised
        finally:
            del raised  # its traceback has this frame


def _replace() -> None:
    """Replace the handlers that users have set by `_note`.

    1. A handler runs before it is replaced, and calls bgsim, which replaces all and puts all back.
    2. This sees that handlers were put back, and begins anew.
    """
    global _look  # noqa: PLW0603
    times = -1
    while times != _times_put_back:
        times = _times_put_back
        found = [*map(_signal.getsignal, _NUMBERS)]
        seen, to_replace, when_replaced = _look
        if found == when_replaced:
            return
        if found != seen:
            to_replace = [i for i, handler in enumerate(found) if callable(handler) and handler is not _note]
            _look = found, to_replace, [_note if callable(handler) else handler for handler in found]
        for i in to_replace:
            number, handler = _NUMBERS[i], found[i]
            _handlers[number] = handler
            before = _signal.signal(number, _note)
            if before is not handler and before is not _note:  # a handler has set another one since the look
                _set_anew(number, before)


def _set_anew(number: int, handler: Any) -> None:
    _handlers[number] = handler
    if not callable(handler):
        _signal.signal(number, handler)


def _put_back() -> None:
    """Put the users' handlers back, but where a new one was set meanwhile; it may be called within itself."""
    global _times_put_back  # noqa: PLW0603
    _times_put_back += 1
    for number in list(_handlers):
        if _signal.getsignal(number) is _note:
            _signal.signal(number, _handlers[number])


def _after_fork() -> None:
    """Let a forked child's main thread be the one that forked; what came is the parent's."""
    global main, are_open  # noqa: PLW0603
    _came.clear()
    if get_ident() != main:
        main = get_ident()
        holds.clear()
        are_open = False
        _put_back()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


class Hold:
    """``with HOLD:`` has signal handlers wait, for steps that belong together and take several locks."""

    __slots__ = ()

    def __enter__(self) -> None:
        if get_ident() == main:
            hold()

    def __exit__(self, *exception: object) -> None:
        if get_ident() == main:
            let_go()


HOLD = Hold()
