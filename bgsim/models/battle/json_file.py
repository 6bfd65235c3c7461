"""Reading plain data from a file of JSON: what may be in it, before a scenario's reader looks for what should be."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bgsim.checks import is_number
from bgsim.errors import ScenarioError
from bgsim.models.files import read_text, shown
from bgsim.parameters.fields import brief

MAX_DEPTH = 50
"""How deep objects and lists may lie in each other; a scenario needs eight levels."""

_MAX_DIGITS = 30
"""Of a whole number that is kept as one; a longer one is as good as a float."""


def read_json(path: str | Path) -> Any:
    """Return what a file of JSON says.

    Raises
    ------
    ScenarioError
        If the file cannot be read, or is no JSON.
    """
    text = read_text(path)
    try:
        return json.loads(text, parse_int=_whole_number, object_pairs_hook=_object)
    except json.JSONDecodeError as error:
        raise _no_json(path, error) from error
    except RecursionError as error:
        raise _no_json(path, f"at most {MAX_DEPTH} objects and lists may lie in each other") from error
    except ScenarioError as error:  # of an object
        raise ScenarioError(f"{path}: {error}", field=error.field, value=error.value) from error


def check_plain(scenario: Any) -> None:
    """Refuse what is no plain data: half a character, data that lie too deep, objects of Python.

    Raises
    ------
    ScenarioError
        Naming the place.
    """
    waiting: list[tuple[Any, _Place]] = [(scenario, _Place())]
    while waiting:
        value, place = waiting.pop()
        if isinstance(value, str):
            _check_text(value, place)
        elif isinstance(value, Mapping | list):
            if place.depth == MAX_DEPTH:
                raise place.refusal(f"lies too deep: at most {MAX_DEPTH} objects and lists may lie in each other")
            named = isinstance(value, Mapping)
            for name in value if named else range(len(value)):
                if named:
                    _check_text(name, place)
                waiting.append((value[name], _Place(name, place, place.depth + 1)))
        elif value is not None and not isinstance(value, bool) and not is_number(value):
            raise place.refusal(f"must be an object, a list, a text, a number, true, false or null; got {brief(value)}")


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a value stands: its name or number in the object or list that holds it, and so on."""

    name: str | int = ""
    holder: _Place | None = None
    depth: int = 0

    def refusal(self, why: str) -> ScenarioError:
        steps, place = [], self
        while place.holder is not None:
            steps.append(f"[{place.name}]" if isinstance(place.name, int) else f".{shown(place.name)}")
            place = place.holder
        where = "".join(reversed(steps)).removeprefix(".")
        return ScenarioError(f"{where or 'the scenario'} {why}", field=where)


def _check_text(text: Any, place: _Place) -> None:
    if not isinstance(text, str):
        raise place.refusal(f"must have texts as names; got {brief(text)}")
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        raise place.refusal(f"must have whole characters, and half a surrogate pair is none; got {brief(text)}")


def _whole_number(digits: str) -> float:
    return int(digits) if len(digits) <= _MAX_DIGITS else float(digits)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object; what comes twice in it would be lost."""
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ScenarioError(f"an object has the entry {brief(name)} twice; leave one", field=name, value=value)
        found[name] = value
    return found


def _no_json(path: str | Path, why: object) -> ScenarioError:
    return ScenarioError(f"{path} is no JSON: {why}", field="scenario", value=str(path))
