"""What a run keeps of its replicates: every row, or a summary of them, whose size does not grow with their number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from bgsim.environment import Versions
from bgsim.storage.codec.columns import Columns
from bgsim.summaries.gathering import Gathering

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bgsim.request import Request


@dataclass(slots=True)
class Room:
    """Room for the replicates of a run, with what the store had of them; made without the engine's lock.

    Attributes
    ----------
    columns : tuple
        As `Chunk.columns`, for all replicates; of a summary the stored `TallyColumn` of each output.
    length : int
        For how many replicates there is room.
    stored : int
        How many of them, from the first on, came from the store.
    versions : Versions
        What computed those.
    """

    columns: tuple[Any, ...]
    length: int
    stored: int
    versions: Versions


class Kept(Protocol):
    """What is kept of the replicates of a run. The engine's lock guards it, except where a method says otherwise."""

    def room(self, length: int, stored: Columns | None, versions: Versions) -> Room:
        """Make room for so many replicates, with those that are there, or stored; by one worker, without the lock."""

    def adopt(self, room: Room) -> None:
        """Take the room."""

    def next_cut(self, first: int) -> int:
        """Return where a chunk has to end that begins with replicate `first`, at the latest."""

    @property
    def chunk_s(self) -> float:
        """How long a chunk keeps a worker busy besides its replicates."""

    def part(self, first: int, end: int) -> tuple[Any, ...]:
        """Return where a worker is to put the replicates of a chunk; empty if that is made where it is computed."""

    def add(self, first: int, count: int, part: tuple[Any, ...]) -> None:
        """Take what a worker has computed; by the worker, without the lock, before it gives the chunk back."""

    def first(self, replicates: int) -> Columns:
        """Return the first replicates, which are there, to be read only; of a summary there may be fewer.

        A worker calls it without the lock, too.
        """

    def finished(self, rows: int, most: int) -> Columns:
        """Return the replicates that are finished without a gap from the first on, `most` at most.

        Of rows those are the first `rows`; a summary knows its own.
        """

    def close(self) -> None:
        """Let nobody change anything any more."""

    def clear(self) -> None:
        """Keep nothing any more."""


def kept_by(request: Request) -> Kept:
    """Return what a run of this request keeps, empty."""
    return KeptSummary(request) if request.keep == "summary" else KeptRows(request)


class KeptRows:
    """Every row: an array for each output. A worker writes the rows of its chunk into it, each once."""

    chunk_s = 0.0

    def __init__(self, request: Request) -> None:
        self._request = request
        self._looks = request.looks()  # or a chunk would go far beyond one that is enough
        self._columns: tuple[NDArray[Any], ...] = ()

    def room(self, length: int, stored: Columns | None, versions: Versions) -> Room:
        columns = self._request.simulation.new_columns(self._request.parameters, length)
        old = self._columns or tuple((stored or {}).values())
        for new, values in zip(columns, old, strict=bool(old)):
            new[: len(values)] = values[:length]
        return Room(columns, length, len(next(iter(stored.values()))) if stored else 0, versions)

    def adopt(self, room: Room) -> None:
        self._columns = room.columns

    def next_cut(self, first: int) -> int:
        return next((look for look in self._looks if look > first), 2**63)

    def part(self, first: int, end: int) -> tuple[Any, ...]:
        if end - first == len(self._columns[0]):
            return self._columns
        return tuple([column[first:end] for column in self._columns])

    def add(self, first: int, count: int, part: tuple[Any, ...]) -> None:
        """Do nothing: the rows are in their places."""

    def first(self, replicates: int) -> Columns:
        outputs = self._request.simulation.outputs
        return Columns({o.name: c[:replicates] for o, c in zip(outputs, self._columns, strict=True)})

    def finished(self, rows: int, most: int) -> Columns:
        return self.first(min(rows, most))

    def close(self) -> None:
        for column in self._columns:
            column.flags.writeable = False

    def clear(self) -> None:
        self._columns = ()


class KeptSummary:
    """A summary: a tally of each output, over pieces that end at the cuts of a `Gathering`."""

    def __init__(self, request: Request) -> None:
        self._gathering = Gathering(request.simulation, request.parameters, request.looks())

    def room(self, length: int, stored: Columns | None, versions: Versions) -> Room:
        columns = tuple((stored or {}).values())
        return Room(columns, length, len(columns[0]) if columns else 0, versions)

    def adopt(self, room: Room) -> None:
        self._gathering.begin(room.columns)

    def next_cut(self, first: int) -> int:
        return self._gathering.next_cut(first)

    @property
    def chunk_s(self) -> float:
        return self._gathering.chunk_s

    def part(self, first: int, end: int) -> tuple[Any, ...]:  # noqa: ARG002 - the lane makes tallies
        return ()

    def add(self, first: int, count: int, part: tuple[Any, ...]) -> None:
        self._gathering.add(first, count, part)

    def first(self, replicates: int) -> Columns:
        return Columns(self._gathering.columns(replicates))

    def finished(self, rows: int, most: int) -> Columns:  # noqa: ARG002 - chunks come whole, and are there by then
        return self.first(most)

    def close(self) -> None:
        """Do nothing: what is given out does not change."""

    def clear(self) -> None:
        self._gathering.clear()
