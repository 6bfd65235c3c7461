"""A result that mixes versions of NumPy or numba, from the engine through the store to what a user reads."""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import closing
from dataclasses import replace

import pytest
from click.testing import CliRunner
from kernels import Walk, plain_walk
from store_helpers import NEW, OLD, columns, key, same, store_now, versioned

import bgsim
from bgsim.environment import environment
from bgsim.parameters.parameter_set import ResultKey
from bgsim.running import run as chunks
from bgsim.storage import Columns, ResultStore
from bgsim.storage.codec.segments import split
from bgsim.ui.cli import cli

SENTENCE = f"rows 0 to 99 were computed with {OLD}; rows 100 to 249 with {NEW}"


@pytest.fixture
def installed(monkeypatch):
    """Return a function that makes the engine believe that these versions are installed."""
    return lambda text: monkeypatch.setattr(chunks, "environment", lambda: text)


@pytest.fixture(params=["file", "memory"])
def engine(request, tmp_path):
    store = tmp_path / "s.db" if request.param == "file" else None
    with bgsim.Engine(store, workers=1) as opened:
        yield opened


def compute(engine, replicates: int, **options):
    return engine.submit(plain_walk, Walk(steps=3), replicates=replicates, **options).result(timeout=30)


def test_an_upgrade_keeps_what_is_stored_and_the_result_says_what_it_mixes(engine, installed) -> None:
    installed(OLD)
    old = compute(engine, 100)
    assert old.versions == ((0, 100, OLD),)
    assert OLD not in repr(old)
    installed(NEW)
    assert compute(engine, 100).versions == ((0, 100, OLD),)
    mixed = compute(engine, 250)
    for result in (mixed, compute(engine, 250)):
        assert result.versions == ((0, 100, OLD), (100, 150, NEW))
        assert result.summary().remark == SENTENCE
        for text in (repr(result), repr(result.summary())):
            assert text.splitlines()[-1] == SENTENCE
        assert f">{SENTENCE}</div>" in result._repr_html_()
    assert compute(engine, 40).versions == ((0, 40, OLD),)
    assert compute(engine, 300).versions == ((0, 100, OLD), (100, 200, NEW))
    assert compute(engine, 300, cache="refresh").versions == ((0, 300, NEW),)
    assert compute(engine, 300).summary().remark == ""


def test_what_is_computed_without_a_store_has_the_present_versions() -> None:
    assert bgsim.run(plain_walk, Walk(), replicates=3).versions == ((0, 3, environment()),)


def test_the_command_line_says_it_below_the_summary_and_in_json(tmp_path) -> None:
    of = ResultKey(plain_walk.name, plain_walk.fingerprint, 0, plain_walk.bind({"label": "w"}))
    found = Columns(bgsim.run(plain_walk, {"label": "w"}, replicates=100))
    found.versions = ((0, 100, OLD),)
    path = tmp_path / "s.db"
    with closing(ResultStore(path)) as store:
        store.store(of, found)
    arguments = ["run", "kernels:plain_walk", "--set", "label=w", "-n", "250", "--store", str(path)]
    shown = CliRunner().invoke(cli, arguments)
    assert shown.exit_code == 0, shown.output
    assert f"bgsim: rows 0 to 99 were computed with {OLD}; rows 100 to 249 with {environment()}\n" in shown.stderr
    shown = CliRunner().invoke(cli, [*arguments, "--json"])
    versions = [
        {"first": 0, "count": 100, "versions": OLD},
        {"first": 100, "count": 150, "versions": environment()},
    ]
    assert json.loads(shown.stdout)["versions"] == versions
    shown = CliRunner().invoke(cli, ["store", "show", of.hash, "--store", str(path)])
    assert re.search(
        rf"versions +0 to 99: {re.escape(str(OLD))}\nversions +100 to 249: {re.escape(str(environment()))}\n",
        shown.stdout,
    )
    shown = CliRunner().invoke(cli, ["store", "show", of.hash, "--json", "--store", str(path)])
    assert json.loads(shown.stdout)["versions"] == versions


# ---- in the file ---------------------------------------------------------------------------------


def test_a_block_has_rows_of_one_version() -> None:
    """Wherever the new rows begin, and with columns whose blocks have other sizes."""
    of = key()
    given = versioned(of, (100, OLD), (50, NEW), (50, OLD))
    for first in (0, 99, 100, 101, 149, 150, 199):
        rows = split(given, first, of.hash).rows
        for position in range(len(given)):
            own = [row for row in rows if row[1] == position]
            assert [row[2] for row in own] == [first, *(b for b in (100, 150) if b > first)]
            assert sum(row[3] for row in own) == 200 - first
            assert all(row[-1] == (NEW if 100 <= row[2] < 150 else OLD) for row in own)


def test_what_is_saved_of_a_damaged_file_keeps_versions_and_parts(tmp_path) -> None:
    path = tmp_path / "s.db"
    of = replace(key(), parts={"a": "1"})
    with closing(ResultStore(path)) as store:
        store.store(of, versioned(of, (10, OLD), (20, NEW)))
        store.flush()
        store._file.rebuild()
        assert store.load(of).versions == ((0, 10, OLD), (10, 20, NEW))
        assert store.parts(of.fingerprint) == {"a": "1"}
        assert store.check().ok


def test_check_finds_and_removes_what_makes_no_sense(tmp_path) -> None:
    path = tmp_path / "s.db"
    of = replace(key(), parts={"a": "1"})
    with closing(ResultStore(path)) as store:
        store_now(store, of, 30)
        store.store(key(2), versioned(key(2), (30, OLD)))
        store.flush()
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("UPDATE identities SET parts = '[7]'")
            connection.execute("INSERT INTO identities VALUES ('nobody', '{}')")
            connection.execute("UPDATE blocks SET versions = 'x' WHERE position = 1 AND hash = ?", (key(2).hash,))
        assert store.parts(of.fingerprint) == {}
        problems = store.check(repair=True).problems
        assert len(problems) == 3
        assert "have other versions" in problems[0]
        assert "must be an object of texts; got [7]" in problems[1]
        assert "no result has this fingerprint" in problems[2]
        assert store.check().ok
        assert same(store.load(of), columns(of, 30))
        assert store.count(key(2)) == 0


def test_versions_do_not_count_against_the_size(tmp_path) -> None:
    sizes = []
    for text in ("", OLD):
        with closing(ResultStore(tmp_path / f"{len(text)}.db")) as store:
            store.store(replace(key(), parts={"a": "1"} if text else {}), versioned(key(), (100, text)))
            store.flush()
            sizes.append(store.size())
    assert sizes[0] == sizes[1]
