"""A check in a forked child."""

from __future__ import annotations

import os
from collections.abc import Callable


def in_child(check: Callable[[], None]) -> None:
    """Call a function in a forked child, and fail if it raises."""
    parent = os.getpid()
    try:  # a signal that came just before the fork is met in the child, too, at its first line
        child = os.fork()
        if child == 0:
            check()
            os._exit(0)
    finally:
        if os.getpid() != parent:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
