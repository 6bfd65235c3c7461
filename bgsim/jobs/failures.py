"""Why jobs of a batch failed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bgsim.errors import text_of
from bgsim.tables import Table, Tabular


class Failures(Tabular, dict[int, BaseException]):
    """The errors of the jobs that failed, by their position in the batch; shown with the parameters of each.

    Parameters
    ----------
    errors : dict of int to BaseException
    varied : mapping of str to sequence
        The parameters in which the jobs differ, with the value of each job.
    """

    def __init__(self, errors: dict[int, BaseException], varied: Mapping[str, Sequence[Any]]) -> None:
        super().__init__(errors)
        self._varied = varied

    def _table(self) -> Table:
        rows = [
            [number, *(values[number] for values in self._varied.values()), text_of(error).partition("\n")[0]]
            for number, error in self.items()
        ]
        return Table(["job", *self._varied, "error"] if self else [], rows, title="" if self else "no job failed")
