"""Which points a sweep has: all combinations of a grid, or a design that fills ranges evenly."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Collection, Mapping, Sized
from typing import TYPE_CHECKING, Any

import numpy as np

from bgsim.analysis.extras import load
from bgsim.checks import check_integer, check_word, is_double, is_integer, refused
from bgsim.errors import InvalidInputError, brief
from bgsim.parameters.parameter_class import fields_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bgsim.simulation import Simulation

DESIGNS = ("sobol", "latin")

_RANGE = 'a pair (low, high) with low below high, or (low, high, "log") with both above 0'
_MOST_POINTS = 2**30


def check_grid(grid: object) -> None:
    """Refuse what does not map names to sequences.

    Raises
    ------
    InvalidInputError
    """
    if not isinstance(grid, Mapping) or not all(_is_axis(values) for values in grid.values()):
        raise InvalidInputError(
            f"grid must map names of parameters to sequences of one value or more; got {brief(grid)}",
            field="grid",
            value=grid,
        )


def combinations(grid: Mapping[str, Collection[Any]]) -> list[dict[str, Any]]:
    """Return all combinations of a grid's values, the last parameter varying fastest."""
    return [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]


def designed(
    simulation: Simulation, ranges: Mapping[str, Collection[Any]], design: object, points: object, seed: int
) -> list[dict[str, Any]]:
    """Return points that fill ranges evenly: a scrambled Sobol' sequence, or a Latin hypercube.

    The first points of a Sobol' sequence are those of a shorter one with the same seed (Owen 1998; Joe and Kuo 2008).

    Parameters
    ----------
    simulation : Simulation
        Its integer parameters get integers, each of a range equally often.
    ranges : mapping of str to (low, high) or (low, high, "log")
        Both ends included; "log" is even in the logarithm. Where a parameter has no type, two integers make integers.
    design : {"sobol", "latin"}
    points : int
        How many; a power of 2 for a Sobol' sequence, which is even only then.
    seed : int
        Of the scrambling, or of the hypercube.

    Raises
    ------
    InvalidInputError
        Naming the argument.
    MissingExtraError
        If scipy is not installed.
    """
    check_word("design", design, DESIGNS)
    if points is None:
        raise refused("points", points, "given for a design, as in points=64")
    count = check_integer("points", points, most=_MOST_POINTS)
    if design == "sobol" and count & (count - 1):
        below = 1 << (count.bit_length() - 1)
        raise refused("points", points, f"a power of 2 for a Sobol' sequence, such as {below} or {2 * below}")
    if not ranges:
        raise refused("grid", ranges, "a mapping of one range or more, for a design")
    scales = [_scale(name, given, whole=_is_whole(simulation, name, given)) for name, given in ranges.items()]
    qmc = load("scipy.stats.qmc", "a design")
    engine = (qmc.Sobol if design == "sobol" else qmc.LatinHypercube)(len(ranges), seed=np.random.default_rng(seed))
    columns = [scale(column) for scale, column in zip(scales, engine.random(count).T, strict=True)]
    return [dict(zip(ranges, values, strict=True)) for values in zip(*columns, strict=True)]


def _scale(name: str, given: Any, *, whole: bool) -> Callable[[NDArray[np.float64]], list[Any]]:
    """Return the function that takes numbers from 0 to 1 to a range."""
    if not _is_range(given) or (whole and not all(is_integer(end) for end in given[:2])):
        raise refused(f"grid[{name!r}]", given, f"{_RANGE}, of integers" if whole else f"{_RANGE}, for a design")
    low, high = given[:2]
    top = high + 1 if whole else high  # an integer has all the numbers from it to the next

    def scaled(u: NDArray[np.float64]) -> list[Any]:
        if len(given) == 3:
            found = np.exp(math.log(low) + u * (math.log(top) - math.log(low)))
        else:
            found = low * (1 - u) + top * u  # whose difference may be beyond all floats
        values = np.floor(found).astype(np.int64) if whole else found
        return list(values.clip(low, high).tolist())

    return scaled


def _is_range(given: Any) -> bool:
    if not isinstance(given, tuple | list) or len(given) not in (2, 3) or not all(map(is_double, given[:2])):
        return False
    if len(given) == 3 and (given[2] != "log" or given[0] <= 0):
        return False
    return bool(given[0] < given[1])


def _is_whole(simulation: Simulation, name: str, given: Any) -> bool:
    """Tell whether a parameter is an integer: by its type, or by its range if it has none."""
    fields = fields_of(simulation.parameters_class) if simulation.parameters_class is not None else ()
    kind = next((field.annotation for field in fields if field.name == name), Any)
    if kind is Any:
        return isinstance(given, tuple | list) and all(map(is_integer, given[:2]))
    return kind is int or (isinstance(kind, type) and bool(issubclass(kind, np.integer)))


def _is_axis(values: object) -> bool:
    return isinstance(values, Sized) and not isinstance(values, str) and len(values) > 0
