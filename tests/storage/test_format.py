"""The file's format: read by a reader that knows bgsim not, and read for ever."""

from __future__ import annotations

import ast
import json
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from paths import GOLDEN
from read_store import read_store
from read_tally import read_pairs, read_tally
from store_helpers import columns, delivery, history_job, key, request, same, store_now
from test_store_processes import finish, start

from bgsim.parameters.fields import parameter
from bgsim.parameters.parameter_set import ParameterSet, ResultKey
from bgsim.storage import Columns, ResultStore
from bgsim.storage.history import AuditRow, JobQuery, TokenRow
from bgsim.storage.journal import DeadLetter, ScheduledRequest
from bgsim.storage.sqlite.schema import SCHEMA_VERSION
from bgsim.storage.times import time_text
from bgsim.summaries.column import Segment, TallyColumn
from bgsim.summaries.pairs import PairTally
from bgsim.summaries.tally import Tally

PARAMETERS = {
    "none": {"x": None},
    "bool": {"x": True},
    "int": {"x": -(2**40)},
    "float": {"x": 0.1},
    "minus_zero": {"x": -0.0},
    "nan": {"x": float("nan")},
    "infinity": {"x": float("inf")},
    "complex": {"x": 1.5 - 2j},
    "str": {"x": "Zürich ≠ 東京"},
    "bytes": {"x": b"\x00\xff"},
    "tuple": {"x": (1, 2.0, ("a", None))},
    "array": {"x": np.arange(6, dtype=np.int16).reshape(2, 3)},
    "nan_array": {"x": np.array([1.0, np.nan])},
    "two": {"b": 1, "a": 2.0},
    "empty": {},
}
"""A parameter set of every type; the golden store holds a result of each."""


@dataclass(frozen=True)
class Anything:
    """One parameter of any type, NaN included."""

    x: Any = parameter(allow_nan=True)


def golden_key(name: str) -> ResultKey:
    values = PARAMETERS[name]
    bound = ParameterSet(values, Anything if "x" in values else None)
    return ResultKey("golden.model", "0123456789abcdef" * 2, 2**70, bound)


def golden_columns(name: str) -> dict[str, np.ndarray]:
    """Return columns of every kind, without any generator: they must be the same for ever."""
    n = 40 + len(name)
    i = np.arange(n)
    pair = np.zeros(n, [("a", "<i2"), ("b", "<f8")])
    pair["a"], pair["b"] = i, i / 8
    return {
        "real": i / 7,
        "single": (i / 3).astype(np.float32),
        "count": i % 5,
        "won": i % 3 == 0,
        "path": (i[:, None] * np.array([1.0, -1.0, 0.5])),
        "phase": (1 + 2j) * i / 8,
        "small": (i % 100).astype(np.int8),
        "when": i.astype("M8[s]"),
        "name": np.array([f"r{k}" for k in i]),
        "pair": pair,
        "nothing": np.zeros((n, 0)),
    }


def golden_summary_key() -> ResultKey:
    return ResultKey("golden.model", "0123456789abcdef" * 2, 2**70, golden_key("int").parameters, keep="summary")


def golden_summary_rows() -> dict[str, np.ndarray]:
    """Return the rows that the golden summary is of."""
    i = np.arange(300)
    return {
        "real": (i - 100) / 7,
        "single": ((i - 150) / 3).astype(np.float32),
        "half": (i / 16).astype(np.float16),
        "count": (i - 20) ** 7,
        "large": i.astype(np.uint64) * np.uint64(2**55),
        "won": i % 3 == 0,
        "small": (i % 100 - 50).astype(np.int8),
        "path": np.where(i[:, None] % 10 == 9, np.nan, i[:, None] * np.array([1.0, -1e-300, 1e200])),
    }


def golden_summary() -> Columns:
    """Return a summary of every kind."""
    ends = (1, 128, 300)
    spans = list(zip((0, *ends), ends, strict=False))
    found, rows = Columns(), golden_summary_rows()
    for name, values in rows.items():
        segments = []
        for first, end in spans:
            segments.append(Segment(first, end - first, Tally(values.dtype, values.shape[1:])))
            segments[-1].tally.add(values[first:end])
        found[name] = TallyColumn(segments)
    for x, y in (("real", "small"), ("won", "single")):
        segments = []
        for first, end in spans:
            segments.append(Segment(first, end - first, PairTally()))
            segments[-1].tally.add(rows[x][first:end], rows[y][first:end])
        found[f"{x}*{y}"] = TallyColumn(segments)
    found.versions = ((0, 128, "numpy 2.3.0, numba 0.61.0"), (128, 172, "numpy 2.4.6, numba 0.68.1"))
    return found


GOLDEN_VERSIONS = ((0, 20, "numpy 2.3.0, numba 0.61.0"), (20, 23, "numpy 2.4.6, numba 0.68.1"))
"""Which rows of the golden stores' result "int" were computed with what, from version 3 on; of all others it is unknown."""

GOLDEN_PARTS = {"golden.model": "0123abcd", "golden.RATE": "4567ef00"}

GOLDEN_JOURNAL = (
    [request(0, "golden"), request(1, "golden", started=True, crashes=2, options='{"priority": 2}')],
    [
        DeadLetter(
            "d0",
            "golden.model",
            '{"x": 1.0}',
            "7",
            5,
            "{}",
            "2026-01-01T00:00:00+00:00",
            "2026-01-02T00:00:00+00:00",
            "[]",
        )
    ],
    [
        ScheduledRequest(
            "s", "golden.model", "{}", "7", 5, "{}", "0 3 * * *", "UTC", "run", True, None, "2026-01-01T00:00:00+00:00"
        )
    ],
)
"""What the golden stores have in their journals, from version 2 on."""

GOLDEN_HISTORY = (
    [
        history_job(0, token="0a1b2c3d", idempotency_key="k", request_hash="f" * 64, tags='["first"]'),
        history_job(1, tenant="lab", state="failed", ended_at=time_text(9), error="it raised", retries=2),
    ],
    [TokenRow("0a1b2c3d", "e" * 64, "admin", "", "golden", time_text(0), time_text(99))],
    [delivery(0, job="j1", event="job.failed")],
    [AuditRow(time_text(1), "0a1b2c3d", "", "admin", "POST /v1/jobs", "j0", 202, "", 1)],
)
"""What the golden stores have in their histories, from version 5 on."""


def has_summary(file: Path) -> bool:
    """Tell whether a golden store has the golden summary: from version 6 on."""
    return file.name >= "store-6.db"


def test_a_reader_that_knows_bgsim_not_reads_every_result(tmp_path) -> None:
    path = tmp_path / "s.db"
    store = ResultStore(path)
    store_now(store, key(1), 50)
    store_now(store, key(1), 700)
    large = {"a": np.random.default_rng(0).random(700_000), "b": np.arange(700_000), "c": np.arange(700_000) % 3 == 0}
    store.store(key(2), large)
    for name in PARAMETERS:
        store.store(golden_key(name), golden_columns(name))
    store.flush()
    expected = {key(1).hash: columns(key(1), 700), key(2).hash: large}
    expected |= {golden_key(name).hash: golden_columns(name) for name in PARAMETERS}
    found = {row["hash"]: values for row, values in read_store(path)}
    store.close()
    assert found.keys() == expected.keys()
    assert all(same(found[h], expected[h]) for h in expected)


def test_the_reader_imports_four_modules_and_is_short() -> None:
    source = Path(read_store.__code__.co_filename).read_text()
    tree = ast.parse(source)
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert not any(isinstance(node, ast.ImportFrom) for node in ast.walk(tree))
    assert imported - set(sys.stdlib_module_names) == {"numpy", "zstandard"}
    assert len(source.splitlines()) <= 60
    command = [sys.executable, read_store.__code__.co_filename, str(GOLDEN / "store-1.db")]
    run = subprocess.run(command, check=False, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert len(run.stdout.splitlines()) == len(PARAMETERS)


@pytest.mark.parametrize("file", sorted(GOLDEN.glob("store-*.db")), ids=lambda file: file.name)
def test_golden_stores_open_for_ever(tmp_path, file) -> None:
    """A file as it was written by the version that brought its schema."""
    path = tmp_path / "s.db"
    shutil.copy(file, path)
    store = ResultStore(path)
    assert store.check().problems == ()
    for name in PARAMETERS:
        assert same(store.load(golden_key(name)), golden_columns(name))
        assert store.count(golden_key(name)) == 40 + len(name)
    pair = store.slots("golden")
    assert (pair.primary.hash, pair.secondary.hash) == (golden_key("empty").hash, golden_key("two").hash)
    found = store.journal.interrupted(), store.journal.dead_letters(), store.journal.schedules()
    assert found == (([], [], []) if file.name == "store-1.db" else GOLDEN_JOURNAL)
    history = store.history
    kept = history.jobs(JobQuery())[::-1], history.tokens(), history.deliveries(), history.audit(None, 9)
    assert kept == (GOLDEN_HISTORY if file.name >= "store-5.db" else ([], [], [], []))
    known = file.name not in ("store-1.db", "store-2.db")
    for name in PARAMETERS:
        expected = GOLDEN_VERSIONS if known and name == "int" else ((0, 40 + len(name), ""),)
        assert store.load(golden_key(name)).versions == store.get(golden_key(name).hash).versions == expected
    assert store.parts(golden_key("int").fingerprint) == (GOLDEN_PARTS if known else {})
    of, summary = golden_summary_key(), golden_summary()
    assert same(store.load(of), summary) if has_summary(file) else store.load(of) is None
    assert not has_summary(file) or store.load(of).versions == store.get(of.hash).versions == summary.versions
    store.close()


@pytest.mark.parametrize("file", sorted(GOLDEN.glob("store-*.db")), ids=lambda file: file.name)
def test_golden_stores_are_imported_for_ever(tmp_path, file) -> None:
    """Without being migrated: a file that is imported is only read."""
    before = file.read_bytes()
    store = ResultStore(tmp_path / "s.db")
    assert len(store.import_(file)) == len(PARAMETERS) + has_summary(file)
    assert not has_summary(file) or same(store.load(golden_summary_key()), golden_summary())
    assert all(same(store.load(golden_key(name)), golden_columns(name)) for name in PARAMETERS)
    known = file.name not in ("store-1.db", "store-2.db")
    assert store.load(golden_key("int")).versions == (GOLDEN_VERSIONS if known else ((0, 43, ""),))
    assert store.parts(golden_key("int").fingerprint) == (GOLDEN_PARTS if known else {})
    store.close()
    assert file.read_bytes() == before


def test_every_golden_store_is_read_by_the_reader_as_it_was_written() -> None:
    assert [file.name for file in sorted(GOLDEN.glob("store-*.db"))] == [
        f"store-{version}.db" for version in range(1, SCHEMA_VERSION + 1)
    ]
    for file in GOLDEN.glob("store-*.db"):
        found = {row["hash"]: values for row, values in read_store(file)}
        if has_summary(file):
            assert_read(found.pop(golden_summary_key().hash))
        assert found.keys() == {golden_key(name).hash for name in PARAMETERS}
        assert all(same(found[golden_key(name).hash], golden_columns(name)) for name in PARAMETERS)


def assert_read(columns: dict[str, list[tuple[Any, ...]]]) -> None:
    """Assert that a reader that knows bgsim not reads the golden summary's tallies, and adds their numbers up."""
    rows = golden_summary_rows()
    for name, tallies in columns.items():
        assert [count for count, *_ in tallies] == [1, 127, 172]
        first = 0
        for count, dtype, shape, kind, raw in tallies:
            part, first = slice(first, first + count), first + count
            if kind == "pairs":
                x, y = ([Fraction(value) for value in rows[each][part].tolist()] for each in name.split("*"))
                products = sum(a * b for a, b in zip(x, y, strict=True))
                assert read_pairs(raw) == (count, sum(x), sum(y), products)
                continue
            for each, values in zip(read_tally(raw, dtype, shape), rows[name][part].reshape(count, -1).T, strict=True):
                valid = values[~np.isnan(values.astype(float))].tolist()
                exact = [Fraction(value) for value in valid]
                assert (each["total"], each["squares"]) == (sum(exact), sum(value * value for value in exact))
                assert (each["nan"], each["valid"]) == (count - len(valid), len(valid))
                assert (each["least"], each["greatest"]) == (min(valid), max(valid))


@pytest.mark.parametrize("old", range(1, SCHEMA_VERSION))
def test_an_older_store_becomes_one_of_this_version_with_a_copy_before(tmp_path, old) -> None:
    """Three processes open it at once: one migrates, and the copy is of what was there before."""
    path = tmp_path / "s.db"
    shutil.copy(GOLDEN / f"store-{old}.db", path)
    processes = [start("write", path, number) for number in range(3)]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        finish(process)
    (copy,) = tmp_path.glob("s.db.schema-*")
    assert copy.name.startswith(f"s.db.schema-{old}-")
    for file, version in ((path, SCHEMA_VERSION), (copy, old)):
        with closing(sqlite3.connect(file)) as connection:
            assert connection.execute("PRAGMA user_version").fetchone() == (version,)
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert len(list(read_store(copy))) == len(PARAMETERS)
    store = ResultStore(path)
    assert all(same(store.load(golden_key(name)), golden_columns(name)) for name in PARAMETERS)
    store.close()


@pytest.mark.parametrize("old", range(1, SCHEMA_VERSION))
def test_a_new_store_and_a_migrated_one_have_the_same_schema(tmp_path, old) -> None:
    shutil.copy(GOLDEN / f"store-{old}.db", tmp_path / "old.db")
    schemas = []
    for name in ("old.db", "new.db"):
        ResultStore(tmp_path / name).close()
        with closing(sqlite3.connect(tmp_path / name)) as connection:
            schemas.append(set(connection.execute("SELECT type, name, sql FROM sqlite_schema")))
    assert schemas[0] == schemas[1]


def test_golden_hashes_of_parameters_of_every_type() -> None:
    """A hash that changes makes every stored result unreachable."""
    golden = json.loads((GOLDEN / "hashes.json").read_text())
    assert {name: golden_key(name).hash for name in PARAMETERS} == golden


def test_people_read_the_views(tmp_path) -> None:
    """The views hold no bytes, and what a person wants to know."""
    path = tmp_path / "s.db"
    store = ResultStore(path)
    store_now(store, key(1), 50, "w")
    store_now(store, key(2), 50, "w")
    store.close()
    connection = sqlite3.connect(path)
    results = connection.execute("SELECT simulation, replicates, parameters FROM stored_results").fetchall()
    slots = connection.execute("SELECT workspace, slot, parameters FROM stored_slots").fetchall()
    outputs = connection.execute(
        "SELECT name, mean, variance FROM stored_outputs WHERE hash = ?", (key(1).hash,)
    ).fetchall()
    for view in ("stored_results", "stored_slots", "stored_outputs"):
        for row in connection.execute(f"SELECT * FROM {view}"):
            assert not any(isinstance(value, bytes) for value in row)
    (strict,) = connection.execute("SELECT sum(strict) FROM pragma_table_list WHERE type = 'table'").fetchone()
    connection.close()
    assert results == [("tests.model", 50, '{"x": 2.0}'), ("tests.model", 50, '{"x": 1.0}')]
    assert slots == [("w", "primary", '{"x": 2.0}'), ("w", "secondary", '{"x": 1.0}')]
    assert [row[0] for row in outputs] == ["value", "count", "won", "path"]
    assert outputs[0][1] == pytest.approx(columns(key(1), 50)["value"].mean())
    assert outputs[0][2] == pytest.approx(columns(key(1), 50)["value"].var(ddof=1))
    assert strict >= 4
