"""`Stopping`: what a result says of its stop, and how it is shown."""

from __future__ import annotations

import numpy as np
import pytest
from moments import moments_of

import bgsim
from bgsim.errors import InvalidInputError
from bgsim.precision import Stopping

VALUES = np.random.default_rng(3).exponential(2.0, 16384)


def stopping(maximum: int = 16384, **given: float) -> Stopping:
    rule = bgsim.Precision(["x", "y"], maximum=maximum, **given)  # type: ignore[arg-type]
    looks = []
    for n in rule.looks():
        looks.append(rule.judge(n, {"x": moments_of(VALUES[:n]), "y": moments_of(VALUES[:n] > 1)}))
        if looks[-1].reached:
            break
    return Stopping(rule, tuple(looks))


def test_it_says_where_the_rule_stopped() -> None:
    found = stopping(standard_error=0.025)
    assert (found.replicates, found.reached) == (8192, True)
    assert [look.replicates for look in found.looks] == [4096, 8192]
    assert [look.reached for look in found.looks] == [False, True]
    low, high = found.interval("x")
    mean, error = VALUES[:8192].mean(), VALUES[:8192].std(ddof=1) / 8192**0.5
    assert (low + high) / 2 == pytest.approx(mean)
    assert (high - low) / 2 == pytest.approx(2.4492 * error, rel=1e-3)  # of two looks and two outputs


def test_it_says_that_the_maximum_came_first() -> None:
    found = stopping(maximum=5000, half_width=1e-6)
    assert (found.replicates, found.reached) == (5000, False)
    assert "not reached: the maximum came first" in repr(found)


def test_an_output_of_another_rule_has_no_interval() -> None:
    with pytest.raises(InvalidInputError, match="output must be one of x, y; got 'z'"):
        stopping(standard_error=1.0).interval("z")
    with pytest.raises(InvalidInputError, match="got 3"):
        stopping(standard_error=1.0).interval(3)  # type: ignore[arg-type]


def test_it_prints_as_a_table_of_its_looks() -> None:
    found = stopping(standard_error=0.025)
    lines = repr(found).splitlines()
    assert lines[0] == "reached, Precision(('x', 'y'), standard_error=0.025, maximum=16384)"
    assert lines[1].split() == ["replicates", "output", "mean", "95", "%", "interval", "standard", "error", "target"]
    assert lines[2].split()[:2] == ["4,096", "x"]
    assert [line.endswith("reached") for line in lines[2:]] == [False, True, True, True]
    html = found._repr_html_()
    assert html.count("<tr>") == 5
    assert "16,384" not in html
    assert "half width" in repr(stopping(half_width=1.0))


def test_it_says_why_a_rule_went_on() -> None:
    rule = bgsim.Precision("x", standard_error=1.0)
    constant = Stopping(rule, (rule.judge(4096, {"x": moments_of(np.zeros(4096))}),))
    assert repr(constant).endswith("all values are the same")
