"""No SQLite under way, and no file of it open, while the process forks.

SQLite does not survive a fork: the child would believe that it has the parent's locks, could find a mutex taken by a
thread that it has not got, and may not even close what it inherited (https://www.sqlite.org/howtocorrupt.html, 2.6). So
a fork waits for those who use SQLite at the moment, closes the connections of each open store, and both sides open them
anew when they need them. To start a program with `subprocess` is no such fork.
"""

from __future__ import annotations

import logging
import os
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from threading import get_ident
from typing import Protocol

logger = logging.getLogger("bgsim.storage")

PATIENCE_S = 30.0
"""A fork goes ahead after so long: whatever keeps the store that busy must not keep a program from forking."""

_POLL_S = 0.0005


class File(Protocol):
    """A store that is open."""

    def let_go(self) -> None:
        """Close its connections until they are needed again; nobody uses one."""


_files: weakref.WeakSet[File] = weakref.WeakSet()
_using: list[int] = []  # the threads that use SQLite now; to add and to remove one is a single step
_forking = 0  # the thread that forks
_forked = threading.Event()
_one_fork = threading.Lock()
_count = 0


def register(file: File) -> None:
    """Have a file let go of before each fork."""
    _files.add(file)


def count() -> int:
    """Return how often this process has come out of a fork: quicker to compare than the process's number."""
    return _count


def enter() -> None:
    """Begin to use SQLite; where a fork is on its way, after it. For each `enter` there is a `leave`."""
    me = get_ident()
    _using.append(me)
    # 1. This thread adds itself, 2. and looks for a fork. The fork shows itself, then looks who is here: one sees the
    # other.
    while _forking and _forking != me:
        _using.remove(me)
        if me in _using:  # further out it has begun already, and the fork waits for it
            _using.append(me)
            return
        _forked.wait()
        _using.append(me)


def leave() -> None:
    """End what `enter` began."""
    _using.remove(get_ident())


@contextmanager
def using() -> Iterator[None]:
    """Use SQLite inside."""
    enter()
    try:
        yield
    finally:
        leave()


def _before() -> None:
    global _forking  # noqa: PLW0603
    _one_fork.acquire()
    me = get_ident()
    _forked.clear()
    _forking = me
    deadline = time.monotonic() + PATIENCE_S
    while any(thread != me for thread in list(_using)):
        if time.monotonic() > deadline:
            logger.warning("a store was busy for %g s; the process forks, and the child must not use it", PATIENCE_S)
            return
        time.sleep(_POLL_S)
    for file in list(_files):
        file.let_go()


def _after() -> None:
    global _forking  # noqa: PLW0603
    _forking = 0
    _forked.set()
    _one_fork.release()


def _after_in_child() -> None:
    global _forked, _count  # noqa: PLW0603
    _forked = threading.Event()  # a thread that is not in the child may have held the old one's lock
    _using[:] = [thread for thread in _using if thread == get_ident()]
    _count += 1
    _after()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_after, after_in_child=_after_in_child)
