"""What `EngineExecutor.map` is made of: arguments in chunks, and the results of chunks in order."""

from __future__ import annotations

import itertools
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")


def call_each(fn: Callable[..., T], chunk: list[tuple[Any, ...]]) -> tuple[list[T], BaseException | None]:
    """Call a function for each of some arguments, up to the first exception."""
    results: list[T] = []
    for args in chunk:
        try:
            results.append(fn(*args))
        except BaseException as error:
            return results, error
    return results, None


def in_chunks(calls: Iterator[tuple[Any, ...]], size: int) -> Iterator[list[tuple[Any, ...]]]:
    """Yield the arguments of calls, so many at a time."""
    while chunk := list(itertools.islice(calls, size)):
        yield chunk


def results_of(
    futures: deque[Future[tuple[list[T], BaseException | None]]],
    submissions: Iterator[Future[tuple[list[T], BaseException | None]]],
    deadline: float | None,
) -> Iterator[T]:
    """Yield the results of chunks in order, submitting one more for each that is waited for."""
    try:
        while futures:
            futures.extend(itertools.islice(submissions, 1))
            results, error = _take(futures.popleft(), deadline)
            results.reverse()
            while results:
                yield results.pop()  # and keep no reference to it
            if error is not None:
                try:
                    raise error
                finally:
                    del error  # its traceback has this frame
    finally:
        for future in futures:
            future.cancel()


def _take(future: Future[T], deadline: float | None) -> T:
    """Return a future's result, or cancel it at the deadline."""
    try:
        return future.result(None if deadline is None else deadline - time.monotonic())
    finally:
        future.cancel()
