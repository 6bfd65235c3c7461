"""The end of an engine: what was asked for ends or is cancelled, then the threads, then what is open."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bgsim.job import Job
    from bgsim.running.scheduler import Scheduler

THREAD_PREFIX = "bgsim-"
"""Threads that run callbacks, which must not be waited for from a callback, have names that begin so."""

CLOSE_GRACE_S = 1.0
"""How long `close(cancel=True)` waits for kernels to let go, when it is given no time-out."""


def close(scheduler: Scheduler, *, cancel: bool, timeout_s: float | None) -> list[Job]:
    """Take no more, finish or cancel what is here, stop the threads; return the jobs that had not ended in time.

    From a callback, which one of these threads runs, it returns at once, and another thread does it.
    """
    if scheduler.is_forked():
        return []  # in a forked child there is nothing to close
    if threading.current_thread().name.startswith(THREAD_PREFIX):
        options = {"cancel": cancel, "timeout_s": timeout_s}
        threading.Thread(target=close, args=(scheduler,), kwargs=options, name="close-bgsim", daemon=True).start()
        return []
    if cancel and timeout_s is None:
        timeout_s = CLOSE_GRACE_S
    bounded = timeout_s is not None
    if cancel:
        for executor in list(scheduler.executors):
            executor.shutdown(wait=False, cancel_futures=True)
    with scheduler.lock:
        scheduler.closed = True
        scheduler.queue.close()
        if cancel:
            scheduler.runs.cancel_all()
        else:
            scheduler.runs.let_go_on()
    left = _wait_until_idle(scheduler, timeout_s)
    if left and not cancel:
        with scheduler.lock:
            scheduler.ledger.release()  # before they are cancelled: the next engine finds them in the journal
            scheduler.runs.cancel_all()
        _wait_until_idle(scheduler, CLOSE_GRACE_S)
    with scheduler.lock:
        idle = scheduler.runs.is_idle()
        errands = scheduler.dispatch.stop()
        scheduler.timekeeper.stop()
    for errand in errands:  # no worker was free for them, and somebody may wait for those jobs
        errand()
    (end_threads_soon if bounded else end_threads)(scheduler, idle=idle)
    return left


def end_threads(scheduler: Scheduler, *, idle: bool) -> None:
    """Wait for the threads, and close what is open; done again after it was interrupted, it does the rest."""
    for worker in scheduler.dispatch.workers:
        worker.join(None if idle else 0.0)
    scheduler.timekeeper.join()
    scheduler.ledger.resolver.close(None if idle else 0.0)
    with scheduler.lock:
        scheduler.ledger.release()
    scheduler.bus.close()
    if scheduler.close_store:
        scheduler.store.close()


def end_threads_soon(scheduler: Scheduler, *, idle: bool) -> None:
    """Do the same, and leave it to a thread if a callback or a locked store keeps it for too long."""
    options = {"idle": idle}
    ending = threading.Thread(target=end_threads, args=(scheduler,), kwargs=options, name="close-bgsim", daemon=True)
    try:
        ending.start()
    except RuntimeError:  # the interpreter ends, and starts no more threads
        end_threads(scheduler, idle=idle)
    else:
        ending.join(CLOSE_GRACE_S)


def _wait_until_idle(scheduler: Scheduler, timeout_s: float | None) -> list[Job]:
    """Wait until every job has ended; return those that have not by then."""
    if scheduler.config.immediate:
        scheduler.drive()
        timeout_s = 0
    with scheduler.lock.raw:
        scheduler.runs.idle.wait_for(scheduler.runs.is_idle, timeout_s)
        return scheduler.ledger.live()
