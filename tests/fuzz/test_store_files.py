"""Whatever the bytes of a store's file are, a store serves what it stored or nothing, runs nothing, and can be repaired."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command import run_main
from fuzzing import MARKS, ODD_TEXTS, fuzz
from hypothesis import given
from hypothesis import strategies as st
from odd_rows import TABLES, execute, execute_unchecked
from store_helpers import columns, delivery, history_job, key, letter, request, same, schedule, store_now, summary

import bgsim
from bgsim.errors import BgsimError
from bgsim.service.posting import Poster
from bgsim.service.tokens import verify
from bgsim.service.webhooks import Sender
from bgsim.storage import ResultStore
from bgsim.storage.history import AuditRow, JobQuery, TokenRow
from bgsim.storage.history_tables import ROWS as HISTORY
from bgsim.storage.sqlite import schema

pytestmark = [*MARKS, pytest.mark.filterwarnings("ignore::RuntimeWarning")]

SIZE = schema.PAGE_BYTES
SUMMARY = key(20.0)
"""Of which a summary is kept."""
ENDS = (30, 40)
REPLICATES = 40
KEYS = {found.hash: found for found in [*map(key, range(9)), key(9.0, data=np.arange(2000.0)), SUMMARY]}
NOW = "2026-01-01T00:00:00.000000+00:00"
NOBODY = Poster(resolve=lambda *_, **__: [])
"""Finds no receiver."""
free = bgsim.simulation(lambda p, rng: rng.random(), outputs={"x": "f8"}, compile=False, depends_on=())


@dataclass(frozen=True)
class Whole:
    """A store's file, and its columns."""

    path: Path
    cells: list[tuple[str, str]]
    columns: Mapping[str, Any]


@pytest.fixture(scope="module")
def whole() -> Iterator[Whole]:
    with tempfile.TemporaryDirectory() as name:
        path = Path(name, "s.db")
        with contextlib.closing(ResultStore(path)) as store:
            for number, each in enumerate(KEYS.values()):
                if each is SUMMARY:
                    store.store(each, summary(each, *ENDS))
                else:
                    store_now(store, each, REPLICATES if number else 4000, "w" if number < 2 else None)
            for number in (1, 2):
                store.journal.add(request(number, simulation="no_such_module.model"))
                store.journal.add_dead_letter(letter(number))
                store.journal.put_schedule(schedule(f"s{number}", simulation="no_such_module.model"))
                store.history.add_job(history_job(number, token="t", idempotency_key=f"k{number}", tags='["a"]'))
                store.history.end_job(history_job(number + 2, state="failed", ended_at=NOW), [delivery(number)])
                store.history.add_token(TokenRow(f"{number:08x}", "d" * 64, "admin", "", "", NOW))
                store.history.add_audit(AuditRow(NOW, "t", "", "admin", "POST", "j1", 200, ""))
            store.flush()
            of_results = ("results", "blocks", "slots", "damaged", "identities", "parameter_values")
            with store.database() as database:
                cells = [
                    (table, column.name)
                    for table in (*of_results, *TABLES, *HISTORY)
                    for column in database[table].columns
                ]
        yield Whole(path, cells, {found.hash: columns(found, 4000) for found in KEYS.values() if found is not SUMMARY})


# ---- ways to change a file -----------------------------------------------------------------------------


def bytes_changed(draw: st.DrawFn, path: Path) -> None:
    data = bytearray(path.read_bytes())
    for _ in range(draw(st.integers(1, 3))):
        if not data:
            return
        page = SIZE * draw(st.integers(0, max(0, len(data) // SIZE - 1)))
        at = draw(st.integers(0, len(data) - 1) | st.integers(0, min(99, len(data) - 1)))
        match draw(st.sampled_from(["flip", "flip", "bytes", "zero", "copy", "cut", "twice", "noise", "end", "none"])):
            case "flip":
                data[at] ^= 1 << draw(st.integers(0, 7))
            case "bytes":
                new = draw(
                    st.binary(min_size=1, max_size=8) | st.sampled_from([b"\0" * 8, b"\xff" * 8, b"\x7f" + b"\xff" * 7])
                )
                data[at : at + len(new)] = new
            case "zero":
                data[page : page + SIZE] = bytes(SIZE)
            case "copy":
                other = SIZE * draw(st.integers(0, max(0, len(data) // SIZE - 1)))
                data[page : page + SIZE] = data[other : other + SIZE]
            case "cut":
                del data[at:]
            case "twice":
                data[page:page] = data[page : page + SIZE]
            case "noise":
                data[page : page + SIZE] = draw(st.randoms(use_true_random=False)).randbytes(SIZE)
            case "end":
                data += draw(st.binary(max_size=20)) * draw(st.sampled_from([1, 1000]))
            case "none":
                data = bytearray()
    path.write_bytes(data)


ODD_CELLS = st.one_of(
    st.none(), st.integers(-(2**63), 2**63 - 1), st.sampled_from([0, -1, 1, 2**31, 2**53, 2**62, 2**63 - 1, -(2**63)]),
    st.floats(), st.binary(max_size=30), st.sampled_from([b"", b"(\xb5/\xfd" + b"\xff" * 9, b"\0" * 500]),
    st.sampled_from(
        ["|O", "O", "V8", "<f8", "<c16", "U1000000000", "S99", "M8[ns]", "|V0", "bits", "none", "zlib", "[]", "[1000000000000]", "[40, 1000000000]",
         "[-1]", "[40.0]", "[true]", "[[1]]", "[" * 5000, "9999-12-31T23:59:59+00:00", "os:system", "tests.model", "os.system",
         '{"x": {"__value__": "' + "f" * 64 + '"}}', '{"x": {"__array__": "|O", "shape": [1], "data": ""}}', '{"x": 1e999}', '{"x": ' + "9" * 5000 + "}"]
    ),
    ODD_TEXTS.map(lambda text: text.encode("utf-8", "replace").decode()),
)  # fmt: skip

STATEMENTS = [
    "CREATE TRIGGER t AFTER UPDATE ON results BEGIN DELETE FROM results; END",
    "CREATE TRIGGER t AFTER INSERT ON owners BEGIN DELETE FROM results; END",
    "CREATE TRIGGER t AFTER DELETE ON requests BEGIN INSERT INTO damaged SELECT 'ran', hash, 'ran', 'ran', 1, 'ran' FROM results; END",
    "DROP VIEW stored_results; CREATE VIEW stored_results AS SELECT * FROM ran",
    "DROP VIEW stored_outputs; CREATE VIEW stored_outputs AS SELECT 'ran' AS hash, 1 AS position, 'x' AS name, 'f8' AS dtype, "
    "1 AS replicates, 0.0 AS mean, 0.0 AS variance, 0.0 AS minimum, 0.0 AS maximum, 1 AS raw_bytes, 1 AS stored_bytes",
    "CREATE INDEX i ON results(load_extension('x'))",
    "CREATE UNIQUE INDEX i ON blocks(name)",
    "CREATE INDEX i ON blocks(name, dtype)",
    "DROP TABLE blocks",
    "DROP TABLE requests",
    "DROP TABLE identities; CREATE VIEW identities AS WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT x AS fingerprint, x AS parts FROM c",
    "DROP TABLE damaged; CREATE VIRTUAL TABLE damaged USING fts5(found_at, hash, simulation, parameters, replicates, reason)",
    "DROP INDEX results_by_use",
    "DROP TRIGGER identity_of_no_result",
    "PRAGMA user_version = 1", "PRAGMA user_version = 0", "PRAGMA user_version = -3", "PRAGMA user_version = 99", "PRAGMA user_version = 3",
    "PRAGMA application_id = 5", "PRAGMA journal_mode = DELETE; VACUUM", "PRAGMA journal_mode = DELETE; PRAGMA auto_vacuum = FULL; PRAGMA page_size = 512; VACUUM",
    "PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = 'CREATE TABLE results (x)' WHERE name = 'results'",
    "PRAGMA writable_schema = ON; UPDATE sqlite_schema SET rootpage = 3 WHERE name = 'results'",
    "PRAGMA writable_schema = ON; UPDATE sqlite_schema SET rootpage = (SELECT rootpage FROM sqlite_schema WHERE name = 'blocks') WHERE name = 'slots'",
    "PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = NULL", "PRAGMA writable_schema = ON; DELETE FROM sqlite_schema",
    "PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = replace(sql, 'STRICT', '') WHERE name = 'blocks'",
    "PRAGMA writable_schema = ON; UPDATE sqlite_schema SET name = x'ff'", "PRAGMA writable_schema = ON; UPDATE sqlite_schema SET type = 'view'",
    "DELETE FROM blocks WHERE rowid % 3 = 0", "DELETE FROM results WHERE rowid % 2 = 0", "DELETE FROM parameter_values",
    "UPDATE blocks SET data = (SELECT data FROM blocks ORDER BY rowid DESC LIMIT 1)", "UPDATE OR IGNORE blocks SET hash = (SELECT hash FROM results LIMIT 1)",
    "UPDATE blocks SET hash = 'x' || hash", "UPDATE OR IGNORE slots SET workspace = 'v'", "INSERT INTO slots SELECT 'w', hash, 1, rowid, used_at FROM results WHERE true ON CONFLICT DO NOTHING",
    "UPDATE OR IGNORE blocks SET name = 'value', position = position + 4", "UPDATE blocks SET first = first + 1", "UPDATE results SET replicates = replicates * 1000000000",
]  # fmt: skip


def tables_changed(draw: st.DrawFn, path: Path, cells: list[tuple[str, str]]) -> None:
    if draw(st.booleans()):
        with contextlib.closing(sqlite3.connect(path)) as file, contextlib.suppress(sqlite3.Error):
            file.executescript(draw(st.sampled_from(STATEMENTS)))
        return
    change = draw(st.sampled_from([execute, execute_unchecked]))
    for _ in range(draw(st.integers(1, 2))):
        table, column = draw(st.sampled_from(cells))
        rows = draw(st.sampled_from(["", " WHERE rowid = 1", " WHERE rowid = 2", " WHERE rowid % 2 = 0"]))
        with contextlib.suppress(sqlite3.Error):
            change(path, f"UPDATE OR IGNORE {table} SET {column} = ?{rows}", (draw(ODD_CELLS),))


def log_changed(draw: st.DrawFn, path: Path) -> None:
    """Leave a log as a crash does, changed or cut."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as file:
        file.execute("PRAGMA wal_autocheckpoint = 0")
        for number in range(3):
            file.execute("UPDATE results SET used_at = ?", (f"2026-01-0{number + 1}T00:00:00.000000+00:00",))
        copies = [(found, found.read_bytes()) for found in (path, Path(f"{path}-wal"))]
    for found, content in copies:
        found.write_bytes(content)
    bytes_changed(draw, Path(f"{path}-wal"))


# ---- what must hold ------------------------------------------------------------------------------------


def attempt(work: Callable[[], Any]) -> Any:
    """Return what a call returns, None if it raises an error of bgsim's."""
    try:
        return work()
    except BgsimError as error:
        assert len(str(error)) < 25_000
        return None


def served(store: ResultStore, whole: Whole) -> set[str]:
    """Load all that is listed and all that was stored; return the hashes of what came, all of it right."""
    listed = attempt(store.results) or []
    found = set()
    for result_hash in {result.hash for result in listed} | set(KEYS):
        columns = attempt(lambda result_hash=result_hash: store.load(KEYS.get(result_hash, result_hash)))
        if columns is None:
            continue
        assert result_hash in KEYS, "a result that was never stored is served"
        rows = len(columns["value"])
        if result_hash == SUMMARY.hash:
            assert any(same(columns, summary(SUMMARY, *ENDS[:n])) for n in (1, 2))
            found.add(result_hash)
            continue
        assert same(columns, {name: column[:rows] for name, column in whole.columns[result_hash].items()}), result_hash
        found.add(result_hash)
    return found


def used(path: Path, whole: Whole) -> set[str] | None:
    """Use a store in every way; return what it serves, None if it cannot be opened."""
    store = attempt(lambda: ResultStore(path))
    if store is None:
        return None
    with contextlib.closing(store):
        found = served(store, whole)
        attempt(lambda: [store.slots(workspace) for workspace in store.workspaces()])
        attempt(lambda: store.compare("w"))
        attempt(lambda: store.explain(free, replicates=3))
        attempt(lambda: store.most_similar({"x": 2.5}))
        for question in ({}, {"x": 2.5}, {"x": (0, 3), "seed": 0}, {"simulation": "free", "since": "1 h", "limit": 2}):
            for stored in attempt(lambda question=question: store.find(**question)) or []:
                assert repr(stored)
                attempt(lambda stored=stored: repr(store.load_result(stored)))
        attempt(lambda: store.results()._repr_html_())
        attempt(store.size)
        attempt(lambda: [store.journal.interrupted(), store.journal.dead_letters(), store.journal.schedules()])
        history = store.history
        for query in (JobQuery(), JobQuery(tag="a", parameters={"x": 1.0}, states=("", "failed"), simulation="model")):
            attempt(lambda query=query: [history.jobs(query), history.count_jobs(query)])
        attempt(
            lambda: [
                history.open_jobs(),
                history.tokens(),
                history.deliveries(),
                history.audit("", 9),
                history.job("j1"),
            ]
        )
        attempt(lambda: [verify(history, f"bgs_{number:08x}_{'A' * 43}", 0.0) for number in (1, 2)])
        attempt(lambda: history.add_job(history_job(9, token="t", idempotency_key="k1")))
        attempt(lambda: [history.forget_jobs(NOW, 1), history.forget_audit(NOW)])
        attempt(Sender(history, poster=NOBODY).step)
        with contextlib.suppress(BgsimError, sqlite3.Error), store.database() as database:  # the caller's own SQL
            assert "ran" not in {row["simulation"] for row in database["damaged"].rows}
        for result_hash in (*list(KEYS)[:2], SUMMARY.hash):
            attempt(lambda result_hash=result_hash: store.export(result_hash, path.with_suffix(".npz")))
        attempt(store.check)
    with contextlib.suppress(BgsimError), bgsim.Engine(path, immediate=True, recover=True) as engine:
        job = engine.submit(free, replicates=2, cache="off")
        assert len(job.result()["x"]) == 2
        assert str(engine.health())
    return found


def mended(path: Path) -> None:
    code, _, remarks = run_main("store", "check", "--repair", "--store", str(path))
    assert code in (0, 1, 2)
    assert "Traceback" not in remarks


def assert_harmless(path: Path, whole: Whole) -> None:
    """Use a changed file, repair it, and import it: nothing wrong is served, nothing runs, and it is well in the end."""
    used(path, whole)
    mended(path)
    store = attempt(lambda: ResultStore(path))
    if store is not None:
        with contextlib.closing(store):
            store.check(repair=True)
            served(store, whole)
            assert store.check().ok
    other = path.with_name("other.db")
    with contextlib.closing(ResultStore(other)) as target:
        attempt(lambda: target.import_(path))
        served(target, whole)
    assert "no_such_module" not in sys.modules


@pytest.mark.parametrize("value", [None, b"", 0, 1.5, "x", -(2**63), 2**63 - 1], ids=repr)
def test_a_cell_of_another_type_is_served_rightly_or_refused_by_name(whole: Whole, value: object) -> None:
    for table, column in whole.cells:
        if table in TABLES or table in HISTORY:
            continue  # see test_journal_rows.py and test_history.py
        with tempfile.TemporaryDirectory() as name:
            path = Path(shutil.copy(whole.path, name))
            execute_unchecked(path, f"UPDATE OR IGNORE {table} SET {column} = ?", (value,))
            assert_harmless(path, whole)


@given(data=st.data())
@fuzz(3)
def test_a_changed_file_is_served_rightly_or_refused_by_name(whole: Whole, data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as name:
        path = Path(shutil.copy(whole.path, name))
        match data.draw(st.sampled_from(["bytes", "tables", "tables", "log"])):
            case "bytes":
                bytes_changed(data.draw, path)
            case "tables":
                tables_changed(data.draw, path, whole.cells)
            case "log":
                log_changed(data.draw, path)
        assert_harmless(path, whole)
