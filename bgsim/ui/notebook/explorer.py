"""Sliders over a simulation's parameters: the newest values win, and their estimate and histogram fill in."""

from __future__ import annotations

import itertools
import math
import weakref
from typing import TYPE_CHECKING, Any

from bgsim.checks import is_integer, is_number, refused
from bgsim.errors import InvalidInputError, ParameterError, nearest, text_of
from bgsim.parameters.parameter_class import parameter_class
from bgsim.registry import find_if_named
from bgsim.tables import HasCard
from bgsim.threads.locks import Lock
from bgsim.ui import text
from bgsim.ui.notebook.job_state import Results, job_state

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bgsim.engine import Engine
    from bgsim.job import Job
    from bgsim.simulation import Simulation

DEBOUNCE_S = 0.05
"""A value that is followed by another within this time is not computed."""

STEPS = 100
"""Of a slider over floats, unless a step is given."""

_numbers = itertools.count(1)


class Slider:
    """One parameter that is varied.

    Attributes
    ----------
    name : str
    low, high, step : float or int
        Integers if both ends are.
    value : float or int
    """

    def __init__(self, name: str, ends: tuple[Any, ...], default: Any) -> None:
        if len(ends) not in (2, 3) or not all(is_number(end) and math.isfinite(end) for end in ends):
            raise refused(name, ends, "a pair (low, high) of numbers, or (low, high, step), to be a slider")
        self.name = name
        self.low, self.high = ends[:2]
        self.is_integer = all(is_integer(end) for end in ends)
        if not self.low < self.high:
            raise refused(name, ends, "a pair (low, high) with low < high, to be a slider")
        self.step = ends[2] if len(ends) == 3 else 1 if self.is_integer else _nice((self.high - self.low) / STEPS)
        if self.step <= 0:
            raise refused(name, ends, "a range with a step above 0, to be a slider")
        middle = (self.low + self.high) // 2 if self.is_integer else (self.low + self.high) / 2
        self.value = self.taken(default) if is_number(default) and not isinstance(default, bool) else middle

    def taken(self, given: float) -> float | int:
        """Return the value that the slider takes for a number."""
        inside = min(max(given, self.low), self.high)
        return round(inside) if self.is_integer else float(inside)

    def state(self) -> dict[str, Any]:
        """Return what the card says of it."""
        return {
            "name": self.name,
            "low": self.low,
            "high": self.high,
            "step": self.step,
            "value": self.value,
            "text": text.value(self.value),
        }


def _nice(step: float) -> float:
    """Return a step of 1, 2 or 5 times a power of ten that is no larger."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(factor * power for factor in (5, 2, 1) if factor * power <= step * (1 + 1e-9))


class Explorer(HasCard):
    """A simulation with sliders, as the last line of a cell; made by `explore`. Any thread may call any method.

    Attributes
    ----------
    job : Job
        The newest.
    """

    job: Job

    def __init__(
        self,
        simulation: Simulation | str,
        engine: Engine,
        fixed: Mapping[str, Any],
        *,
        replicates: int,
        seed: int,
        ranges: Mapping[str, Any],
    ) -> None:
        self.simulation = find_if_named(simulation)
        self._engine = weakref.ref(engine)
        self._options: dict[str, Any] = {"replicates": replicates, "seed": seed, "debounce_s": DEBOUNCE_S}
        self._key = f"explore-{next(_numbers)}"
        self._lock = Lock()  # guards the values of the sliders, and that a newer job is submitted later
        self._fixed = {**fixed, **{name: given for name, given in ranges.items() if not isinstance(given, tuple)}}
        defaults = _defaults(self.simulation)
        for name in ranges:
            if defaults and name not in defaults:
                raise ParameterError(
                    f"{self.simulation.name} has no parameter {name!r}{nearest(name, defaults)}", field=name
                )
        self._sliders = {
            name: Slider(name, given, self._fixed.get(name, defaults.get(name)))
            for name, given in ranges.items()
            if isinstance(given, tuple)
        }
        self._submit()

    @property
    def parameters(self) -> dict[str, Any]:
        """The values, those of the sliders included."""
        with self._lock:
            return {**self._fixed, **{s.name: s.value for s in self._sliders.values()}}

    def set(self, **values: float) -> None:
        """Move sliders, and compute; what was computed for older values is dropped.

        Raises
        ------
        ParameterError
            If there is no such slider.
        InvalidInputError
            If the simulation does not take the values.
        EngineClosedError
            If the engine takes no more jobs.
        """
        for name in values:
            if name not in self._sliders:
                raise ParameterError(f"there is no slider {name!r}{nearest(name, self._sliders)}", field=name)
        with self._lock:
            for name, given in values.items():
                self._sliders[name].value = self._sliders[name].taken(given)
        self._submit()

    def _submit(self) -> None:
        engine = self._engine()
        if engine is None:
            raise InvalidInputError("the engine is gone; keep it, or leave out engine=", field="engine")
        parameters = self.parameters
        self.job = engine.submit(
            self.simulation, parameters, priority="high", supersede=self._key, workspace=self._key, **self._options
        )

    def sliders(self) -> list[dict[str, Any]]:
        """Return what a card says of the sliders."""
        with self._lock:
            return [slider.state() for slider in self._sliders.values()]

    def __repr__(self) -> str:
        ranges = ", ".join(f"{s.name} {s.low:g} to {s.high:g}" for s in self._sliders.values())
        return f"<explorer of {self.simulation.name}: {ranges or 'no sliders'}>"


class ExplorerSource:
    """An explorer, as a card shows it."""

    def __init__(self, explorer: Explorer) -> None:
        self._explorer = explorer
        self._error = ""
        self._results = Results()
        self._kept: dict[str, Any] = {"outputs": [], "histogram": None}

    def state(self, now: float, note: str) -> dict[str, Any]:
        """Return what the card says now; results of the values before stay until there are new ones."""
        explorer = self._explorer
        state = job_state(explorer.job, note, self._results, now)
        filled = state["histogram"] is None or bool(state["histogram"]["heights"])
        if filled or not self._kept["outputs"]:
            self._kept = {"outputs": state["outputs"], "histogram": state["histogram"]}
        word = "up to date" if state["word"] == "completed" else state["word"]
        return {
            **{key: state[key] for key in ("colour", "fraction", "moving", "count", "rate", "left")},
            **self._kept,
            "kind": "explore",
            "name": explorer.simulation.short_name,
            "word": word,
            "detail": state["detail"],
            "sliders": explorer.sliders(),
            "moves": True,
            "error": self._error or state["error"],
            "note": state["note"],
            "actions": [],
            "ended": False,
        }

    def is_over(self) -> bool:
        """Tell whether nothing changes until a slider moves."""
        return self._explorer.job.moved_to.is_terminal

    def do(self, message: Mapping[str, Any]) -> None:
        """Move sliders."""
        moved = message.get("set")
        if not isinstance(moved, dict):
            return
        try:
            self._explorer.set(**moved)
            self._error = ""
        except Exception as error:  # said by the card: the front end has no other place for it
            self._error = text_of(error)


def _defaults(simulation: Simulation) -> dict[str, Any]:
    """Return the parameters by name, with their defaults; empty for a simulation that takes any."""
    found = simulation.parameters_class
    return {f.name: f.default for f in parameter_class(found).fields} if found else {}
