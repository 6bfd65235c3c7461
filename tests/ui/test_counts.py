"""Whole numbers on the command line."""

from __future__ import annotations

import click
import pytest

from bgsim.ui.counts import Count


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("7", 7), ("1e6", 10**6), ("2M", 2 * 10**6), ("10k", 10**4), ("10K", 10**4), ("1.5k", 1500), ("1_000", 1000),
        ("2G", 2 * 10**9), ("-3", -3), ("0", 0), ("1E3", 1000), ("2.50e2", 250), (" 5 ", 5), ("1_000.0", 1000),
        ("123456789012345678901234567890", 123456789012345678901234567890),
        ("1e30", 10**30), ("0.001M", 1000),
    ],
)  # fmt: skip
def test_people_write_numbers_so(text: str, expected: int) -> None:
    assert Count().convert(text, None, None) == expected


@pytest.mark.parametrize(
    "text",
    ["", "x", "1.5", "1e-3", "k", "1.2345k", "nan", "inf", "1e999999999", "1,5", "2MM", "1e41", "0x10", "9" * 5000],
)
def test_what_is_no_whole_number_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match="is not a valid integer; write it as"):
        Count().convert(text, None, None)


def test_a_range_is_named() -> None:
    assert Count(0, 10).convert("10", None, None) == 10
    for text in ("-1", "11", "1k"):
        with pytest.raises(click.BadParameter, match="is not in the range from 0 to 10"):
            Count(0, 10).convert(text, None, None)
