"""The rate and the time left, with times that the test sets."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bgsim.bus.rate import MEMORY_S, Rate


def observe(rate: Rate, times: np.ndarray, done: np.ndarray) -> None:
    for now, so_much in zip(times, done, strict=True):
        rate.observe(float(now), float(so_much))


def test_there_is_none_until_something_has_been_done() -> None:
    rate = Rate()
    assert rate.per_second is rate.remaining_s(10) is None
    rate.observe(0.0, 0.0)
    rate.observe(5.0, 0.0)
    assert rate.per_second is rate.remaining_s(10) is None
    rate.observe(6.0, 3.0)
    assert rate.per_second == 0.5
    assert rate.remaining_s(10) == 20.0
    assert rate.remaining_s(0) == 0.0
    assert rate.remaining_s(math.nan) is None


def test_a_moment_is_nothing_to_estimate_from() -> None:
    rate = Rate()
    observe(rate, np.array([0.0, 0.001, 0.005]), np.array([0.0, 40.0, 41.0]))
    assert rate.per_second is None
    rate.observe(1.0, 50.0)
    assert rate.per_second == pytest.approx(50.0, rel=0.1)


def test_what_was_stored_does_not_count() -> None:
    """A million of 1,100,000 replicates come from the store; the estimate is for the others."""
    rate = Rate()
    observe(rate, np.array([0.0, 1.0, 2.0]), 1_000_000 + np.array([0, 100, 200]))
    assert rate.per_second == pytest.approx(100.0)
    assert rate.remaining_s(99_800) == pytest.approx(998.0)


def test_a_pause_does_not_count() -> None:
    """Nor does what comes from elsewhere in it."""
    rate = Rate()
    observe(rate, np.arange(5.0), 100 * np.arange(5.0))
    rate.pause()
    observe(rate, 3600 + np.arange(5.0), 5000 + 100 * np.arange(5.0))
    assert rate.per_second == pytest.approx(100.0)


def test_a_pause_in_the_middle_of_a_stall_forgets_the_stall() -> None:
    rate = Rate()
    observe(rate, np.array([0.0, 1.0, 9.0]), np.array([0.0, 10.0, 10.0]))
    assert rate.per_second < 10.0  # type: ignore[operator]
    rate.pause()
    assert rate.per_second == 10.0


@pytest.mark.parametrize("interval", [0.01, 0.5, 5.0, 60.0])
def test_a_steady_rate_is_found_at_any_interval(interval: float) -> None:
    rate = Rate()
    times = interval * np.arange(40)
    observe(rate, times, 7.0 * times)
    assert rate.per_second == pytest.approx(7.0)


@pytest.mark.parametrize("takes_s", [0.7, 5.0, 60.0, 900.0])
def test_replicates_slower_than_the_interval_do_not_make_it_jump(takes_s: float) -> None:
    """Measured every half second, with slower replicates, the rate stays within a quarter of the truth."""
    rate = Rate()
    seen = []
    for now in np.arange(0.0, 12 * takes_s, 0.5):
        rate.observe(now, now // takes_s)
        if now > 2.5 * takes_s:
            seen.append(rate.per_second)
    assert max(seen) == pytest.approx(1 / takes_s, rel=0.25)
    assert min(seen) == pytest.approx(1 / takes_s, rel=0.25)


def test_it_follows_a_change_within_the_memory() -> None:
    """Another job takes half of the workers."""
    rate = Rate()
    times = np.arange(0.0, 60.0, 0.5)
    observe(rate, times, 100 * times)
    later = np.arange(0.5, 3 * MEMORY_S, 0.5)
    observe(rate, 59.5 + later, 5950 + 50 * later)
    assert rate.per_second == pytest.approx(50.0, rel=0.1)


def test_noise_is_smoothed() -> None:
    """Increments of 0 to 200 around 100: the estimate stays within a third, and mostly much nearer."""
    rate = Rate()
    done = np.cumsum(np.random.default_rng(3).integers(0, 201, 400))
    seen = []
    for i, so_much in enumerate(done):
        rate.observe(0.5 * i, float(so_much))
        if i > 60:
            seen.append(rate.per_second)
    assert min(seen) > 200 * 0.7
    assert max(seen) < 200 * 1.3
    assert np.std(seen) < 200 * 0.12


def test_a_stall_lowers_it_slowly() -> None:
    """It keeps falling while nothing comes, and never reaches zero."""
    rate = Rate()
    times = np.arange(0.0, 20.0, 0.5)
    observe(rate, times, 1000 * times)
    before = rate.per_second
    seen = []
    for now in (20.0, 25.0, 40.0, 400.0):
        rate.observe(now, 19_500.0)
        seen.append(rate.per_second)
    assert before > seen[0] > seen[1] > seen[2] > seen[3] > 0  # type: ignore[operator]
    assert seen[0] > 0.8 * before  # type: ignore[operator]


def test_a_clock_that_stands_and_a_count_that_falls_do_no_harm() -> None:
    """A replicate that is given up is no longer counted, and then computed again."""
    rate = Rate()
    rate.observe(0.0, 0.0)
    rate.observe(0.0, 5.0)
    rate.observe(1.0, 10.0)
    rate.observe(2.0, 9.0)
    rate.observe(3.0, 30.0)
    assert rate.per_second == pytest.approx(10.0, rel=0.05)


def test_the_estimate_of_a_whole_run_is_believable() -> None:
    """Half is stored, a pause takes an hour, and two workers become one: from then on it is right to a third."""
    total, done, now = 100_000.0, 50_000.0, 0.0
    rate, errors = Rate(), []
    while done < total:
        speed = 1000.0 if done < 75_000 else 500.0
        if done == 60_000.0:
            now += 3600.0
            rate.pause()
        rate.observe(now, done)
        left = rate.remaining_s(total - done)
        truth = max(0.0, 75_000 - done) / 1000 + (total - max(done, 75_000)) / 500
        if left is not None and done > 85_000:
            errors.append(abs(left - truth) / truth)
        now, done = now + 0.5, done + 0.5 * speed
    assert len(errors) > 50
    assert max(errors) < 1 / 3
