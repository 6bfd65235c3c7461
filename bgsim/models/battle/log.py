"""The combat log of one battle, in words.

While a battle is replayed as plain Python, the kernel's `note` is a `LogWriter`; compiled it does nothing.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Sequence
from typing import Any


class Event(enum.IntEnum):
    """What a line of the log is about."""

    ENCOUNTER = 0
    INITIATIVE = 1
    ROUND = 2
    ACTION = 3
    MISS = 4
    HIT = 5
    CRITICAL = 6
    DAMAGE = 7
    REACTION = 8
    HEAL = 9
    TEMPORARY = 10
    EFFECT = 11
    ENDED = 12
    SAVE = 13
    FOCUS_SAVE = 14
    FOCUS_LOST = 15
    DOWN = 16
    DEATH = 17
    DEATH_SAVE = 18
    STABLE = 19
    RECHARGED = 20
    SURPRISED = 21
    REST = 22
    RESTED = 23
    RESULT = 24


RESULTS = {1: "The party wins", -1: "The party is beaten", 0: "Undecided"}


class CombatLog(tuple[Any, ...]):
    """What one day of battle came to, and how: the outputs, in their order, with the log as their text.

    Attributes
    ----------
    lines : tuple of str
    """

    lines: tuple[str, ...]

    def __new__(cls, outputs: Sequence[Any], lines: Sequence[str]) -> CombatLog:
        """Return the outputs with their log."""
        log = super().__new__(cls, outputs)
        log.lines = tuple(lines)
        return log

    def __str__(self) -> str:
        return "\n".join(self.lines)

    __repr__ = __str__


class LogWriter:
    """Writes what happens as lines of text; stands in for the kernel's `note`.

    Parameters
    ----------
    names : sequence of str
        Of the rows of the battle's table.
    party : int
        How many members it has; they come first.
    """

    def __init__(self, names: Sequence[str], party: int) -> None:
        self.names = names
        self.party = party
        self.lines: list[str] = []
        self._initiative: list[str] = []

    def __call__(self, event: int, creature: int, other: int, row: int, first: float, second: float) -> None:
        """Write about an event; what the arguments are depends on it, as in the kernel's calls."""
        if event == Event.INITIATIVE:
            self._initiative.append(f"{self.names[creature]} {first:g}")
            return
        if self._initiative:
            self.lines.append(f"Initiative: {', '.join(self._initiative)}")
            self._initiative = []
        if event == Event.DAMAGE:
            text = f"{first:g} damage, {second:g} left"
            if self.lines[-1].endswith(")") and self.lines[-1].startswith(f"  {self.names[creature]} "):
                self.lines[-1] += f": {text}"  # it is the hit's
            else:
                self.lines.append(f"    {self.names[other]} takes {text}")
            return
        self.lines += self._words(Event(event), creature, other, row, first, second)

    def _words(self, event: Event, creature: int, other: int, row: int, first: float, second: float) -> Iterator[str]:
        if event is Event.ENCOUNTER:
            yield from ([""] if self.lines else [])
            party, foes = ", ".join(self.names[: self.party]), ", ".join(self.names[other:row])
            yield f"Encounter {creature + 1}: {party} against {foes}"
        elif event is Event.ROUND:
            yield f"Round {creature}"
        elif event in (Event.SAVE, Event.FOCUS_SAVE):
            purpose = " for concentration" if event is Event.FOCUS_SAVE else ""
            how = "saves" if other else "fails to save"
            yield f"    {self.names[creature]} {how}{purpose} ({first:g} against {second:g})"
        elif event is Event.DEATH_SAVE:
            fate = ("wakes", "hangs on", "is stable", "dies")[other]
            yield f"  {self.names[creature]} throws {first:g} to live: {fate}"
        elif event is Event.REST:
            yield from ("", "Long rest" if creature else "Short rest")
        elif event is Event.RESULT:
            yield f"{RESULTS[other]} after {row} round{'s' if row != 1 else ''}"
        else:
            who, whom, what = map(self._name, (creature, other, row))
            yield _SAID[event].format(who=who, whom=whom, what=what, first=first, second=second)

    def _name(self, row: int) -> str:
        """Return the name of a row; an event that names no row has another number there."""
        return self.names[row] if 0 <= row < len(self.names) else ""


_SAID = {
    Event.HIT: "  {who} hits {whom} with {what} ({first:g} against {second:g})",
    Event.CRITICAL: "  {who} critically hits {whom} with {what} ({first:g} against {second:g})",
    Event.MISS: "  {who} misses {whom} with {what} ({first:g} against {second:g})",
    Event.ACTION: "  {who}: {what}",
    Event.REACTION: "  {who} reacts: {what}",
    Event.HEAL: "    {whom} gains {first:g} hit points and has {second:g}",
    Event.TEMPORARY: "    {whom} gains {first:g} temporary hit points and has {second:g}",
    Event.EFFECT: "    {whom} is under {what}",
    Event.ENDED: "    {what} ends on {who}",
    Event.RESTED: "  {who} has {first:g}",
    Event.FOCUS_LOST: "    {who} loses concentration",
    Event.DOWN: "    {who} goes down",
    Event.DEATH: "    {who} is slain",
    Event.STABLE: "    {who} is stable",
    Event.RECHARGED: "    {who} has recharged",
    Event.SURPRISED: "    {who} is surprised",
}
