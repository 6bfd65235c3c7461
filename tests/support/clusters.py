"""Fixtures: clusters of Dask on this machine, and engines on them."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import far
import pytest
from dask_processes import bytes_of, local_cluster

import bgsim


class _Errors(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.found.append(f"{record.name}: {record.getMessage()}")


@pytest.fixture
def dask_errors() -> Iterator[list[str]]:
    """Fail a test in which Dask or its loop prints an error in this process; one that expects some empties the list."""
    handler = _Errors()
    loggers = [logging.getLogger(name) for name in ("distributed", "asyncio", "tornado")]
    for logger in loggers:
        logger.addHandler(handler)
    yield handler.found
    for logger in loggers:
        logger.removeHandler(handler)
    # What the scheduler says, and nothing can stop: a worker that is gone had a result that was on its way, or an order
    # was on its way to it (or was sent just before its end was known: the scheduler tries to connect for 30 s, and
    # says so in a later test); and of two clients that close at once it tells the one of the other's end.
    known = re.compile(
        r"Couldn't gather keys|Closed comm <BatchedSend"
        r"|broadcast to \S+ failed: (CommClosedError|OSError: Timed out trying to connect)"
    )
    assert not [error for error in handler.found if not known.search(error)]


@pytest.fixture(scope="session")
def _processes() -> Iterator[Any]:
    with local_cluster(processes=True) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def _threads() -> Iterator[Any]:
    with local_cluster(processes=False) as cluster:
        yield cluster


def _whole(cluster: Any) -> Any:
    far.wait_until(lambda: len(cluster.scheduler.workers) == 2, "two workers")
    return cluster


@pytest.fixture
def processes(_processes: Any) -> Any:
    """Two workers in a process each, shared by tests."""
    return _whole(_processes)


@pytest.fixture
def threads(_threads: Any) -> Any:
    """Two workers in this process, shared by tests."""
    return _whole(_threads)


@pytest.fixture(params=["processes", "threads"])
def cluster(request: pytest.FixtureRequest) -> Any:
    """Each of the two."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def client(cluster: Any) -> Iterator[Any]:
    """A client of the caller's, as many have one."""
    from distributed import Client

    with Client(cluster, set_as_default=False) as made:
        yield made


@pytest.fixture
def on(request: pytest.FixtureRequest) -> Iterator[Callable[..., bgsim.Engine]]:
    """Make an engine on a cluster, a client or an address; they are closed with the test."""
    from bgsim.backends import DaskBackend

    with ExitStack() as stack:

        def make(where: Any, *, store: Any = None, settings: Any = None, **options: Any) -> bgsim.Engine:
            address = getattr(where, "scheduler_address", where)
            engine = bgsim.Engine(store, backend=DaskBackend(address, **options), **(settings or {}))
            stack.callback(engine.close, cancel=True)
            return engine

        yield make


@pytest.fixture
def in_threads_of_this_process() -> Callable[..., dict[str, bytes]]:
    """Compute in one thread of this process; return the bytes of each output."""

    def compute(*arguments: Any, **options: Any) -> dict[str, bytes]:
        with bgsim.Engine(workers=1) as engine:
            return bytes_of(engine.submit(*arguments, **options).result())

    return compute
