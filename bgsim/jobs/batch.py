"""Several jobs as one: submitted as the queue has room, with one progress; results in order or as they come."""

from __future__ import annotations

import concurrent.futures
import contextvars
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, Literal, SupportsIndex, overload

from bgsim.analysis.points import Point, Points
from bgsim.checks import NotPicklable, check_word, refused
from bgsim.errors import (
    EngineClosedError,
    JobTimeoutError,
    NoThreadError,
    QueueFullError,
    start_thread,
    text_of,
)
from bgsim.job import Job, JobState
from bgsim.jobs.failures import Failures
from bgsim.jobs.listed import listed
from bgsim.jobs.tabulated import Tabulated
from bgsim.parameters.parameter_class import P_co
from bgsim.tables import HasCard
from bgsim.threads.locks import Condition, Lock, Thread
from bgsim.threads.signals import HOLD, is_interrupt

if TYPE_CHECKING:
    from bgsim.bus.batch_progress import BatchProgress, BatchUpdate
    from bgsim.request import Request
    from bgsim.result import SimulationResult
    from bgsim.running.submitter import Submitter

ORDERS = ("completion", "submission")


class Batch(HasCard, Tabulated, NotPicklable, Sequence[Job[P_co]], Generic[P_co]):
    """Jobs that belong together; made by `Engine.submit_many` and `Engine.sweep`.

    A sequence of all its jobs, in the order in which they were asked for. Where the queue has no room for all, the rest
    follow as jobs end; asking for one of those waits until it is submitted. Any thread may call any method.
    """

    instead = "pickle its results(), or the ids of its jobs"

    def __init__(self, submitter: Submitter, requests: Sequence[Request]) -> None:
        self._submitter = submitter
        self._requests = requests
        self._lock = Lock()  # guards all below; nothing is submitted under it
        self._changed = Condition(self._lock.raw)
        self._jobs: list[Job[P_co]] = []
        self._ended: list[Job[P_co]] = []  # in the order of their ends
        self._feeding = False
        self._refused: Exception | None = None  # why the rest cannot be submitted
        self._watchers: list[BatchProgress] = []
        self._cancelled = False
        self._context = contextvars.copy_context()  # all jobs get it, in whatever thread they are submitted
        try:
            self._feed(may_wait=True)
        except BaseException:  # of a signal's handler: nobody gets this batch
            self._cancelled = True
            raise

    # ---- feeding -------------------------------------------------------------------------------------

    def _feed(self, *, may_wait: bool) -> None:
        """Submit while there is room; in the caller's thread, and then in those that end jobs.

        1. Two jobs end at once, in two threads: the first feeds, the second leaves it to that one.
        2. The queue is full: the next end of a job of ours, of which one at least is under way, goes on.
        3. The queue is full and none of ours is under way: a thread waits for room; that of a job's end, which may be a
           worker's or the store's, must not.
        """
        with self._lock:
            if self._feeding:
                return
            self._feeding = True
        while True:
            with self._lock:
                number = len(self._jobs)
                if number == len(self._requests) or self._cancelled or self._refused is not None:
                    self._feeding = False
                    self._tell_watchers()
                    self._changed.notify_all()
                    return
                under_way = number > len(self._ended)
            block = may_wait and not under_way
            try:
                self._submit_one(number, block=block)
            except QueueFullError as error:
                with self._lock:
                    if block:
                        self._refused = error  # an immediate engine, in which nothing is due
                    elif self._is_fed_by_another(may_wait=may_wait):
                        return
                continue  # the last of ours ended meanwhile, so no other thread would go on
            except Exception as error:  # else the batch would be waited for without end
                if is_interrupt(error):
                    self._feeding = False  # the next end of a job goes on
                    raise
                with self._lock:
                    self._refused = error
                continue
            except BaseException:
                self._feeding = False
                raise

    def _submit_one(self, number: int, *, block: bool) -> None:
        with HOLD:  # a job that is submitted is also one of ours
            job = self._context.run(self._submitter.submit, self._requests[number], block=block)
            with self._lock:
                self._jobs.append(job)
                for watcher in self._watchers:
                    watcher.add(job.id, job.request.replicates)
                self._changed.notify_all()
            job.when_done(self._job_ended)

    def _is_fed_by_another(self, *, may_wait: bool) -> bool:
        """Leave the rest to the next end of a job, or to a thread that waits for room; under the lock."""
        under_way = len(self._jobs) > len(self._ended)
        if not under_way:
            if may_wait:
                return False
            thread = Thread(self._feed, name="bgsim-batch", may_wait=True)
            try:
                start_thread(thread)
            except NoThreadError as error:
                self._refused = error
                return False
        self._feeding = False
        return True

    def _job_ended(self, job: Any) -> None:
        with self._lock:
            self._ended.append(job)
            self._changed.notify_all()
        self._feed(may_wait=False)

    # ---- a sequence ----------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._requests)

    @overload
    def __getitem__(self, index: SupportsIndex) -> Job[P_co]: ...
    @overload
    def __getitem__(self, index: slice) -> list[Job[P_co]]: ...
    def __getitem__(self, index: SupportsIndex | slice) -> Job[P_co] | list[Job[P_co]]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        position = range(len(self))[index]  # raises an IndexError, and counts from the end
        self._wait_for(lambda: len(self._jobs) > position or self._is_over(), None)
        with self._lock:
            if len(self._jobs) > position:
                return self._jobs[position]
            raise self._why_not()

    def submitted(self) -> list[Job[P_co]]:
        """Return the jobs that are submitted by now, without waiting for the others."""
        with self._lock:
            return list(self._jobs)

    def _tell_watchers(self) -> None:
        for watcher in self._watchers:
            watcher.add_no_more()
        self._watchers.clear()

    def _is_over(self) -> bool:
        return (self._cancelled or self._refused is not None) and not self._feeding

    def _why_not(self) -> Exception:
        return self._refused or EngineClosedError("the batch was cancelled before this job was submitted")

    # ---- waiting -------------------------------------------------------------------------------------

    def as_completed(
        self, *, order: Literal["completion", "submission"] = "completion", timeout_s: float | None = None
    ) -> Iterator[Job[P_co]]:
        """Yield the jobs that have ended, waiting for the others.

        Parameters
        ----------
        order : {"completion", "submission"}
        timeout_s : float, optional
            How long to wait for each.

        Raises
        ------
        TimeoutError
            If none ended in time.
        """
        check_word("order", order, ORDERS)
        for number in range(len(self)):
            if order == "submission":
                job = self[number]
                _wait(job, timeout_s)
            else:
                found = self._wait_for_end(number, timeout_s)
                if found is None:
                    return
                job = found
            yield job

    def _wait_for_end(self, number: int, timeout_s: float | None) -> Job[P_co] | None:
        """Return the job that ended after `number` others; None if fewer ever will."""
        if not self._wait_for(lambda: len(self._ended) > number or self._all_ended(), timeout_s):
            raise TimeoutError(f"no job of the batch ended within {timeout_s} s")
        with self._lock:
            if len(self._ended) > number:
                return self._ended[number]
            if self._refused is not None:
                raise self._refused
            return None

    def _all_ended(self) -> bool:
        return self._is_over() and len(self._ended) == len(self._jobs)

    def results(self) -> list[SimulationResult]:
        """Wait for all and return their results, in the order of submission; the first failure is raised."""
        return listed([job.result() for job in self.as_completed(order="submission")])

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until every job has ended, in whatever way; return whether that came in time."""
        return self._wait_for(lambda: len(self._ended) == len(self) or self._all_ended(), timeout_s)

    def _wait_for(self, reached: Callable[[], bool], timeout_s: float | None) -> bool:
        """Wait, without the lock; in an immediate engine, do what is due instead.

        Parameters
        ----------
        reached : callable
            Only reads; what it has found once stays so.

        Raises
        ------
        JobTimeoutError, DeadlockError
            If the wait would have no end.
        """
        scheduler = self._submitter.scheduler
        immediate = scheduler.config.immediate
        if immediate:
            scheduler.drive()
        with self._lock:
            if reached():
                return True
            jobs = list(self._jobs) if scheduler.waits.worker_here() is not None else []
        if immediate and timeout_s is None and not jobs:
            raise JobTimeoutError(
                "the batch has not ended, in an immediate engine, and nothing is due; advance its clock, or resume it"
            )
        if timeout_s == 0 or (immediate and not jobs):
            return False
        with scheduler.waits.during("a batch", jobs, reached), self._lock:
            return self._changed.wait_for(reached, timeout_s)

    def done(self) -> bool:
        """Tell whether every job has ended."""
        return self.wait(0)

    def cancel(self) -> None:
        """Cancel every job that has not ended, and submit no more."""
        with self._lock:
            self._cancelled = True
            jobs = list(self._jobs)
            if not self._feeding:
                self._tell_watchers()
            self._changed.notify_all()
        for job in reversed(jobs):  # those that wait come first, or each would take a place that another leaves
            job.cancel()

    def progress(self, callback: Callable[[BatchUpdate], Any] | None = None) -> BatchProgress:
        """Return all jobs as one progress, weighted by replicates: to iterate over, or to have a callback called."""
        with self._lock:
            later = [s.replicates for s in self._requests[len(self._jobs) :]]
            found = self._submitter.scheduler.bus.batch(self._jobs, callback, later=later)
            if later and not self._is_over():
                self._watchers.append(found)
            elif later:
                found.add_no_more()
            return found

    # ---- what became of them -------------------------------------------------------------------------

    def missing(self) -> list[int]:
        """Return the positions of the jobs that have no result: not ended yet, failed, cancelled, or not submitted."""
        return [number for number, job in self._numbered() if job is None or job.state is not JobState.COMPLETED]

    def failed(self) -> Failures:
        """Return why jobs failed: a dict of their errors by position, which a notebook shows with their parameters."""
        found: dict[int, BaseException] = {}
        for number, job in self._numbered():
            if job is not None and job.state is JobState.FAILED:
                error = job.exception(timeout=None)
                assert error is not None
                found[number] = error
        return Failures(found, self._points(wait=False).varied() if found else {})

    def _numbered(self) -> Iterator[tuple[int, Job[P_co] | None]]:
        jobs = self.submitted()
        return enumerate(itertools.chain(jobs, itertools.repeat(None, len(self) - len(jobs))))

    def _points(self, *, wait: bool) -> Points:
        """Return what each job has come to."""
        if not self._requests:
            raise refused("batch", self, "one with jobs")
        if wait:
            self.wait()
        first = self._requests[0]
        points = [self._point(number, job) for number, job in self._numbered()]
        own = first.precision is not None
        counts = [p.result.replicates for p in points if p.result is not None] if own else [first.replicates]
        of = first.simulation, first.key.fingerprint, first.seed, max(counts, default=0)
        return Points(*of, points, *self._varied(), has_counts=own)

    def _point(self, number: int, job: Job | None) -> Point:
        parameters = self._requests[number].parameters
        if job is None:
            return Point(parameters, "not submitted", text_of(self._refused) if self._refused else "", None)
        state, result = job.state, None
        error = job.exception(timeout=None) if state is JobState.FAILED else None
        if state is JobState.COMPLETED:
            result = job.result()
        elif not state.is_terminal and (finished := job.partial()).replicates:
            result = finished
        return Point(parameters, state.value, text_of(error) if error else "", result)

    def _varied(self) -> tuple[Mapping[str, Sequence[Any]], Mapping[str, Sequence[Any]]]:
        """Return the values of each parameter, if the points are a grid of them; and those at each point, if known."""
        return {}, {}

    def __repr__(self) -> str:
        with self._lock:
            return f"<{type(self).__name__} of {len(self)} jobs: {len(self._jobs)} submitted, {len(self._ended)} ended>"


def _wait(job: Job, timeout_s: float | None) -> None:
    """Wait for a job to end, in whatever way."""
    try:
        job.exception(timeout_s)
    except JobTimeoutError:
        raise  # an immediate engine, in which nothing is due
    except TimeoutError as error:
        if not job.done():
            raise TimeoutError(f"{job.id} did not end within {timeout_s} s") from error
    except concurrent.futures.CancelledError:
        pass
