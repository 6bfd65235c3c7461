"""Damage costs what is damaged and no more, and nothing in a file runs: each done to a real file."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import subprocess
import sys
import warnings
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from store_helpers import columns, delivery, history_job, key, letter, request, same, schedule, store_now

from bgsim.errors import StoreError
from bgsim.storage import ResultStore
from bgsim.storage.history import AuditRow, JobQuery, TokenRow
from bgsim.storage.sqlite import schema
from bgsim.storage.sqlite.entries import ForeignEntriesError, check_entries
from bgsim.storage.sqlite.salvage import repair
from bgsim.storage.times import time_text

SIZE = schema.PAGE_BYTES
RESULTS = 12


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """A file with results of several pages, slots, and a journal."""
    path = tmp_path_factory.mktemp("whole") / "s.db"
    store = ResultStore(path)
    for x in range(RESULTS):
        store_now(store, key(x), 1500, "w" if x < 2 else None)
    for entry in (request(1), request(2)):
        store.journal.add(entry)
    store.journal.add_dead_letter(letter(1))
    store.journal.put_schedule(schedule())
    store.journal.flush()
    history = store.history
    history.add_job(history_job(0, token="t", idempotency_key="k"))
    history.end_job(history_job(1, state="failed", ended_at=time_text(9)), [delivery(0)])
    history.add_token(TokenRow("t", "d" * 64, "admin", "", "", time_text(0), revoked_at=time_text(5)))
    history.add_token(TokenRow("u", "d" * 64, "admin", "", "", time_text(1)))
    history.add_audit(AuditRow(time_text(0), "t", "", "admin", "POST", "j0", 202, "", 1))
    store.close()
    return path


def history_of(store: ResultStore) -> tuple[list, ...]:
    history = store.history
    return history.jobs(JobQuery()), history.tokens(), history.deliveries(), history.audit(None, 9)


@pytest.fixture
def path(whole, tmp_path) -> Path:
    return Path(shutil.copy(whole, tmp_path / "s.db"))


def mended(path: Path) -> ResultStore:
    """Open a damaged file, with the command that repairs it if it cannot be opened."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        try:
            store = ResultStore(path)
        except StoreError:
            assert repair(path) is not None
            store = ResultStore(path)
    store.check(repair=True)
    assert store.check().ok
    return store


def served(path: Path) -> int:
    """Mend a file; return how many results it has, all of them right."""
    with closing(mended(path)) as store:
        found = [store.load(key(x)) for x in range(RESULTS)]
    for x, each in enumerate(found):
        assert each is None or same(each, columns(key(x), len(each["value"])))
    return sum(each is not None for each in found)


def overwritten(page: int, content: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        data = bytearray(path.read_bytes())
        data[(page - 1) * SIZE : page * SIZE] = content(bytes(data))
        path.write_bytes(data)

    return damage


def pages_of(path: Path) -> int:
    return path.stat().st_size // SIZE


@pytest.mark.parametrize("content", ["zeros", "noise", "another page"])
def test_a_page_that_is_lost_costs_the_results_that_it_holds(whole, tmp_path, content) -> None:
    """Whichever page it is: header, schema, pointer map, inner page or leaf."""
    rng = random.Random(1)
    make = {
        "zeros": lambda _: bytes(SIZE),
        "noise": lambda _: rng.randbytes(SIZE),
        "another page": lambda data: data[-SIZE:],
    }[content]
    kept = {}
    for page in range(1, pages_of(whole) + 1):
        path = tmp_path / str(page) / "s.db"
        path.parent.mkdir()
        shutil.copy(whole, path)
        overwritten(page, make)(path)
        kept[page] = served(path)
    few = {page: count for page, count in kept.items() if count < RESULTS - 1}
    leaves = sum(count == 0 for count in few.values())
    assert kept[1] == RESULTS, "the first page has no result"
    assert leaves <= 1, "one page holds the rows of all results"
    assert len(few) <= 4, few


@pytest.mark.parametrize("short", [1, SIZE // 2, SIZE, SIZE + 1, 3 * SIZE])
def test_a_file_that_is_short_loses_what_its_end_held(path, short) -> None:
    os.truncate(path, path.stat().st_size - short)
    assert served(path) >= RESULTS - 1 - short // SIZE


def test_what_the_log_has_committed_is_saved_too(path, tmp_path) -> None:
    store = ResultStore(path)
    with closing(sqlite3.connect(path)) as holder:  # keeps the log from being moved
        holder.execute("BEGIN")
        holder.execute("SELECT count(*) FROM results").fetchone()
        store.delete(key(0).hash)
        store_now(store, key(RESULTS), 1500)
        copy = tmp_path / "copy" / "s.db"
        copy.parent.mkdir()
        for suffix in ("", "-wal"):
            shutil.copy(f"{path}{suffix}", f"{copy}{suffix}")
    store.close()
    overwritten(1, lambda _: bytes(SIZE))(copy)
    with closing(mended(copy)) as saved:
        assert same(saved.load(key(RESULTS)), columns(key(RESULTS), 1500))
        assert saved.count(key(0)) == 0


def test_a_repair_keeps_slots_journal_times_and_the_rights_to_read(path) -> None:
    path.chmod(0o640)
    with closing(ResultStore(path)) as store:
        before = {r.hash: (r.created_at, r.used_at) for r in store.results()}
        slots, journal = store.slots("w"), store.journal
        kept = journal.interrupted(), journal.dead_letters(), journal.schedules()
        history = history_of(store)
        assert [len(rows) for rows in history] == [2, 2, 1, 1]
    overwritten(1, lambda _: bytes(SIZE))(path)
    with closing(mended(path)) as store:
        assert {r.hash: (r.created_at, r.used_at) for r in store.results()} == before
        assert store.slots("w") == slots
        assert (store.journal.interrupted(), store.journal.dead_letters(), store.journal.schedules()) == kept
        assert history_of(store) == history
    assert {p.stat().st_mode & 0o777 for p in path.parent.iterdir()} == {0o640}


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE results SET replicates = 9223372036854775807 WHERE rowid < 3",
        "UPDATE slots SET generation = 9223372036854775807",
        "UPDATE requests SET crashes = 9223372036854775807",
        "UPDATE results SET simulation = CAST(X'FF' AS TEXT) WHERE rowid = 3",
        "UPDATE identities SET parts = CAST(X'FF' AS TEXT)",
        "UPDATE slots SET workspace = CAST(X'FF' AS TEXT)",
        "UPDATE requests SET options = CAST(X'FF' AS TEXT)",
        "UPDATE schedules SET cron = CAST(X'FF' AS TEXT)",
        "DROP TABLE slots",
        "DROP VIEW stored_outputs",
        "DROP INDEX results_by_use",
        "ALTER TABLE blocks RENAME COLUMN filter TO filters",
        "ALTER TABLE results ADD COLUMN more TEXT",
        "PRAGMA application_id = 1",
        "PRAGMA user_version = -3",
    ],
)
def test_an_edit_costs_what_it_has_changed(path, statement) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(statement)
        connection.commit()
    assert served(path) >= RESULTS - 2


# ---- a schema that is not ours ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("statement", "name"),
    [
        ("CREATE VIEW mine AS WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT x FROM c", "mine"),
        ("CREATE TRIGGER t AFTER INSERT ON results BEGIN DELETE FROM results; END", "t"),
        ("CREATE TEMP TABLE x (y); CREATE INDEX i ON results(abs(replicates))", "i"),
        ("CREATE UNIQUE INDEX i ON results(simulation, hash)", "i"),
        ("CREATE INDEX i ON results(seed) WHERE replicates > abs(outputs)", "i"),
        ("CREATE VIRTUAL TABLE f USING fts5(x)", "f"),
        ("CREATE TABLE mine (hash TEXT REFERENCES results(hash) ON DELETE RESTRICT)", "mine"),
        ("CREATE TABLE mine (a, b AS (a + 1))", "mine"),
        ("ALTER TABLE results ADD COLUMN more TEXT DEFAULT 'x'", "results"),
        ("DROP VIEW stored_results; CREATE VIEW stored_results AS SELECT 1", "stored_results"),
        ("DROP TRIGGER identity_of_no_result", "identity_of_no_result"),
    ],
)
def test_an_entry_that_is_not_ours_is_refused_by_name(path, tmp_path, statement, name) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(statement)
    before = path.read_bytes()
    with pytest.raises(ForeignEntriesError, match=rf"\b{name}\b.*check --repair"):
        ResultStore(path)
    with closing(ResultStore(tmp_path / "other.db")) as other, pytest.raises(ForeignEntriesError, match=name):
        other.import_(path)
    assert path.read_bytes() == before
    assert served(path) == RESULTS


def test_a_view_in_the_place_of_a_table_never_runs(path) -> None:
    endless = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT x AS hash FROM c"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(f"ALTER TABLE results RENAME TO r0; CREATE VIEW results AS {endless}")
        connection.execute("PRAGMA user_version = 99")
    code = f"import bgsim; bgsim.ResultStore({str(path)!r})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert "newer bgsim" in done.stderr


def test_tables_and_plain_indexes_of_a_user_are_let_be(path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(
            "CREATE TABLE notes (hash TEXT PRIMARY KEY, note TEXT); CREATE INDEX by_note ON notes(note);"
            "CREATE INDEX by_seed ON results(seed); INSERT INTO notes VALUES ('a', 'b'); ANALYZE"
        )
    assert served(path) == RESULTS
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT note FROM notes").fetchall() == [("b",)]


def test_a_schema_of_very_many_entries_is_refused_at_once(path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript("BEGIN;" + "".join(f"CREATE TABLE t{i} (x);" for i in range(1200)) + "COMMIT")
    with pytest.raises(ForeignEntriesError, match="more entries"):
        ResultStore(path)


def test_a_trigger_that_is_added_later_is_refused_by_the_next_write(path) -> None:
    with closing(ResultStore(path)) as store:
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("CREATE TRIGGER t AFTER INSERT ON results BEGIN DELETE FROM results; END")
        errors: list[Exception | None] = []
        store.store(key(99), columns(key(99), 5), on_stored=errors.append)
        with pytest.raises(ForeignEntriesError):
            store.delete(key(1).hash)
        assert isinstance(errors[0], ForeignEntriesError)
        assert store.count(key(1)) == 1500


def test_each_older_version_has_a_schema_that_is_known() -> None:
    for version in range(1, schema.SCHEMA_VERSION + 1):
        with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
            for statements in schema.STATEMENTS[:version]:
                for statement in statements:
                    connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {version}")
            check_entries(connection, Path("s.db"))


# ---- names of the file -------------------------------------------------------------------------------


def test_a_store_that_is_opened_by_a_link_is_the_file_that_it_points_to(path, tmp_path) -> None:
    folder = tmp_path / "links"
    folder.mkdir()
    link = folder / "l.db"
    link.symlink_to(path)
    with closing(ResultStore(link)) as store:
        assert store.path == path.resolve()
    overwritten(4, lambda _: bytes(SIZE))(path)
    with closing(mended(link)):
        assert link.is_symlink()
    assert [p.name for p in folder.iterdir()] == ["l.db"]
    assert any("corrupt" in p.name for p in tmp_path.iterdir())
