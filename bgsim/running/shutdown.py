"""The end of an engine: its jobs end or are cancelled, then its threads, then it closes what it has opened."""

from __future__ import annotations

import logging
import os
import threading
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from bgsim.errors import NoThreadError, start_thread
from bgsim.storage import MemoryStore
from bgsim.threads.locks import Thread
from bgsim.threads.signals import HOLD

if TYPE_CHECKING:
    from bgsim.job import Job
    from bgsim.running.scheduler import Scheduler

logger = logging.getLogger("bgsim.engine")

THREAD_PREFIX = "bgsim-"
"""The names of the threads that run callbacks begin so. A callback must not wait for one of them."""

CALLBACKS_S = 5.0
"""How long `close` waits for callbacks that do not return, when all jobs have ended and it is given no time-out."""

CLOSE_GRACE_S = 1.0
"""How long `close(cancel=True)` waits for kernels to stop, when it is given no time-out."""


def close(scheduler: Scheduler, *, cancel: bool, timeout_s: float | None) -> list[Job]:
    """Take no more jobs, finish or cancel the others, stop the threads; return the jobs that had not ended in time.

    From a callback, which one of these threads runs, it returns at once, and another thread does it.
    """
    if scheduler.is_forked():
        return []  # in a forked child there is nothing to close
    if threading.current_thread().name.startswith(THREAD_PREFIX):
        close_in_thread(scheduler, cancel=cancel, timeout_s=timeout_s)
        return []
    if cancel and timeout_s is None:
        timeout_s = CLOSE_GRACE_S
    bounded = timeout_s is not None
    if cancel:
        for executor in list(scheduler.executors):
            executor.shutdown(wait=False, cancel_futures=True)
    state, lifecycle = scheduler.state, scheduler.lifecycle
    with scheduler.lock:
        state.closed = state.queue.closed = True
        if cancel:
            lifecycle.cancel_all(state.now())
        else:
            lifecycle.resume_all(state.now())
    left = _wait_until_idle(scheduler, timeout_s)
    if left and not cancel:
        with scheduler.lock:
            scheduler.events.release()  # before they are cancelled: the next engine finds them in the journal
            lifecycle.cancel_all(state.now())
        _wait_until_idle(scheduler, CLOSE_GRACE_S)
    with HOLD:  # or runs that were taken would be lost, and callers wait for their jobs
        with scheduler.lock:
            idle = state.is_idle
            runs = scheduler.workers.stop()
            scheduler.timers.stop()
        task = (scheduler.workers.all[0].store, runs) if runs else None
        while task is not None:  # no worker was free for them
            task = task[0](task[1])
    (end_threads_soon if bounded else end_threads)(scheduler, idle=idle)
    return left


def close_in_thread(scheduler: Scheduler, *, cancel: bool = False, timeout_s: float | None = None) -> None:
    """Have another thread close an engine: finalizers and callbacks must not wait."""
    start_thread(Thread(close, scheduler, name="close-bgsim", cancel=cancel, timeout_s=timeout_s))


def abandon(scheduler: Scheduler) -> None:
    """Stop an engine that could not begin, and close what it has opened."""
    with scheduler.lock:
        scheduler.state.closed = scheduler.state.queue.closed = True
        scheduler.workers.stop()
        scheduler.timers.stop()
    end_threads(scheduler, idle=True)


def end_threads(scheduler: Scheduler, *, idle: bool) -> None:
    """Wait for the threads, and close what is open; done again after it was interrupted, it does the rest."""
    for worker in scheduler.workers.all:
        worker.join(None if idle else 0.0)
    scheduler.backend.close()
    scheduler.timers.join()
    with scheduler.lock:
        scheduler.events.release()
    scheduler.bus.close(CALLBACKS_S if idle else 0.0)
    if scheduler.close_store:
        scheduler.store.close()
    _open.pop(scheduler, None)


def end_threads_soon(scheduler: Scheduler, *, idle: bool) -> None:
    """Do the same, and leave it to a thread if a callback or a locked store takes longer than `CLOSE_GRACE_S`."""
    ending = Thread(end_threads, scheduler, name="close-bgsim", idle=idle)
    try:
        start_thread(ending)
    except NoThreadError:  # also when the interpreter ends
        end_threads(scheduler, idle=idle)
    else:
        ending.join(CLOSE_GRACE_S)


def _wait_until_idle(scheduler: Scheduler, timeout_s: float | None) -> list[Job]:
    """Wait until every job has ended; return those that have not by then."""
    state = scheduler.state
    if scheduler.config.immediate:
        scheduler.drive()
        timeout_s = 0
    with scheduler.lock.plain:
        state.idle.wait_for(lambda: state.is_idle, timeout_s)
        return list(state.jobs.values())


# ---- all engines of the process ----------------------------------------------------------------------

_open: dict[Scheduler, tuple[weakref.ReferenceType[Any], type, dict[str, Any]]] = {}
"""Of those whose threads have not ended: the engine, and what another one is made of when that is gone."""


def opened(scheduler: Scheduler, engine: Any) -> None:
    """Note an engine that has begun."""
    _open[scheduler] = weakref.ref(engine), type(engine), dict(vars(engine))
    if not scheduler.backend.is_here:
        _close_at_exit()  # once more: an executor whose module was imported later would wait for its processes first


def warn_of_rivals(scheduler: Scheduler) -> None:
    """Warn if another engine of this process computes for the same file."""
    for rival in rivals_of(scheduler):
        with rival.lock.plain:
            jobs = len(rival.state.jobs)
        if jobs:
            logger.warning(
                "another engine of this process is open on %s, and its %s; both compute at the same time. "
                "bgsim.engines() lists them, and close(cancel=True) ends one",
                scheduler.store.location, "job has not ended" if jobs == 1 else f"{jobs} jobs have not ended",
            )  # fmt: skip


def open_engines() -> list[Any]:
    """Return the engines whose threads have not ended, the oldest first.

    One that nobody refers to any more is another object with the same parts.
    """
    found = []
    for reference, kind, parts in filter(None, map(_open.get, _begun_here())):  # one may close meanwhile
        engine: Any = reference()
        if engine is None:
            engine = object.__new__(kind)
            engine.__dict__.update(parts)
        found.append(engine)
    return found


def _begun_here() -> list[Scheduler]:
    """Return those of this process, not those of which a fork has made copies."""
    return [scheduler for scheduler in list(_open) if not scheduler.is_forked()]


def rivals_of(scheduler: Scheduler) -> list[Scheduler]:
    """Return the engines of this process that are open, and have opened the same file."""
    if not scheduler.close_store or isinstance(scheduler.store, MemoryStore):
        return []
    path = os.path.realpath(scheduler.store.location)
    others = [other for other in _begun_here() if other is not scheduler and other.close_store]
    return [o for o in others if not o.state.closed and os.path.realpath(o.store.location) == path]


def dropped(scheduler: Scheduler) -> None:
    """Close an engine that nobody refers to any more, in another thread: it ends its jobs.

    A cell of a notebook that is run again opens its file again. Then the older engine would compute beside the newer
    one, with no name left by which to stop it. So it stops. What is finished is stored, and its jobs stay in the
    journal, where the newer one finds them interrupted.
    """
    has_rival = not scheduler.is_forked() and bool(rivals_of(scheduler))
    if has_rival and scheduler.state.jobs:
        logger.warning(
            "an engine on %s was dropped, and another one is open on the same file; its jobs stop. What they have "
            "finished is stored, and interrupted() of the other engine lists them", scheduler.store.location,
        )  # fmt: skip
    close_in_thread(scheduler, timeout_s=0.0 if has_rival else None)


def _close_all() -> None:
    for scheduler in list(_open):
        close(scheduler, cancel=True, timeout_s=None)


def _close_at_exit() -> None:
    """Close all engines when the main thread has ended, and before what was to be done at the exit until now.

    That is before the interpreter waits for other threads: one that iterates over updates would keep it waiting for
    ever. As `concurrent.futures` does, and before it, since its threads may wait for jobs.
    """
    with suppress(RuntimeError):  # the exit has begun
        threading._register_atexit(_close_all)  # type: ignore[attr-defined] # noqa: SLF001 - `atexit` comes too late


_close_at_exit()
