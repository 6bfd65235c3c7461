"""The difference of two parameter sets, replicate by replicate, as a simulation of its own.

Both sets are computed with the same random numbers, so the variance of a difference is
``var(a) + var(b) - 2 cov(a, b)``, often a small part of that of independent runs (common random numbers; Law,
Simulation Modeling and Analysis, 2015, section 11.2). All that an engine does with a simulation it does with this one:
progress, stopping, storing, replay.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from bgsim.control import DONE, HALF_DONE
from bgsim.errors import OutputError, ParameterError
from bgsim.kernels.outputs import Output
from bgsim.parameters.parameter_set import ParameterSet
from bgsim.simulation import Simulation

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bgsim.control import Control
    from bgsim.kernels.plain import ChunkRunner
    from bgsim.kernels.revision import Revision

SUFFIX = "-difference"
"""What the name of such a simulation has more than that of the one it is made of."""

_A, _B = "_a", "_b"

_EXACT = 2.0**62
"""The difference of two integers below this is one of 64 bits."""

_PIECE = 4096
"""The most replicates that are run with the one set before they are with the other."""


class DifferenceSimulation(Simulation[Any]):
    """The real outputs of one parameter set less those of another; made by `difference_of`.

    Its parameters are those of both sets, by names with ``_a`` and ``_b``. Its outputs are doubles.

    Attributes
    ----------
    base : Simulation
        What is computed for both.
    """

    def __init__(self, base: Simulation[Any]) -> None:
        vars(self).update(vars(base))
        self.base = base
        self.name, self.short_name = base.name + SUFFIX, base.short_name + SUFFIX
        self.reference = f"bgsim.differences.difference_of({base.reference})"
        self.parameters_class = None
        self.pairs = ()
        self._taken = [i for i, output in enumerate(base.outputs) if output.dtype.kind in "biuf"]
        if not self._taken:
            raise OutputError(f"{base.name} has no output of real numbers to take differences of", field="simulation")
        self.outputs = tuple([_difference(base.outputs[i]) for i in self._taken])
        self._replicate_bytes = None
        self._replicate_bytes = self._fixed_bytes()

    def revision(self) -> Revision:
        """Look at the code of what is computed."""
        return self.base.revision()

    def parameters_of(self, a: Any, b: Any) -> ParameterSet:
        """Return the parameters of both sets as one."""
        sets = [self.base.bind(given) for given in (a, b)]
        alone = sorted(sets[0].keys() ^ sets[1].keys())
        if alone:
            raise ParameterError(
                f"both sets of parameters must have the same names; only one has {', '.join(map(repr, alone))}",
                field=alone[0],
            )
        for output in map(self.base.outputs.__getitem__, self._taken):
            shapes = [output.concrete_shape(each) for each in sets]
            if shapes[0] != shapes[1]:
                raise ParameterError(
                    f"output {output.name!r} is an array of {shapes[0]} with the one set of parameters and of "
                    f"{shapes[1]} with the other, so it has no differences",
                    field=output.name,
                )
        return self.bind({name + end: v for one, end in zip(sets, (_A, _B), strict=True) for name, v in one.items()})

    def both(self, parameters: Mapping[str, Any]) -> tuple[ParameterSet, ParameterSet]:
        """Return the two sets."""
        a, b = (
            ParameterSet.restore(
                {name.removesuffix(end): value for name, value in parameters.items() if name.endswith(end)},
                self.base.parameters_class,
            )
            for end in (_A, _B)
        )
        return a, b

    def bind(self, parameters: Any = None) -> ParameterSet:
        """Check parameters and return them as an immutable set."""
        bound = ParameterSet.of(parameters, None)
        self.both(bound)
        return bound

    def prepare(self, parameters: ParameterSet, revision: Revision | None = None) -> ChunkRunner:
        """Return what runs chunks with these parameters, compiled if it has to be."""
        a, b = self.both(parameters)
        return functools.partial(
            _run_both, self, (a, b), self.base.prepare(a, revision), self.base.prepare(b, revision)
        )

    def prepared(self, parameters: ParameterSet, revision: Revision) -> ChunkRunner | None:
        """Return the same if nothing has to be compiled, else None."""
        sets = self.both(parameters)
        runners = [self.base.prepared(each, revision) for each in sets]
        if runners[0] is None or runners[1] is None:
            return None
        return functools.partial(_run_both, self, sets, runners[0], runners[1])

    def subtract(self, a: tuple[Any, ...], b: tuple[Any, ...], columns: tuple[NDArray[Any], ...]) -> None:
        """Put the differences of the first rows into columns, each rounded once unless it is beyond 2**62."""
        for column, number in zip(columns, self._taken, strict=True):
            left, right = a[number][: len(column)], b[number][: len(column)]
            with np.errstate(all="ignore"):
                np.subtract(left.astype(float), right.astype(float), out=column)
                if left.dtype.kind in "iu":
                    is_exact = (np.abs(left.astype(float)) < _EXACT) & (np.abs(right.astype(float)) < _EXACT)
                    column[is_exact] = (left.astype(np.int64) - right.astype(np.int64))[is_exact]

    def replay(self, parameters: ParameterSet, seed: int, index: int) -> Any:
        """Run one replicate of both with its own stream; return what the function returns for each."""
        return tuple([self.base.replay(each, seed, index) for each in self.both(parameters)])

    def check_replicate(self, parameters: ParameterSet, seed: int, index: int) -> None:
        """Replay one replicate of both; see `Simulation.check_replicate`."""
        for each in self.both(parameters):
            self.base.check_replicate(each, seed, index)

    def __reduce__(self) -> Any:
        return difference_of, (self.base,)


def _difference(output: Output) -> Output:
    """Return the output of the differences of one; a length is what it is for the first set."""
    shape = tuple([length + _A if isinstance(length, str) else length for length in output.shape])
    return Output(output.name, np.dtype(float), shape)


@functools.lru_cache(maxsize=64)
def difference_of(simulation: Simulation[Any]) -> DifferenceSimulation:
    """Return the simulation of the differences of one."""
    return DifferenceSimulation(simulation)


def _run_both(
    simulation: DifferenceSimulation,
    parameters: tuple[ParameterSet, ParameterSet],
    run_a: ChunkRunner,
    run_b: ChunkRunner,
    stream: Any,
    key: NDArray[np.uint64],
    first: int,
    columns: tuple[NDArray[Any], ...],
    control: Control,
    before: int = 0,
) -> int:
    """Run a chunk of both parameter sets, with the same streams; see `ChunkRunner`."""
    count = len(columns[0])
    a, b = (simulation.base.new_columns(each, min(count, _PIECE)) for each in parameters)
    done, size = 0, 1
    failed: BaseException | None = None
    while done < count:
        rows = min(size, count - done)
        both, failed = _run_piece(a, run_a, stream, key, first + done, rows, control)
        if both:
            ready = both
            both, error = _run_piece(b, run_b, stream, key, first + done, ready, control)
            if both < ready:  # the second set raises at an earlier replicate, or an order came first
                failed = error
            simulation.subtract(a, b, tuple([column[done : done + both] for column in columns]))
        done += both
        control[DONE] = before + done  # at once others may read these rows
        if failed is not None:
            raise failed
        if both < rows:
            break
        size = min(2 * size, _PIECE)
    return done


def _run_piece(
    columns: tuple[NDArray[Any], ...],
    run: ChunkRunner,
    stream: Any,
    key: NDArray[np.uint64],
    first: int,
    count: int,
    control: Control,
) -> tuple[int, BaseException | None]:
    """Run some replicates of one set; return how many are done, and what was raised, if anything was."""
    control[HALF_DONE] = 0
    try:
        rows = tuple([column[:count] for column in columns])
        return run(stream, key, first, rows, control, 0, HALF_DONE), None
    except BaseException as error:
        return int(control[HALF_DONE]), error
