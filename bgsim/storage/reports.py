"""The reports of clean-ups and checks."""

from __future__ import annotations

from dataclasses import dataclass

from bgsim.tables import Table, Tabular, in_short


@dataclass(frozen=True, slots=True, repr=False)
class CleanupReport(Tabular):
    """What a clean-up removed.

    Attributes
    ----------
    removed : tuple of str
        Hashes.
    removed_bytes : int
        Their stored size.
    file_bytes : int
        Bytes by which the file shrank.
    reasons : tuple of str
        How many results went for which limit, a sentence each.
    """

    removed: tuple[str, ...]
    removed_bytes: int
    file_bytes: int = 0
    reasons: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "; ".join((f"{len(self.removed):,} results of {self.removed_bytes:,} bytes removed", *self.reasons))

    def __repr__(self) -> str:
        return in_short("CleanupReport", str(self))

    def _table(self) -> Table:
        rows = [("results removed", len(self.removed)), ("their bytes", self.removed_bytes)]
        rows += [("bytes by which the file shrank", self.file_bytes)]
        return Table((), [*rows, *(("why", reason) for reason in self.reasons)])


@dataclass(frozen=True, slots=True, repr=False)
class CheckReport(Tabular):
    """What a check found.

    Attributes
    ----------
    results, blocks : int
        Read and compared with their checksums.
    problems : tuple of str
        One sentence for each.
    repaired : tuple of str
        One sentence for each repair.
    """

    results: int
    blocks: int
    problems: tuple[str, ...] = ()
    repaired: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether nothing was wrong."""
        return not self.problems

    def __str__(self) -> str:
        found = self.problems or ("all is well",)
        return "; ".join((f"{self.results:,} results with {self.blocks:,} blocks read", *found, *self.repaired))

    def __repr__(self) -> str:
        return in_short("CheckReport", str(self))

    def _table(self) -> Table:
        rows: list[tuple[str, object]] = [("results read", self.results), ("blocks read", self.blocks)]
        rows += [("problem", problem) for problem in self.problems] or [("", "all is well")]
        return Table((), [*rows, *(("repaired", repair) for repair in self.repaired)])
