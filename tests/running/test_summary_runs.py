"""Jobs that keep a summary: the same bits however they are computed, stored and extended."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from crash_kernels import HOOKS, hooked
from kernels import Fragile, fragile
from summarised import Mixed, apart, constant, left_behind, mixed, named, plain

import bgsim
from bgsim.differences import difference_of
from bgsim.errors import InvalidInputError, NotStoredError, ReplicateError
from bgsim.job import JobState
from bgsim.registry import find_simulation
from bgsim.summaries.pairs import PairTally
from bgsim.summaries.result import SummaryResult
from bgsim.summaries.tally import Tally
from bgsim.testing import SteppedEngine, run_all

REPLICATES, SEED = 30_000, 5


def as_bytes(result: Any) -> dict[str, bytes]:
    """Return the exact state of each output, and of each pair."""
    assert isinstance(result, SummaryResult)
    found = {name: result.tally(name).to_bytes() for name in result}
    return found | {f"{x}*{y}": result._pair(x, y).to_bytes() for x, y in result.pairs}


def counted(simulation: Any, replicates: int, parameters: Any = None) -> dict[str, bytes]:
    """Return the same, counted from every row."""
    rows = bgsim.run(simulation, parameters, replicates=replicates, seed=SEED, workers=1)
    found = {}
    for name, column in rows.items():
        tally = Tally(column.dtype, column.shape[1:])
        tally.add(column)
        found[name] = tally.to_bytes()
    for x, y in simulation.pairs:
        pair = PairTally()
        pair.add(rows[x], rows[y])
        found[f"{x}*{y}"] = pair.to_bytes()
    return found


@pytest.fixture(scope="module")
def expected() -> dict[str, bytes]:
    return counted(mixed, REPLICATES)


def summarise(engine: bgsim.Engine, replicates: int = REPLICATES, simulation: Any = mixed, **options: Any) -> Any:
    return engine.submit(simulation, replicates=replicates, seed=SEED, keep="summary", **options)


# ---- the same bits -----------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 2, 7])
@pytest.mark.parametrize("chunk_target_ms", [0.05, 5, 500])
def test_any_workers_and_chunks_give_the_bits_of_all_rows(workers: int, chunk_target_ms: float, expected: Any) -> None:
    with bgsim.Engine(workers=workers, chunk_target_ms=chunk_target_ms) as engine:
        assert as_bytes(summarise(engine).result()) == expected


@pytest.mark.parametrize("replicates", [1, 2, 1023, 1024, 1025, 4096])
def test_few_replicates_and_those_at_a_cut(replicates: int) -> None:
    with SteppedEngine() as engine:
        job = summarise(engine, replicates)
        run_all(engine)
        assert as_bytes(job.result()) == counted(mixed, replicates)
        assert job.result().replicates == replicates


def test_plain_python_too() -> None:
    with bgsim.Engine(workers=2) as engine:
        assert as_bytes(summarise(engine, 3000, plain).result()) == counted(plain, 3000)


def test_what_is_stored_is_extended_and_cut(tmp_path: Path) -> None:
    """More replicates go on from the stored ones; fewer begin at the last number that was kept before."""
    path = tmp_path / "s.db"
    held = 0
    for replicates, from_store in [
        (5000, 0),
        (5000, 5000),
        (12_000, 5000),
        (3000, 2048),
        (4096, 4096),
        (12_000, 12_000),
    ]:
        held = max(held, replicates)
        with bgsim.Engine(path) as engine:
            job = summarise(engine, replicates)
            assert as_bytes(job.result()) == counted(mixed, replicates)
            assert job.status().from_store == from_store
            engine.store.flush()
            assert engine.store.count(job.request.key) == held
            assert not engine.store.check().problems


def test_rows_and_a_summary_are_two_results(tmp_path: Path) -> None:
    with bgsim.Engine(tmp_path / "s.db") as engine:
        rows = engine.submit(mixed, replicates=2000, seed=SEED).result()
        summary = summarise(engine, 2000).result()
        engine.store.flush()
        assert len(engine.store.results()) == 2
        assert summary.summary()["value"].valid == rows.summary()["value"].valid


def test_a_fewer_number_is_not_only_in_the_store(tmp_path: Path) -> None:
    with bgsim.Engine(tmp_path / "s.db") as engine:
        summarise(engine, 5000).result()
        with pytest.raises(NotStoredError, match="3,000"):
            summarise(engine, 3000, cache="only")
        assert summarise(engine, 2048, cache="only").result().replicates == 2048


@pytest.mark.parametrize(("steps", "cuts"), [(3, [1024, 2048, 4096]), (100, [1024, 4096]), (400, [1024])])
def test_wide_outputs_are_kept_at_fewer_numbers(steps: int, cuts: list[int], tmp_path: Path) -> None:
    with bgsim.Engine(tmp_path / "s.db") as engine:
        job = summarise(engine, 5000, parameters=Mixed(steps=steps))
        job.result()
        engine.store.flush()
        assert list(engine.store.load(job.request.key)["path"].ends) == [*cuts, 5000]
        assert as_bytes(summarise(engine, 4500, parameters=Mixed(steps=steps)).result()) == counted(
            mixed, 4500, Mixed(steps=steps)
        )


def test_a_summary_that_takes_too_much_memory_is_refused() -> None:
    with SteppedEngine() as engine, pytest.raises(InvalidInputError, match="need .* bytes, more than max_"):
        summarise(engine, 10**6, parameters=Mixed(steps=16_000))


# ---- orders, failures --------------------------------------------------------------------------------


def test_a_cancelled_job_keeps_what_is_finished_and_goes_on(tmp_path: Path, expected: Any) -> None:
    with SteppedEngine(tmp_path / "s.db", chunk_target_ms=0.5) as engine:
        job = summarise(engine)
        while job.partial().replicates < 3000:
            assert engine.step()
        done = job.partial().replicates
        assert as_bytes(job.partial()) == counted(mixed, done)
        job.cancel()
        run_all(engine)
        assert job.state is JobState.CANCELLED
        again = summarise(engine)
        run_all(engine)
        assert as_bytes(again.result()) == expected
        assert again.status().from_store >= done


@pytest.mark.parametrize("verb", ["pause", "overtake"])
def test_a_suspended_job_goes_on(verb: str, expected: Any) -> None:
    with SteppedEngine(max_concurrent_simulations=1, chunk_target_ms=0.5) as engine:
        job = summarise(engine)
        while job.partial().replicates < 2000:
            assert engine.step()
        if verb == "pause":
            job.pause()
            run_all(engine)
            job.resume()
        else:
            engine.submit(mixed, replicates=100, seed=1, priority="critical")
        run_all(engine)
        assert as_bytes(job.result()) == expected


def test_a_replicate_that_raises_is_counted_once_it_does_not() -> None:
    """The rows before it count once, though the chunk is tried again."""
    calls = itertools.count()

    def hook() -> None:
        if next(calls) == 1500:
            raise OSError("not now")

    HOOKS.append(hook)
    try:
        with SteppedEngine() as engine:
            job = summarise(engine, 2000, hooked, retry=bgsim.Retry(2, delay_s=0.0))
            run_all(engine)
            assert job.status().attempts == 1
            found = job.result()
        HOOKS.clear()
        assert as_bytes(found) == counted(hooked, 2000)
    finally:
        HOOKS.clear()


@pytest.mark.parametrize("error", [MemoryError, KeyboardInterrupt])
@pytest.mark.parametrize("before", [True, False])
def test_what_was_half_counted_is_counted_anew(error: type[BaseException], before: bool, monkeypatch: Any) -> None:
    """Counting may fail for want of memory, or be interrupted by Ctrl-C: then no tally of the chunk is used."""
    expected = counted(mixed, 5000)
    add, calls = Tally.add, itertools.count()

    def failing(self: Tally, values: Any) -> None:
        if next(calls) == 7 and before:
            raise error
        add(self, values)
        if next(calls) == 8 and not before:
            raise error

    monkeypatch.setattr(Tally, "add", failing)
    with SteppedEngine(chunk_target_ms=0.5) as engine:
        job = summarise(engine, 5000, retry=bgsim.Retry(2, delay_s=0.0))
        try:
            run_all(engine)
        except KeyboardInterrupt:
            assert error is KeyboardInterrupt
            run_all(engine)
        assert next(calls) > 8
        assert as_bytes(job.result()) == expected


def test_a_failure_names_the_replicate(tmp_path: Path) -> None:
    with bgsim.Engine(tmp_path / "s.db", workers=2) as engine:
        job = engine.submit(fragile, Fragile(0.0005), replicates=100_000, seed=SEED, keep="summary")
        rows = engine.submit(fragile, Fragile(0.0005), replicates=100_000, seed=SEED)
        errors = [each.exception() for each in (job, rows)]
        assert all(isinstance(error, ReplicateError) for error in errors)
        assert errors[0].replicate == errors[1].replicate
        assert job.partial().replicates <= errors[0].replicate


# ---- sharing, asking ---------------------------------------------------------------------------------


def test_jobs_for_the_same_number_share_a_run() -> None:
    with SteppedEngine() as engine:
        first, second, other = summarise(engine, 2000), summarise(engine, 2000), summarise(engine, 3000)
        assert first.run is second.run
        assert first.run is not other.run
        run_all(engine)
        assert as_bytes(first.result()) == as_bytes(second.result()) == counted(mixed, 2000)
        assert as_bytes(other.result()) == counted(mixed, 3000)


def test_a_summary_outlives_the_process_that_was_asked_for_it(tmp_path: Path) -> None:
    """The journal keeps what is to be kept."""
    path = tmp_path / "s.db"
    left_behind(path, lambda engine: summarise(engine, 2000))
    with bgsim.Engine(path) as engine:
        (job,) = engine.recover()
        assert as_bytes(job.result()) == counted(mixed, 2000)


@pytest.mark.parametrize(
    ("simulation", "options", "match"),
    [
        (named, {"keep": "summary"}, "name"),
        (mixed, {"keep": "rows"}, "keep must be one of columns, summary|keep must be"),
        (mixed, {"keep": True}, "keep must be"),
    ],
)
def test_what_cannot_be_kept_is_refused(simulation: Any, options: Any, match: str) -> None:
    with SteppedEngine() as engine, pytest.raises(InvalidInputError, match=match) as caught:
        engine.submit(simulation, replicates=10, **options)
    assert caught.value.field == "keep"


@pytest.mark.parametrize(
    "pairs",
    [[("value", "path")], [("value", "value")], ["value"], "value", [("value", "count"), ("value", "count")], 3],
)
def test_pairs_are_of_two_real_outputs(pairs: Any) -> None:
    with pytest.raises(bgsim.errors.OutputError) as caught:
        bgsim.simulation(mixed.function, outputs={"value": "f8", "count": "i4", "path": ("f8", 3)}, pairs=pairs)
    assert caught.value.field == "pairs"


# ---- the difference of two sets ----------------------------------------------------------------------


@pytest.mark.parametrize("keep", ["summary", "columns"])
@pytest.mark.parametrize("simulation", [mixed, plain])
def test_differences_are_of_the_same_replicates(keep: str, simulation: Any, tmp_path: Path) -> None:
    a, b = Mixed(mean=1.5), Mixed(mean=0.5)
    with bgsim.Engine(tmp_path / "s.db", workers=2) as engine:
        left, right = (engine.submit(simulation, p, replicates=3000, seed=SEED).result() for p in (a, b))
        job = engine.compare(simulation, a, b, replicates=3000, seed=SEED, keep=keep)
        found = job.result()
        for name in found:
            d = left[name].astype(float) - right[name].astype(float)
            if keep == "columns":
                assert np.array_equal(found[name], d, equal_nan=True)
            else:
                tally = Tally("f8", d.shape[1:])
                tally.add(d)
                assert found.tally(name).to_bytes() == tally.to_bytes()
        again = engine.compare(simulation, a, b, replicates=3000, seed=SEED, keep=keep)
        assert again.status().from_store == 3000
        index = 17
        first, second = found.replay(index)
        assert first[0] - second[0] == pytest.approx(left["value"][index] - right["value"][index], nan_ok=True)


def test_differences_that_are_read_meanwhile_are_whole(tmp_path: Path) -> None:
    """No row of a running comparison is there before both sets have it; and what is stored meanwhile is right."""
    a, b = Mixed(mean=15.0), Mixed(mean=1.0)
    options = {"replicates": 3_000_000, "seed": SEED, "keep": "columns"}
    with bgsim.Engine(tmp_path / "s.db", workers=2, checkpoint_interval_s=0.05) as engine:
        job = engine.compare(apart, a, b, **options)
        fractions = [0.0]
        while not job.done():
            assert np.all(job.partial()["value"] == 14.0)
            fractions.append(job.status().fraction)
        assert fractions == sorted(fractions)
        assert np.all(job.result()["value"] == 14.0)
    with bgsim.Engine(tmp_path / "s.db") as engine:
        assert not engine.store.check().problems
        assert np.all(engine.compare(apart, a, b, cache="only", **options).result()["value"] == 14.0)


@pytest.mark.parametrize(("k", "j"), [(2**53 + 1, 2**53), (-(2**63), 2**63 - 1), (2**62 - 1, -(2**62) + 1)])
def test_differences_of_integers_are_rounded_once(k: int, j: int) -> None:
    with SteppedEngine() as engine:
        job = engine.compare(constant, {"k": k}, {"k": j}, replicates=3, keep="columns")
        run_all(engine)
        assert list(job.result()["k"]) == [float(k - j)] * 3


def test_a_comparison_that_fails_says_how_to_replay_it() -> None:
    with SteppedEngine() as engine:
        job = engine.compare(fragile, Fragile(0.2), Fragile(0.0), replicates=100, seed=SEED)
        alone = engine.submit(fragile, Fragile(0.2), replicates=100, seed=SEED)
        run_all(engine)
        error = job.exception()
        assert isinstance(error, ReplicateError)
        assert error.replicate == alone.exception().replicate
        assert f"difference_of(fragile).replay(parameters, seed={SEED}, index={error.replicate})" in str(error)


def test_the_differences_of_a_simulation_are_found_by_their_name() -> None:
    assert find_simulation("european_call-difference") is difference_of(find_simulation("european_call"))


def test_many_small_extensions_are_merged(tmp_path: Path) -> None:
    with bgsim.Engine(tmp_path / "s.db") as engine:
        for replicates in range(2000, 2030):
            job = summarise(engine, replicates)
            assert job.result().replicates == replicates
            assert replicates == 2000 or job.status().from_store == replicates - 1
        engine.store.flush()
        assert len(engine.store.load(job.request.key)["value"].ends) <= 8
        assert as_bytes(job.result()) == counted(mixed, 2029)
        assert not engine.store.check().problems


def test_a_comparison_is_recovered_by_another_process(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    left_behind(path, lambda engine: engine.compare(mixed, Mixed(mean=2.0), Mixed(), replicates=500, seed=SEED))
    with bgsim.Engine(path) as engine:
        (job,) = engine.recover()
        assert job.result().replicates == 500


def test_sets_whose_outputs_differ_in_length_have_no_differences() -> None:
    with SteppedEngine() as engine, pytest.raises(InvalidInputError, match="path"):
        engine.compare(mixed, Mixed(steps=3), Mixed(steps=4), replicates=10)
