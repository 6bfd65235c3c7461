"""When a run has enough replicates, where a `bgsim.Precision` says how many those are.

The run is given room for the most that may be needed, and workers take chunks of it as of any other. Whenever all
replicates up to a look are done, a worker judges them, without the lock, while others go on. If they suffice, the run
wants no more than those; what is done beyond goes to the store.

What is judged are exact prefixes, by exact sums: so where a run ends is a function of simulation, parameters, seed and
precision, whatever computes it.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from bgsim.precision import Look, Moments, Precision, Stopping
from bgsim.storage.codec.columns import Columns
from bgsim.summaries.column import TallyColumn, is_summary
from bgsim.summaries.tally import Tally

Judgement: TypeAlias = tuple[Look, int]
"""What a look has found, and how many replicates will be needed, as far as that can be told."""


_AHEAD = 2
"""While a look is taken, workers go on to this one after it, and no further: it may have been the last."""


class Looks:
    """The looks at one run, or at what is stored of it. The engine's lock guards it, but for `judge`.

    Attributes
    ----------
    taken : tuple of Look
    stopping : Stopping or None
        Once the last one has been taken.
    expected : int
        How many replicates will be needed, as far as that can be told.
    is_judging : bool
        Whether a worker is to take the next one, or does.
    """

    def __init__(self, precision: Precision) -> None:
        self._precision = precision
        self._ends = tuple(precision.looks())
        self._tallies: dict[str, Tally] = {}  # of the rows up to the last look
        self.taken: tuple[Look, ...] = ()
        self.stopping: Stopping | None = None
        self.expected = self._ends[-1]  # nothing is known yet
        self.is_judging = False

    @property
    def next_end(self) -> int:
        """How many replicates the next look needs."""
        return self._ends[len(self.taken)]

    @property
    def horizon(self) -> int:
        """How many replicates are computed at most before the next look has been taken."""
        return self._ends[min(len(self.taken) + _AHEAD, len(self._ends) - 1)]

    def is_due(self, done: int) -> bool:
        """Tell whether so many replicates allow for another look."""
        return self.stopping is None and not self.is_judging and done >= self.next_end

    def judge(self, columns: Columns) -> Judgement:
        """Look at the first replicates, of which there are as many as the next look needs; in one thread at a time.

        Raises
        ------
        OutputError
            If a value lies outside of the bounds that were declared.
        """
        count = self.next_end
        try:
            moments = {name: Moments.of(self._tally(name, columns)) for name in self._precision.outputs}
        except BaseException:  # a tally may have counted a part of its rows
            self._tallies.clear()
            raise
        look = self._precision.judge(count, moments)
        return look, self._precision.expected_after(look)

    def _tally(self, name: str, columns: Columns) -> Any:
        column: Any = columns[name]
        count = self.next_end
        if isinstance(column, TallyColumn):
            return column.tally(count)
        tally = self._tallies.setdefault(name, Tally(column.dtype, ()))
        tally.add(column[tally.count : count])
        return tally

    def note(self, judgement: Judgement) -> None:
        """Take note of what a look has found."""
        look, self.expected = judgement
        self.taken += (look,)
        if look.reached or len(self.taken) == len(self._ends):
            self.stopping = Stopping(self._precision, self.taken)
            self._tallies.clear()


def usable(precision: Precision | None, columns: Columns | None) -> Columns | None:
    """Return as much of what is stored as the looks of a precision can be taken at.

    A summary is kept of some numbers of replicates alone. Beyond a look that is none of them, it is of no use.
    """
    if columns is None or precision is None or not is_summary(columns):
        return columns
    column: TallyColumn = next(iter(columns.values()))
    unseen = [look for look in precision.looks() if look < len(column) and look not in column.ends]
    if not unseen:
        return columns
    ends = [end for end in column.ends if end <= unseen[0]]
    return Columns.first(columns, ends[-1]) if ends else None


def stopping_of(precision: Precision, stored: Columns) -> Stopping | None:
    """Return where a precision stops within what is stored; None if more replicates are needed."""
    columns = usable(precision, stored)
    if columns is None:
        return None
    looks = Looks(precision)
    replicates = len(next(iter(columns.values())))
    while looks.is_due(replicates):
        looks.note(looks.judge(columns))
    return looks.stopping
