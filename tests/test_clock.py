"""Clocks: the system's, and one that a test sets."""

from __future__ import annotations

import gc
from typing import Any

import pytest

from bgsim.clock import Clock, ManualClock
from bgsim.errors import InvalidInputError


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


@pytest.mark.parametrize("seconds", [-1.0, float("nan"), float("inf"), "1", None])
def test_time_passes_forwards(seconds: float) -> None:
    clock = ManualClock()
    with pytest.raises(InvalidInputError, match="forwards"):
        clock.advance(seconds)
    assert clock.monotonic() == 0.0


def test_the_wall_clock_is_set_to_a_time() -> None:
    clock = ManualClock(time=1.0)
    with pytest.raises(InvalidInputError, match="finite seconds since the epoch"):
        clock.set_time(float("nan"))
    assert clock.time() == 1.0


def test_a_clock_tells_of_its_moves_while_a_listener_lives() -> None:
    class Listener:
        def __init__(self) -> None:
            self.times: list[float] = []

        def look(self) -> None:
            self.times.append(clock.time())

    clock = ManualClock(time=0.0)
    first, second = Listener(), Listener()
    clock.on_move(first.look)
    clock.on_move(second.look)
    clock.advance(1.0)
    del second
    gc.collect()
    clock.set_time(5.0)
    assert first.times == [1.0, 5.0]


def test_many_threads_may_advance_it(in_threads: Any) -> None:
    clock = ManualClock()

    def advance() -> None:
        for _ in range(1000):
            clock.advance(1.0)

    in_threads(*[advance] * 4)
    assert clock.monotonic() == 4000.0
