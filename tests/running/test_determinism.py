"""The one rule: replicate i is a pure function of (simulation, parameters, seed, i)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from kernels import Walk, fragile, plain_walk, walk
from paths import ENCOUNTERS

import bgsim
from bgsim.models.battle import Battle, battle
from bgsim.models.options import AsianCall, asian_call
from bgsim.streams import replicate_rng

SEED = 20261123
REPLICATES = 30_000

CASES = {
    "asian_call": (asian_call, AsianCall(steps=12)),
    "walk with arrays": (walk, Walk(steps=6)),
    "battle": (battle, Battle.from_file(ENCOUNTERS / "goblin_ambush.json")),
}


def as_bytes(result: Any) -> dict[str, bytes]:
    return {name: column.tobytes() for name, column in result.items()}


@pytest.fixture(scope="module")
def expected() -> dict[str, dict[str, bytes]]:
    return {
        name: as_bytes(bgsim.run(simulation, parameters, replicates=REPLICATES, seed=SEED, workers=1))
        for name, (simulation, parameters) in CASES.items()
    }


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("workers", [2, 5, 16])
def test_any_number_of_workers(name: str, workers: int, expected: Any) -> None:
    simulation, parameters = CASES[name]
    result = bgsim.run(simulation, parameters, replicates=REPLICATES, seed=SEED, workers=workers)
    assert as_bytes(result) == expected[name]


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("chunk_target_ms", [0.05, 1, 20, 500])
def test_any_chunking(name: str, chunk_target_ms: float, expected: Any) -> None:
    simulation, parameters = CASES[name]
    result = bgsim.run(simulation, parameters, replicates=REPLICATES, seed=SEED, chunk_target_ms=chunk_target_ms)
    assert as_bytes(result) == expected[name]


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("in_file", [True, False])
def test_asked_at_once_or_extended(name: str, in_file: bool, expected: Any, tmp_path: Path) -> None:
    """10,000 and then 30,000: the first are not computed again, and fewer are a slice."""
    simulation, parameters = CASES[name]
    store = tmp_path / "runs.db" if in_file else None
    with bgsim.Engine(store) as engine:
        engine.submit(simulation, parameters, replicates=10_000, seed=SEED).result()
        job = engine.submit(simulation, parameters, replicates=REPLICATES, seed=SEED)
        assert as_bytes(job.result()) == expected[name]
        assert job.status().from_store == 10_000
        fewer = engine.submit(simulation, parameters, replicates=123, seed=SEED)
        assert fewer.status().from_store == 123
        for column, value in fewer.result().items():
            assert expected[name][column].startswith(value.tobytes())


@pytest.mark.parametrize("name", CASES)
def test_cancelled_half_way_and_resubmitted(name: str, expected: Any, tmp_path: Path) -> None:
    """What was finished is kept, and the whole is the same. One worker, for what is kept is what has no gap."""
    simulation, parameters = CASES[name]
    with bgsim.Engine(tmp_path / "runs.db", workers=1, progress_update_interval_ms=1, chunk_target_ms=1) as engine:
        job = engine.submit(simulation, parameters, replicates=REPLICATES, seed=SEED)
        for update in job.updates():
            if update.fraction > 0.3:
                job.cancel()
        resumed = engine.submit(simulation, parameters, replicates=REPLICATES, seed=SEED)
        assert as_bytes(resumed.result()) == expected[name]
        if job.cancelled():
            assert 0 < resumed.status().from_store < REPLICATES


@pytest.mark.parametrize("name", CASES)
def test_equal_to_the_plain_function(name: str, expected: Any) -> None:
    simulation, parameters = CASES[name]
    bound = simulation.bind(parameters)
    columns = [
        np.frombuffer(expected[name][o.name], o.dtype).reshape(REPLICATES, *o.concrete_shape(bound))
        for o in simulation.outputs
    ]
    for index in (0, 1, 999, 17_000, REPLICATES - 1):
        returned = simulation.function(bound.kernel_view(), replicate_rng(SEED, index))
        values = returned if isinstance(returned, tuple) else (returned,)
        for column, value in zip(columns, values, strict=True):
            assert column[index].tobytes() == np.asarray(value, column.dtype).tobytes()


def test_equal_to_the_plain_simulation() -> None:
    """compile=False: same streams, same results."""
    compiled, plain = (bgsim.run(s, Walk(), replicates=300, seed=3) for s in (walk, plain_walk))
    assert as_bytes(compiled) == as_bytes(plain)


def test_overtaken_and_resumed(expected: Any) -> None:
    """A job that gives way to more urgent ones has the same bytes."""
    simulation, parameters = CASES["asian_call"]
    with bgsim.Engine(max_concurrent_simulations=1, chunk_target_ms=1) as engine:
        job = engine.submit(simulation, parameters, replicates=REPLICATES, seed=SEED, priority="low")
        for seed in range(20):
            engine.submit(walk, replicates=200, seed=seed, priority="critical").result()
        assert as_bytes(job.result()) == expected["asian_call"]


def test_different_seeds_differ_and_different_parameters_share_streams() -> None:
    """Common random numbers: two strikes see the same paths."""
    one, two = (bgsim.run(asian_call, AsianCall(steps=4), replicates=100, seed=s)["payoff"] for s in (1, 2))
    assert not np.array_equal(one, two)
    low, high = (
        bgsim.run(asian_call, AsianCall(steps=4, strike=k), replicates=1000, seed=1)["payoff"] for k in (90.0, 100.0)
    )
    difference = (low - high)[high > 0] * np.exp(0.05)
    assert np.allclose(difference, 10.0)


def test_a_failure_names_the_replicate_whatever_the_chunks() -> None:
    """And replaying it alone fails in the same way."""
    first_bad = next(i for i in range(10_000) if replicate_rng(5, i).random() < 0.001)
    with pytest.raises(bgsim.errors.ReplicateError) as caught:
        bgsim.run(fragile, {"fails_at": 0.001}, replicates=first_bad + 1, seed=5, workers=3, chunk_target_ms=0.01)
    assert caught.value.replicate == first_bad
    with pytest.raises(ValueError, match="the draw is too small"):
        fragile.replay(fragile.bind({"fails_at": 0.001}), seed=5, index=caught.value.replicate)
