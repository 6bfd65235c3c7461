"""Plain forms of compiled functions, and the replay that a simulation may define."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

import bgsim
from bgsim.models.plain import plain_form


@njit
def told(number: int) -> None:
    """Does nothing, compiled or not."""


@njit
def half(number: int) -> int:
    told(number)
    return number // 2


@njit
def steps_to_nothing(number: int) -> int:
    return 0 if number == 0 else 1 + steps_to_nothing(half(number))


def test_a_plain_form_is_plain_all_the_way_down() -> None:
    """Nothing is compiled for it, and what is replaced is replaced wherever it is called."""
    heard: list[int] = []
    plain = plain_form(steps_to_nothing, {told.py_func: heard.append})
    assert plain(9) == 4
    assert heard == [9, 4, 2, 1]
    assert all(isinstance(number, int) for number in heard)
    assert not (steps_to_nothing.overloads or half.overloads or told.overloads)


def test_the_original_stays_as_it_is() -> None:
    heard: list[int] = []
    plain_form(half, {told.py_func: heard.append})(3)
    assert half.py_func.__globals__["told"] is told
    assert plain_form(half)(8) == 4
    assert heard == [3]


def with_words(parameters: Any, rng: np.random.Generator) -> tuple[float, str]:
    return rng.random(), f"of {parameters['number']}"


@bgsim.simulation(outputs={"x": "f8"}, replay=with_words, compile=False)
def draw(p: Any, rng: Any) -> float:
    return rng.random()


def test_a_simulation_may_say_what_a_replay_returns() -> None:
    """With the replicate's stream; the function itself, and the check of what it returns, stay as they are."""
    result = bgsim.run(draw, {"number": 3}, replicates=5, seed=8)
    for index in (0, 4):
        assert result.replay(index) == (result["x"][index], "of 3")
        assert draw.function(None, bgsim.replicate_rng(8, index)) == result["x"][index]
    draw.check_replicate(draw.bind({"number": 3}), 8, 0)
