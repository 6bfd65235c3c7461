"""Checks of what a caller gives: a float is taken for the integer that it equals, in each place that counts."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from kernels import Walk, walk

import bgsim
from bgsim.checks import check_integer, one_of
from bgsim.config import EngineConfig
from bgsim.errors import InvalidInputError
from bgsim.queue_manager import SimulationQueue
from bgsim.request import make_request


@pytest.mark.parametrize("value", [1e6, 1_000_000, np.float64(1e6), np.float32(1e6), np.int32(10**6), Fraction(10**6)])
def test_an_integral_number_is_an_integer(value: object) -> None:
    found = check_integer("replicates", value)
    assert (type(found), found) == (int, 10**6)


@pytest.mark.parametrize("value", [1.5, 1e-9, math.nan, math.inf, -math.inf, True, np.True_, "1e6", 1 + 0j, None, [1]])
def test_all_else_is_refused_by_name(value: object) -> None:
    with pytest.raises(InvalidInputError, match="replicates must be an integer of 1 or more; got") as caught:
        check_integer("replicates", value)
    assert caught.value.field == "replicates"


def test_a_request_for_a_float_is_that_for_the_int() -> None:
    given = make_request(walk, Walk(steps=3), replicates=5.0, seed=2.0)
    asked = make_request(walk, Walk(steps=3), replicates=5, seed=2)
    assert (type(given.replicates), type(given.seed)) == (int, int)
    assert (given.key.identity, given.queue_key, given.kept()) == (asked.key.identity, asked.queue_key, asked.kept())
    found = bgsim.run(walk, Walk(steps=3), replicates=5.0, seed=2.0)
    assert found["end"].tobytes() == bgsim.run(walk, Walk(steps=3), replicates=5, seed=2)["end"].tobytes()
    for name in ("replicates", "seed"):
        with pytest.raises(InvalidInputError, match=f"{name} must be an integer"):
            make_request(walk, **{"parameters": None, "replicates": 5, name: 1.5})


def test_settings_take_it_too() -> None:
    config = EngineConfig(workers=2.0, max_queue_size=1e3, max_storage_bytes=1e9)
    assert config == EngineConfig(workers=2, max_queue_size=1000, max_storage_bytes=10**9)
    assert [type(n) for n in (config.workers, config.max_queue_size, config.max_storage_bytes)] == [int] * 3
    assert bgsim.Retry(2.0).to_json() == bgsim.Retry(2).to_json()
    queue = SimulationQueue(2e1, limits={"g": 1.0}, rate_limits={"g": (3.0, 60.0)})
    assert type(queue.max_queue_size) is int
    queue.max_queue_size = 5.0
    assert repr(queue.max_queue_size) == "5"
    with bgsim.Engine(immediate=True, workers=1.0, limits={"g": 1.0}) as engine:
        engine.subscribe(maxlen=16.0)
        assert engine.submit(walk, replicates=1e1, group="g", retry=bgsim.Retry(1.0)).result().replicates == 10
        assert engine.submit(walk, replicates=10).done()


def test_of_one_word_no_nearest_is_named() -> None:
    assert one_of(["payoff"], "payof") == "one of payoff"
    assert one_of(["payoff", "hit"], "payof") == "one of payoff, hit; did you mean 'payoff'?"
