"""The declared outputs of a simulation, and the check of what its function returns against them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bgsim.checks import is_integer, normal_name, normal_names
from bgsim.errors import OutputError, ParameterError, brief, nearest

if TYPE_CHECKING:
    from numpy.typing import NDArray


_NUMBERS = frozenset("biufc")
"""Kinds of dtypes; an output of these takes numbers of another one, all others only their own kind."""


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

    @property
    def is_real_number(self) -> bool:
        """Whether a replicate has one real number here."""
        return not self.shape and self.dtype.kind in "biuf"

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
        if dtype is self.dtype:  # nearly always
            return
        alike = dtype.kind == self.dtype.kind and dtype.names == self.dtype.names
        if not (np.can_cast(dtype, self.dtype, "same_kind") and (alike or {dtype.kind, self.dtype.kind} <= _NUMBERS)):
            raise OutputError(
                f"output {self.name!r} of {simulation} is declared as {self.dtype}; the function returns {dtype}. "
                "Declare that, or convert what you return",
                field=self.name,
            )

    def _length_from(self, parameters: Mapping[str, Any], name: str) -> int:
        length = parameters.get(name)
        if not is_integer(length) or length < 0:
            got = f"got {length!r}" if name in parameters else f"there is none{nearest(name, parameters)}"
            raise ParameterError(
                f"{name!r} is a length of output {self.name!r}, so it must be an integer parameter of 0 or more; {got}",
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
            f'outputs of {simulation} must map names to dtypes, as in {{"payoff": "f8"}}; got {brief(declared)}',
            field="outputs",
            value=declared,
        )
    declared = normal_names("outputs", declared, OutputError)
    return tuple(_read_output(simulation, name, kind) for name, kind in declared.items())


def _read_output(simulation: str, name: str, kind: Any) -> Output:
    if not isinstance(name, str) or not name.isidentifier():
        raise OutputError(
            f"output names of {simulation} must be Python names; got {brief(name)}",
            field=name if isinstance(name, str) else brief(name),
        )
    dtype, shape = kind if isinstance(kind, tuple) and len(kind) == 2 else (kind, ())
    shape = tuple(shape) if isinstance(shape, tuple | list) else (shape,)
    shape = tuple(normal_name(length) if isinstance(length, str) else length for length in shape)
    try:
        dtype = np.dtype(dtype)
    except Exception as error:  # an object that is given may raise anything
        raise OutputError(
            f"output {name!r} of {simulation} must have a dtype of NumPy, such as 'f8', 'i8' or '?'; got {brief(kind)}",
            field=name,
            value=kind,
        ) from error
    if dtype.subdtype is not None:
        dtype, inner = dtype.subdtype
        shape += inner
    if dtype.hasobject or dtype.itemsize == 0:
        raise OutputError(f"output {name!r} of {simulation} cannot be of dtype {dtype}", field=name, value=kind)
    for length in shape:
        if not isinstance(length, int | str) or (isinstance(length, int) and length < 0):
            raise OutputError(
                f"a shape is of integers and names of parameters; output {name!r} of {simulation} has {brief(length)}",
                field=name,
                value=kind,
            )
    return Output(name, dtype, shape)


def read_pairs(simulation: str, outputs: tuple[Output, ...], declared: Any) -> tuple[tuple[str, str], ...]:
    """Return the pairs of outputs whose products a summary keeps the sum of.

    Raises
    ------
    OutputError
        Naming the pair.
    """
    if isinstance(declared, str) or not isinstance(declared, Sequence):
        raise OutputError(
            f"pairs of {simulation} must be a list of pairs of names, such as [('x', 'y')]; got {brief(declared)}",
            field="pairs",
            value=declared,
        )
    real = [output.name for output in outputs if output.is_real_number]
    found = []
    for pair in declared:
        is_pair = isinstance(pair, tuple | list) and len(pair) == 2 and all(isinstance(name, str) for name in pair)
        names = tuple(map(normal_name, pair)) if is_pair else ()
        if len(set(names)) != 2 or not set(names) <= set(real) or names in found:
            raise OutputError(
                f"a pair of {simulation} is of two outputs that are real numbers ({', '.join(real) or 'it has none'}), "
                f"each pair once; got {brief(pair)}",
                field="pairs",
                value=pair,
            )
        found.append((names[0], names[1]))
    return tuple(found)


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
        found = _as_array(simulation, output, value)
        output.check_dtype(simulation, found.dtype)
        if found.shape != column.shape[1:]:
            raise OutputError(
                f"output {output.name!r} of {simulation} is declared as {output.describe()} = "
                f"{_shape_text(column.shape[1:])}; the function returned {_shape_text(found.shape)}",
                field=output.name,
                value=found.shape,
            )
        if isinstance(value, str | bytes):
            column[row] = found
            fits = column[row] == value  # NumPy drops zeros at the end, in `found` too
        elif found.dtype == column.dtype:
            column[row], fits = found, True
        else:
            with np.errstate(all="ignore"):
                column[row] = found
            fits = _fits(column[row], found)
        if not fits:
            raise OutputError(
                f"output {output.name!r} of {simulation} is declared as {output.dtype}, which cannot hold "
                f"{brief(value)}. Declare one that can",
                field=output.name,
                value=value,
            )


def _as_array(simulation: str, output: Output, value: Any) -> NDArray[Any]:
    """Return what a function returned for an output, refusing what is no value of a NumPy dtype."""
    try:
        found = np.asarray(value)
    except Exception as error:  # an object that is returned may raise anything
        reason = brief(error)
    else:
        if found.dtype.kind != "O":
            return found
        reason = "NumPy has no dtype for it"
    raise OutputError(
        f"output {output.name!r} of {simulation} is declared as {output.describe()}; the function returned "
        f"{brief(value)}: {reason}",
        field=output.name,
        value=value,
    )


def _fits(stored: Any, given: NDArray[Any]) -> bool:
    """Tell whether a cast has kept a value: a float may be rounded, all else is equal."""
    kind = given.dtype.kind
    if given.dtype.names is not None:
        return all(_fits(stored[name], given[name]) for name in given.dtype.names)
    if stored.dtype.kind in "fc":
        return not np.any(np.isinf(stored) & np.isfinite(given))
    if kind in "mM":
        return bool(np.all((stored == given) | np.isnat(given)))
    return bool(np.all(stored == given)) if kind != "V" else stored.tobytes() == given.tobytes()


def unlike_declared(
    outputs: tuple[Output, ...],
    parameters: Mapping[str, Any],
    columns: Mapping[str, Any],
    pairs: Sequence[tuple[str, str]] | None = None,
) -> str:
    """Say how the columns of a result differ from those that its simulation declares; empty if they do not.

    The declared dtype may have the machine's byte order: the file of a store keeps no other.

    Parameters
    ----------
    outputs : tuple of Output
    parameters : mapping of str to object
    columns : mapping of str to ndarray or TallyColumn
    pairs : sequence of (str, str), optional
        Of a summary, the outputs whose products it sums: it has a column ``"x*y"`` for each. None for rows.
    """
    if pairs is not None:
        outputs = (*outputs, *[Output(f"{x}*{y}", np.dtype(float)) for x, y in pairs])
    names = [o.name for o in outputs]
    if list(columns) != names:
        found = ", ".join([brief(name) for name in columns]) or "none"
        what = "outputs and pairs" if pairs else "outputs"
        return f"the columns are {found}, and the declared {what} {', '.join(map(repr, names))}"
    lengths = set()
    for output, column in zip(outputs, columns.values(), strict=True):
        if isinstance(column, np.ndarray) is not (pairs is None) or column.ndim == 0:
            return f"column {output.name!r} has no {'rows' if pairs is None else 'summary'}"
        shape = output.concrete_shape(parameters) if output.shape else ()
        dtype = column.dtype
        if column.shape[1:] != shape or (dtype != output.dtype and dtype != output.dtype.newbyteorder("=")):
            return (
                f"column {output.name!r} is of {brief(str(dtype))} {_shape_text(column.shape[1:])}, and declared as "
                f"{brief(str(output.dtype))} {_shape_text(shape)}"
            )
        lengths.add(len(column))
    if len(lengths) != 1 or 0 in lengths:
        return f"the columns have {' and '.join(map(str, sorted(lengths)))} rows"
    return ""


def flat_columns(columns: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Return the columns with one for each element of an array, ``name[i,j]``, and for each field, ``name.field``."""
    found: dict[str, NDArray[Any]] = {}
    for name, column in columns.items():
        if column.ndim > 1:
            elements = {
                f"{name}[{','.join(map(str, element))}]": column[(slice(None), *element)]
                for element in np.ndindex(column.shape[1:])
            }
            found |= flat_columns(elements)
        elif column.dtype.names is not None:
            found |= flat_columns({f"{name}.{field}": column[field] for field in column.dtype.names})
        else:
            found[name] = column
    return found


def _shape_text(shape: tuple[int | str, ...]) -> str:
    return f"({', '.join(map(str, shape))}{',' if len(shape) == 1 else ''})"
