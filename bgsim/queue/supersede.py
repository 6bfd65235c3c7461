"""Latest wins: which request is the newest of its word, and how long a burst of them is held back."""

from __future__ import annotations

import math

from bgsim.queue.request import SimulationRequest


class Newest:
    """The newest request of each `supersede` word that is queued or running. Not for several threads at once.

    A *burst* is a row of debounced requests with one word, none of which has started. It begins with its first, and
    ends when one starts or the newest leaves.
    """

    __slots__ = ("_began", "_ids")

    def __init__(self) -> None:
        self._ids: dict[str, str] = {}  # by word
        self._began: dict[str, float] = {}  # by word, of the bursts that go on

    def id_of(self, word: str | None) -> str | None:
        """Return the id of the newest request with a word."""
        return None if word is None else self._ids.get(word)

    def quiet_at(self, request: SimulationRequest, now: float) -> float:
        """Return when a debounced request may start if it comes now and no newer one follows."""
        assert request.supersede is not None
        assert request.debounce_s is not None
        longest = math.inf if request.max_wait_s is None else request.max_wait_s
        return min(now + request.debounce_s, self._began.get(request.supersede, now) + longest)

    def add(self, request: SimulationRequest, now: float) -> None:
        """Make a request the newest of its word, if it has one."""
        if request.supersede is not None:
            self._ids[request.supersede] = request.id
            if request.debounce_s is not None:
                self._began.setdefault(request.supersede, now)

    def started(self, request: SimulationRequest) -> None:
        """Take note that a request has started."""
        if request.supersede is not None and self._ids.get(request.supersede) == request.id:
            self._began.pop(request.supersede, None)

    def forget(self, request: SimulationRequest) -> None:
        """Take note that a request has left."""
        if request.supersede is not None and self._ids.get(request.supersede) == request.id:
            del self._ids[request.supersede]
            self._began.pop(request.supersede, None)

    def words(self) -> dict[str, str]:
        """Return the id of the newest request of each word."""
        return dict(self._ids)
