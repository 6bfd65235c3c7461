"""Plain callables over an engine's workers; replaced when the executor lands."""

from __future__ import annotations

import concurrent.futures
from typing import Any


class EngineExecutor(concurrent.futures.Executor):
    """To come."""

    def __init__(self, enqueue: Any, *, priority: Any, group: str | None) -> None:
        self._enqueue = enqueue
