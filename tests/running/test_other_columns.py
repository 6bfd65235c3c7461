"""Stored columns that are not what the simulation declares: edited, or from elsewhere. They are a miss that says why."""

from __future__ import annotations

import json
import logging
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from conftest import HANDSHAKE_S
from kernels import Walk, plain_walk
from store_dict import DictStore

import bgsim
from bgsim.errors import NotStoredError
from bgsim.models.options import european_call
from bgsim.parameters.parameter_set import ResultKey
from bgsim.storage import MemoryStore, ResultStore, Store
from bgsim.ui.cli import cli

ROWS = 6

RIGHT = {"end": np.arange(ROWS) + 0.5, "path": np.zeros((ROWS, 8)), "ups": np.ones(ROWS, "i4"), "high": np.ones(ROWS, "?")}  # fmt: skip

WRONG = {
    "a dtype of another size": {**RIGHT, "end": RIGHT["end"].astype("f4")},
    "a dtype of another kind": {**RIGHT, "end": RIGHT["end"].astype("i8")},
    "another shape of a row": {**RIGHT, "path": np.zeros((ROWS, 7))},
    "no shape of a row": {**RIGHT, "path": np.zeros(ROWS)},
    "another name": {("END" if name == "end" else name): column for name, column in RIGHT.items()},
    "another order": {name: RIGHT[name] for name in ("ups", "end", "path", "high")},
    "a column more": {**RIGHT, "more": RIGHT["end"]},
    "a column less": {name: RIGHT[name] for name in ("end", "path", "ups")},
}


@pytest.fixture(params=["file", "memory", "dict"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    made = {"file": lambda: ResultStore(tmp_path / "s.db"), "memory": MemoryStore, "dict": DictStore}[request.param]()
    with closing(made):
        yield made


def put(store: Store, columns: dict[str, Any]) -> ResultKey:
    """Store columns as the result of seed 1."""
    bound = plain_walk.bind(Walk())
    key = ResultKey(plain_walk.name, plain_walk.fingerprint, 1, bound, plain_walk.parts)
    store.store(key, columns)
    store.flush()
    return key


def computed(replicates: int) -> dict[str, Any]:
    with bgsim.Engine(workers=1, store=None) as engine:
        return dict(engine.submit(plain_walk, replicates=replicates, seed=1, cache="off").result(HANDSHAKE_S))


def equal(found: Any, expected: dict[str, Any]) -> bool:
    return list(found) == list(expected) and all(
        found[n].dtype == c.dtype and found[n].tobytes() == c.tobytes() for n, c in expected.items()
    )


@pytest.mark.parametrize("replicates", [4, ROWS, 9])
@pytest.mark.parametrize("kind", WRONG)
def test_columns_that_are_not_declared_are_a_miss_and_are_replaced(
    store: Store, kind: str, replicates: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Whether fewer rows, as many or more are asked for."""
    key = put(store, WRONG[kind])
    expected = computed(replicates)
    with bgsim.Engine(workers=1, store=store) as engine, caplog.at_level(logging.WARNING, "bgsim"):
        job = engine.submit(plain_walk, replicates=replicates, seed=1)
        assert equal(job.result(HANDSHAKE_S), expected)
        assert job.status().from_store == 0
        assert any("is not used, since" in record.getMessage() for record in caplog.records)
        store.flush()
        assert store.count(key) == replicates
        assert equal(store.load(key), expected)
        again = engine.submit(plain_walk, replicates=replicates, seed=1, cache="only")
        assert equal(again.result(HANDSHAKE_S), expected)
    assert store.check().ok


@pytest.mark.parametrize("kind", WRONG)
def test_columns_that_are_not_declared_are_left_alone_and_explained(store: Store, kind: str) -> None:
    key = put(store, WRONG[kind])
    with (
        bgsim.Engine(workers=1, store=store) as engine,
        pytest.raises(NotStoredError, match=r"cannot be used: .*column.*cache=\"use\" computes it again"),
    ):
        engine.submit(plain_walk, replicates=ROWS, seed=1, cache="only")
    found = store.explain(plain_walk, Walk(), replicates=ROWS, seed=1)
    assert (found.outcome, found.stored) == ("miss", 0)
    assert "is not used, since" in found.reason
    assert equal(store.load(key), WRONG[kind])


def test_the_declared_columns_are_a_hit(store: Store) -> None:
    put(store, RIGHT)
    with bgsim.Engine(workers=1, store=store) as engine:
        job = engine.submit(plain_walk, replicates=ROWS, seed=1, cache="only")
        assert equal(job.result(HANDSHAKE_S), RIGHT)
    assert store.explain(plain_walk, Walk(), replicates=ROWS, seed=1).outcome == "hit"


def test_a_store_that_gives_other_rows_than_asked_for_is_checked() -> None:
    """Columns of different lengths are a miss; more rows than were asked for are cut."""

    class Odd(DictStore):
        def load(self, key: Any, replicates: int | None = None) -> Any:
            found = super().load(key)
            if found is not None and self.uneven:
                found["ups"] = found["ups"][:2]
            return found

    store = Odd()
    for store.uneven, stored in ((True, 0), (False, 4)):
        put(store, RIGHT)
        with bgsim.Engine(workers=1, store=store) as engine:
            job = engine.submit(plain_walk, replicates=4, seed=1)
            assert [len(column) for column in job.result(HANDSHAKE_S).values()] == [4] * 4
            assert job.status().from_store == stored


def test_a_result_that_claims_fewer_rows_than_its_blocks_have_is_replaced_when_it_grows(tmp_path: Path) -> None:
    """Rows behind those of the blocks would make it a damaged one."""
    expected = computed(9)
    with closing(ResultStore(tmp_path / "s.db")) as store:
        key = put(store, {name: column[:ROWS] for name, column in expected.items()})
    with closing(sqlite3.connect(tmp_path / "s.db")) as connection, connection:
        connection.execute("UPDATE results SET replicates = 3")
    with closing(ResultStore(tmp_path / "s.db")) as store, bgsim.Engine(workers=1, store=store) as engine:
        assert equal(engine.submit(plain_walk, replicates=9, seed=1).result(HANDSHAKE_S), expected)
        store.flush()
        assert equal(store.load(key), expected)
        assert store.damaged == 0
        assert store.check().ok


def test_the_command_line_explains_why_a_stored_result_is_not_used(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    with closing(ResultStore(path)) as store:
        bound = european_call.bind()
        key = ResultKey(european_call.name, european_call.fingerprint, 0, bound, european_call.parts)
        store.store(key, {"payoff": np.zeros(5, "f4")})
    found = CliRunner().invoke(cli, ["explain", "european_call", "--store", str(path)], catch_exceptions=False)
    assert "is not used, since column" in found.stderr or "is not used, since the columns are" in found.stderr
    found = CliRunner().invoke(cli, ["explain", "european_call", "--store", str(path), "--json"])
    assert json.loads(found.stdout)["unused"]
