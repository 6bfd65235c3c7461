"""The contract of a backend, kept by clusters of Dask on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import far
import pytest
from dask_processes import local_cluster

from bgsim.backends import Backend, DaskBackend
from bgsim.testing.backends import BackendContract

pytest_plugins = ["clusters"]
pytestmark = pytest.mark.usefixtures("dask_errors")


class _Dask(BackendContract):
    """A cluster for all tests, whose workers begin anew where a test has ended them."""

    processes = True
    cluster: Any = None

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def _cluster(cls) -> Iterator[None]:
        with local_cluster(processes=cls.processes) as cls.cluster:
            yield

    @contextmanager
    def make_backend(self) -> Iterator[Backend]:
        far.wait_until(lambda: len(self.cluster.scheduler.workers) == 2, "two workers")
        yield DaskBackend(self.cluster.scheduler_address)


class TestDaskProcesses(_Dask):
    processes = True


class TestDaskThreads(_Dask):
    processes = False
    survives_a_lost_process = False


del _Dask, BackendContract  # pytest would collect them
