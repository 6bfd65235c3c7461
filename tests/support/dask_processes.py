"""Clusters of Dask on this machine: of one object, and of processes that a test ends as it likes."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import far


class DaskProcesses:
    """Begins processes, and ends those that are left.

    Attributes
    ----------
    address : str
        Of the scheduler.
    """

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self.address = f"tcp://127.0.0.1:{self._port}"
        self._folder = folder
        self._left: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._left:
            self.kill(process)

    def scheduler(self) -> subprocess.Popen[bytes]:
        """Begin a scheduler, always at the same address."""
        return self._begin("distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", str(self._port))

    def worker(self, *options: str) -> subprocess.Popen[bytes]:
        """Begin a worker of one thread."""
        return self._begin(
            "distributed.cli.dask_worker",
            self.address,
            "--nthreads",
            "1",
            "--no-nanny",
            "--host",
            "127.0.0.1",
            *options,
        )

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        """End a process at once, and wait until it has ended."""
        process.send_signal(signal.SIGKILL)
        process.wait(30)

    def _begin(self, module: str, *arguments: str) -> subprocess.Popen[bytes]:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        with (self._folder / "dask.log").open("ab") as log:
            begun = subprocess.Popen(
                [sys.executable, "-W", "ignore", "-m", module, "--no-dashboard", *arguments],
                cwd=self._folder,
                env=environment,
                stdout=log,
                stderr=log,
            )
        self._left.append(begun)
        return begun


def local_cluster(**options: Any) -> Any:
    """Return a cluster of this machine: by default two workers of one thread."""
    import dask
    from distributed import LocalCluster

    # A cluster gives up a worker that is just beginning anew so long after it was lost for an earlier time.
    dask.config.set({"distributed.deploy.lost-worker-timeout": "1 hour"})
    return LocalCluster(
        **{"n_workers": 2, "threads_per_worker": 1, "dashboard_address": ":0", "memory_limit": 0} | options
    )


def bytes_of(result: Any) -> dict[str, bytes]:
    """Return the bytes of each output of a result."""
    return {name: column.tobytes() for name, column in result.items()}


def wait_for_workers(cluster: Any, count: int) -> None:
    """Wait until a cluster has so many workers."""
    far.wait_until(lambda: len(cluster.scheduler.workers) == count, f"{count} workers")
