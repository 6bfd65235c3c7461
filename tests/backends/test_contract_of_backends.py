"""The contract of a backend, kept by threads, and by the executors that people have."""

from __future__ import annotations

import faulthandler
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from bgsim.backends import Backend, ExecutorBackend
from bgsim.backends.threads import ThreadBackend
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
    def make_executor(self) -> Any:
        return ProcessPoolExecutor(2, initializer=faulthandler.disable)  # which a fork inherits, and which prints


class TestThreadPool(_Shared):
    survives_a_lost_process = False

    def make_executor(self) -> Any:
        return ThreadPoolExecutor(2)


del _Shared, BackendContract  # pytest would collect them
