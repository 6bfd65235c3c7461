"""The declared outputs of a simulation, and the check of what its function returns against them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bgsim.checks import is_integer
from bgsim.errors import OutputError, ParameterError

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Output:
    """One declared output of a simulation: a column of the result.

    Attributes
    ----------
    name : str
    dtype : numpy.dtype
    shape : tuple of int or str
        Of one replicate's value; a string names an integer parameter. Empty for a scalar.
    """

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int | str, ...] = ()

    def concrete_shape(self, parameters: Mapping[str, Any]) -> tuple[int, ...]:
        """Return the shape with the parameters' values in it.

        Raises
        ------
        ParameterError
            If a length names no parameter, or one that is no integer of 0 or more.
        """
        if not self.shape:
            return ()
        return tuple(
            self._length_from(parameters, length) if isinstance(length, str) else length for length in self.shape
        )

    def describe(self) -> str:
        """Return dtype and shape in words."""
        return f"{self.dtype} array of shape {_shape_text(self.shape)}" if self.shape else f"{self.dtype} scalar"

    def check_dtype(self, simulation: str, dtype: np.dtype[Any]) -> None:
        """Refuse a returned dtype that the declared one cannot hold.

        Raises
        ------
        OutputError
            Naming the output and both dtypes.
        """
        if not np.can_cast(dtype, self.dtype, "same_kind"):
            raise OutputError(
                f"output {self.name!r} of {simulation} is declared as {self.dtype}; the function returns {dtype}. "
                "Declare that, or convert what you return",
                field=self.name,
            )

    def _length_from(self, parameters: Mapping[str, Any], name: str) -> int:
        length = parameters.get(name)
        if not is_integer(length) or length < 0:
            raise ParameterError(
                f"{name!r} is a length of output {self.name!r}, so it must be an integer parameter of 0 or more; "
                f"got {length!r}",
                field=name,
                value=length,
            )
        return length


def read_outputs(simulation: str, declared: Mapping[str, Any]) -> tuple[Output, ...]:
    """Return the outputs that a mapping of name to dtype or (dtype, shape) declares.

    Raises
    ------
    OutputError
        Naming the entry.
    """
    if not isinstance(declared, Mapping) or not declared:
        raise OutputError(
            f'outputs of {simulation} must map names to dtypes, as in {{"payoff": "f8"}}; got {declared!r}',
            field="outputs",
            value=declared,
        )
    return tuple(_read_output(simulation, name, kind) for name, kind in declared.items())


def _read_output(simulation: str, name: str, kind: Any) -> Output:
    if not isinstance(name, str) or not name.isidentifier():
        raise OutputError(f"output names of {simulation} must be Python names; got {name!r}", field=str(name))
    dtype, shape = kind if isinstance(kind, tuple) and len(kind) == 2 else (kind, ())
    shape = tuple(shape) if isinstance(shape, tuple | list) else (shape,)
    try:
        dtype = np.dtype(dtype)
    except TypeError as error:
        raise OutputError(
            f"output {name!r} of {simulation} has no such dtype: {error}", field=name, value=kind
        ) from error
    if dtype.hasobject or dtype.itemsize == 0:
        raise OutputError(f"output {name!r} of {simulation} cannot be of dtype {dtype}", field=name, value=kind)
    for length in shape:
        if not isinstance(length, int | str) or (isinstance(length, int) and length < 0):
            raise OutputError(
                f"a shape is of integers and names of parameters; output {name!r} of {simulation} has {length!r}",
                field=name,
                value=kind,
            )
    return Output(name, dtype, shape)


def check_count(simulation: str, outputs: tuple[Output, ...], count: int) -> None:
    """Refuse a function that returns another number of values than it declares.

    Raises
    ------
    OutputError
        Naming the outputs.
    """
    if count != len(outputs):
        names = ", ".join(o.name for o in outputs)
        raise OutputError(
            f"{simulation} returns {count} value{'s' if count != 1 else ''} and declares {len(outputs)} "
            f"output{'s' if len(outputs) != 1 else ''} ({names}); make them agree",
            field="outputs",
        )


def put_replicate(
    simulation: str, outputs: tuple[Output, ...], columns: tuple[NDArray[Any], ...], row: int, returned: Any
) -> None:
    """Store what a plain function returned for one replicate, refusing what does not match.

    Raises
    ------
    OutputError
        Naming the output.
    """
    values = returned if isinstance(returned, tuple) else (returned,)
    check_count(simulation, outputs, len(values))
    for output, column, value in zip(outputs, columns, values, strict=True):
        found = np.asarray(value)
        output.check_dtype(simulation, found.dtype)
        if found.shape != column.shape[1:]:
            raise OutputError(
                f"output {output.name!r} of {simulation} is declared as {output.describe()} = "
                f"{_shape_text(column.shape[1:])}; the function returned {_shape_text(found.shape)}",
                field=output.name,
                value=found.shape,
            )
        column[row] = found


def _shape_text(shape: tuple[int | str, ...]) -> str:
    return f"({', '.join(map(str, shape))}{',' if len(shape) == 1 else ''})"
