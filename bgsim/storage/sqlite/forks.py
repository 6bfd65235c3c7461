"""No SQLite call under way, and no store's file open, while the process forks.

SQLite does not survive a fork: the child would believe that it has the parent's locks, could find a mutex taken by a
thread that it does not have, and may not even close what it inherited (https://www.sqlite.org/howtocorrupt.html, 2.6).
So a fork waits for the threads that use SQLite, closes the connections of each open store, and both sides open them
anew when they need them. `subprocess` does not fork in this sense.
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
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import get_ident
from typing import Protocol

from bgsim.errors import StoreError
from bgsim.threads.signals import hold, in_main_thread, let_go_quietly

logger = logging.getLogger("bgsim.storage")

PATIENCE_S = 30.0
"""A fork goes ahead after this time: no store, however busy, keeps a program from forking."""

_SOON_S = 0.1


class File(Protocol):
    """A store that is open."""

    path: Path

    def close_connections(self) -> None:
        """Close its connections until they are needed again; no thread uses one."""


class ForkGuard:
    """What a process knows of its forks, and of the threads that use SQLite. There is one: `GUARD`.

    Attributes
    ----------
    uses : dict of int to (int, Path, weak reference)
        Thread, file and token of each `Use`, by the token's id; one whose token is gone has ended. Each change is a
        single step.
    forking : int
        The thread that forks, 0 if none.
    count : int
        How often this process has come out of a fork, as the child: quicker to compare than the process's number.
    """

    def __init__(self) -> None:
        self.uses: dict[int, tuple[int, Path, weakref.ref[_Token]]] = {}
        self.forking = 0
        self.count = 0
        self._files: weakref.WeakSet[File] = weakref.WeakSet()
        self._busy: set[Path] = set()  # files in use when the process forks, all the same
        self._inherited: set[Path] = set()  # those of the forks that this process comes from
        self._begin_anew()

    def _begin_anew(self) -> None:
        self._turn = threading.RLock()  # held by the thread that forks
        # Told of each use that ends by being dropped, and of each that ends during a fork. Its `put` is no Python code:
        # what a signal handler raised in that, as the callback of a weak reference, would be lost.
        self.ended: SimpleQueue[object] = SimpleQueue()

    def register(self, file: File) -> None:
        """Close this file's connections before each fork."""
        self._files.add(file)

    def check(self, path: Path) -> None:
        """Refuse a file that this process has inherited open.

        Raises
        ------
        StoreError
        """
        if path in self._inherited:
            raise StoreError(
                f"the store {path} was in use when this process forked, so it cannot be opened here; fork while it is "
                "not busy, or start processes with the method 'spawn'"
            )

    def wait_for_fork(self) -> None:
        """Return when no other thread forks."""
        with self._turn:
            pass

    def paths(self, thread: int, *, others: bool = False) -> set[Path]:
        """Return the files that a thread uses, or that all others use."""
        uses = list(self.uses.values())
        return {path for user, path, token in uses if token() is not None and (user == thread) is not others}

    # ---- the hooks of a fork -------------------------------------------------------------------------

    def before(self) -> None:
        """Wait until no other thread uses SQLite, and close what is open.

        Signal handlers wait for the end of the fork: what they raise in its hooks is lost.
        """
        me = get_ident()
        if in_main_thread():
            hold()
        self._turn.acquire()
        while not self.ended.empty():
            self.ended.get()
        self.forking = me
        self._wait_for_uses(me)
        self.forget_dropped()
        busy = self._busy = self.paths(me, others=True)
        if busy:
            names = " and ".join(sorted(f"the store {path}" for path in busy))
            logger.warning(
                "%s busy for %g s; the process forks, and the child cannot use it",
                f"{names} {'was' if len(busy) == 1 else 'were'}",
                PATIENCE_S,
            )
        for file in list(self._files):
            if file.path not in busy:
                file.close_connections()

    def _wait_for_uses(self, me: int) -> None:
        # 1. A thread adds its use, 2. and looks for a fork. The fork 1. shows itself, 2. and looks for uses: one of the
        # two sees the other. A use that ends is removed first and told of then, so that no end is missed.
        deadline, soon = time.monotonic() + PATIENCE_S, _SOON_S
        while self.paths(me, others=True):
            left = deadline - time.monotonic()
            if left <= 0:
                return
            try:
                self.ended.get(timeout=min(left, soon))
            except Empty:
                gc.collect()  # an interrupt may have left a use in a cycle of frames
                soon = left

    def forget_dropped(self) -> None:
        """Close the connections that interrupted threads have dropped: each is part of a cycle of its own."""
        dropped = [key for key, (_, _, token) in list(self.uses.items()) if token() is None]
        for key in dropped:
            self.uses.pop(key, None)
        if dropped:
            gc.collect()

    def after_in_parent(self) -> None:
        """Let the other threads go on, and signals through."""
        if self.forking == get_ident():
            self.forking = 0
            self._turn.release()
        if in_main_thread():
            for number in let_go_quietly():
                threading.Timer(_SOON_S, _send_to_main, [number]).start()  # a moment after the fork

    def after_in_child(self) -> None:
        """Forget the other threads, which the child does not have."""
        me = get_ident()
        for use, (thread, _, _) in list(self.uses.items()):
            if thread != me:
                del self.uses[use]
        self._inherited |= self._busy
        self.count += 1
        self._begin_anew()
        self.forking = 0
        if in_main_thread():
            let_go_quietly()  # what has come is the parent's


class _Token:
    """Dies with its `Use`."""

    __slots__ = ("__weakref__",)


GUARD = ForkGuard()


class Use:
    """The use of a store's file by one thread, from when it is made to `end`. One made during a fork waits for it.

    A thread that is interrupted before it can end its use ends it by dropping the object.
    """

    __slots__ = ("token",)  # Python clears it after those of a subclass

    def __init__(self, path: Path) -> None:
        me = get_ident()
        self.token = token = _Token()
        GUARD.uses[id(token)] = mine = me, path, weakref.ref(token, GUARD.ended.put)
        while GUARD.forking and GUARD.forking != me:
            self.end()
            if GUARD.paths(me):  # the fork waits for this thread already
                GUARD.uses[id(token)] = mine
                return
            GUARD.wait_for_fork()
            GUARD.uses[id(token)] = mine

    def end(self) -> None:
        """End it; more than once does nothing."""
        if GUARD.uses.pop(id(self.token), None) is not None and GUARD.forking:
            GUARD.ended.put(None)

    def __enter__(self) -> None:
        return None

    def __exit__(self, *exception: object) -> None:
        self.end()


def _send_to_main(number: int) -> None:
    """Send a signal as the system does: `_thread.interrupt_main` would leave a main thread that sleeps asleep."""
    main = threading.main_thread().ident
    if main is not None:
        signal.pthread_kill(main, number)


if hasattr(os, "register_at_fork"):
    # The hook registered last is called first before a fork: so this one waits while no lock of the standard library is
    # held, for which a signal handler that forks would wait for ever.
    os.register_at_fork(before=GUARD.before, after_in_parent=GUARD.after_in_parent, after_in_child=GUARD.after_in_child)
