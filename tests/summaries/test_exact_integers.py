"""Words and roots of exact sums."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bgsim.summaries import exact
from bgsim.summaries.words import add_words

_WORD = st.integers(0, 2**64 - 1) | st.sampled_from([0, 1, 2**64 - 1])
_WORDS = st.tuples(_WORD, _WORD, _WORD)


@example([((2**64 - 1, 2**64 - 1, 0), (1, 0, 0))])
@given(st.lists(st.tuples(_WORDS, _WORDS), min_size=1, max_size=5))
def test_words_add_up_as_integers_do(pairs: list[tuple[tuple[int, ...], tuple[int, ...]]]) -> None:
    target, addend = (np.array([pair[side] for pair in pairs], np.uint64) for side in (0, 1))
    add_words(target, addend)
    for (a, b), words in zip(pairs, target.tolist(), strict=True):
        assert exact.joined(words) == (exact.joined(a) + exact.joined(b)) % 2**192


@pytest.mark.parametrize("exponent", [0, -1, -900, 900])
def test_a_root_beside_a_tie_is_rounded_once(exponent: int) -> None:
    tie = (2**53 + 1) ** 2
    unit = 2.0**exponent
    assert exact.root(tie, 1, exponent) == 2.0**53 * unit
    assert exact.root(tie * 2**400 + 1, 2**400, exponent) == (2.0**53 + 2) * unit
    assert exact.root(tie * 2**400 - 1, 2**400, exponent) == 2.0**53 * unit
    assert exact.root(0, 7, exponent) == 0.0


def test_a_quotient_may_be_beyond_every_double() -> None:
    assert exact.divided(1, 1, 1024) == float("inf")
    assert exact.divided(-1, 1, 1024) == -float("inf")
    assert exact.divided(3, 2, -1074) == 1e-323
