"""Waits for several futures at once, of which the engine takes note."""

from __future__ import annotations

import concurrent.futures
import sys
from typing import Any

_WAITS = (concurrent.futures.FIRST_COMPLETED, concurrent.futures.FIRST_EXCEPTION, concurrent.futures.ALL_COMPLETED)
"""`as_completed` has another word: between two futures that it yields, it does not wait."""


class NotedWaiters(list[Any]):
    """Of a job or a call: what `concurrent.futures.wait` puts there while it waits.

    The engine takes note of a wait in a worker's thread, as `Job.result` has it do; see `bgsim.running.waits`.
    """

    __slots__ = ()

    def append(self, waiter: Any) -> None:
        """Begin a wait, with the first of the futures that are waited for."""
        if not hasattr(waiter, "noted"):
            waiter.noted = None
            given = sys._getframe(1).f_locals  # noqa: SLF001 - there is no other way to all futures
            futures = given.get("fs", ())
            waits = next((future.waits for future in futures if hasattr(future, "waits")), None)
            if waits is not None and given.get("return_when") in _WAITS:
                jobs = [future for future in futures if hasattr(future, "request")]  # a call of an executor has none
                known = jobs if len(jobs) == len(futures) else ()
                waiter.noted = waits.begin("what concurrent.futures.wait was given", known, waiter.event.is_set)
        super().append(waiter)

    def remove(self, waiter: Any) -> None:
        """End it."""
        super().remove(waiter)
        wait, waiter.noted = waiter.noted, None
        if wait is not None:
            wait.end()
