"""No SQLite under way, and no file of it open, while the process forks.

SQLite does not survive a fork: the child would believe that it has the parent's locks, could find a mutex taken by a
thread that it has not got, and may not even close what it inherited (https://www.sqlite.org/howtocorrupt.html, 2.6). So
a fork waits for those who use SQLite at the moment, closes the connections of each open store, and both sides open them
anew when they need them. To start a program with `subprocess` is no such fork.
"""

from __future__ import annotations

import concurrent.futures.thread  # noqa: F401 - see `register_at_fork` below
import gc
import logging
import os
import signal
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from threading import get_ident
from typing import Any, Protocol

from bgsim.ctrl_c import CtrlC, in_main_thread
from bgsim.errors import StoreError

logger = logging.getLogger("bgsim.storage")

PATIENCE_S = 30.0
"""A fork goes ahead after so long: whatever keeps a store that busy must not keep a program from forking."""

_POLL_S = 0.0005
_SOON_S = 0.1


class File(Protocol):
    """A store that is open."""

    path: Path

    def let_go(self) -> None:
        """Close its connections until they are needed again; nobody uses one."""


_files: weakref.WeakSet[File] = weakref.WeakSet()
_uses: dict[int, tuple[int, Path, weakref.ref[Use]]] = {}  # by its id; each change is a single step
_forking = 0  # the thread that forks
_depth = 0  # forks of that thread within its own wait, from a signal handler
_ctrl_c = CtrlC()  # held back while the main thread forks
_held = False  # it is
_forked = threading.Event()
_one_fork = threading.Lock()
_inherited: set[Path] = set()  # files that were in use when the process forked, in the child
_count = 0


class Use:
    """The use of a store's file by one thread, from when it is made to `end`; made during a fork, after that.

    Whoever is interrupted before he can end it has ended it by letting go of the object.
    """

    __slots__ = ("__weakref__",)

    def __init__(self, path: Path) -> None:
        me = get_ident()
        _uses[id(self)] = mine = me, path, weakref.ref(self)
        # 1. This thread adds itself, 2. and looks for a fork. The fork shows itself, then looks who is here: one sees
        # the other.
        while _forking and _forking != me:
            _uses.pop(id(self), None)
            if _paths(lambda thread: thread == me):  # the fork waits for this thread already
                _uses[id(self)] = mine
                return
            _forked.wait()
            _uses[id(self)] = mine

    def end(self) -> None:
        """End it; more than once does nothing."""
        _uses.pop(id(self), None)

    def __enter__(self) -> None:
        return None

    def __exit__(self, *exception: object) -> None:
        self.end()


def register(file: File) -> None:
    """Have a file let go of before each fork."""
    _files.add(file)


def count() -> int:
    """Return how often this process has come out of a fork: quicker to compare than the process's number."""
    return _count


def check(path: Path) -> None:
    """Refuse a file that this process has inherited open.

    Raises
    ------
    StoreError
    """
    if path in _inherited:
        raise StoreError(
            f"the store {path} was in use when this process forked, so it cannot be opened here; fork while it is "
            "not busy, or start processes with the method 'spawn'"
        )


def _before() -> None:
    global _forking, _depth, _held  # noqa: PLW0603
    me = get_ident()
    if _forking == me:
        _depth += 1
        return
    if in_main_thread():  # what a signal handler raises here is lost
        _ctrl_c.hold()
        _held = True
    _one_fork.acquire()
    _forked.clear()
    _forking = me
    began, collected = time.monotonic(), False
    while (busy := _paths(lambda thread: thread != me)) and time.monotonic() < began + PATIENCE_S:
        time.sleep(_POLL_S)
        if not collected and time.monotonic() > began + _SOON_S:
            gc.collect()  # what an interrupt has left in a cycle of frames is no use any more
            collected = True
    if busy:
        logger.warning("%s busy for %g s; the process forks, and the child cannot use it", _names(busy), PATIENCE_S)
    _inherited.update(busy)
    lost = [key for key, (_, _, use) in list(_uses.items()) if use() is None]
    if lost:
        gc.collect()  # a connection that was lost with its use is open until then
    for key in lost:
        _uses.pop(key, None)
    for file in list(_files):
        if file.path not in busy:
            file.let_go()


def _paths(by: Callable[[int], bool]) -> set[Path]:
    """Return the files that these threads use."""
    return {path for thread, path, use in list(_uses.values()) if by(thread) and use() is not None}


def _names(paths: set[Path]) -> str:
    return " and ".join(sorted(f"the store {path}" for path in paths)) + (" was" if len(paths) == 1 else " were")


def _let_go_ctrl_c() -> Callable[[int, Any], object] | None:
    """Let Ctrl-C through again, if this thread holds it back; return what it calls, if it has come."""
    global _held  # noqa: PLW0603
    if not (_held and in_main_thread()):
        return None
    _held = False
    return _ctrl_c.let_go()


def _after() -> None:
    global _depth  # noqa: PLW0603
    if _depth:
        _depth -= 1
        return
    _inherited.clear()
    _go_on()
    _one_fork.release()
    if _let_go_ctrl_c() is not None:
        threading.Timer(_SOON_S, _interrupt_main).start()  # a moment after the fork


def _interrupt_main() -> None:
    """Send Ctrl-C as the terminal does: `_thread.interrupt_main` would leave a main thread that sleeps asleep."""
    main = threading.main_thread().ident
    if main is not None:
        signal.pthread_kill(main, signal.SIGINT)


def _go_on() -> None:
    global _forking  # noqa: PLW0603
    _forking = 0
    _forked.set()


def _after_in_child() -> None:
    global _forked, _one_fork, _depth, _count  # noqa: PLW0603
    # Threads that are not in the child may have held the old ones.
    _forked, _one_fork = threading.Event(), threading.Lock()
    me = get_ident()
    for use, (thread, _, _) in list(_uses.items()):
        if thread != me:
            del _uses[use]
    _depth = 0
    _count += 1
    _go_on()
    _let_go_ctrl_c()  # the one that has come is the parent's


if hasattr(os, "register_at_fork"):
    # Who registers last comes first before a fork: so no lock of the standard library's is held while this one waits,
    # for which a signal handler that forks would wait for ever.
    os.register_at_fork(before=_before, after_in_parent=_after, after_in_child=_after_in_child)
