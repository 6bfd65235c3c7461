"""Batches over a grid of parameters, or over a design."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bgsim.jobs.batch import Batch

if TYPE_CHECKING:
    from bgsim.request import Request
    from bgsim.running.submitter import Submitter


class Sweep(Batch):
    """A batch over a grid of parameters, or over a design; made by `Engine.sweep`.

    Attributes
    ----------
    grid : dict of str to list
        The values of each parameter that is varied; empty for a design.
    points : list of dict
        The combinations, the last parameter varying fastest, or the points of the design; job i has those of
        ``points[i]``.
    """

    def __init__(
        self,
        submitter: Submitter,
        grid: Mapping[str, Sequence[Any]],
        points: list[dict[str, Any]],
        request_at: Callable[[dict[str, Any]], Request],
    ) -> None:
        self.grid = {name: list(values) for name, values in grid.items()}
        self.points = points
        super().__init__(submitter, [request_at(point) for point in self.points])

    def _varied(self) -> tuple[Mapping[str, Sequence[Any]], Mapping[str, Sequence[Any]]]:
        return self.grid, {name: [point[name] for point in self.points] for name in self.points[0]}
