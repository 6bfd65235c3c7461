"""Latest wins: which member is the newest of its word, and how long a burst of them is held back."""

from __future__ import annotations

import math

from bgsim.queue.entry import Member


class Newest:
    """The newest member of each `supersede` word that is queued or running. Not for several threads at once.

    A *burst* is a row of debounced members with one word, none of which has started. It begins with its first, and
    ends when one starts or the newest leaves.
    """

    __slots__ = ("_began", "_ids")

    def __init__(self) -> None:
        self._ids: dict[str, str] = {}  # by word
        self._began: dict[str, float] = {}  # by word, of the bursts that go on

    def id_of(self, word: str | None) -> str | None:
        """Return the id of the newest member with a word."""
        return None if word is None else self._ids.get(word)

    def quiet_at(self, member: Member, now: float) -> float:
        """Return when a debounced member may start if it comes now and no newer one follows."""
        assert member.supersede is not None
        assert member.debounce_s is not None
        longest = math.inf if member.max_wait_s is None else member.max_wait_s
        return min(now + member.debounce_s, self._began.get(member.supersede, now) + longest)

    def add(self, member: Member, now: float) -> None:
        """Make a member the newest of its word, if it has one."""
        if member.supersede is not None:
            self._ids[member.supersede] = member.id
            if member.debounce_s is not None:
                self._began.setdefault(member.supersede, now)

    def started(self, member: Member) -> None:
        """Note that a member has started."""
        if member.supersede is not None and self._ids.get(member.supersede) == member.id:
            self._began.pop(member.supersede, None)

    def forget(self, member: Member) -> None:
        """Note that a member has left."""
        if member.supersede is not None and self._ids.get(member.supersede) == member.id:
            del self._ids[member.supersede]
            self._began.pop(member.supersede, None)

    def words(self) -> dict[str, str]:
        """Return the id of the newest member of each word."""
        return dict(self._ids)
