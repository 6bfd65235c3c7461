"""The contract of a backend, kept by threads, and by the executors that people have."""

from __future__ import annotations

import faulthandler
import shutil
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

import bgsim
from bgsim.backends import Backend, ExecutorBackend
from bgsim.backends.threads import ThreadBackend
from bgsim.testing.backend_examples import WAIT_S, assert_same, of_one_thread, plain_walk, walk
from bgsim.testing.backends import BackendContract


class TestThreads(BackendContract):
    survives_a_lost_process = False

    @contextmanager
    def make_backend(self) -> Iterator[Backend]:
        yield ThreadBackend(2, 0.02)


class TestOwnProcesses(BackendContract):
    """Those that a backend makes when it is given no executor."""

    @contextmanager
    def make_backend(self) -> Iterator[Backend]:
        yield ExecutorBackend(workers=2)


class _Shared(BackendContract):
    """An executor for all tests, until it is broken."""

    executor: Any = None

    @contextmanager
    def make_backend(self) -> Iterator[Backend]:
        cls = type(self)
        if cls.executor is None or getattr(cls.executor, "_broken", False):
            cls.executor = self.make_executor()
        yield ExecutorBackend(cls.executor)

    def make_executor(self) -> Any:
        raise NotImplementedError

    @classmethod
    def teardown_class(cls) -> None:
        if cls.executor is not None:
            cls.executor.shutdown()


class TestProcessPool(_Shared):
    """An instance, with processes as this system starts them."""

    def make_executor(self) -> Any:
        return ProcessPoolExecutor(2, initializer=faulthandler.disable)  # which a fork inherits, and which prints


class TestThreadPool(_Shared):
    survives_a_lost_process = False

    def make_executor(self) -> Any:
        return ThreadPoolExecutor(2)


class TestLoky(BackendContract):
    """An instance, which others of the process use, too."""

    @contextmanager
    def make_backend(self) -> Iterator[Backend]:
        loky = pytest.importorskip("loky")
        yield ExecutorBackend(loky.get_reusable_executor(2, timeout=100))

    @classmethod
    def teardown_class(cls) -> None:
        pytest.importorskip("loky").get_reusable_executor(2).shutdown()


class TestLokyFunction(BackendContract):
    """A function that returns one."""

    @contextmanager
    def make_backend(self) -> Iterator[Backend]:
        loky = pytest.importorskip("loky")
        yield ExecutorBackend(lambda: loky.ProcessPoolExecutor(2), workers=2)


class TestMPI(_Shared):
    """Processes of MPI: they all end with the first one that does."""

    survives_a_lost_process = False

    def make_executor(self) -> Any:
        futures = pytest.importorskip("mpi4py.futures", exc_type=ImportError)
        if shutil.which("mpiexec") is None:  # it starts the processes, and MPI waits for ever for one that is not there
            pytest.skip("no mpiexec is in the PATH")
        return futures.MPIPoolExecutor(2)


def test_executorlib_computes_the_same_bytes() -> None:
    """Nothing is cancelled: its shutdown would wait for ever for a task that was cancelled before it began."""
    executorlib = pytest.importorskip("executorlib")
    with executorlib.SingleNodeExecutor(max_workers=2, block_allocation=True) as executor:
        backend = ExecutorBackend(executor, workers=1)
        with bgsim.Engine(backend=backend) as engine:
            for kernel in (walk, plain_walk):
                job = engine.submit(kernel, replicates=2000, seed=3)
                assert_same(job.result(WAIT_S), of_one_thread(kernel, replicates=2000, seed=3))


del _Shared, BackendContract  # pytest would collect them
