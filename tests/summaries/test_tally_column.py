"""Columns that are kept as tallies."""

from __future__ import annotations

import copy

import numpy as np
import pytest

from bgsim.summaries.column import Segment, TallyColumn
from bgsim.summaries.pairs import PairTally
from bgsim.summaries.tally import Tally

_VALUES = np.random.default_rng(31).normal(size=(100, 2))


def segment(first: int, count: int) -> Segment:
    tally = Tally("f8", (2,))
    tally.add(_VALUES[first : first + count])
    return Segment(first, count, tally)


@pytest.fixture
def column() -> TallyColumn:
    return TallyColumn([segment(0, 10), segment(10, 30), segment(40, 60)])


def test_a_column_looks_like_an_array_of_its_rows(column: TallyColumn) -> None:
    assert (len(column), column.shape, column.ndim, column.dtype) == (100, (100, 2), 2, np.float64)
    assert column.ends == (10, 40, 100)
    assert column.nbytes == sum(part.tally.nbytes for part in column.segments)
    assert column == copy.deepcopy(column)
    assert column != column.whole(40)


@pytest.mark.parametrize(("n", "whole"), [(0, 0), (9, 0), (10, 10), (39, 10), (40, 40), (1000, 100)])
def test_the_longest_run_of_whole_segments(column: TallyColumn, n: int, whole: int) -> None:
    found = column.whole(n)
    assert len(found) == whole
    assert found.tally() == segment(0, whole).tally
    assert (found.dtype, found.shape) == (column.dtype, (whole, 2))


@pytest.mark.parametrize("order", [(10, 40, 100), (100, 40, 10), (40, 100, 40)])
def test_first_replicates_have_one_tally_in_any_order_of_asking(column: TallyColumn, order: tuple[int, ...]) -> None:
    parts = [part.tally.to_bytes() for part in column.segments]
    for n in order:
        assert column.tally(n) == segment(0, n).tally
        assert column.tally(n) is column.tally(n)
    assert [part.tally.to_bytes() for part in column.segments] == parts
    with pytest.raises(ValueError, match="10, 40, 100"):
        column.tally(41)


def test_segments_follow_each_other() -> None:
    for parts in ([segment(10, 10)], [segment(0, 10), segment(20, 5)], [Segment(0, 11, segment(0, 10).tally)]):
        with pytest.raises(ValueError, match="does not follow"):
            TallyColumn(parts)
    with pytest.raises(ValueError, match="one dtype"):
        TallyColumn([segment(0, 10), Segment(10, 0 + 1, _single("f4"))])
    with pytest.raises(ValueError, match="like"):
        TallyColumn([])


def test_an_empty_column_of_pairs() -> None:
    column = TallyColumn([], PairTally())
    assert (len(column), column.shape, column.tally()) == (0, (0,), PairTally())
    assert column != TallyColumn([], Tally("f8"))


def _single(dtype: str) -> Tally:
    tally = Tally(dtype, (2,))
    tally.add(np.zeros((1, 2), dtype))
    return tally
