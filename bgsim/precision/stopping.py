"""What a result says of its stop: where, after which looks, and how well the means are known."""

from __future__ import annotations

from dataclasses import dataclass

from bgsim.checks import one_of, refused
from bgsim.precision.looks import Look
from bgsim.precision.rule import Precision
from bgsim.tables import Table, Tabular

_ERRORS = {"standard_error": "standard error", "half_width": "half width", "relative": "error"}


@dataclass(frozen=True, slots=True, repr=False)
class Stopping(Tabular):
    """Where a run stopped that was asked for a precision; it prints as a table of its looks.

    Attributes
    ----------
    rule : Precision
    looks : tuple of Look
        In order, from the first one on; one at least.
    """

    rule: Precision
    looks: tuple[Look, ...]

    @property
    def replicates(self) -> int:
        """Of the last look: as many as the result has."""
        return self.looks[-1].replicates

    @property
    def reached(self) -> bool:
        """Whether each output reached its target; if not, the run ended at the rule's maximum."""
        return self.looks[-1].reached

    @property
    def outcome(self) -> str:
        """Whether it was reached, in words."""
        return "precision reached" if self.reached else "precision not reached"

    def interval(self, output: str) -> tuple[float, float]:
        """Return the bounds of the interval of an output's mean at the stop.

        It holds with the rule's confidence although the run stopped because of what it saw, so it is a little wider
        than that of a summary, which knows nothing of the rule.

        Raises
        ------
        InvalidInputError
            If the rule did not look at this output.
        """
        found = self.looks[-1].outputs
        if output not in found:
            raise refused("output", output, one_of(list(found), output if isinstance(output, str) else ""))
        return found[output].low, found[output].high

    def _table(self) -> Table:
        percent = f"{100 * self.rule.confidence:g} % interval"
        headings = [
            "replicates",
            "output",
            "mean",
            percent,
            _ERRORS[self.rule.kind],
            "target",
            "",
        ]
        rows = [
            [
                look.replicates,
                name,
                found.mean,
                f"{found.low:.6g} to {found.high:.6g}",
                found.error,
                found.target,
                "reached" if found.reached else found.doubt,
            ]
            for look in self.looks
            for name, found in look.outputs.items()
        ]
        reached = "reached" if self.reached else "not reached: the maximum came first"
        return Table(headings, rows, f"{reached}, {self.rule!r}", most=None)
