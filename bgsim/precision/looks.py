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
    half_width : float
        Half of what lies between them.
    target : float
        What the standard error, or half the width, has to come down to.
    reached : bool
    doubt : str
        Why the rule goes on although the numbers are below the target, if it does; else empty.
    """

    mean: float
    standard_error: float
    low: float
    high: float
    half_width: float
    target: float
    reached: bool
    doubt: str = ""


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
