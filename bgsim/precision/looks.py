"""What a rule found at one look: each output's mean, how well it is known, and whether that is enough."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class OutputLook:
    """One output at one look.

    Attributes
    ----------
    mean : float
    standard_error : float
        Of the mean; of a boolean output that of Agresti and Coull's estimate (1998), which is never 0.
    low, high : float
        The rule's interval of the mean.
    error : float
        What the rule is about: the standard error, half the interval's width, or, where the precision is relative, how
        far the farther end of the interval is from the mean.
    target : float
        What the error has to come down to, in the unit of the output.
    reached : bool
    doubt : str
        Why the error says little, so that the rule goes on although it is below the target; else empty.
    """

    mean: float
    standard_error: float
    low: float
    high: float
    error: float
    target: float
    reached: bool
    doubt: str = ""

    @property
    def half_width(self) -> float:
        """Half of the interval's width."""
        return (self.high - self.low) / 2


@dataclass(frozen=True, slots=True)
class Look:
    """A rule's look at the first replicates.

    Attributes
    ----------
    replicates : int
    outputs : mapping of str to OutputLook
        Of each output of the rule.
    """

    replicates: int
    outputs: Mapping[str, OutputLook]

    @property
    def reached(self) -> bool:
        """Whether every output is known as well as the rule wants it."""
        return all(output.reached for output in self.outputs.values())
