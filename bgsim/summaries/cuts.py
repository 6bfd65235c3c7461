"""The powers of two at which a run that keeps a summary ends a piece of it.

For each there is a summary of so many replicates, also when more have been computed. Wide outputs have fewer cuts,
since each piece has a tally of each element.
"""

from __future__ import annotations

FIRST_CUT = 1024

_STEPS = ((64, 1), (256, 2))
"""Up to so many elements of all outputs, every power of two is a cut, or every second one; beyond, every fourth."""


def power_step(elements: int) -> int:
    """Return by how many powers of two the cuts lie apart, for outputs of so many elements together."""
    return next((step for most, step in _STEPS if elements <= most), 4)


def next_power_cut(replicates: int, step: int) -> int:
    """Return the first cut after a number of replicates."""
    cut = FIRST_CUT
    while cut <= replicates:
        cut <<= step
    return cut


def is_power_cut(replicates: int, step: int) -> bool:
    """Tell whether a number of replicates is a cut."""
    exponent = replicates.bit_length() - FIRST_CUT.bit_length()
    return exponent >= 0 and exponent % step == 0 and replicates & (replicates - 1) == 0


def piece_count(replicates: int, step: int) -> int:
    """Return how many pieces a summary of so many replicates has: one more than there are cuts before its end."""
    return 1 + max(0, ((replicates - 1).bit_length() - FIRST_CUT.bit_length()) // step + 1)
