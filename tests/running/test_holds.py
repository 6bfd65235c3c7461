"""Simulations whose jobs are paused together: those that run, those that wait, those to come."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from conftest import HANDSHAKE_S, Gate
from kernels import one_draw, walk

import bgsim
from bgsim.job import JobState
from bgsim.testing import SteppedEngine, gated, run_all


@pytest.fixture
def engine() -> Iterator[SteppedEngine]:
    found = SteppedEngine(max_concurrent_simulations=1)
    yield found
    found.close(cancel=True)


def states(*jobs: bgsim.Job) -> list[str]:
    return [job.state.value for job in jobs]


def test_what_runs_waits_and_comes_is_paused_and_others_go_on(engine: SteppedEngine) -> None:
    running, waiting = (engine.submit(one_draw, replicates=1, seed=seed) for seed in (1, 2))
    delayed = engine.submit(one_draw, replicates=1, seed=3, delay_s=5.0)
    other = engine.submit(walk, replicates=1)
    assert engine.pause_simulation(one_draw) == 3
    assert engine.paused_simulations() == [(one_draw.name, None)]
    coming = engine.submit(one_draw, replicates=1, seed=4)
    joined = engine.submit(one_draw, replicates=1, seed=1)
    held = (running, waiting, delayed, coming, joined)
    assert states(*held, other) == ["suspended"] * 5 + ["running"]
    assert {job.status().waiting_for for job in held} == {"its simulation is paused"}
    assert coming.started_at is None
    run_all(engine)
    assert states(*held, other) == ["suspended"] * 5 + ["completed"]
    assert engine.resume_simulation(one_draw) == 5
    assert engine.resume_simulation(one_draw) == 0
    assert delayed.state is JobState.DELAYED
    engine.clock.advance(5.0)
    run_all(engine)
    assert states(*held) == ["completed"] * 5
    assert engine.paused_simulations() == []


def test_what_was_paused_by_hand_stays_so_and_what_is_resumed_by_hand_goes_on(engine: SteppedEngine) -> None:
    by_hand, other = (engine.submit(one_draw, replicates=1, seed=seed) for seed in (1, 2))
    by_hand.pause()
    assert engine.pause_simulation(one_draw) == 1
    assert other.resume()
    run_all(engine)
    assert engine.resume_simulation(one_draw) == 0
    assert states(by_hand, other) == ["suspended", "completed"]
    assert by_hand.status().waiting_for == "paused by hand"


def test_of_one_tenant(engine: SteppedEngine) -> None:
    jobs = {tenant: engine.submit(one_draw, replicates=1, tenant=tenant) for tenant in ("a", "b", None)}
    assert engine.pause_simulation(one_draw, tenant="a") == 1
    coming = engine.submit(one_draw, replicates=2, seed=1, tenant="a")
    run_all(engine)
    assert states(*jobs.values(), coming) == ["suspended", "completed", "completed", "suspended"]
    engine.pause_simulation(one_draw)
    assert engine.paused_simulations() == [(one_draw.name, None), (one_draw.name, "a")]
    assert engine.resume_simulation(one_draw) == 0, "those of this tenant are still paused"
    assert engine.resume_simulation(one_draw, tenant="a") == 2


def test_what_the_store_has_is_answered(engine: SteppedEngine) -> None:
    engine.submit(one_draw, replicates=1)
    run_all(engine)
    engine.pause_simulation(one_draw)
    assert engine.submit(one_draw, replicates=1).status().from_store == 1


def test_no_replicate_of_a_job_to_come_is_computed(hold: Gate) -> None:
    """With threads: no worker is on it, though all are free."""
    with bgsim.Engine(workers=2) as engine:
        engine.pause_simulation(gated)
        job = engine.submit(gated, {"name": "a"}, replicates=1)
        assert engine.submit(one_draw, replicates=1).result(HANDSHAKE_S).replicates == 1
        assert not hold.reached.is_set()
        hold.open()
        engine.resume_simulation(gated)
        assert job.result(HANDSHAKE_S).replicates == 1


def test_an_engine_that_is_closed_ends_what_is_paused() -> None:
    engine = bgsim.Engine(workers=1)
    engine.pause_simulation(one_draw)
    job = engine.submit(one_draw, replicates=1)
    assert engine.close() == []
    assert job.result().replicates == 1
