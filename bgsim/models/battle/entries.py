"""Entries of a scenario, read strictly: a reader names each field that it takes, and fields left over are reported.

A rule set asks for the fields that it honours and for no others. A field that no reader takes, that changes a fight
and is not neutral, is refused by name (`refuse`) or listed in one warning (`Listing`): nothing is ignored in silence.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Mapping
from typing import Any

from bgsim.checks import is_integer, is_number
from bgsim.errors import ScenarioError, nearest, printable
from bgsim.models.dice import Formula, parse_formula
from bgsim.models.files import shown
from bgsim.parameters.fields import brief

DESCRIPTIVE = frozenset(
    {
        "id", "name", "description", "source", "notes", "results", "mode", "class", "cr", "src", "level", "tags",
        "type", "speed", "speed_fly", "displayName", "targetRole",
        "updated", "created", "updatedAt", "createdAt", "version",
    }
)  # fmt: skip
"""Entries that describe, and what the application notes about its file: no rule set takes them for a rule."""

NEUTRAL: tuple[Any, ...] = (None, [], {}, "", 0, False, "default", "is available", "entire encounter")
"""Values that an entry may have in a rule set that does not honour it, since they change nothing."""

TOO_LARGE = 1e9
"""No number of a scenario may be larger: it would be a mistake, and overflow sums."""

MAX_TEXT = 200
"""Characters of a name. The tables repeat it for each copy of a creature."""


class ScenarioWarning(UserWarning):
    """A scenario says something that its rule set does not honour."""


Leftover = Callable[[str, Any, Collection[str]], None]
"""Takes an entry that no reader took: its place, its value, the names that were asked for."""


def refuse(where: str, value: Any, asked: Collection[str]) -> None:
    """Refuse an entry that the rule set does not honour.

    Raises
    ------
    ScenarioError
        Naming it, and the nearest name that it might have been.
    """
    name = where.rpartition(".")[2]
    raise ScenarioError(
        f"unknown entry {brief(name)}{nearest(name, asked)} ({where} = {brief(value)}): these rules do not honour it; "
        "take it out, or read the scenario with rules that do",
        field=where,
        value=value,
    )


class Listing:
    """Collects what a rule set ignores, for one warning at the end."""

    def __init__(self) -> None:
        self.found: dict[str, list[str]] = {}  # name of the entry to the places that have it

    def __call__(self, where: str, value: Any, asked: Collection[str]) -> None:  # noqa: ARG002 - see `Leftover`
        """Remember an entry."""
        holder, _, name = where.rpartition(".")
        self.found.setdefault(f"{name} = {brief(value)}", []).append(holder or "the scenario")

    def warn(self, rules: str) -> None:
        """Warn once of all that was found, if anything was."""
        if not self.found:
            return
        parts = []
        for what, places in self.found.items():
            more = f" and {len(places) - 1} more" if len(places) > 1 else ""
            parts.append(f"{what} ({places[0]}{more})")
        warnings.warn(printable(f"rules={rules!r} ignores: {'; '.join(parts)}"), ScenarioWarning, stacklevel=2)


class Entry:
    """An object of the scenario with its place, and a record of what was taken out of it.

    Parameters
    ----------
    value : object
        Must be a mapping with string keys.
    where : str
        Its place, as in ``players[0].actions[1]``.
    leftover : callable
        Called for each entry that no reader took, when the entry is closed.
    """

    def __init__(self, value: Any, where: str, leftover: Leftover) -> None:
        if not isinstance(value, Mapping):
            raise ScenarioError(
                f"{where or 'the scenario'} must be an object {{...}}; got {brief(value)}", field=where, value=value
            )
        self.value: Mapping[str, Any] = value
        self.where = where
        self.leftover = leftover
        self._asked: set[str] = set()
        self._inner: dict[str, Any] = {}  # entries that it gave out, so that all readers of one share its record
        self._closed = False

    def place(self, name: str) -> str:
        """Return the place of one of its entries."""
        return f"{self.where}.{shown(name)}" if self.where else shown(name)

    def take(self, *names: str, default: Any = None) -> Any:
        """Return the value of the first of these names that is there; null counts as missing."""
        self._asked.update(names)
        for name in names:
            if self.value.get(name) is not None:
                return self.value[name]
        return default

    def text(self, name: str, default: str = "") -> str:
        """Return an entry as text, whatever it is, if it is not long."""
        value = self.take(name)
        text = value if isinstance(value, str) else "" if value is None else brief(value)
        if len(text) > MAX_TEXT:
            raise self.refusal(name, value, f"must be a text of at most {MAX_TEXT} characters")
        return text or default

    def flag(self, name: str) -> bool:
        """Return an entry that is true or false; false where it is missing."""
        value = self.take(name, default=False)
        if value is None or value == 0:
            return False
        if value is not True:
            raise self.refusal(name, value, "must be true or false")
        return True

    def integer(self, name: str, *, least: int, default: int | None = None, most: int = int(TOO_LARGE)) -> int:
        """Return an entry that is a whole number; 3.0 is one."""
        value = self.take(name, default=default)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if not is_integer(value) or not least <= value <= most:
            bound = f" and at most {most:,}" if most < TOO_LARGE else ""
            raise self.refusal(name, value, f"must be an integer of {least} or more{bound}")
        return value

    def number(self, *names: str, default: float | None = None) -> float:
        """Return an entry that is a number, by the first of its names that is there."""
        value = self.take(*names, default=default)
        name = next((n for n in names if n in self.value), names[0])
        if not is_number(value) or not abs(value) <= TOO_LARGE:
            raise self.refusal(name, value, "must be a number")
        return float(value)

    def formula(self, name: str, default: Any = None) -> Formula | None:
        """Return a dice formula, None where there is no entry and no default."""
        value = self.take(name)
        value = default if value in (None, "") else value
        return None if value is None else parse_formula(value, self.place(name))

    def required_formula(self, name: str) -> Formula:
        """Return a dice formula that must be there."""
        found = self.formula(name)
        if found is None:
            raise ScenarioError(f"{self.where} has no {name!r}", field=self.place(name))
        return found

    def choice(self, name: str, allowed: Collection[str], default: str | None = None) -> str:
        """Return an entry that is one of the allowed texts; "the" in it does not count, upper case neither."""
        value = self.take(name, default=default)
        if isinstance(value, str):
            by_key = {_key(a): a for a in allowed}
            if _key(value) in by_key:
                return by_key[_key(value)]
        hint = nearest(value, allowed) if isinstance(value, str) else ""
        raise self.refusal(name, value, f"must be one of {', '.join(map(repr, allowed))}{hint}")

    def entry(self, name: str) -> Entry | None:
        """Return the object that an entry holds, None where there is none."""
        value = self.take(name)
        if value is None:
            return None
        if name not in self._inner:
            self._inner[name] = Entry(value, self.place(name), self.leftover)
        found: Entry = self._inner[name]
        return found

    def entries(self, *names: str, least: int = 0, most: int) -> list[Entry]:
        """Return the objects of an entry that is a list, by the first of its names that is there."""
        value = self.take(*names)
        name = next((n for n in names if n in self.value), names[0])
        value = [] if value is None and not least else value
        if not isinstance(value, list) or not least <= len(value) <= most:
            wanted = "one creature or more, and " if least else ""
            raise self.refusal(name, value, f"must be a list of {wanted}at most {most} {name}")
        if name not in self._inner:
            self._inner[name] = [Entry(v, f"{self.place(name)}[{i}]", self.leftover) for i, v in enumerate(value)]
        found: list[Entry] = self._inner[name]
        return found

    def counts(self, name: str) -> dict[str, int]:
        """Return an entry that maps names to whole numbers, such as spell slots; empty where there is none."""
        inner = self.entry(name)
        if inner is None:
            return {}
        return {str(key): inner.integer(key, least=0) for key in inner.value}

    def close(self) -> None:
        """Report once each field that was not taken, unless it only describes or changes nothing."""
        if self._closed:
            return
        self._closed = True
        for name, value in self.value.items():
            if name not in self._asked and name not in DESCRIPTIVE and not is_neutral(value):
                self.leftover(self.place(str(name)), value, self._asked)

    def refusal(self, name: str, value: Any, allowed: str) -> ScenarioError:
        """Return the error for an entry whose value is not allowed."""
        place = self.place(name)
        return ScenarioError(f"{place} {allowed}; got {brief(value)}", field=place, value=value)


def is_neutral(value: Any) -> bool:
    """Tell whether a value changes nothing wherever it stands."""
    return any(value == neutral for neutral in NEUTRAL)


def _key(text: str) -> str:
    return " ".join(word for word in text.lower().split() if word != "the")
