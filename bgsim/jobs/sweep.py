"""Batches over a grid of parameters."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bgsim.jobs.batch import Batch

if TYPE_CHECKING:
    from bgsim.request import Request
    from bgsim.running.submitter import Submitter


class Sweep(Batch):
    """A batch over a grid of parameters; made by `Engine.sweep`.

    Attributes
    ----------
    grid : dict of str to list
        The values of each parameter that is varied.
    points : list of dict
        The combinations, the last parameter varying fastest; job i has those of ``points[i]``.
    """

    def __init__(
        self, submitter: Submitter, grid: Mapping[str, Sequence[Any]], request_at: Callable[[dict[str, Any]], Request]
    ) -> None:
        self.grid = {name: list(values) for name, values in grid.items()}
        self.points = [dict(zip(self.grid, values, strict=True)) for values in itertools.product(*self.grid.values())]
        super().__init__(submitter, [request_at(point) for point in self.points])

    def _grid(self) -> Mapping[str, Sequence[Any]]:
        return self.grid
