"""How much memory a summary is expected to take, beside what it takes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import bgsim
from bgsim.summaries.cuts import next_power_cut, piece_count
from bgsim.summaries.gathering import Gathering
from bgsim.summaries.tallies import new_tallies, summary_bytes

ELEMENTS = 200


@bgsim.simulation(outputs={"row": ("f8", ELEMENTS)}, compile=False)
def wide(p: Any, rng: Any) -> Any:
    return rng.normal(size=ELEMENTS)


@pytest.mark.parametrize("step", [1, 2, 4])
@pytest.mark.parametrize("replicates", [1, 1023, 1024, 1025, 2048, 2049, 16384, 16385, 100_000, 10**9])
def test_there_is_a_piece_more_than_cuts_before_the_end(replicates: int, step: int) -> None:
    cut, pieces = 0, 0
    while cut < replicates:
        cut, pieces = next_power_cut(cut, step), pieces + 1
    assert piece_count(replicates, step) == pieces


def test_the_estimate_covers_the_pieces_and_what_is_held_beside_them() -> None:
    parameters = wide.bind({})
    gathering, rng = Gathering(wide, parameters), np.random.default_rng(1)
    first, replicates, chunk = 0, 10_000, 0
    while first < replicates:
        count = min(gathering.next_cut(first), replicates, first + 3000) - first
        (tally,) = new_tallies(wide, parameters).values()
        tally.add(rng.normal(size=(count, ELEMENTS)))  # type: ignore[call-arg, arg-type] # it is no pair
        chunk = max(chunk, tally.nbytes)
        gathering.add(first, count, (tally,))
        first += count
    column = gathering.columns(replicates)["row"]
    held = column.nbytes + column.tally().nbytes + 2 * chunk
    assert held < summary_bytes(wide, parameters, replicates) < 4 * held
