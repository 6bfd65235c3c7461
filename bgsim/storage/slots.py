"""The dual slots: each workspace points at the newest result and the one before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Slot:
    """One of a workspace's two pointers.

    Attributes
    ----------
    hash : str
        Parameter hash of the result that it points at; the result is pinned while it does.
    replicates : int
        How many of them were asked for.
    generation : int
        Counts the workspace's placements; the higher of the two is the primary slot.
    placed_at : str
        ISO-8601, UTC.
    """

    hash: str
    replicates: int
    generation: int
    placed_at: str


@dataclass(frozen=True, slots=True)
class SlotPair:
    """The slots of a workspace; either may be empty."""

    primary: Slot | None = None
    secondary: Slot | None = None


def pair_of(slots: Sequence[Slot]) -> SlotPair:
    """Return up to two slots as a pair, the newest first."""
    newest_first = sorted(slots, key=lambda slot: -slot.generation)
    return SlotPair(*newest_first[:2])


def place(pair: SlotPair, result_hash: str, replicates: int, placed_at: str) -> SlotPair:
    """Return the pair after a result was placed.

    A slot that points at this result is refreshed; otherwise the older one is overwritten. Either way the result is
    then in the primary slot, and what was there before, if it is another, in the secondary.
    """
    generation = pair.primary.generation + 1 if pair.primary else 1
    new = Slot(result_hash, replicates, generation, placed_at)
    if pair.primary is not None and pair.primary.hash == result_hash:
        return SlotPair(new, pair.secondary)
    return SlotPair(new, pair.primary)
