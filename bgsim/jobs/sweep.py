"""Batches over a grid of parameters, or over a design."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from bgsim.jobs.batch import Batch
from bgsim.parameters.parameter_class import P_co
from bgsim.threads.signals import HOLD

if TYPE_CHECKING:
    from bgsim.request import Request
    from bgsim.result import SimulationResult
    from bgsim.running.submitter import Submitter


class Sweep(Batch[P_co]):
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
        grid: Mapping[str, Collection[Any]],
        points: list[dict[str, Any]],
        request_at: Callable[[dict[str, Any]], Request],
    ) -> None:
        self.grid = {name: list(values) for name, values in grid.items()}
        self.points = points
        super().__init__(submitter, [request_at(point) for point in self.points])

    def results(self) -> list[SimulationResult]:
        """Wait for all and return their results, in the order of submission; the first failure is raised."""
        self._import_ahead()
        return super().results()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until every job has ended, in whatever way; return whether that came in time."""
        if timeout_s is None:
            self._import_ahead()
        return super().wait(timeout_s)

    def _import_ahead(self) -> None:
        """Import xarray, if it is installed, in a thread that would only wait for the jobs.

        It takes most of a second, and the first dataset of a process would take as long.
        """
        if "xarray" not in sys.modules and not self.done():
            with HOLD, suppress(ImportError):  # an import that Ctrl-C interrupts leaves pandas broken
                importlib.import_module("xarray")

    def _varied(self) -> tuple[Mapping[str, Sequence[Any]], Mapping[str, Sequence[Any]]]:
        return self.grid, {name: [point[name] for point in self.points] for name in self.points[0]}
