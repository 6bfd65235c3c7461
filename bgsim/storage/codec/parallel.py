"""Doing a few large pieces of work on all cores: for blocks, whose coding leaves Python's lock alone."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from typing import TypeVar

T = TypeVar("T")

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

_MAX_HELPERS = 3


def for_each(function: Callable[[T], None], items: Iterable[T], *, helpers: int = min(CORES - 1, _MAX_HELPERS)) -> None:
    """Call a function with every item, in the caller's thread and in helpers that end with it.

    The items are drawn one at a time, by whoever is free. After an error no more are drawn, and it is raised when all
    threads have stopped.
    """
    if not helpers:
        for item in items:
            function(item)
        return
    # Guards the iterator and `errors`.
    lock = threading.Lock()
    iterator = iter(items)
    errors: list[BaseException] = []

    def work() -> None:
        try:
            while True:
                with lock:
                    if errors:
                        return
                    try:
                        item = next(iterator)
                    except StopIteration:
                        return
                function(item)
        except BaseException as error:  # raised below, in the caller's thread
            with lock:
                errors.append(error)

    threads = [threading.Thread(target=work, name="bgsim-codec", daemon=True) for _ in range(helpers)]
    started = []
    for thread in threads:
        try:
            thread.start()
        except RuntimeError:
            break  # the interpreter is ending and starts no more threads: the caller does it alone
        started.append(thread)
    work()
    for thread in started:
        thread.join()
    if errors:
        raise errors[0]
