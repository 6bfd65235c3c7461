"""Batches and sweeps: orders, what became of each job, a queue smaller than the batch."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from conftest import HANDSHAKE_S
from kernels import Walk, fragile, one_draw, walk
from new_process import printed

import bgsim
from bgsim.errors import (
    EngineClosedError,
    InvalidInputError,
    JobTimeoutError,
    ParameterError,
    ReplicateError,
)
from bgsim.job import JobState
from bgsim.testing import GATES, Gate, gated, parts


@pytest.fixture
def holds() -> Iterator[dict[str, Gate]]:
    """Holds "0", "1" and "2" for the simulation `gated`."""
    names = [str(number) for number in range(3)]
    GATES.update({name: Gate() for name in names})
    yield GATES
    for name in names:
        GATES.pop(name).go_on.set()


def names(batch: Any) -> list[str]:
    return [job.parameters["name"] for job in batch]


# ---- orders ------------------------------------------------------------------------------------------


def test_jobs_come_as_they_end_or_as_they_were_asked_for(holds: dict[str, Gate]) -> None:
    with bgsim.Engine(workers=3) as engine:
        batch = engine.submit_many(gated, [{"name": str(n)} for n in range(3)], replicates=1)
        assert batch.done() is False
        assert batch.missing() == [0, 1, 2]
        ended = batch.as_completed(timeout_s=HANDSHAKE_S)
        order = []
        in_order = engine.as_completed(batch, order="submission", timeout_s=HANDSHAKE_S)
        for name in ("2", "0", "1"):
            holds[name].go_on.set()
            order.append(next(ended).parameters["name"])
            if name == "0":
                assert next(in_order).parameters["name"] == "0"  # the second has not ended
        assert order == ["2", "0", "1"]
        assert list(ended) == []
        assert names(batch.as_completed(order="submission")) == ["0", "1", "2"]
        assert names(batch) == ["0", "1", "2"]
        assert names(batch.as_completed()) == order
        assert batch.done() is True
        assert batch.missing() == []
        assert names(engine.as_completed(batch, order="submission")) == ["0", "1", "2"]
        assert set(engine.as_completed(batch)) == set(batch)


@pytest.mark.parametrize("order", ["completion", "submission"])
def test_waiting_for_too_long_is_a_time_out(order: str, holds: dict[str, Gate]) -> None:
    with bgsim.Engine(workers=1) as engine:
        batch = engine.submit_many(gated, [{"name": "0"}], replicates=1)
        with pytest.raises(TimeoutError, match=r"within 0\.01 s"):
            list(batch.as_completed(order=order, timeout_s=0.01))
        assert not batch.wait(0.01)
        with pytest.raises(TimeoutError):
            list(engine.as_completed(batch, order=order, timeout_s=0.01))
        holds["0"].go_on.set()
        assert batch.wait(HANDSHAKE_S)


@pytest.mark.parametrize("over", ["batch", "engine"])
def test_an_unknown_order_is_named(over: str) -> None:
    with bgsim.Engine(immediate=True) as engine:
        batch = engine.submit_many(one_draw, [None], replicates=1)
        with pytest.raises(InvalidInputError, match="order must be one of completion, submission; got 'random'"):
            list(batch.as_completed(order="random") if over == "batch" else engine.as_completed(batch, order="random"))


def test_it_is_a_sequence() -> None:
    with bgsim.Engine(immediate=True) as engine:
        batch = engine.submit_many(one_draw, [{"n": n} for n in range(4)], replicates=1)
        assert len(batch) == 4
        assert batch[-1].parameters["n"] == 3
        assert [job.parameters["n"] for job in batch[1:3]] == [1, 2]
        with pytest.raises(IndexError):
            batch[4]
        assert repr(batch) == "<Batch of 4 jobs: 4 submitted, 4 ended>"


def test_an_empty_batch_is_over_at_once() -> None:
    with bgsim.Engine(immediate=True) as engine:
        batch = engine.submit_many(one_draw, [], replicates=1)
        assert batch.done()
        assert (list(batch.as_completed()), batch.results(), batch.missing(), batch.failed()) == ([], [], [], {})
        assert repr(batch.failed()) == "no job failed"


# ---- what became of them -------------------------------------------------------------------------------


def test_failures_are_by_position_and_the_first_is_raised() -> None:
    with bgsim.Engine(immediate=True) as engine:
        batch = engine.submit_many(fragile, [{"fails_at": x} for x in (0.0, 1.0, 0.0, 2.0)], replicates=5)
        assert batch.missing() == [1, 3]
        failed = batch.failed()
        assert {n: type(error) for n, error in failed.items()} == {1: ReplicateError, 3: ReplicateError}
        text = "replicate 0 of kernels.fragile raised ValueError: the draw is too small"
        assert repr(failed).split("\n")[1:] == [f"    1         1  {text}", f"    3         2  {text}"]
        assert text in failed._repr_html_()
        with pytest.raises(ReplicateError) as caught:
            batch.results()
        assert caught.value is failed[1]
        assert [job.state for job in batch.as_completed(order="submission")] == [
            JobState.COMPLETED,
            JobState.FAILED,
            JobState.COMPLETED,
            JobState.FAILED,
        ]


def test_cancelling_keeps_what_is_done_and_submits_no_more(holds: dict[str, Gate]) -> None:
    with bgsim.Engine(workers=1, max_concurrent_simulations=1, max_queue_size=1) as engine:
        holds["0"].go_on.set()
        batch = engine.submit_many(gated, [{"name": str(n)} for n in range(5)], replicates=1)
        assert batch[0].result(HANDSHAKE_S).replicates == 1
        assert holds["1"].reached.wait(HANDSHAKE_S)
        batch.cancel()
        holds["1"].go_on.set()
        assert batch.wait(HANDSHAKE_S)
        assert batch.missing() == [1, 2, 3, 4]
        assert batch.failed() == {}
        assert batch[1].cancelled()
        assert len(list(batch.as_completed())) == len(batch._jobs) < 5
        with pytest.raises(EngineClosedError, match="cancelled before this job was submitted"):
            batch[4]


def test_bad_input_is_refused_before_the_first_is_submitted() -> None:
    with bgsim.Engine(immediate=True) as engine:
        with pytest.raises(ParameterError, match="did you mean 'steps'"):
            engine.submit_many(walk, [{"steps": 1}, {"stesp": 2}], replicates=1)
        with pytest.raises(InvalidInputError, match="no option 'replicate'; did you mean 'replicates'"):
            engine.submit_many(walk, [None], replicates=1, replicate=3)
        for grid in ({"steps": 3}, {"steps": []}, {"steps": "12"}, [1, 2]):
            with pytest.raises(InvalidInputError, match="grid must map names") as caught:
                engine.sweep(walk, grid, replicates=1)  # type: ignore[arg-type]
            assert caught.value.field == "grid"
        assert sum(engine.stats().states.values()) == 0


# ---- a queue with little room --------------------------------------------------------------------------


def test_the_rest_follows_as_jobs_end() -> None:
    """With room for two of a hundred; asking for one that is not submitted yet waits for it."""
    with bgsim.Engine(workers=2, max_queue_size=2, max_concurrent_simulations=1) as engine:
        sweep = engine.sweep(one_draw, {"n": range(100)}, replicates=2)
        assert sweep[99].result(HANDSHAKE_S).replicates == 2
        assert [r.parameters["n"] for r in sweep.results()] == list(range(100))


def test_a_closed_engine_refuses_the_rest(holds: dict[str, Gate]) -> None:
    engine = bgsim.Engine(workers=1, max_concurrent_simulations=1, max_queue_size=1)
    batch = engine.submit_many(gated, [{"name": str(n % 2)} for n in range(2)] + [{"name": "x"}] * 3, replicates=1)
    assert holds["0"].reached.wait(HANDSHAKE_S)
    closing = threading.Thread(target=engine.close)
    closing.start()
    while not parts(engine).state.closed:
        batch.done()
    for name in ("0", "1"):
        holds[name].go_on.set()
    closing.join(HANDSHAKE_S)
    assert batch.wait(HANDSHAKE_S)
    assert batch.missing() == [2, 3, 4]
    with pytest.raises(EngineClosedError):
        list(batch.as_completed())
    with pytest.raises(EngineClosedError):
        batch[4]


def test_an_immediate_engine_says_that_nothing_makes_room() -> None:
    """Only the caller could, so waiting would be for ever."""
    with bgsim.Engine(immediate=True, max_queue_size=1) as engine:
        later = engine.submit(one_draw, replicates=1, delay_s=60.0)
        batch = engine.submit_many(one_draw, [{"n": 1}], replicates=1)
        assert batch.done()
        with pytest.raises(bgsim.errors.QueueFullError):
            batch[0]
        engine.clock.advance(60.0)  # type: ignore[attr-defined]
        assert engine.submit(one_draw, replicates=1, seed=1, block=True).done()  # which runs what is due
        assert later.done()


def test_an_immediate_engine_says_that_nothing_in_a_batch_is_due() -> None:
    with bgsim.Engine(immediate=True) as engine:
        batch = engine.submit_many(one_draw, [{"n": 1}, {"n": 2}], replicates=1, delay_s=60.0)
        assert not batch.done()
        assert not batch.wait(5.0)
        with pytest.raises(TimeoutError):
            list(batch.as_completed(timeout_s=5.0))
        for wait in (batch.wait, batch.results, lambda: list(batch.as_completed())):
            with pytest.raises(JobTimeoutError, match="advance its clock"):
                wait()
        engine.clock.advance(60.0)  # type: ignore[attr-defined]
        assert batch.wait()
        assert len(batch.results()) == 2


# ---- map ---------------------------------------------------------------------------------------------


def test_map_yields_in_order_and_takes_an_endless_iterable() -> None:
    taken = itertools.count()
    with bgsim.Engine(workers=2) as engine:
        results = engine.map(one_draw, ({"n": n} for n in taken), replicates=1, ahead=3)
        assert [next(results).parameters["n"] for _ in range(5)] == list(range(5))
        results.close()  # type: ignore[attr-defined]
        assert engine.drain(HANDSHAKE_S)
        assert next(taken) <= 9


def test_map_raises_the_first_failure_and_cancels_the_rest() -> None:
    with bgsim.Engine(workers=1) as engine:
        results = engine.map(fragile, [{"fails_at": x} for x in (0.0, 1.0, 0.0)], replicates=1)
        assert next(results).replicates == 1
        with pytest.raises(ReplicateError):
            next(results)
        assert list(results) == []


# ---- sweeps -------------------------------------------------------------------------------


def test_a_sweep_is_every_combination_with_the_last_varying_fastest() -> None:
    with bgsim.Engine(immediate=True) as engine:
        sweep = engine.sweep(walk, {"steps": [1, 2], "scale": np.array([0.5, 1.5, 2.5])}, {"label": "x"}, replicates=3)
        assert [(p["steps"], float(p["scale"])) for p in sweep.points] == list(
            itertools.product([1, 2], [0.5, 1.5, 2.5])
        )
        assert [job.parameters["scale"] for job in sweep] == [0.5, 1.5, 2.5] * 2
        assert {job.parameters["label"] for job in sweep} == {"x"}
        alone = engine.submit(walk, Walk(steps=2, scale=1.5, label="x"), replicates=3)
        assert sweep[4].result()["end"].tolist() == alone.result()["end"].tolist()


def test_results_are_a_list_that_shows_what_differs_and_what_came_of_it() -> None:
    with bgsim.Engine(immediate=True) as engine:
        sweep = engine.sweep(walk, {"steps": list(range(1, 23))}, replicates=5)
        results = sweep.results()
        assert results == [job.result() for job in sweep]
        title, head, *rows = repr(results).split("\n")
        assert title == "22 results of kernels.walk"
        assert head.split() == ["job", "steps", "end", "ups", "high"]
        assert len(rows) == 21
        assert rows[-1] == "... and 2 more"
        assert rows[1].split()[:2] == ["1", "2"]
        assert repr(results[:1]).startswith("1 result of kernels.walk\n")
        assert engine.submit_many(walk, [], replicates=5).results() == []


def test_the_thread_that_waits_for_a_sweep_imports_xarray() -> None:
    """Then the first dataset takes no second; where there is nothing to wait for, no time goes into it."""
    code = """
        import sys, bgsim
        from bgsim.testing import gate, gated

        with bgsim.Engine(workers=1) as engine, gate("a") as a:

            class Opens:
                def find_spec(self, name, *_):
                    if name == "xarray":
                        a.open()

            sys.meta_path.insert(0, Opens())
            ended = engine.sweep(gated, {"name": ["b"]}, replicates=1)
            assert ended[0].exception() is None
            assert ended.wait() and ended.results()
            sweep = engine.sweep(gated, {"name": ["a"]}, replicates=1)
            a.wait_until_reached()
            assert not sweep.wait(0.0)
            print("xarray" in sys.modules)
            sweep.results()
            print("xarray" in sys.modules)
        """
    assert printed(code) == "False\nTrue\n"
