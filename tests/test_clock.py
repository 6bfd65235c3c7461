"""Clocks: the system's, and one that a test sets."""

from __future__ import annotations

from typing import Any

import pytest

from bgsim.clock import Clock, ManualClock


def test_the_systems_clock_never_goes_back() -> None:
    clock = Clock()
    times = [clock.monotonic() for _ in range(100)]
    assert times == sorted(times)
    assert clock.time() > 1_700_000_000


def test_both_clocks_are_advanced_and_only_the_wall_clock_is_set() -> None:
    clock = ManualClock(time=100.0)
    clock.advance(5.0)
    assert (clock.monotonic(), clock.time()) == (5.0, 105.0)
    clock.set_time(50.0)
    assert (clock.monotonic(), clock.time()) == (5.0, 50.0)
    clock.advance(1.0)
    assert (clock.monotonic(), clock.time()) == (6.0, 51.0)


@pytest.mark.parametrize("seconds", [-1.0, float("nan")])
def test_time_passes_forwards(seconds: float) -> None:
    clock = ManualClock()
    with pytest.raises(ValueError, match="forwards"):
        clock.advance(seconds)
    assert clock.monotonic() == 0.0


def test_many_threads_may_advance_it(in_threads: Any) -> None:
    clock = ManualClock()

    def advance() -> None:
        for _ in range(1000):
            clock.advance(1.0)

    in_threads(*[advance] * 4)
    assert clock.monotonic() == 4000.0
