"""Which versions of NumPy and numba computed which rows of a result.

An identity leaves these versions out, so that an upgrade keeps the stored results. An upgrade may still change numbers
in their last digits, so the store keeps the versions with each block of rows, and a result that mixes them says so.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from importlib import metadata
from typing import Any, TypeAlias

Versions: TypeAlias = "tuple[tuple[int, int, str], ...]"
"""Runs of rows, each as (first row, number of rows, text of `environment`), without a gap from row 0 on.

Neighbouring runs have different texts. The text is empty where the versions are unknown.
"""

_PACKAGES = ("numpy", "numba")
_UNKNOWN = "unknown versions of NumPy and numba"


@functools.cache
def environment() -> str:
    """Return the installed versions of NumPy and numba, such as ``"numpy 2.4.6, numba 0.68.1"``.

    A package whose version is not known, as in a frozen application, is left out. This imports neither of them.
    """
    versions = {package: version_of(package) for package in _PACKAGES}
    return ", ".join([f"{package} {version}" for package, version in versions.items() if version is not None])


def version_of(package: str) -> str | None:
    """Return the version of a package, which this does not import; None if it is not known."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:  # as in a frozen application
        return None


def joined(runs: Iterable[tuple[int, str]]) -> Versions:
    """Return runs that follow each other, given as (number of rows, text), with equal neighbours made one."""
    found: list[tuple[int, int, str]] = []
    first = 0
    for count, text in runs:
        if found and found[-1][2] == text:
            found[-1] = (found[-1][0], found[-1][1] + count, text)
        elif count:
            found.append((first, count, text))
        first += count
    return tuple(found)


def first_rows(versions: Versions, rows: int) -> Versions:
    """Return the runs of the first rows, 1 or more; rows that no run covers have unknown versions."""
    if len(versions) == 1 and versions[0][1] >= rows:  # nearly always
        return versions if versions[0][1] == rows else ((0, rows, versions[0][2]),)
    cut = [(min(count, rows - first), text) for first, count, text in versions if first < rows]
    return joined([*cut, (rows - sum(count for count, _ in cut), "")])


def versions_of(columns: object, rows: int) -> Versions:
    """Return the runs of the first rows of `bgsim.storage.Columns`; those of a plain dict have unknown versions."""
    return first_rows(getattr(columns, "versions", ()), rows)


def extended(versions: Versions, rows: int, text: str) -> Versions:
    """Return the runs with one more, which ends at `rows` and has these versions."""
    if not versions:
        return ((0, rows, text),)
    first, count, _ = versions[-1]
    return joined([*(run[1:] for run in versions), (rows - first - count, text)])


def as_json(versions: Versions) -> list[dict[str, Any]]:
    """Return the runs as JSON can hold them."""
    return [{"first": first, "count": count, "versions": text} for first, count, text in versions]


def from_json(value: Any) -> Versions:
    """Return what `as_json` returned.

    Raises
    ------
    KeyError, TypeError, ValueError
        If the value is none of that.
    """
    runs = [(int(run["count"]), str(run["versions"])) for run in value]
    if any(count < 1 for count, _ in runs):
        raise ValueError("a run of rows has one row or more")
    return joined(runs)


def mixture(versions: Versions) -> str:
    """Return the sentence that says which rows were computed with which versions; empty if all have the same."""
    if len(versions) < 2:
        return ""
    begin, *others = [(_rows(first, count), count, text or _UNKNOWN) for first, count, text in versions]
    verb = "was" if begin[1] == 1 else "were"
    return "; ".join(
        [f"{begin[0]} {verb} computed with {begin[2]}", *(f"{rows} with {text}" for rows, _, text in others)]
    )


def _rows(first: int, count: int) -> str:
    return f"row {first:,}" if count == 1 else f"rows {first:,} to {first + count - 1:,}"
