"""The confidence sequences against SciPy's distributions and integrals, and against every order of the values."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from moments import moments_of
from scipy import integrate, special, stats

from bgsim.precision import sequences
from bgsim.precision.sequences import bounded_mean, proportion

PLANNED = 16384.0


def likelihood_ratio(p: float, successes: int, count: int, alpha: float) -> float:
    """Return the mixture's martingale, by the distributions of SciPy."""
    log = 2 * math.log(1 / alpha)
    prior = PLANNED / (log + math.log(1 + log))
    mixture = stats.betabinom.logpmf(successes, count, p * prior, (1 - p) * prior)
    return float(mixture - stats.binom.logpmf(successes, count, p))


@pytest.mark.parametrize("count", [1, 2, 17, 4096, 65536])
@pytest.mark.parametrize("share", [0.0, 0.0004, 0.01, 0.3, 0.5, 0.97, 1.0])
@pytest.mark.parametrize("alpha", [0.05, 0.001])
def test_a_proportion_is_in_the_sequence_while_the_martingale_is_small(count: int, share: float, alpha: float) -> None:
    successes = round(share * count)
    low, high = proportion(successes, count, alpha, PLANNED)
    assert 0 <= low <= successes / count <= high <= 1
    limit = -math.log(alpha)
    for p in np.r_[np.geomspace(1e-9, 0.5, 60), 1 - np.geomspace(1e-9, 0.5, 60)]:
        is_inside = likelihood_ratio(p, successes, count, alpha) < limit
        assert is_inside == (low <= p <= high), p
    for end in (low, high):
        if 1e-9 < end < 1 - 1e-9:
            assert likelihood_ratio(end, successes, count, alpha) == pytest.approx(limit, abs=1e-6)


def test_nothing_is_known_of_no_value() -> None:
    assert proportion(0, 0, 0.05, PLANNED) == (0.0, 1.0)
    assert bounded_mean(moments_of([]), (-2.0, 3.0), 0.05) == (-2.0, 3.0)


@given(count=st.integers(1, 10**7), share=st.floats(0, 1), alpha=st.floats(1e-5, 0.5))
def test_successes_and_failures_are_alike(count: int, share: float, alpha: float) -> None:
    successes = round(share * count)
    low, high = proportion(successes, count, alpha, PLANNED)
    assert proportion(count - successes, count, alpha, PLANNED) == (pytest.approx(1 - high), pytest.approx(1 - low))


# ---- values between bounds ---------------------------------------------------------------------------


def mixture(distance: float, variance: float, prior: float) -> float:
    """Return the gamma-exponential mixture as the integral that defines it (Howard et al. 2021)."""
    log_norm = prior * math.log(prior) - special.gammaln(prior) - math.log(special.gammainc(prior, prior))

    def density(x: float) -> float:
        log = log_norm + (prior - 1) * math.log1p(-x) - prior * (1 - x)
        return math.exp(log + x * distance + (math.log1p(-x) + x) * variance)

    peak = distance / (variance + prior + distance)
    parts = [0.0, *(min(1.0, peak * k) for k in (0.5, 1, 1.5, 2, 4)), 1.0]
    return math.fsum([integrate.quad(density, a, b)[0] for a, b in pairwise(parts) if a < b])


@pytest.mark.parametrize("variance", [0.25, 10.0, 400.0, 30_000.0])
@pytest.mark.parametrize("alpha", [0.1, 0.025, 0.001])
def test_the_radius_is_where_the_mixture_reaches_its_limit(variance: float, alpha: float) -> None:
    """A little more, since Chernoff's bound exceeds the tail of the gamma distribution, and never less."""
    found = sequences._radius(variance, alpha)
    assert mixture(found, variance, sequences._PRIOR) >= 1 / alpha
    assert mixture(found * 0.94, variance, sequences._PRIOR) < 1 / alpha


def test_the_mixture_begins_with_1() -> None:
    prior = sequences._PRIOR
    exact = prior * math.log(prior) - special.gammaln(prior) - math.log(special.gammainc(prior, prior))
    assert sequences._log_norm() == pytest.approx(exact, rel=1e-12)


def differences_from_the_past(values: list[float]) -> float:
    """Return the sum of the squared differences between each value and the mean of those before; first the middle."""
    means = [0.5, *(np.cumsum(values)[:-1] / np.arange(1, len(values)))]
    return float(np.sum((np.array(values) - means) ** 2))


@given(st.lists(st.one_of(st.sampled_from([0.0, 1.0]), st.floats(0, 1)), min_size=2, max_size=60))
def test_no_order_has_more_variance_than_the_most(values: list[float]) -> None:
    rest = sorted(values)
    alternating = [rest.pop(0 if i % 2 else -1) for i in range(len(values))]  # the largest, the smallest, ...
    squares = moments_of(values).squares
    for order in (values, sorted(values), sorted(values)[::-1], alternating):
        assert differences_from_the_past(order) <= sequences._most_variance(squares)


@pytest.mark.parametrize("squares", [0.0, 0.7, 3.0, 41.0, 1e4, 1e9])
def test_the_most_variance_is_little_more_than_the_sum_of_squares(squares: float) -> None:
    found = sequences._most_variance(squares)
    assert squares + 0.25 <= found <= squares + 1.5 + math.log(squares + 1)


@pytest.mark.parametrize("alpha", [0.05, 0.002])
def test_each_end_of_a_mean_with_bounds_has_half_of_the_errors(alpha: float) -> None:
    moments = moments_of(np.random.default_rng(4).random(4096))
    low, high = bounded_mean(moments, (0.0, 1.0), alpha)
    assert high - moments.mean == pytest.approx(moments.mean - low)
    distance, variance = 4096 * (high - moments.mean), sequences._most_variance(moments.squares)
    assert mixture(distance, variance, sequences._PRIOR) == pytest.approx(2 / alpha, rel=0.2)


def test_it_does_not_matter_in_which_unit_values_are() -> None:
    values = np.random.default_rng(5).beta(0.5, 8, 4096)
    low, high = bounded_mean(moments_of(values), (0.0, 1.0), 0.05)
    found = bounded_mean(moments_of(1000 * values - 300), (-300.0, 700.0), 0.05)
    assert found == (pytest.approx(1000 * low - 300), pytest.approx(1000 * high - 300))


@pytest.mark.parametrize("scale", [1e-200, 1e-320, 1e200, 8e307])
@pytest.mark.filterwarnings("ignore:overflow")
def test_it_takes_bounds_whose_square_is_no_number(scale: float) -> None:
    """The variance of such values is 0 or infinite as a double; values in bounds have a quarter of the range at most."""
    values = np.random.default_rng(5).random(4096)
    low, high = bounded_mean(moments_of(scale * values), (0.0, scale), 0.05)
    assert 0 <= low < scale * 0.5 < high <= scale


def test_it_keeps_to_the_bounds() -> None:
    assert bounded_mean(moments_of([0.0, 1.0, 1.0]), (0.0, 1.0), 0.05) == (0.0, 1.0)


def test_a_small_variance_is_used() -> None:
    """Hoeffding's interval knows the bounds alone: at 65,536 values it is 0.0053 to each side."""
    values = np.random.default_rng(6).beta(20, 380, 65536)
    low, high = bounded_mean(moments_of(values), (0.0, 1.0), 0.05)
    assert (high - low) / 2 < 0.0003
