"""The reports of clean-ups and checks."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CleanupReport:
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


@dataclass(frozen=True, slots=True)
class CheckReport:
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
