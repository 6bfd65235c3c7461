"""What waits for something else has to wait no longer when the service closes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from bgsim.threads.locks import Lock


class Closing:
    """Whether the service closes. Any thread may call any method."""

    def __init__(self) -> None:
        self._lock = Lock()  # guards the next two; nothing is called under it
        self._calls: set[Callable[[], None]] = set()
        self._closed = False

    def close(self) -> None:
        """Let nothing wait any longer."""
        with self._lock:
            self._closed, calls = True, list(self._calls)
        for call in calls:
            call()

    async def wait(self, when_done: Callable[[Callable[[Any], object]], object], seconds: float) -> None:
        """Return when something is done, the time is over, or the service closes; no thread waits meanwhile.

        Parameters
        ----------
        when_done : callable
            ``when_done(note)`` has ``note`` called with anything, in any thread, when that is done.
        seconds : float
        """
        loop, ended = asyncio.get_running_loop(), asyncio.Event()

        def end(*_: object) -> None:
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(ended.set)

        with self._lock:
            if self._closed:
                return
            self._calls.add(end)
        try:
            when_done(end)
            with suppress(TimeoutError):
                await asyncio.wait_for(ended.wait(), seconds)
        finally:
            with self._lock:
                self._calls.discard(end)
