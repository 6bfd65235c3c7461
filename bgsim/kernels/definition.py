"""What a simulation is defined by: what its kernels are made from, and what its function takes."""

from __future__ import annotations

import copyreg
import inspect
import sys
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypedDict

from bgsim.control import Control
from bgsim.errors import InvalidInputError, NotPicklableError, ParameterError
from bgsim.kernels.outputs import Output
from bgsim.parameters.parameter_class import P, fields_of
from bgsim.streams import Rng

if TYPE_CHECKING:
    from bgsim.parameters.parameter_set import ParameterSet
    from bgsim.priority import Priority, PriorityName
    from bgsim.retry import Retry

Kernel: TypeAlias = Callable[[P, Rng], object] | Callable[[P, Rng, Control], object]
"""What computes one replicate with parameters of class `P`, for checkers of types."""


class Declared(TypedDict, total=False):
    """What `bgsim.simulation` takes, for checkers of types."""

    outputs: typing.Required[Mapping[str, Any]]
    name: str | None
    version: str
    depends_on: tuple[Any, ...] | None
    compile: bool
    priority: Priority | PriorityName
    timeout_s: float | None
    group: str | None
    retry: Retry | None
    replay: Callable[[ParameterSet, Rng], Any] | None
    pairs: Sequence[tuple[str, str]]


class Definition(Protocol):
    """A simulation as its kernels see it; `bgsim.simulation.Simulation` documents the attributes."""

    name: str
    version: str
    depends_on: tuple[Any, ...] | None
    outputs: tuple[Output, ...]
    pairs: tuple[tuple[str, str], ...]
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


def reduced(simulation: Any, arguments: Mapping[str, Any]) -> Any:
    """Return what pickling keeps of a simulation: as of a function its name, or of what no name finds its arguments.

    Parameters
    ----------
    simulation : object
        With the ``__module__`` and the ``__qualname__`` of its function.
    arguments : mapping
        What it was made with; the function under ``"function"``.

    Raises
    ------
    NotPicklableError
        If another process can find neither the simulation nor its function.
    """
    module, by_value = simulation.__module__, _functions_are_kept_by_value()
    if not (by_value and (module == "__main__" or _is_kept_by_value(module))):
        name = _name_in(module, simulation.__qualname__, simulation)
        if name is not None:
            return name
    function = arguments["function"]
    found = _name_in(getattr(function, "__module__", ""), getattr(function, "__qualname__", ""), function)
    if by_value or found is not None:
        hints = None if found is not None else _resolved(simulation)
        return copyreg.__newobj__, (type(simulation),), (dict(arguments), hints)  # type: ignore[attr-defined]
    raise NotPicklableError(
        f"{simulation.name} cannot be pickled, for no name in the module {module!r} leads to it. Define it at the top "
        "of a module that the other process can import, or pickle with cloudpickle"
    )


def _resolved(simulation: Any) -> dict[str, Any]:
    """Return the annotation that counts as a class: its text finds nothing where the function is made again."""
    first = next(iter(inspect.signature(simulation.function).parameters))
    return {first: simulation.parameters_class or typing.Any}


def _name_in(module: str, qualname: str, wanted: object) -> str | None:
    """Return the name that leads to an object in a module, as pickle looks it up."""
    found: Any = sys.modules.get(module)
    names = vars(found) if found is not None else {}
    for part in qualname.split("."):
        found = getattr(found, part, None)
    if found is wanted:
        return qualname
    return next((name for name, value in list(names.items()) if value is wanted), None)


def _is_kept_by_value(module: str) -> bool:
    """Tell whether cloudpickle was told to keep a module, or a package that it is in, by value."""
    cloudpickle = sys.modules.get("cloudpickle")
    registered = cloudpickle.list_registry_pickle_by_value() if cloudpickle is not None else ()
    return any(module == name or module.startswith(f"{name}.") for name in registered)


def _functions_are_kept_by_value() -> bool:
    """Tell whether the pickler at work is cloudpickle or dill, or a copy of one; only the stack tells that."""
    frame = sys._getframe()  # noqa: SLF001 - CPython has no public name for it
    while frame is not None:
        if not {"cloudpickle", "dill"}.isdisjoint(str(frame.f_globals.get("__name__")).split(".")):
            return True
        frame = frame.f_back  # type: ignore[assignment]
    return False
