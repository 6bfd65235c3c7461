"""What ``--set KEY=VALUE`` and ``--scenario`` give: parameters, and for a sweep the values or ranges of each."""

from __future__ import annotations

import inspect
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from bgsim.checks import normal_name
from bgsim.errors import brief
from bgsim.parameters.fields import Field, parsed
from bgsim.parameters.parameter_class import parameter_class
from bgsim.simulation import Simulation

_NUMBER = r"[-+]?(?:\d[\d_]*\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_NUMBERS = re.compile(rf"{_NUMBER}(?:,{_NUMBER})+")
_RANGE = re.compile(rf"({_NUMBER}):({_NUMBER})(?::(\w+))?")


@dataclass(slots=True)
class Settings:
    """What a sweep varies, and what it does not.

    Attributes
    ----------
    varied : dict
        Values, or for a design a range, by the name of the parameter.
    fixed : dict
        Of the others.
    """

    varied: dict[str, Any] = field(default_factory=dict)
    fixed: dict[str, Any] = field(default_factory=dict)


def parameters_of(simulation: Simulation, scenario: Path | None, rules: str | None, settings: tuple[str, ...]) -> Any:
    """Return the parameters that a scenario or settings give."""
    parameters_class = simulation.parameters_class
    if scenario is None:
        if rules is not None:
            raise click.UsageError("--rules goes with --scenario")
        known = _fields(simulation)
        return {name: _one_value(name, text, known.get(name)) for name, text in _texts(settings).items()}
    if settings:
        raise click.UsageError("give either --scenario or --set")
    if not hasattr(parameters_class, "from_file"):
        raise click.UsageError(f"{simulation.name} reads no scenario; use --set KEY=VALUE")
    from_file = parameters_class.from_file  # type: ignore[union-attr]
    if rules is None:
        return from_file(scenario)
    if "rules" not in inspect.signature(from_file).parameters:
        raise click.UsageError(f"{simulation.name} has no rule sets; leave out --rules")
    return from_file(scenario, rules=rules)


def sweep_settings(simulation: Simulation, settings: tuple[str, ...], *, design: bool) -> Settings:
    """Return the values of a grid, ``KEY=A,B,C``, or the ranges of a design, ``KEY=LOW:HIGH``; one value is fixed."""
    known, found = _fields(simulation), Settings()
    for name, text in _texts(settings).items():
        given = known.get(name)
        bounds = _RANGE.fullmatch(text.strip())
        if bounds is not None:
            found.varied[name] = _range(name, bounds, design=design)
            continue
        values = [_value(part, given) for part in _parts(name, text)]
        if len(values) == 1:
            found.fixed[name] = values[0]
        elif design:
            raise click.UsageError(f"--set {name}: a design takes one value, or a range LOW:HIGH; got {brief(text)}")
        else:
            found.varied[name] = values
    return found


def _one_value(name: str, text: str, given: Field | None) -> Any:
    """Return the value of a parameter; several numbers for one are refused, since a sweep takes these."""
    value, first = _value(text, given), _value(text.partition(",")[0], given)
    if _NUMBERS.fullmatch(text) and isinstance(value, str) and not isinstance(first, str):
        raise click.UsageError(f"--set {name}: one value, since `bgsim sweep` takes several; got {brief(text)}")
    return value


def _texts(settings: tuple[str, ...]) -> dict[str, str]:
    """Return the text of each parameter."""
    found: dict[str, str] = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals:
            raise click.UsageError(f"--set takes KEY=VALUE; got {setting!r}")
        name = normal_name(name)
        if name in found:
            raise click.UsageError(f"--set gives {name} twice")
        found[name] = text
    return found


def _fields(simulation: Simulation) -> dict[str, Field]:
    found = simulation.parameters_class
    return {f.name: f for f in parameter_class(found).fields} if found else {}


def _value(text: str, given: Field | None) -> Any:
    return parsed(text) if given is None else given.parse(text)


def _range(name: str, bounds: re.Match[str], *, design: bool) -> tuple[Any, ...]:
    """Return a range ``(low, high)`` or ``(low, high, "log")``."""
    if not design:
        raise click.UsageError(
            f"--set {name}: the range {bounds[0]} needs --design; without one, give values: "
            f"{name}={bounds[1]},{bounds[2]}"
        )
    if bounds[3] not in (None, "log"):
        raise click.UsageError(f"--set {name}: a range is LOW:HIGH or LOW:HIGH:log; got {bounds[0]}")
    ends = tuple(json.loads(text) if re.fullmatch(r"-?\d+", text) else float(text) for text in bounds.group(1, 2))
    return (*ends, "log") if bounds[3] else ends


def _parts(name: str, text: str) -> list[str]:
    """Return the values that commas part: not those in brackets, braces or double quotes."""
    parts, depth, quoted, last = [""], 0, False, ""
    for character in text:
        quoted ^= character == '"' and last != "\\"
        depth += (not quoted) * ((character in "[{(") - (character in "]})"))
        if character == "," and not quoted and depth <= 0:
            parts.append("")
        else:
            parts[-1] += character
        last = character
    parts = [part.strip() for part in parts]
    if quoted or depth:
        what = "a quote is" if quoted else "brackets are"
        raise click.UsageError(f"--set {name}: {what} not closed in {brief(text)}")
    if len(parts) == 1:
        return [text]
    if "" in parts:
        raise click.UsageError(f"--set {name} has an empty value in {brief(text)}")
    twice = {part for part in parts if parts.count(part) > 1}
    if twice:
        raise click.UsageError(f"--set {name} gives {', '.join(sorted(twice))} twice")
    return [_unquoted(part) for part in parts]


def _unquoted(part: str) -> str:
    """Return a text without the quotes that keep its commas."""
    value = parsed(part) if part.startswith('"') else part
    return value if isinstance(value, str) else part
