"""Passes for chunks that are computed side by side, and for one that is to be alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from bgsim.threads.locks import Condition, Lock


class Turnstile:
    """Any number may be within, or one that is alone, which goes before those that come after it."""

    def __init__(self) -> None:
        self._changed = Condition(Lock().raw)
        self._within = 0
        self._waiting_alone = 0
        self._is_alone = False

    @contextmanager
    def passing(self, *, alone: bool) -> Iterator[None]:
        """Be within for the time of a block."""
        with self._changed:
            if alone:
                self._waiting_alone += 1
                self._changed.wait_for(lambda: not (self._within or self._is_alone))
                self._waiting_alone -= 1
                self._is_alone = True
            else:
                self._changed.wait_for(lambda: not (self._waiting_alone or self._is_alone))
                self._within += 1
        try:
            yield
        finally:
            with self._changed:
                if alone:
                    self._is_alone = False
                else:
                    self._within -= 1
                self._changed.notify_all()
