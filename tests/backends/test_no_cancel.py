"""An executor whose futures cannot be cancelled, as Parsl's: a cancelled job ends when its chunks have come back."""

from __future__ import annotations

import concurrent.futures
import threading
from collections.abc import Callable
from typing import Any

import bgsim
from bgsim.backends import ExecutorBackend
from bgsim.testing import HANDSHAKE_S, gate, gated


class NeverCancelled(concurrent.futures.ThreadPoolExecutor):
    """Says when a second chunk waits behind the first: the greeting comes before both."""

    def __init__(self) -> None:
        super().__init__(1)
        self.has_two_chunks = threading.Event()
        self._submitted = 0

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> concurrent.futures.Future[Any]:
        future = super().submit(fn, *args, **kwargs)
        future.cancel = self._refuse  # type: ignore[method-assign]
        self._submitted += 1
        if self._submitted == 3:
            self.has_two_chunks.set()
        return future

    def _refuse(self) -> bool:
        raise NotImplementedError


def test_a_job_is_cancelled_all_the_same() -> None:
    with NeverCancelled() as executor:
        backend = ExecutorBackend(executor, bits="trust")
        with bgsim.Engine(backend=backend) as engine, gate("a") as here:
            job = engine.submit(gated, {"name": "a"}, replicates=3)
            here.wait_until_reached()
            assert executor.has_two_chunks.wait(HANDSHAKE_S)
            job.cancel()
            here.open()
            engine.drain()
            assert job.cancelled()
            assert job.status().error is None
