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
        names = self.names
        if event is Event.ENCOUNTER:
            yield from ([""] if self.lines else [])
            party, foes = ", ".join(names[: self.party]), ", ".join(names[other:row])
            yield f"Encounter {creature + 1}: {party} against {foes}"
        elif event is Event.ROUND:
            yield f"Round {creature}"
        elif event in (Event.HIT, Event.CRITICAL):
            how = "critically " if event is Event.CRITICAL else ""
            yield f"  {names[creature]} {how}hits {names[other]} with {names[row]} ({first:g} against {second:g})"
        elif event is Event.MISS:
            yield f"  {names[creature]} misses {names[other]} with {names[row]} ({first:g} against {second:g})"
        elif event is Event.ACTION:
            yield f"  {names[creature]}: {names[row]}"
        elif event is Event.REACTION:
            yield f"  {names[creature]} reacts: {names[row]}"
        elif event in (Event.HEAL, Event.TEMPORARY):
            kind = " temporary" if event is Event.TEMPORARY else ""
            yield f"    {names[other]} gains {first:g}{kind} hit points and has {second:g}"
        elif event is Event.EFFECT:
            yield f"    {names[other]} is under {names[row]}"
        elif event is Event.ENDED:
            yield f"    {names[row]} ends on {names[creature]}"
        elif event in (Event.SAVE, Event.FOCUS_SAVE):
            purpose = " for concentration" if event is Event.FOCUS_SAVE else ""
            how = "saves" if other else "fails to save"
            yield f"    {names[creature]} {how}{purpose} ({first:g} against {second:g})"
        elif event is Event.DEATH_SAVE:
            fate = ("wakes", "hangs on", "is stable", "dies")[other]
            yield f"  {names[creature]} throws {first:g} to live: {fate}"
        elif event is Event.REST:
            yield from ("", "Long rest" if creature else "Short rest")
        elif event is Event.RESTED:
            yield f"  {names[creature]} has {first:g}"
        elif event is Event.RESULT:
            yield f"{RESULTS[other]} after {row} round{'s' if row != 1 else ''}"
        else:
            said = {
                Event.FOCUS_LOST: "loses concentration",
                Event.DOWN: "goes down",
                Event.DEATH: "is slain",
                Event.STABLE: "is stable",
                Event.RECHARGED: "has recharged",
                Event.SURPRISED: "is surprised",
            }
            yield f"    {names[creature]} {said[event]}"
