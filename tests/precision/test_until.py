"""The text of ``bgsim run --until``."""

from __future__ import annotations

import pytest

import bgsim
from bgsim.errors import InvalidInputError
from bgsim.precision import parse_until


@pytest.mark.parametrize(
    ("text", "output", "target"),
    [
        ("payoff=0.01", "payoff", {"standard_error": 0.01}),
        ("payoff=1e-3", "payoff", {"standard_error": 0.001}),
        (" payoff = .5 ", "payoff", {"standard_error": 0.5}),
        ("payoff=0.1%", "payoff", {"relative": 0.001}),
        ("payoff=5 %", "payoff", {"relative": 0.05}),
        ("payoff=±0.02", "payoff", {"half_width": 0.02}),
        ("payoff=+-0.02", "payoff", {"half_width": 0.02}),
        ("payoff=+/- 0.02", "payoff", {"half_width": 0.02}),
        ("payoff, delta=0.01", ("payoff", "delta"), {"standard_error": 0.01}),
        ("µ=0.01", "μ", {"standard_error": 0.01}),
    ],
)
def test_each_form_is_a_rule(text: str, output: str, target: dict[str, float]) -> None:
    assert parse_until(text) == bgsim.Precision(output, **target)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "payoff",
        "payoff=",
        "=0.01",
        "payoff=much",
        "payoff=1.2.3",
        "payoff=0",
        "payoff=-0.1",
        "payoff=nan",
        "payoff=1e999",
        "payoff=100%",
        "payoff=±1%",
        "payoff=%",
        "a,,b=0.1",
        "a,a=0.1",
        "a=b=0.1",
    ],
)
def test_what_is_none_is_refused_by_the_name_of_the_option(text: str) -> None:
    with pytest.raises(InvalidInputError, match="^--until ") as caught:
        parse_until(text)
    assert (caught.value.field, caught.value.value) == ("--until", text)


def test_a_refusal_says_what_is_allowed() -> None:
    with pytest.raises(InvalidInputError, match=r"payoff=0.01 for a standard error, payoff=0.1% .* got 'payoff'"):
        parse_until("payoff")
    with pytest.raises(InvalidInputError, match="--until x=500%: relative must be a number between 0 and 1"):
        parse_until("x=500%")
