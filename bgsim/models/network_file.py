"""Reading a reaction network from a file: TOML, which is ours, or SBML.

A TOML file holds what `Network` takes in Python, and the times of observation::

    times = { start = 0, stop = 50, points = 51 }  # or a list

    [species]
    A = 100
    B = 0
    E = { count = 5, fixed = true }

    [[reactions]]
    equation = "2 A -> B"
    rate = 0.001
    name = "Dimerisation"  # may be left out

In place of species and reactions ``sbml = "model.xml"`` names an SBML file beside it: SBML itself knows no times.
Unknown entries are refused by name.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

from bgsim.checks import is_double, is_integer
from bgsim.errors import InvalidInputError, ScenarioError, nearest
from bgsim.models.files import read_text
from bgsim.models.network import Network
from bgsim.models.network_sbml import read_sbml
from bgsim.parameters.fields import brief

DEFAULT_TIMES = tuple(map(float, range(51)))
"""When to look at a network from an SBML file alone: 0 to 50 in steps of 1."""

SUFFIXES = (".toml", ".xml", ".sbml")

_PARTS = ("species", "reactions", "sbml", "times")
_MAX_POINTS = 1_000_000
_MAX_DIGITS = 100
_MAX_KEYS = 10
"""Names with dots between them: what reads TOML needs the square of their number in time and memory."""

_TEXT_OR_COMMENT = re.compile(
    r'"""(?:\\.|[^\\])*?(?:"""|\\?\Z)|' r"'''.*?(?:'''|\Z)|" r'"(?:\\.|[^"\\\n])*"?|' r"'[^'\n]*'?|#[^\n]*", re.DOTALL
)
_LONG_NUMBER = re.compile(rf"\b[0-9][0-9A-Fa-f_xob]{{{_MAX_DIGITS},}}")


def read_network_file(
    path: str | Path, settings: Collection[str] = ()
) -> tuple[Network, tuple[float, ...] | None, dict[str, Any]]:
    """Return the network of a file, the times to look at it, None if it says none, and further settings.

    Parameters
    ----------
    path : path-like
        Ending in one of `SUFFIXES`.
    settings : collection of str
        Further names that a TOML file may set: fields of the parameter class that are no part of a network.

    Raises
    ------
    ScenarioError
        Naming the file, the entry, what it says and what is allowed.
    MissingExtraError
        If it is SBML and python-libsbml is not installed.
    """
    if not isinstance(path, str | Path):
        raise ScenarioError(f"a network is read from a path; got {brief(path)}", field="scenario", value=path)
    path = Path(path)
    if path.suffix not in SUFFIXES:
        raise ScenarioError(
            f"a network is read from a file that ends in {', '.join(SUFFIXES)}; got {path}",
            field="scenario",
            value=str(path),
        )
    if path.suffix != ".toml":
        return read_sbml(path), DEFAULT_TIMES, {}
    text = read_text(path)
    try:
        _check_size(text)
        return _read_entries(tomllib.loads(text), path.parent, settings)
    except tomllib.TOMLDecodeError as error:
        raise ScenarioError(f"{path} is no TOML: {error}", field="scenario", value=str(path)) from error
    except RecursionError as error:
        raise ScenarioError(
            f"{path} is no network: its lists and tables lie too deep in each other", field="scenario", value=str(path)
        ) from error
    except ScenarioError:
        raise
    except InvalidInputError as error:
        raise ScenarioError(f"{path}: {error}", field=error.field, value=error.value) from error


def _check_size(text: str) -> None:
    """Refuse numbers and dotted names that are too long to be read soon."""
    bare = _TEXT_OR_COMMENT.sub(lambda found: '""' + "\n" * found[0].count("\n"), text)  # the lines keep their numbers
    for number, line in enumerate(bare.split("\n"), 1):
        if _LONG_NUMBER.search(line):
            raise InvalidInputError(f"line {number} has a number of more than {_MAX_DIGITS} digits: {brief(line)}")
        if any(part.count(".") >= _MAX_KEYS for part in re.split(r"[,=\[\]{}]", line)):
            raise InvalidInputError(f"line {number} has a name of more than {_MAX_KEYS} parts: {brief(line)}")


def _read_entries(
    entries: dict[str, Any], folder: Path, settings: Collection[str]
) -> tuple[Network, tuple[float, ...] | None, dict[str, Any]]:
    _check_names(entries, (*_PARTS, *settings), "the file")
    if "sbml" in entries:
        for name in ("species", "reactions"):
            if name in entries:
                raise InvalidInputError(f"give either sbml or {name}", field=name, value=entries[name])
        if not isinstance(entries["sbml"], str):
            raise InvalidInputError(
                f"sbml must be the path of a file, from the folder of this one; got {brief(entries['sbml'])}",
                field="sbml",
                value=entries["sbml"],
            )
        network = read_sbml(folder / entries["sbml"])
    else:
        network = _read_network(entries)
    return network, _read_times(entries), {name: entries[name] for name in settings if name in entries}


def _read_network(entries: dict[str, Any]) -> Network:
    network = Network()
    species, reactions = entries.get("species", {}), entries.get("reactions", [])
    if not isinstance(species, dict):
        raise InvalidInputError(
            f"species must be a table [species]; got {brief(species)}", field="species", value=species
        )
    for name, entry in species.items():
        if isinstance(entry, dict):
            _check_names(entry, ("count", "fixed"), f"species.{name}")
            network.species(name, entry.get("count", 0), fixed=entry.get("fixed", False))
        else:
            network.species(name, entry)
    if not isinstance(reactions, list) or not all(isinstance(entry, dict) for entry in reactions):
        raise InvalidInputError(
            "reactions must be tables, each under [[reactions]]", field="reactions", value=reactions
        )
    for index, entry in enumerate(reactions):
        where = f"reactions[{index}]"
        _check_names(entry, ("equation", "rate", "name"), where)
        for name in ("equation", "rate"):
            if name not in entry:
                raise InvalidInputError(f"{where} has no {name!r}", field=f"{where}.{name}")
        network.reaction(entry["equation"], entry["rate"], entry.get("name"))
    return network


def _read_times(entries: dict[str, Any]) -> tuple[float, ...] | None:
    if "times" not in entries:
        return DEFAULT_TIMES if "sbml" in entries else None
    times = entries["times"]
    if isinstance(times, dict):
        _check_names(times, ("start", "stop", "points"), "times")
        start, stop, points = (times.get(name, 0) for name in ("start", "stop", "points"))
        if _is_time(start) and _is_time(stop) and is_integer(points) and 1 <= points <= _MAX_POINTS:
            return tuple(np.linspace(float(start), float(stop), points).tolist())
    elif isinstance(times, list) and times and all(map(_is_time, times)):
        return tuple(map(float, times))
    raise InvalidInputError(
        "times must be a list of numbers, finite and 0 or more, or { start = 0, stop = 50, points = 51 } with at most "
        f"{_MAX_POINTS:,} points; got {brief(times)}",
        field="times",
        value=times,
    )


def _is_time(value: Any) -> bool:
    return is_double(value) and value >= 0


def _check_names(entry: dict[str, Any], known: Collection[str], where: str) -> None:
    for name, value in entry.items():
        if name not in known:
            raise InvalidInputError(
                f"{where} has the unknown entry {brief(name)}{nearest(name, known)} (it may have {', '.join(known)})",
                field=name,
                value=value,
            )
