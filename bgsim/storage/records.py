"""The identity of a result, and its description without the columns."""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from bgsim.environment import Versions, as_json, versions_of
from bgsim.errors import DamagedResultError, brief
from bgsim.parameters.parameter_set import ParameterSet
from bgsim.storage.codec.columns import moments
from bgsim.storage.times import ago
from bgsim.summaries.column import is_summary
from bgsim.tables import Table, Tabular, in_short

if TYPE_CHECKING:
    from bgsim.parameters.parameter_set import ResultKey
    from bgsim.storage.codec.columns import Columns


"""What a result keeps of its replicates: all rows, or a summary of them."""


@dataclass(frozen=True, slots=True, repr=False)
class Record:
    """All that a result is a function of, as stores keep it.

    Attributes
    ----------
    hash, identity, simulation, fingerprint : str
        As in `ResultKey`.
    seed, parameters : str
        Decimal; JSON.
    parts : mapping of str to str
        As in `ResultKey`; empty where they are unknown.
    """

    hash: str
    identity: str
    simulation: str
    fingerprint: str
    seed: str
    parameters: str
    parts: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def of(cls, key: ResultKey) -> Record:
        """Return the record of a key."""
        parameters = key.parameters.to_json()
        return cls(key.hash, key.identity, key.simulation, key.fingerprint, str(key.seed), parameters, key.parts)

    def __repr__(self) -> str:
        return in_short(f"Record {self.hash[:12]}", f"{self.simulation}, seed {self.seed}, {self.parameters}")

    @property
    def row(self) -> tuple[str, ...]:
        """All of it but the parts, in the order of the table's columns."""
        return (self.hash, self.identity, self.simulation, self.fingerprint, self.seed, self.parameters)

    @property
    def checksum(self) -> int:
        """CRC-32 of the row, zero bytes between."""
        return zlib.crc32("\0".join(self.row).encode())

    def values(self) -> dict[str, Any]:
        """Return the parameters as plain values.

        Raises
        ------
        DamagedResultError
            If they are no JSON object.
        """
        try:
            found: object = ParameterSet.values_from_json(self.parameters)
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
            raise DamagedResultError(f"the parameters of result {self.hash} cannot be read: {error}") from error
        if not isinstance(found, dict):
            raise DamagedResultError(f"the parameters of result {self.hash} are no object but {brief(found)}")
        return found


def checked_parts(value: Any) -> dict[str, str]:
    """Return the parts of an identity, as JSON gives them.

    Raises
    ------
    ValueError
        If they are something else.
    """
    if not isinstance(value, dict) or not all(isinstance(part, str) for part in value.values()):
        raise ValueError(f"the parts of an identity must be an object of texts; got {str(value)[:50]}")
    return value


@dataclass(frozen=True, slots=True)
class OutputSummary:
    """Statistics of one stored output; None of arrays, complex numbers, structures and pairs of outputs.

    Attributes
    ----------
    dtype : str
    mean, sd, minimum, maximum : float or None
        Over the replicates; of a boolean output the mean is the proportion.
    """

    dtype: str
    mean: float | None = None
    sd: float | None = None
    minimum: float | None = None
    maximum: float | None = None

    @classmethod
    def of(
        cls,
        dtype: str,
        replicates: int,
        mean: float | None,
        squares: float | None,
        minimum: float | None,
        maximum: float | None,
    ) -> OutputSummary:
        """Return the summary, given the sum of the squared differences from the mean."""
        sd = None if squares is None or replicates < 2 else math.sqrt(squares / (replicates - 1))
        return cls(dtype, mean, sd, minimum, maximum)


@dataclass(frozen=True, slots=True, repr=False)
class StoredResult(Tabular):
    """A stored result, without its columns.

    Attributes
    ----------
    record : Record
    parameters : mapping
        As plain values.
    replicates : int
        From 0 on.
    stored_bytes : int
    created_at, used_at : str
        ISO-8601, UTC.
    summary : mapping of str to OutputSummary
        By output.
    versions : tuple of (int, int, str)
        The NumPy and numba that computed each run of rows; see `bgsim.environment.Versions`.
    keep : str
        ``"columns"`` if the rows of all replicates are stored, ``"summary"`` if only a summary of them is.
    """

    record: Record
    parameters: Mapping[str, Any]
    replicates: int
    stored_bytes: int
    created_at: str
    used_at: str
    summary: Mapping[str, OutputSummary] = field(default_factory=dict)
    versions: Versions = ()
    keep: str = "columns"

    @classmethod
    def of(cls, record: Record, columns: Columns, created_at: str, used_at: str) -> StoredResult:
        """Describe columns that are stored uncompressed."""
        replicates, size = len(next(iter(columns.values()))), sum(column.nbytes for column in columns.values())
        summary = {name: OutputSummary.of(c.dtype.str, len(c), *moments(c)) for name, c in columns.items()}
        versions = versions_of(columns, replicates)
        keep = "summary" if is_summary(columns) else "columns"
        return cls(record, record.values(), replicates, size, created_at, used_at, summary, versions, keep)

    @property
    def hash(self) -> str:
        """The parameter hash."""
        return self.record.hash

    @property
    def simulation(self) -> str:
        """The simulation's name."""
        return self.record.simulation

    @property
    def seed(self) -> int:
        """The seed."""
        return int(self.record.seed)

    @property
    def age_s(self) -> float:
        """Seconds since it was first stored."""
        return (datetime.now(UTC) - datetime.fromisoformat(self.created_at)).total_seconds()

    def __repr__(self) -> str:
        of = "a summary of " if self.keep == "summary" else ""
        what = f"{self.simulation}, {of}{self.replicates:,} replicates, seed {self.record.seed}"
        values = ", ".join(f"{name}={brief(value, 30)}" for name, value in self.parameters.items())
        return in_short(f"StoredResult {self.hash[:12]}", f"{what}; {values}")

    def _table(self) -> Table:
        rows = [("seed", self.record.seed), ("replicates", self.replicates), ("keep", self.keep)]
        rows += [("stored bytes", self.stored_bytes), ("created", ago(self.created_at)), ("used", ago(self.used_at))]
        rows += [(name, "" if s.mean is None else f"mean {s.mean:.6g}") for name, s in self.summary.items()]
        rows += self.parameters.items()
        return Table((), rows, title=f"{self.simulation}: {self.hash}")

    def as_json(self) -> dict[str, Any]:
        """Return all of it as values for JSON."""
        return {
            "hash": self.hash,
            "simulation": self.simulation,
            "fingerprint": self.record.fingerprint,
            "seed": self.seed,
            "parameters": json.loads(self.record.parameters),
            "replicates": self.replicates,
            "keep": self.keep,
            "stored_bytes": self.stored_bytes,
            "created_at": self.created_at,
            "used_at": self.used_at,
            "versions": as_json(self.versions),
            "summary": {
                name: {n: getattr(s, n) for n in ("dtype", "mean", "sd", "minimum", "maximum")}
                for name, s in self.summary.items()
            },
        }
