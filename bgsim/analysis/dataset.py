"""Datasets of xarray: of one result, and of what a batch of jobs has come to."""

from __future__ import annotations

import enum
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from bgsim.analysis.extras import load
from bgsim.analysis.provenance import described, provenance
from bgsim.analysis.statistics import STATISTICS, is_numeric, quiet
from bgsim.checks import check_word, is_number
from bgsim.kernels.outputs import Output
from bgsim.parameters.fields import brief

if TYPE_CHECKING:
    import xarray
    from numpy.typing import NDArray

    from bgsim.analysis.points import Points, Result, RowsResult

KINDS = (*STATISTICS, "replicates")
"""What a dataset can have of each output."""

_Shape = tuple["int | str", ...]


@dataclass(frozen=True, slots=True)
class Variable:
    """An output, or a field of an output that is a structure: one variable of a dataset.

    Attributes
    ----------
    label : str
        ``output`` or ``output.field``.
    output : Output
    path : tuple of str
        The fields that lead to it.
    dtype : numpy.dtype
    inner : tuple of int
        The shape of the field itself, behind that of the output.
    """

    label: str
    output: Output
    path: tuple[str, ...]
    dtype: np.dtype[Any]
    inner: tuple[int, ...] = ()

    def column(self, result: Result) -> NDArray[Any]:
        """Return its column of a result."""
        column = result[self.output.name]
        for name in self.path:
            column = column[name]
        return column

    def shape(self, parameters: Mapping[str, Any]) -> tuple[int, ...]:
        """Return the shape of one replicate's value."""
        return self.output.concrete_shape(parameters) + self.inner


@dataclass(slots=True)
class Names:
    """Names of one dataset. One that is taken already gets an underscore at its end.

    Attributes
    ----------
    taken : set of str
        Of coordinates, variables and the dimensions over points and replicates.
    lengths : dict of str to int
        Of the dimensions of outputs, which outputs share.
    """

    taken: set[str]
    lengths: dict[str, int] = field(default_factory=dict)

    def claim(self, wanted: str) -> str:
        """Return a free name, and take it."""
        name = _free(wanted, self.taken)
        self.taken.add(name)
        return name

    def dimensions(self, variable: Variable, shape: tuple[int, ...]) -> list[str]:
        """Return the names of an output's dimensions: that of the parameter which gives the length, or a number."""
        found: list[str] = []
        declared: _Shape = (*variable.output.shape, *variable.inner)
        for axis, (length, size) in enumerate(zip(declared, shape, strict=True)):
            wanted = length if isinstance(length, str) else f"{variable.label}_{axis}"
            others = {name for name, known in self.lengths.items() if known != size}
            name = _free(wanted, {*self.taken, *found, *others})
            self.lengths[name] = size
            found.append(name)
        return found


def dataset_of_result(result: RowsResult) -> xarray.Dataset:
    """Return a dataset of every replicate of a result, whose arrays are those of the result."""
    names = Names({"replicate"})
    named = [(names.claim(variable.label), variable) for variable in variables_of(outputs_of(result))]
    variables = {}
    for label, variable in named:
        column = variable.column(result)
        variables[label] = (["replicate", *names.dimensions(variable, column.shape[1:])], column)
    attributes = provenance(
        result.simulation, result.fingerprint, result.seed, result.replicates, result.parameters, [result.versions]
    )
    found: xarray.Dataset = load("xarray", "to_xarray()").Dataset(variables, attrs=attributes)
    return found


def dataset_of_points(points: Points, statistic: str) -> xarray.Dataset:
    """Return a dataset over the points of a batch; see `bgsim.jobs.tabulated.Tabulated.to_xarray`."""
    xarray = load("xarray", "to_xarray()")
    check_word("statistic", statistic, KINDS)
    if statistic == "replicates":
        points.check_rows()
    over = list(points.grid) or ["point"]
    sizes = [len(values) for values in points.grid.values()] or [len(points)]
    attributes = described(points.simulation)
    varied = points.grid or points.varied()
    names = Names({*over, *varied})
    coordinates = {
        name: ([name] if points.grid else over, labels(values), attributes.get(name, {}))
        for name, values in varied.items()
    }
    for name, texts in (("state", [p.state for p in points]), ("error", [p.error for p in points])):
        coordinates[names.claim(name)] = (over, np.array(texts, object).reshape(sizes), {})
    for name, counts in points.counts.items():
        coordinates[names.claim(name)] = (over, np.reshape(counts, sizes), {})
    replicate = [names.claim("replicate")] if statistic == "replicates" else []
    variables = {}
    wanted = [v for v in variables_of(points.simulation.outputs) if replicate or is_numeric(v.dtype)]
    named = [(names.claim(variable.label), variable) for variable in wanted]
    for label, variable in named:
        cube = cube_of(points, variable, statistic)
        shape = cube.shape[1 + len(replicate) :]
        about = {} if replicate else {"long_name": f"{statistic.replace('_', ' ')} of {label}"}
        dimensions = [*over, *replicate, *names.dimensions(variable, shape)]
        variables[label] = (dimensions, cube.reshape(*sizes, *cube.shape[1:]), about)
    return xarray.Dataset(variables, coords=coordinates, attrs=_attributes(points, statistic))


def outputs_of(result: RowsResult) -> list[Output]:
    """Return the outputs as the columns of a result are, with the names of lengths that its simulation declares.

    A result that was loaded from a store may have a simulation that has changed since.
    """
    declared = {output.name: output.shape for output in result.simulation.outputs}
    found = []
    for name, column in result.items():
        shape, known = column.shape[1:], declared.get(name, ())
        found.append(Output(name, column.dtype, known if len(known) == len(shape) else shape))
    return found


def variables_of(outputs: Iterable[Output]) -> Iterator[Variable]:
    """Yield a variable for each output, and for each field of one that is a structure."""
    for output in outputs:
        yield from _leaves(Variable(output.name, output, (), output.dtype))


def labels(values: Sequence[Any]) -> NDArray[Any]:
    """Return the values of a parameter as a coordinate: numbers as they are, all else as text."""
    plain = [value.name if isinstance(value, enum.Enum) else value for value in values]
    if all(is_number(v) or isinstance(v, complex) for v in plain) or all(isinstance(v, bool | np.bool_) for v in plain):
        return np.array(plain)
    return np.array([v if isinstance(v, str) else brief(v) for v in plain], dtype=str)


def _leaves(variable: Variable) -> Iterator[Variable]:
    if variable.dtype.names is None:
        yield variable
        return
    for name in variable.dtype.names:
        dtype, inner = variable.dtype[name], variable.inner
        if dtype.subdtype is not None:
            dtype, more = dtype.subdtype
            inner += more
        yield from _leaves(Variable(f"{variable.label}.{name}", variable.output, (*variable.path, name), dtype, inner))


def cube_of(points: Points, variable: Variable, statistic: str) -> NDArray[Any]:
    """Return what a variable has at each point, the points first; missing where there is no result.

    Shapes that differ between points, as where a length is swept, are filled up to the longest; so are the replicates
    of a job that has not ended.
    """
    shapes = [variable.shape(point.parameters) for point in points]
    shape = tuple(map(max, zip(*shapes, strict=True)))
    ragged = any(one != shape for one in shapes)
    ragged = ragged or (statistic == "replicates" and any(r.replicates < points.replicates for r in points.results))
    whole = not ragged and all(point.result is not None for point in points)
    of: Callable[[Result], Any] = variable.column
    if statistic == "replicates":
        dtype = variable.dtype.newbyteorder("=") if whole else with_missing(variable.dtype)
        shape = (points.replicates, *shape)
    else:
        dtype = np.dtype(np.result_type(variable.dtype, np.float64) if statistic == "mean" else np.float64)
        of = partial(_statistic, variable, statistic)
    cube: NDArray[Any] = np.empty((len(points), *shape), dtype)
    if not whole:
        cube[...] = missing_of(dtype)
    with quiet():
        for i, point in enumerate(points):
            if point.result is not None:
                found = of(point.result)
                place: Any = (i, *map(slice, np.shape(found))) if ragged else i
                cube[place] = found
    return cube


def _statistic(variable: Variable, statistic: str, result: Result) -> Any:
    return result.distribution(variable).statistic(statistic)


def with_missing(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return a dtype that holds the values of another one, and something for those that are missing."""
    return np.dtype(np.float64) if dtype.kind in "biu" else dtype.newbyteorder("=")


def missing_of(dtype: np.dtype[Any]) -> Any:
    """Return what stands for a missing value: NaN, NaT, or nothing."""
    return np.nan if dtype.kind in "fc" else np.array("NaT", dtype) if dtype.kind in "mM" else np.zeros((), dtype)


def _attributes(points: Points, statistic: str) -> dict[str, Any]:
    origin = (points.simulation, points.fingerprint, points.seed, points.replicates)
    found = provenance(*origin, points.fixed(), [result.versions for result in points.results])
    return {**found, "statistic": statistic, "points": len(points), "missing": len(points) - len(points.results)}


def _free(wanted: str, taken: Collection[str]) -> str:
    while wanted in taken:
        wanted += "_"
    return wanted
