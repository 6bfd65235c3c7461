"""What a simulation is defined by: what its kernels are made from, and what its function takes."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from bgsim.errors import InvalidInputError, ParameterError
from bgsim.kernels.outputs import Output
from bgsim.parameters.parameter_class import fields_of


class Definition(Protocol):
    """A simulation as its kernels see it; `bgsim.simulation.Simulation` documents the attributes."""

    name: str
    version: str
    depends_on: tuple[Any, ...] | None
    outputs: tuple[Output, ...]
    parameters_class: type | None
    function: Callable[..., Any]
    takes_control: bool


def read_depends_on(name: str, declared: Any) -> tuple[Any, ...] | None:
    """Return what an author has declared with ``depends_on``.

    Raises
    ------
    InvalidInputError
        If it is no tuple.
    """
    if declared is None:
        return None
    if not isinstance(declared, tuple | list):
        raise InvalidInputError(
            f"depends_on of {name} must be a tuple of names, objects, modules and paths of files; got {declared!r}",
            field="depends_on",
            value=declared,
        )
    return tuple(declared)


def read_signature(name: str, function: Callable[..., Any]) -> tuple[type | None, bool]:
    """Return the parameter class of a function, and whether it takes the control block.

    Raises
    ------
    ParameterError
        If it takes other arguments, or its annotation is no parameter class.
    """
    arguments = list(inspect.signature(function).parameters.values())
    if len(arguments) not in (2, 3) or any(a.kind in (a.KEYWORD_ONLY, a.VAR_KEYWORD) for a in arguments):
        raise ParameterError(
            f"{name} must take (p, rng) or (p, rng, control); it takes {inspect.signature(function)}",
            field="function",
            value=function,
        )
    try:
        annotation = typing.get_type_hints(function).get(arguments[0].name)
    except NameError as error:
        raise ParameterError(
            f"{name}: the annotation of {arguments[0].name!r} cannot be resolved: {error}. "
            "Define the parameter class at module level",
            field="function",
        ) from error
    if not isinstance(annotation, type) or issubclass(annotation, Mapping) or annotation in (typing.Any, object):
        return None, len(arguments) == 3
    fields_of(annotation)  # refuses what is neither a frozen dataclass nor a NamedTuple
    return annotation, len(arguments) == 3
