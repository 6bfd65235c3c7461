"""The tallies of a chunk: rows are computed into a small buffer and counted from there, so none is kept."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bgsim.control import DONE
from bgsim.errors import DamagedResultError
from bgsim.summaries.cuts import piece_count, power_step
from bgsim.summaries.pairs import PairTally
from bgsim.summaries.tally import Tally

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bgsim.control import Control
    from bgsim.kernels.plain import ChunkRunner
    from bgsim.kernels.stream import WorkerStream
    from bgsim.parameters.parameter_set import ParameterSet
    from bgsim.simulation import Simulation

_CACHED_BYTES = 2**17
"""So many rows are computed before they are counted that they stay in the cache."""

_ELEMENT_BYTES, _PAIR_BYTES = 2**16, 2**19
"""What a tally takes of an element with a dozen exponents, and of a pair."""

_MORE_PIECES = 4
"""Tallies that a run has beside its pieces: those that two workers fill, those of all replicates, and a copy."""

_MOST_ROWS = 8192
"""The most rows that are computed at a time; a call of each function takes some microseconds."""

_WIDE_ROWS, _WIDE_BYTES = 1024, 2**23
"""Of wide rows so many, as far as they take no more: the counts of each element come into the cache once for all."""


def new_tallies(simulation: Simulation, parameters: ParameterSet) -> dict[str, Tally | PairTally]:
    """Return an empty tally of each output by its name, and of each pair of outputs by ``first*second``."""
    found: dict[str, Tally | PairTally] = {
        output.name: Tally(output.dtype, output.concrete_shape(parameters)) for output in simulation.outputs
    }
    return found | {f"{x}*{y}": PairTally() for x, y in simulation.pairs}


def elements_of(simulation: Simulation, parameters: ParameterSet) -> int:
    """Return how many numbers a replicate has."""
    return sum(math.prod(output.concrete_shape(parameters)) for output in simulation.outputs)


def summary_bytes(simulation: Simulation, parameters: ParameterSet, replicates: int) -> int:
    """Return about how much memory a summary takes while it is computed: all its pieces, and some more tallies."""
    elements = elements_of(simulation, parameters)
    pieces = piece_count(replicates, power_step(elements)) + _MORE_PIECES
    return pieces * (_ELEMENT_BYTES * elements + _PAIR_BYTES * len(simulation.pairs))


def tallies_of_bytes(simulation: Simulation, parameters: ParameterSet, sent: Sequence[bytes]) -> tuple[Any, ...]:
    """Return the tallies that came as bytes from another process.

    Raises
    ------
    DamagedResultError
        If they are no tallies of these outputs and pairs, as where the process declares other pairs.
    """
    empty: Sequence[Any] = list(new_tallies(simulation, parameters).values())
    if len(sent) != len(empty):
        raise DamagedResultError(f"tallies of {len(sent)} outputs and pairs came, and there are {len(empty)}")
    return tuple([tally.from_bytes(tally.dtype, tally.shape, data) for tally, data in zip(empty, sent, strict=True)])


class RowCounter:
    """Runs the replicates of a chunk and counts them in tallies.

    Attributes
    ----------
    tallies : tuple of Tally and PairTally
        As `new_tallies` has them, of what has been counted.

    Parameters
    ----------
    runner : callable
        Computes rows.
    simulation : Simulation
    parameters : ParameterSet
    """

    def __init__(self, runner: ChunkRunner, simulation: Simulation, parameters: ParameterSet) -> None:
        self._runner = runner
        self._simulation = simulation
        self._parameters = parameters
        self.tallies: tuple[Any, ...] = tuple(new_tallies(simulation, parameters).values())
        names = [output.name for output in simulation.outputs]
        self._pairs = [(names.index(x), names.index(y)) for x, y in simulation.pairs]

    def __call__(
        self,
        stream: WorkerStream | None,
        key: NDArray[Any],
        first: int,
        count: int,
        control: Control,
    ) -> int:
        """Run replicates from `first` on, and count those that are done; see `bgsim.kernels.plain.ChunkRunner`.

        Returns
        -------
        int
            How many are done: all, or fewer after an order. When the simulation raises, slot ``DONE`` says how many are
            done and counted; it is 0 if the counting itself fails.
        """
        row_bytes = max(1, self._simulation.replicate_bytes(self._parameters))
        most = max(1, min(_MOST_ROWS, max(_CACHED_BYTES // row_bytes, min(_WIDE_ROWS, _WIDE_BYTES // row_bytes))))
        buffer = self._simulation.new_columns(self._parameters, min(most, count))
        done, failed = 0, None
        try:
            while done < count:
                rows = tuple([column[: count - done] for column in buffer])
                try:
                    more = self._runner(stream, key, first + done, rows, control, done)
                except BaseException as error:
                    failed, more = error, int(control[DONE]) - done
                self._count(rows, more)
                if failed is not None:
                    raise failed
                done += more
                if more < len(rows[0]):
                    break
        except BaseException as error:
            if error is not failed:  # a signal's handler, or no memory, in the middle of counting: no tally can be used
                control[DONE] = 0
            raise
        return done

    def _count(self, rows: Sequence[NDArray[Any]], done: int) -> None:
        if not done:
            return
        for column, tally in zip(rows, self.tallies, strict=False):  # the pairs follow
            tally.add(column[:done])
        for (x, y), tally in zip(self._pairs, self.tallies[len(rows) :], strict=True):
            tally.add(rows[x][:done], rows[y][:done])
