"""DataFrames of pandas, of what a batch of jobs has come to: a row a point, or a row a replicate."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from bgsim.analysis.dataset import Names, cube_of, labels, missing_of, variables_of, with_missing
from bgsim.analysis.extras import load
from bgsim.analysis.statistics import is_numeric
from bgsim.checks import check_word

if TYPE_CHECKING:
    import pandas
    from numpy.typing import NDArray

    from bgsim.analysis.points import Points

ROWS = ("point", "replicate")

_STATISTICS = ("mean", "standard_error", "valid")


def frame_of_points(points: Points, rows: str) -> pandas.DataFrame:
    """Return a DataFrame of the points of a batch; see `bgsim.jobs.tabulated.Tabulated.to_pandas`."""
    module = load("pandas", "to_pandas()")
    check_word("rows", rows, ROWS)
    there = np.array([point.result is not None for point in points])
    is_long = rows == "replicate"
    if is_long:
        points.check_rows()
    counts = [1 if point.result is None else point.result.replicates for point in points]
    repeats = np.array(counts if is_long else [1] * len(points))
    varied = points.varied()
    names = Names({*varied})
    about = {names.claim(name): [getattr(p, name) for p in points] for name in ("state", "error")}
    columns: dict[str, Any] = {name: np.repeat(labels(values), repeats) for name, values in varied.items()}
    if is_long:
        columns[names.claim("replicate")] = _numbers(module, there, repeats)
    for name, column in (_replicates(points, there, repeats) if is_long else _estimates(points)).items():
        columns[names.claim(name)] = column
    if not is_long:
        columns |= {names.claim(name): np.array(counts) for name, counts in points.counts.items()}
    columns |= {name: np.repeat(np.array(texts, object), repeats) for name, texts in about.items()}
    index = module.Index(np.repeat(np.arange(len(points)), repeats), name=names.claim("point"))
    found: pandas.DataFrame = module.DataFrame(columns, index=index)
    return found


def _estimates(points: Points) -> dict[str, NDArray[Any]]:
    """Return columns with a value a point: mean, standard error and valid count of each number."""
    found: dict[str, NDArray[Any]] = {}
    for variable in variables_of(points.simulation.outputs):
        if is_numeric(variable.dtype):
            cubes = {statistic: cube_of(points, variable, statistic) for statistic in _STATISTICS}
            cubes["valid"] = np.nan_to_num(cubes["valid"]).astype(np.int64)
            for element in np.ndindex(cubes["mean"].shape[1:]):
                label = _label(variable.label, element)
                found |= {f"{label}_{name}": cube[(slice(None), *element)] for name, cube in cubes.items()}
    return found


def _replicates(points: Points, there: NDArray[np.bool_], repeats: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
    """Return columns with a value a replicate, and one that is missing for a point without a result."""
    complete = replace(points, points=[point for point in points if point.result is not None])
    is_row, whole = np.repeat(there, repeats), bool(there.all())
    found = {}
    for variable in variables_of(points.simulation.outputs):
        cube = cube_of(complete, variable, "replicates") if len(complete) else np.empty((0, 0), variable.dtype)
        flat = cube[np.arange(cube.shape[1]) < repeats[there, np.newaxis]]
        for element in np.ndindex(flat.shape[1:]):
            values = flat[(slice(None), *element)]
            if not whole:
                dtype = with_missing(values.dtype)
                values, known = np.full(len(is_row), missing_of(dtype), dtype), values
                values[is_row] = known
            found[_label(variable.label, element)] = values
    return found


def _numbers(module: Any, there: NDArray[np.bool_], repeats: NDArray[np.int64]) -> Any:
    """Return the index of each row's replicate: none of a point without a result."""
    numbers = np.concatenate([np.arange(count) for count in repeats])
    return numbers if there.all() else module.arrays.IntegerArray(numbers, ~np.repeat(there, repeats))


def _label(name: str, element: tuple[int, ...]) -> str:
    return f"{name}[{','.join(map(str, element))}]" if element else name
