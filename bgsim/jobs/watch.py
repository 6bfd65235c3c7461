"""A running job, looked at now and then: what it is doing, and what is finished of its result."""

from __future__ import annotations

import asyncio
import concurrent.futures
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bgsim.checks import check_seconds, refused
from bgsim.job import Job, JobStatus
from bgsim.running.status import nothing_due
from bgsim.tables import in_short

if TYPE_CHECKING:
    from bgsim.live.estimates import Estimate
    from bgsim.live.histograms import Histogram
    from bgsim.result import SimulationResult
    from bgsim.running.scheduler import Scheduler


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A job at one moment.

    Attributes
    ----------
    job : Job
    status : JobStatus
    partial : SimulationResult
        The replicates that are finished; see `Job.partial`.
    """

    job: Job
    status: JobStatus
    partial: SimulationResult

    def estimate(self, output: str) -> Estimate:
        """Return the mean of an output, with its standard error, over the replicates of `partial`."""
        return self.job.reader.estimate(self.partial, output)

    def histogram(self, output: str, bins: int = 64) -> Histogram:
        """Return the distribution of an output over the replicates of `partial`."""
        return self.job.reader.histogram(self.partial, output, bins)

    def __repr__(self) -> str:
        return in_short("Snapshot", str(self))

    def __str__(self) -> str:
        return str(self.status)


class Watch(Iterator[Snapshot], AsyncIterator[Snapshot]):
    """Yields a job's snapshots, for ``for`` and ``async for``: one at once, and the last when the job has ended.

    Made by `Engine.watch`. One thread, or one task, iterates at a time.
    """

    def __init__(self, scheduler: Scheduler, job: Job, every_s: float) -> None:
        if not isinstance(job, Job):
            raise refused("job", job, "a job, as Engine.submit returns it")
        self._job = job
        self._every_s = check_seconds("every_s", every_s, zero=False)
        self._scheduler = scheduler
        self._next_at: float | None = None
        self._is_over = False
        self._ended: tuple[asyncio.AbstractEventLoop, asyncio.Event] | None = None  # of the loop that waited last

    def __iter__(self) -> Watch:
        return self

    def __next__(self) -> Snapshot:
        if self._is_over:
            raise StopIteration
        if self._next_at is not None and not self._job.done():
            self._wait()
        return self._look()

    def _wait(self) -> None:
        if self._scheduler.config.immediate:
            if not self._scheduler.step():
                raise nothing_due(self._job)
            return
        concurrent.futures.wait([self._job], self._left_s())

    def _left_s(self) -> float:
        assert self._next_at is not None
        return max(0.0, self._next_at - time.monotonic())

    def _look(self) -> Snapshot:
        self._is_over = self._job.done()  # before the rest is read: what comes then is the last
        self._next_at = time.monotonic() + self._every_s
        return Snapshot(self._job, self._job.status(), self._job.partial())

    def __aiter__(self) -> Watch:
        return self

    async def __anext__(self) -> Snapshot:
        if self._is_over:
            raise StopAsyncIteration
        if self._next_at is not None and not self._job.done():
            if self._scheduler.config.immediate:
                self._wait()
            else:
                await self._wait_in_loop()
        return self._look()

    async def _wait_in_loop(self) -> None:
        loop = asyncio.get_running_loop()
        if self._ended is None or self._ended[0] is not loop:
            ended = asyncio.Event()
            self._ended = loop, ended

            def tell(_: object) -> None:
                with suppress(RuntimeError):  # the loop is closed
                    loop.call_soon_threadsafe(ended.set)

            self._job.when_done(tell)
        with suppress(TimeoutError):
            await asyncio.wait_for(self._ended[1].wait(), self._left_s())
