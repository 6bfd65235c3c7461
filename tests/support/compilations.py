"""What numba compiles while a test looks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numba.core.event as numba_events


class _Heard(numba_events.Listener):  # type: ignore[misc]
    def __init__(self, dispatchers: list[Any]) -> None:
        self._dispatchers = dispatchers

    def on_start(self, event: Any) -> None:
        self._dispatchers.append(event.data["dispatcher"])

    def on_end(self, event: Any) -> None:
        pass


@contextmanager
def compilations() -> Iterator[list[Any]]:
    """Give a list to which the dispatcher is added of each function and signature that numba compiles, in any thread."""
    dispatchers: list[Any] = []
    with numba_events.install_listener("numba:compile", _Heard(dispatchers)):
        yield dispatchers
