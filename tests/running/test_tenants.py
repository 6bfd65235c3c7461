"""Tags and tenants: what they are, what outlives the process, and what no two tenants share."""

from __future__ import annotations

import contextlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from conftest import HANDSHAKE_S
from kernels import Fragile, fragile, one_draw

import bgsim
from bgsim.clock import ManualClock
from bgsim.errors import InvalidInputError, NotStoredError
from bgsim.job import JobState
from bgsim.parameters.parameter_set import ParameterSet, ResultKey
from bgsim.storage import ResultStore
from bgsim.testing import Gate, SteppedEngine, gated, run_all

KEY = ("models.call", "f" * 32, 7, ParameterSet({"x": 1.0}))


@pytest.fixture
def engine() -> Any:
    found = SteppedEngine()
    yield found
    found.close(cancel=True)


# ---- what they may be --------------------------------------------------------------------------------


def test_tags_are_texts_each_once(engine: SteppedEngine) -> None:
    job = engine.submit(one_draw, replicates=1, tags=["b", "a", "b"])
    assert job.tags == ("b", "a")
    assert (job.tenant, engine.submit(one_draw, replicates=1).tags) == (None, ())


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("tags", "night", "tags must be a list of at most 16 texts of 1 to 100 characters"),
        ("tags", [""], "tags must be a list of at most 16 texts"),
        ("tags", ["x" * 101], "tags must be a list of at most 16 texts"),
        ("tags", [str(n) for n in range(17)], "tags must be a list of at most 16 texts"),
        ("tags", [3], "tags must be a text; got 3"),
        ("tags", ["\ud800"], "lone surrogates"),
        ("tags", {"a": 1}, "tags must be a list of at most 16 texts"),
        ("tenant", "", "tenant must be a text of 1 to 100 characters without /"),
        ("tenant", "a/b", "tenant must be a text of 1 to 100 characters without /; got 'a/b'"),
        ("tenant", "x" * 101, "without /"),
        ("tenant", 3, "tenant must be a text of 1 to 100 characters without /; got 3"),
    ],
)
def test_what_is_no_tag_and_no_tenant_is_refused(engine: SteppedEngine, option: str, value: Any, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message) as raised:
        engine.submit(one_draw, replicates=1, **{option: value})
    assert raised.value.field == option
    assert engine.jobs() == []


def test_a_solidus_of_full_width_is_no_way_around(engine: SteppedEngine) -> None:
    """Its normal form is the one that is refused."""
    with pytest.raises(InvalidInputError, match="without /"):
        engine.submit(one_draw, replicates=1, tenant="a\uff0fb")


# ---- what without them is as it was ------------------------------------------------------------------


def test_the_journal_keeps_nothing_of_what_was_not_given(engine: SteppedEngine) -> None:
    options = json.loads(engine.submit(one_draw, replicates=1).request.options_json())
    assert options == {"priority": "normal", "cache": "use", "workspace": "kernels.one_draw"}
    kept = json.loads(engine.submit(one_draw, replicates=1, tags=["a"], tenant="t").request.options_json())
    assert kept == {**options, "workspace": "t/kernels.one_draw", "tags": ["a"], "tenant": "t"}


def test_an_identity_without_a_tenant_is_the_one_of_before() -> None:
    plain = ResultKey(*KEY)
    assert plain.identity == "e259e78194ff43447022fdae3a31df724d8be46f985825d0d27115b34498e53e"
    assert ResultKey(*KEY, {}, "") == plain
    others = {ResultKey(*KEY, {}, scope).identity for scope in ("a", "b", "ab", "")}
    assert len(others) == 4


# ---- what no two tenants share -----------------------------------------------------------------------


def test_no_run_is_shared_between_tenants(engine: SteppedEngine) -> None:
    """Two of one tenant share theirs, and so do two of none."""
    jobs = [engine.submit(one_draw, replicates=5, tenant=tenant) for tenant in ("a", "b", None, "a", None)]
    assert engine.stats().joined == 2
    run_all(engine)
    assert {job.result()["x"].tobytes() for job in jobs} == {jobs[0].result()["x"].tobytes()}
    assert [job.status().from_store for job in jobs] == [0] * 5


@pytest.mark.parametrize("store", ["memory", "file"])
def test_no_result_is_shared_between_tenants(store: str, tmp_path: Path) -> None:
    path = None if store == "memory" else tmp_path / "s.db"
    with bgsim.Engine(path, immediate=True) as engine:
        for tenant in ("a", None, "b"):
            with pytest.raises(NotStoredError):
                engine.submit(one_draw, replicates=5, tenant=tenant, cache="only")
            engine.submit(one_draw, replicates=5, tenant=tenant).result()
            assert engine.submit(one_draw, replicates=5, tenant=tenant, cache="only").status().from_store == 5
        assert len(engine.store.results()) == len({result.record.hash for result in engine.store.results()}) == 3
        assert len(engine.store.find(one_draw)) == 3


def test_no_result_is_shared_between_tenants_that_race(hold: Gate) -> None:
    """The one's run has come to its gate when the other asks for the same: it gets a run of its own."""
    with bgsim.Engine(workers=2) as engine:
        first = engine.submit(gated, {"name": "a"}, replicates=1, tenant="a")
        hold.wait_until_reached()
        second = engine.submit(gated, {"name": "a"}, replicates=1, tenant="b")
        assert first.run is not second.run
        assert first.cancel()
        hold.open()
        assert second.result(HANDSHAKE_S).replicates == 1
        assert engine.stats().joined == 0


def test_no_slot_is_shared_between_tenants(engine: SteppedEngine) -> None:
    jobs = {
        (tenant, workspace): engine.submit(one_draw, replicates=n + 1, seed=n, tenant=tenant, workspace=workspace)
        for n, (tenant, workspace) in enumerate([("a", "w"), ("b", "w"), (None, "w"), ("a", None), ("b", "a/w")])
    }
    run_all(engine)
    found = {name: engine.store.slots(name).primary.replicates for name in engine.store.workspaces()}
    assert found == {"a/w": 1, "b/w": 2, "w": 3, "a/kernels.one_draw": 4, "b/a/w": 5}
    assert {job.workspace for job in jobs.values()} == found.keys()


def test_a_workspace_as_it_is_listed_may_be_given_again(engine: SteppedEngine) -> None:
    assert engine.submit(one_draw, replicates=1, tenant="a", workspace="a/w").workspace == "a/w"
    assert engine.submit(one_draw, replicates=1, tenant="a", priority="low").workspace is None


def test_a_word_supersedes_within_its_tenant(engine: SteppedEngine) -> None:
    old = {tenant: engine.submit(one_draw, replicates=1, tenant=tenant, supersede="w") for tenant in ("a", "b", None)}
    engine.submit(one_draw, replicates=2, tenant="b", supersede="w", seed=1)
    states = {tenant: job.state for tenant, job in old.items()}
    assert states == {"a": JobState.RUNNING, "b": JobState.CANCELLED, None: JobState.RUNNING}
    run_all(engine)
    engine.submit(one_draw, replicates=2, tenant="b", supersede="w", seed=1)  # from the store
    assert old["a"].state is JobState.COMPLETED


# ---- what keeps them ---------------------------------------------------------------------------------


def test_what_was_interrupted_keeps_tags_and_tenant(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    engine = SteppedEngine(path)
    given = {"replicates": 2, "tags": ("x", "y"), "tenant": "t", "workspace": "w", "supersede": "s"}
    job = engine.submit(one_draw, **given)
    bgsim.Engine.close(engine, timeout_s=0)  # it is left for the next engine
    with bgsim.Engine(path, immediate=True) as again:
        (found,) = again.recover()
        assert (found.id, found.tags, found.tenant) == (job.id, ("x", "y"), "t")
        assert (found.workspace, found.supersede) == ("t/w", "t/s")
        assert found.request.key == job.request.key


def test_a_dead_letter_and_its_retry_keep_them() -> None:
    with bgsim.Engine(immediate=True) as engine:
        engine.submit(fragile, Fragile(2.0), replicates=1, tags=["x"], tenant="t")
        (letter,) = engine.dead_letters()
        assert json.loads(letter.options)["tenant"] == "t"
        again = engine.retry(letter.id, parameters={"fails_at": 0.0})
        assert (again.tags, again.tenant, again.state) == (("x",), "t", JobState.COMPLETED)
        changed = engine.submit(fragile, Fragile(3.0), replicates=1, tags=["x"], tenant="t")
        assert engine.retry(changed.id, parameters={"fails_at": 0.0}, tags=["z"]).tags == ("z",)


def test_a_schedule_and_a_sweep_keep_them(tmp_path: Path) -> None:
    clock = ManualClock(datetime(2026, 3, 1, 12, tzinfo=UTC).timestamp())
    seen: list[tuple[Any, ...]] = []
    with bgsim.Engine(tmp_path / "s.db", immediate=True, clock=clock) as engine:
        engine.schedule(one_draw, replicates=1, cron="0 * * * *", tags=["x"], tenant="t")
    with bgsim.Engine(tmp_path / "s.db", immediate=True, clock=clock) as engine:
        engine.on_submit(lambda job: seen.append((job.tags, job.tenant)))
        engine.recover()
        engine.submit_many(one_draw, [None], replicates=1, tags=["y"], tenant="u").results()
        engine._submitter.remember(one_draw)
        clock.advance(3600.0)
    assert seen == [(("y",), "u"), (("x",), "t")]


def test_a_file_with_tenants_is_checked_and_listed_as_any_other(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    with bgsim.Engine(path, immediate=True) as engine:
        for tenant in ("a", "b"):
            engine.submit(one_draw, replicates=5, tenant=tenant)
    with contextlib.closing(ResultStore(path)) as store:
        assert store.check().ok
        assert len(store.find(one_draw)) == 2
        assert {len(store.load_result(found)["x"]) for found in store.find(one_draw)} == {5}
