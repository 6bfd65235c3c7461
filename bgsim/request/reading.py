"""What the journal keeps of a request, made a request again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

from bgsim.errors import InvalidInputError, brief, nearest
from bgsim.parameters.nesting import read_json
from bgsim.parameters.parameter_set import ParameterSet
from bgsim.precision import Precision
from bgsim.request.request import Request
from bgsim.retry import Retry

if TYPE_CHECKING:
    from bgsim.simulation import Simulation

_T = TypeVar("_T")


def read_request(
    simulation: Simulation,
    parameters: str,
    seed: str,
    replicates: int,
    options: str,
    changes: Mapping[str, Any] | None = None,
) -> Request:
    """Return a request from the texts that the journal keeps, with changes.

    Raises
    ------
    InvalidInputError
        If the simulation no longer takes these parameters, a change is not allowed, or a text is damaged.
    """
    given = _read_options(options)
    given |= {"replicates": given.pop("precision", replicates), "parameters": None}
    allowed = [name for name, f in Request.__dataclass_fields__.items() if f.init and name != "simulation"]
    for name, value in {**given, **(changes or {})}.items():
        if name not in allowed:
            raise InvalidInputError(
                f"a job has no {brief(name)} to be changed{nearest(name, allowed)} (it has {', '.join(allowed)})",
                field=name,
                value=value,
            )
    given |= changes or {}
    if "seed" not in given:
        given["seed"] = _kept("seed", seed, int)
    if changes is None or "parameters" not in changes:  # they were constructed when they were submitted
        values = _kept("parameters", parameters, lambda text: dict(ParameterSet.values_from_json(text)))
        given["parameters"] = ParameterSet.restore(values, simulation.parameters_class)
    given["parameters"] = simulation.bind(given["parameters"])
    return Request(simulation, **given)


def _read_options(text: str) -> dict[str, Any]:
    """Return the options that the journal keeps, as arguments."""
    given: dict[str, Any] = _kept("options", text, lambda text: dict(read_json(text)))
    given.pop("seed", None)
    if "at" in given:
        given["at"] = _kept("at", given["at"], datetime.fromisoformat)
    if "retry" in given:
        given["retry"] = _kept("retry", given["retry"], Retry.from_json)
    if "precision" in given:
        given["precision"] = _kept("precision", given["precision"], Precision.from_json)
    return given


def _kept(name: str, value: Any, read: Callable[[Any], _T]) -> _T:
    """Return what is read from a value of the journal.

    Raises
    ------
    InvalidInputError
        If it is damaged.
    """
    try:
        return read(value)
    except InvalidInputError:
        raise
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
        raise InvalidInputError(
            f"{name} of the request, as the store has it, cannot be read: {error}; got {brief(value)}",
            field=name,
            value=value,
        ) from error
