"""What counts in a simulation's identity, and what of it differs from a stored result, for people to read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from bgsim.errors import StoreError
from bgsim.tables import Table, Tabular

if TYPE_CHECKING:
    from bgsim.identity.look import Identity

_LISTED = 3
"""Names in a sentence."""


class ComputedBy(Protocol):
    """What a stored result's record says of the code that computed it."""

    @property
    def hash(self) -> str:
        """The result's hash."""

    @property
    def simulation(self) -> str:
        """The simulation's name."""

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the code."""


class Recorded(Protocol):
    """A stored result."""

    @property
    def record(self) -> ComputedBy:
        """Its record."""


class ResultsByCode(Protocol):
    """What `Simulation.explain` asks a store for; every store has it."""

    def results(self) -> Iterable[Recorded]:
        """Return all results, the one that was used last first."""

    def resolve(self, prefix: str, /) -> str:
        """Return the hash that begins with these digits."""

    def get(self, result_hash: str, /) -> Recorded | None:
        """Return a result."""

    def parts(self, fingerprint: str) -> Mapping[str, str]:
        """Return the dependencies of a fingerprint's code: a short hash of each, by its name."""


@dataclass(frozen=True, slots=True, repr=False)
class IdentityReport(Tabular):
    """What counts in a simulation's identity; made by `Simulation.explain`, prints as a table.

    Attributes
    ----------
    simulation, fingerprint : str
    parts : mapping of str to str
        Of each dependency a short hash, by its name.
    limits : tuple of str
        What cannot be followed, each with where it is used and why.
    draws : tuple of str
        What draws random numbers from elsewhere than the replicate's stream.
    stored : str or None
        The hash of the stored result that it was compared with.
    stored_fingerprint : str or None
        That of the code that computed it.
    stored_parts : mapping of str to str
        Its dependencies; empty if the store does not know them.
    current : str or None
        The hash of the newest stored result of the code as it is now, where an older one was compared with.
    """

    simulation: str
    fingerprint: str
    parts: Mapping[str, str]
    limits: tuple[str, ...] = ()
    draws: tuple[str, ...] = ()
    stored: str | None = None
    stored_fingerprint: str | None = None
    stored_parts: Mapping[str, str] | None = None
    current: str | None = None

    @property
    def differences(self) -> dict[str, str]:
        """How each dependency differs from the stored result's: ``changed``, ``added`` or ``removed``, by its name."""
        if not self.stored_parts or self.stored_fingerprint == self.fingerprint:
            return {}
        return part_differences(self.parts, self.stored_parts)

    @property
    def verdict(self) -> str | None:
        """What follows for the stored result, in a sentence; None if there is none."""
        if self.stored is None:
            return None
        if self.stored_fingerprint == self.fingerprint:
            return f"the stored result {self.stored[:12]} was computed by this code"
        if self.current is None:
            before = f"the stored result {self.stored[:12]} was computed by other code"
        else:
            before = f"the stored result {self.current[:12]} was computed by this code, and {self.stored[:12]} by other"
        if not self.stored_parts:
            return f"{before}; what that consisted of is not known"
        names = [f"{name} {how}" for name, how in self.differences.items()] or ["only what its parts refer to differs"]
        return f"{before}: {', '.join(names)}"

    def table(self) -> list[tuple[str, str, str]]:
        """Return a row a dependency: its name, its short hash, and how it differs from the stored result's."""
        differences = self.differences
        rows = [(name, short, differences.get(name, "")) for name, short in self.parts.items()]
        rows += [(name, "", how) for name, how in differences.items() if how == "removed"]
        return rows

    def as_json(self) -> dict[str, Any]:
        """Return all of it as JSON can hold it."""
        return {
            "simulation": self.simulation,
            "fingerprint": self.fingerprint,
            "parts": dict(self.parts),
            "limits": list(self.limits),
            "draws": list(self.draws),
            "stored": self.stored,
            "stored_fingerprint": self.stored_fingerprint,
            "differences": self.differences,
            "current": self.current,
        }

    def _table(self) -> Table:
        rows = [row if any(how for _, _, how in self.table()) else row[:2] for row in self.table()]
        lines = [f"cannot be followed: {limit}" for limit in self.limits]
        lines += [f"draws from elsewhere than rng: {draw}" for draw in self.draws]
        lines += [self.verdict] if self.verdict is not None else []
        title = f"{self.simulation}, identity {self.fingerprint}"
        headings = ("dependency", "hash", "differs")[: max(map(len, rows), default=2)]
        return Table(headings, rows, title=title, remark="\n".join(lines), most=None)


def part_differences(now: Mapping[str, str], before: Mapping[str, str]) -> dict[str, str]:
    """Return how the parts of one identity differ from those of another: ``changed``, ``added`` or ``removed``.

    In this order.
    """
    return {
        **{name: "changed" for name, short in now.items() if before.get(name, short) != short},
        **{name: "added" for name in now if name not in before},
        **{name: "removed" for name in before if name not in now},
    }


def few_of(names: Sequence[str]) -> str:
    """Return names as a sentence lists them: at most three, and how many more there are."""
    more = len(names) - _LISTED
    return f"{', '.join(names[:_LISTED])}{f' and {more} more' if more > 0 else ''}"


def explain(simulation: str, identity: Identity, store: ResultsByCode | None, result: str | None) -> IdentityReport:
    """Return the report of a simulation with this name and identity; see `Simulation.explain`."""
    found = IdentityReport(simulation, identity.fingerprint, dict(identity.parts), identity.limits, identity.draws)
    if store is None:
        return found
    current = None
    if result is None:
        own = [r.record for r in store.results() if r.record.simulation == simulation]
        current = next((r for r in own if r.fingerprint == identity.fingerprint), None)
        record = next((r for r in own if r.fingerprint != identity.fingerprint), current)
    else:
        described = store.get(store.resolve(result))
        record = None if described is None else described.record
        if record is not None and record.simulation != simulation:
            raise StoreError(f"result {record.hash[:12]} is of {record.simulation}, not of {simulation}")
    if record is None:
        return found
    return replace(
        found,
        stored=record.hash,
        stored_fingerprint=record.fingerprint,
        stored_parts=store.parts(record.fingerprint),
        current=None if current is None or current is record else current.hash,
    )
