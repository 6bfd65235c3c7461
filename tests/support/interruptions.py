"""Signals at chosen moments: one while a call of bgsim is at its n-th line, for every n, and many at random moments."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

PACKAGE = os.sep + "bgsim" + os.sep
"""In the paths of the files whose lines count."""


class Interruption(Exception):
    """What a handler raises in these tests."""


@contextmanager
def handled(handler: Callable[[int, Any], object], number: int = signal.SIGUSR1) -> Iterator[None]:
    """Have a signal call a handler."""
    before = signal.signal(number, handler)
    try:
        yield
    finally:
        signal.signal(number, before)


def send_at_line(line: int, call: Callable[[], object], number: int = signal.SIGUSR1) -> bool:
    """Call something, and send this process a signal at the n-th line of bgsim; return whether it has so many.

    The count is of lines that the calling thread runs; what the handler raises, comes out of the line.
    """
    reached = 0

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal reached
        if PACKAGE not in frame.f_code.co_filename:
            return None
        if event == "line":
            reached += 1
            if reached == line:
                sys.settrace(None)
                signal.raise_signal(number)
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(before)
    return reached >= line
