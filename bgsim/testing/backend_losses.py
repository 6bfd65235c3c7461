"""The tests of processes that end while they compute, and of results that are too large to be sent."""

from __future__ import annotations

import unittest
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bgsim.engine import Engine
from bgsim.errors import ChunkTooLargeError, ReplicateError
from bgsim.job import JobState
from bgsim.testing.backend_examples import (
    WAIT_S,
    BackendMaker,
    Limit,
    Walk,
    Wide,
    assert_same,
    deadly,
    first_draw,
    leaving,
    of_one_thread,
    wait_until,
    walk,
    wide,
    wild,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bgsim.job import Job
    from bgsim.simulation import Simulation


class LossContract(BackendMaker):
    """The tests of what ends processes, or does not go through."""

    def test_a_replicate_that_kills_its_process_is_named(self, tmp_path: Path) -> None:
        """Its job fails; what else runs has the right bytes, and the engine goes on."""
        self._names(deadly)

    def test_a_replicate_that_leaves_its_process_is_named(self, tmp_path: Path) -> None:
        """As one that is killed."""
        self._names(leaving)

    def test_compiled_code_that_ends_its_process_is_named(self, tmp_path: Path) -> None:
        """As plain Python."""
        self._names(wild)

    def test_a_probe_that_ends_its_process_does_not_end_the_engine(self, tmp_path: Path) -> None:
        """Where every replicate does, the first one is named."""
        self.needs_processes()
        with self.opened() as engine:
            error = engine.submit(leaving, Limit(2.0), replicates=3).exception(WAIT_S)
            assert isinstance(error, ReplicateError)
            assert "ended the process" in str(error)

    def _names(self, kernel: Simulation[Any]) -> None:
        self.needs_processes()
        replicates, seed, below = 400, 1, 1 / 400
        killers = _killers(replicates, seed, below)
        assert killers, "no draw is below the limit; take another seed"
        other = Walk(steps=2, work=1_000)
        with self.opened() as engine:
            beside = engine.submit(walk, other, replicates=20_000, seed=9)
            job = engine.submit(kernel, Limit(below), replicates=replicates, seed=seed)
            error = job.exception(WAIT_S)
            assert isinstance(error, ReplicateError), repr(error)
            assert error.replicate in killers
            assert "ended the process" in str(error)
            assert kernel.name in str(error)
            assert_same(beside.result(WAIT_S), of_one_thread(walk, other, replicates=20_000, seed=9))
            assert_same(engine.submit(walk, replicates=50).result(WAIT_S), of_one_thread(walk, replicates=50))

    def test_a_replicate_that_is_too_large_is_refused(self, tmp_path: Path) -> None:
        """With how many bytes it has; one that fits is computed."""
        with self.opened() as engine:
            if engine.backend.is_here:
                raise unittest.SkipTest("nothing is sent")
            engine.backend.chunk_bytes = 8_000  # type: ignore[misc] # the protocol has it read-only
            error = engine.submit(wide, Wide(1001), replicates=3).exception(WAIT_S)
            assert isinstance(error, ChunkTooLargeError)
            assert "8,008 bytes" in str(error)
            assert "max_chunk_bytes" in str(error)
            assert_same(
                engine.submit(wide, Wide(1000), replicates=3).result(WAIT_S),
                of_one_thread(wide, Wide(1000), replicates=3),
            )

    # ---- for all tests -------------------------------------------------------------------------------

    @contextmanager
    def one_thread(self) -> Iterator[Engine]:
        """Open an engine with one thread, whose bytes are the right ones."""
        with Engine(workers=1) as engine:
            yield engine

    def has_begun(self, job: Job, above: float = 0.0) -> None:
        """Wait until more than a fraction of a job is done."""
        wait_until(lambda: job.status().fraction > above, f"more than {above} of {job} is done")

    def has_first_replicates(self, job: Job) -> None:
        """Wait until a job is cancelled; fail unless what it has kept are its first replicates."""
        wait_until(job.done, f"{job} has ended")
        assert job.state is JobState.CANCELLED
        found = job.partial()
        expected = of_one_thread(job.simulation, job.parameters, replicates=max(1, found.replicates), seed=job.seed)
        assert_same(found, expected)


def _killers(replicates: int, seed: int, below: float) -> set[int]:
    """Return the replicates whose first draw is below a limit."""
    draws = of_one_thread(first_draw, replicates=replicates, seed=seed)["x"]
    return {index for index, draw in enumerate(draws) if draw < below}
