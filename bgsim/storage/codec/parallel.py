"""A few large pieces of work done on all cores: the coding of blocks, which does not hold Python's lock."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

from bgsim.threads.cores import cores
from bgsim.threads.locks import Lock

T = TypeVar("T")

CORES = cores()

MAX_HELPERS = 3

_END: object = object()


def for_each(function: Callable[[T], None], items: Iterable[T], *, helpers: int = min(CORES - 1, MAX_HELPERS)) -> None:
    """Call a function with every item, in the caller's thread and in threads that end with the call.

    The threads draw one item at a time. After an error no more are drawn, and it is raised when all threads have
    stopped.
    """
    if not helpers:
        for item in items:
            function(item)
        return
    lock = Lock()  # guards the iterator
    iterator = iter(items)

    def draw_until_the_end() -> None:
        nonlocal iterator
        try:
            while True:
                with lock:
                    item = next(iterator, _END)
                if item is _END:
                    return
                function(item)  # type: ignore[arg-type]
        except BaseException:
            with lock:
                iterator = iter(())
            raise

    with ThreadPoolExecutor(helpers, "bgsim-codec") as pool:
        futures: list[Future[None]] = []
        with suppress(RuntimeError):  # the interpreter ends and starts no more threads: the caller does it alone
            for _ in range(helpers):
                futures.append(pool.submit(draw_until_the_end))
        draw_until_the_end()
    for future in futures:
        future.result()
