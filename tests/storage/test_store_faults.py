"""What goes wrong with files and disks, each done for real."""

from __future__ import annotations

import logging
import os
import random
import shutil
import sqlite3
import threading
import warnings
import weakref
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import HANDSHAKE_S
from store_helpers import NEW, OLD, columns, key, same, store_now, versioned
from test_store_processes import finish, start

import bgsim
from bgsim.errors import ForeignFileError, NewerSchemaError, StoreError
from bgsim.storage import ResultStore
from bgsim.storage.slots import VALID_S
from bgsim.storage.sqlite import database, salvage, schema, tables, writer
from bgsim.storage.sqlite.entries import ForeignEntriesError
from bgsim.storage.sqlite.task import Task
from bgsim.testing.backend_examples import wait_until

pytestmark = pytest.mark.filterwarnings("error")


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "s.db"


@pytest.fixture
def store(path):
    opened = ResultStore(path)
    yield opened
    opened.close()


def fill(path: Path, count: int = 6, *, grown: bool = True) -> None:
    """Make a file with results of two segments and versions, or of one, with slots, and parts of their fingerprint."""
    store = ResultStore(path)
    for x in range(count):
        of = replace(key(x), parts={"tests.model": "0123abcd"})
        if grown:
            store.store(of, versioned(of, (50, OLD)))
        store.store(of, versioned(of, (50, OLD if grown else NEW), (350, NEW)), workspace="w" if x < 2 else None)
        store.flush()
    store.close()


def open_quietly(path: Path) -> ResultStore:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return ResultStore(path)


def edit(path: Path, statement: str, *values: object) -> None:
    connection = sqlite3.connect(path)
    with connection:
        assert connection.execute(statement, values).rowcount
    connection.close()


# ---- flipped and missing bytes -------------------------------------------------------------------


def use_damaged(path: Path, count: int = 6) -> None:
    """Use a file that may be damaged: no wrong bits come out, it can be mended, and then it serves again."""
    try:
        store = open_quietly(path)
    except (ForeignFileError, ForeignEntriesError):  # what says that it is ours is gone; it was left as it is
        if salvage.repair(path) is None:
            return
        store = open_quietly(path)
    try:
        for x in range(count):
            try:
                found = store.load(key(x), 400)
            except StoreError:
                continue
            assert found is None or same(found, columns(key(x), len(found["value"])))
            assert found is None or len(found["value"]) == min(400, store.count(key(x)))
        if store._file._refusal is not None:
            return  # its version looks like a newer one's
        with suppress(StoreError):
            assert len(store.results()) <= count
        store.check(repair=True)
        report = store.check()
        assert report.problems == ()
        for x in range(count):
            assert store.count(key(x)) in (0, 50, 400)
            store_now(store, key(x), 400, "w")
            assert same(store.load(key(x)), columns(key(x), 400))
    finally:
        store.close()


@pytest.mark.parametrize("seed", range(6))
def test_flipped_bytes_anywhere_never_give_wrong_results(tmp_path, seed) -> None:
    whole = tmp_path / "whole.db"
    fill(whole, grown=seed % 2 == 0)
    content = whole.read_bytes()
    rng = random.Random(seed)
    places = [rng.randrange(100 if seed == 0 else len(content)) for _ in range(60)]
    for number, place in enumerate(places):
        damaged = bytearray(content)
        damaged[place] ^= rng.randrange(1, 256)
        path = tmp_path / str(number) / "s.db"
        path.parent.mkdir()
        path.write_bytes(damaged)
        use_damaged(path)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.02, 0.3, 0.6, 0.95, 0.9999])
def test_a_truncated_file(tmp_path, path, share) -> None:
    fill(path)
    with path.open("r+b") as file:
        file.truncate(int(path.stat().st_size * share))
    use_damaged(path)


def test_a_damaged_file_is_set_aside_and_what_can_be_read_is_saved(path) -> None:
    """The first page of the results' index is overwritten; the results themselves are whole."""
    fill(path)
    connection = sqlite3.connect(path)
    (page,) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'slots'").fetchone()
    (size,) = connection.execute("PRAGMA page_size").fetchone()
    connection.close()
    with path.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * size)
    with pytest.warns(RuntimeWarning, match=r"is damaged .* it is now s\.db\.corrupt-\d.*Z, and 6 results were saved"):
        store = ResultStore(path)
    assert all(same(store.load(key(x)), columns(key(x), 400)) for x in range(6))
    assert store.check().ok
    store.close()
    assert len(list(path.parent.glob("s.db.corrupt-*"))) == 1


def damage_page(path: Path, table: str) -> None:
    """Overwrite the first page of a table, without which the file does not open."""
    with closing(sqlite3.connect(path)) as connection:
        (page,) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = ?", (table,)).fetchone()
        (size,) = connection.execute("PRAGMA page_size").fetchone()
    with path.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * size)


def test_of_processes_that_open_a_damaged_file_at_once_one_rebuilds_it(tmp_path, path) -> None:
    """The others wait, and open what it has made."""
    fill(path)
    damage_page(path, "slots")
    processes = [start("open", path) for _ in range(4)]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    found = sorted(finish(process) for process in processes)
    assert found == ["0 6 True\n"] * 3 + ["1 6 True\n"]
    assert len(list(tmp_path.glob("s.db.corrupt-*Z"))) == 1  # what SQLite keeps beside an open file may go with it
    assert not list(tmp_path.glob("s.db.rebuil*"))


def test_opening_a_damaged_file_waits_while_another_rebuilds_it(tmp_path, path, gate, monkeypatch) -> None:
    fill(path)
    damage_page(path, "slots")
    save, found = salvage._save, []
    monkeypatch.setattr(salvage, "_save", lambda *files: (gate.stop_here(), save(*files))[1])

    def use() -> None:
        with closing(ResultStore(path)) as store:
            found.append(len(store.results()))

    threads = [threading.Thread(target=use, daemon=True) for _ in range(2)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        threads[0].start()
        gate.wait_until_reached()
        threads[1].start()
        threads[1].join(0.1)
        assert threads[1].is_alive()
        gate.open()
        for thread in threads:
            thread.join(HANDSHAKE_S)
    assert found == [6, 6]
    assert len(list(tmp_path.glob("s.db.corrupt-*"))) == 1


def test_a_rebuilding_that_is_interrupted_loses_nothing(tmp_path, path, monkeypatch) -> None:
    fill(path)
    damage_page(path, "slots")
    with monkeypatch.context() as patched:
        patched.setattr(salvage, "_set_aside", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            ResultStore(path)
    with pytest.warns(RuntimeWarning, match="6 results were saved"):
        store = ResultStore(path)
    assert store.check().ok
    store.close()
    assert not list(tmp_path.glob("s.db.rebuil*"))


def test_check_repair_of_a_damaged_database_goes_on_with_a_new_file(path) -> None:
    """Damage that opening does not see, in a page of an index."""
    fill(path)
    connection = sqlite3.connect(path)
    (page,) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'results_by_use'").fetchone()
    (size,) = connection.execute("PRAGMA page_size").fetchone()
    connection.close()
    with path.open("r+b") as file:
        file.seek((page - 1) * size + 8)
        file.write(b"\xff" * 100)
    store = open_quietly(path)
    report = store.check()
    if not report.ok:
        report = store.check(repair=True)
        assert "corrupt-" in report.repaired[0]
    assert store.check().ok
    assert all(same(store.load(key(x)), columns(key(x), 400)) for x in range(6))
    store_now(store, key(9), 10)
    store.close()
    assert ResultStore(path).close() is None


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE blocks SET data = substr(data, 1, length(data) - 1) WHERE hash = ? AND position = 2",
        "UPDATE blocks SET data = zeroblob(length(data)) WHERE hash = ?",
        "UPDATE blocks SET first = first + 1 WHERE hash = ? AND first = 50",
        "UPDATE blocks SET name = 'valve' WHERE hash = ? AND position = 0",
        "UPDATE blocks SET name = 'valve' WHERE hash = ? AND position = 0 AND first = 50",
        "UPDATE blocks SET name = 'count' WHERE hash = ? AND position = 0 AND first = 50",
        "UPDATE blocks SET dtype = '|O' WHERE hash = ?",
        "UPDATE blocks SET dtype = '>f8' WHERE hash = ? AND position = 0",
        "UPDATE blocks SET shape = '[1e9]' WHERE hash = ?",
        "UPDATE blocks SET shape = 'x' WHERE hash = ?",
        "UPDATE blocks SET raw_bytes = 1099511627776, shape = '[137438953472]', count = 137438953472 WHERE hash = ?",
        "DELETE FROM blocks WHERE hash = ? AND first = 50 AND position = 1",
        "DELETE FROM blocks WHERE hash = ?",
        "UPDATE results SET outputs = 3 WHERE hash = ?",
        "UPDATE results SET outputs = 5 WHERE hash = ?",
    ],
)
@pytest.mark.parametrize("grown", [True, False])
def test_a_damaged_result_is_a_miss_is_set_aside_and_noted(path, caplog, statement, grown) -> None:
    fill(path, grown=grown)
    edit(path, statement if grown else statement.replace("first = 50", "first = 0"), key(0).hash)
    store = ResultStore(path)
    assert not store.check().ok
    with caplog.at_level(logging.CRITICAL, "bgsim.storage"):
        assert store.load(key(0)) is None
    assert store.damaged == 1
    assert store.count(key(0)) == 0
    assert same(store.load(key(1)), columns(key(1), 400))
    store_now(store, key(0), 400)
    assert same(store.load(key(0)), columns(key(0), 400))
    assert store.check().ok
    store.close()
    connection = sqlite3.connect(path)
    noted = connection.execute("SELECT hash, replicates FROM damaged").fetchall()
    connection.close()
    assert [row[0] for row in noted] == [key(0).hash]


@pytest.mark.parametrize("said", [1, 399, 401, 1_000_000, 2**53])
@pytest.mark.parametrize("grown", [True, False])
@pytest.mark.parametrize("how", ["loading", "repair"])
def test_a_result_that_does_not_know_its_number_is_counted(path, caplog, how, grown, said) -> None:
    fill(path, grown=grown)
    edit(path, f"UPDATE results SET replicates = {said} WHERE hash = ?", key(0).hash)
    with closing(ResultStore(path)) as store, caplog.at_level(logging.CRITICAL, "bgsim.storage"):
        report = store.check(repair=how == "repair")
        assert "has 400 replicates, which is not what it says" in report.problems[0]
        if how == "loading" and said > 400:
            assert store.load(key(0)) is None
        if how == "repair" or said > 400:
            assert store.count(key(0)) == store.slots("w").secondary.replicates == 400
            assert store.check().ok
            assert same(store.load(key(0)), columns(key(0), 400))
        assert store.damaged == 0
        assert same(store.load(key(0), 1), columns(key(0), 1))


@pytest.mark.parametrize(
    ("statement", "mended"),
    [
        ("UPDATE results SET seed = '7' WHERE rowid = 1", "record"),
        ("UPDATE results SET parameters = 'x' WHERE rowid = 1", "record"),
        ("UPDATE results SET used_at = 'x' WHERE rowid = 1", "times"),
        ("UPDATE results SET stored_bytes = 1 WHERE rowid = 1", "is said to have 1 bytes"),
        ("UPDATE blocks SET mean = 17 WHERE rowid = 1", "summary"),
        ("UPDATE slots SET replicates = 10000 WHERE rowid = 1", "make no sense"),
        ("UPDATE slots SET hash = 'x' WHERE rowid = 1", "belong to no result"),
        ("INSERT INTO slots SELECT 'w', hash, 1, rowid, used_at FROM results WHERE rowid > 2", "has 6 slots"),
        ("UPDATE blocks SET hash = 'x' WHERE rowid = 1", "belong to no result"),
    ],
)
def test_check_says_what_is_wrong_and_repair_mends_it(path, caplog, statement, mended) -> None:
    fill(path)
    edit(path, statement)
    store = ResultStore(path)
    with caplog.at_level(logging.CRITICAL, "bgsim.storage"):
        report = store.check()
        assert not report.ok
        assert mended in " ".join(report.problems)
        assert store.check(repair=True).repaired
        assert store.check().problems == ()
        assert len(store.results()) >= 5
    store.close()


def test_one_unreadable_result_does_not_keep_the_store_from_opening_nor_from_listing(path, caplog) -> None:
    fill(path)
    edit(path, "UPDATE results SET parameters = '{' WHERE hash = ?", key(3).hash)
    store = ResultStore(path)
    with caplog.at_level(logging.CRITICAL, "bgsim.storage"):
        assert {r.hash for r in store.results()} == {key(x).hash for x in (0, 1, 2, 4, 5)}
    assert store.damaged == 1
    store.close()


# ---- other files ---------------------------------------------------------------------------------


def test_a_file_that_is_behind_its_log_is_whole(tmp_path, path) -> None:
    """As when a process is killed while it moves the log into the file, and the last pages are not there yet."""
    left = tmp_path / "left"
    left.mkdir()
    with closing(ResultStore(path)) as store:
        for x in range(6):
            store_now(store, key(x), 400, "w")
        store._file.run(lambda connection: connection.execute("PRAGMA wal_checkpoint(FULL)").fetchall(), alone=True)
        for name in ("s.db", "s.db-wal"):
            shutil.copy(tmp_path / name, left / name)
    with (left / "s.db").open("r+b") as file:
        file.truncate((left / "s.db").stat().st_size - 20_000)
    with closing(ResultStore(left / "s.db")) as store:
        assert all(same(store.load(key(x)), columns(key(x), 400)) for x in range(6))
        assert store.check().problems == ()


def test_files_of_others_are_refused_untouched(tmp_path) -> None:
    text, other = tmp_path / "text.db", tmp_path / "other.db"
    text.write_text("dear diary " * 100)
    connection = sqlite3.connect(other)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("CREATE TABLE mine (x)")
    connection.commit()
    connection.close()
    (tmp_path / "short.db").write_bytes(b"SQL")
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    for name in ("text.db", "other.db", "short.db"):
        with pytest.raises(ForeignFileError, match="left untouched"):
            ResultStore(tmp_path / name)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_paths_that_cannot_be_a_store(tmp_path) -> None:
    with pytest.raises(StoreError, match="is a directory"):
        ResultStore(tmp_path)
    with pytest.raises(StoreError, match="does not exist"):
        ResultStore(tmp_path / "no" / "s.db")


@pytest.mark.skipif(not hasattr(os, "seteuid"), reason="there are no users")
def test_a_read_only_directory_is_refused_clearly(tmp_path, path) -> None:
    fill(path, 1)
    before = path.read_bytes()
    tmp_path.chmod(0o555)
    path.chmod(0o444)
    root = os.geteuid() == 0
    for directory in list(tmp_path.parents)[:3] if root else ():
        directory.chmod(directory.stat().st_mode | 0o055)
    try:
        if root:
            os.seteuid(65534)
        for name in (path, tmp_path / "new.db"):
            with pytest.raises(StoreError, match="read-only"):
                ResultStore(name)
    finally:
        if root:
            os.seteuid(0)
        tmp_path.chmod(0o755)
    assert path.read_bytes() == before


def test_a_newer_schema_is_read_and_not_written(path, caplog) -> None:
    fill(path, 2)
    _set_version(path, schema.SCHEMA_VERSION + 1)
    before = path.read_bytes()
    with caplog.at_level(logging.CRITICAL, "bgsim.storage"):
        store = ResultStore(path)
    assert same(store.load(key(0), 400), columns(key(0), 400))
    assert len(store.results()) == 2
    assert store.slots("w").primary is not None
    errors: list[Exception | None] = []
    store.store(key(7), columns(key(7), 5), on_stored=errors.append)
    assert isinstance(errors[0], NewerSchemaError)
    with pytest.raises(NewerSchemaError, match="update bgsim"):
        store.delete(key(0).hash)
    store.flush()
    assert store.check().ok
    store.close()
    assert path.read_bytes() == before


def test_a_newer_schema_that_cannot_be_read_is_refused(path) -> None:
    fill(path, 2)
    _execute(path, "ALTER TABLE blocks RENAME COLUMN filter TO filters")
    _set_version(path, schema.SCHEMA_VERSION + 1)
    before = path.read_bytes()
    with pytest.raises(NewerSchemaError, match="newer bgsim"):
        ResultStore(path)
    assert path.read_bytes() == before


def _execute(path: Path, statement: str) -> None:
    connection = sqlite3.connect(path)
    connection.execute(statement)
    connection.commit()
    connection.close()


def _set_version(path: Path, version: int) -> None:
    _execute(path, f"PRAGMA user_version = {version}")


def test_an_older_schema_is_migrated_with_a_copy_before(path, monkeypatch) -> None:
    fill(path, 2)
    old, add = schema.SCHEMA_VERSION, "ALTER TABLE results ADD COLUMN note TEXT"
    steps = {
        old: lambda db: db.execute(add),
        old + 1: lambda db: db.execute("UPDATE results SET note = 'moved'"),
    }
    monkeypatch.setattr(schema, "STATEMENTS", (*schema.STATEMENTS, (add,), ()))
    monkeypatch.setattr(schema, "SCHEMA_VERSION", old + 2)
    monkeypatch.setattr(schema, "MIGRATIONS", steps)
    store = ResultStore(path)
    assert same(store.load(key(0)), columns(key(0), 400))
    store_now(store, key(5), 10)
    store.close()
    (copy,) = path.parent.glob(f"s.db.schema-{old}-*")
    for file, version in ((path, old + 2), (copy, old)):
        connection = sqlite3.connect(file)
        assert connection.execute("PRAGMA user_version").fetchone() == (version,)
        connection.close()


def test_a_migration_that_fails_changes_nothing(path, monkeypatch) -> None:
    fill(path, 2)
    with monkeypatch.context() as patched:

        def failing(db) -> None:
            db.table("results").add_column("note", str)
            db.execute("UPDATE nobody SET x = 1")

        patched.setattr(schema, "MIGRATIONS", {schema.SCHEMA_VERSION: failing})
        patched.setattr(schema, "SCHEMA_VERSION", schema.SCHEMA_VERSION + 1)
        with pytest.raises(StoreError, match="no such table"):
            ResultStore(path)
    store = ResultStore(path)
    assert store.check().ok
    assert same(store.load(key(1)), columns(key(1), 400))
    store.close()


# ---- disks ---------------------------------------------------------------------------------------


def limit_pages(store: ResultStore, more: int) -> None:
    """Let the file grow by this number of pages; then SQLite finds the disk full."""

    def work(connection: sqlite3.Connection) -> None:
        (count,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {count + more}").fetchone()

    store._file.writer.run(work, alone=True)


def test_a_full_disk_loses_nothing_stored_and_takes_what_fits(store) -> None:
    store_now(store, key(1), 100, "w")
    limit_pages(store, 12)
    rng = np.random.default_rng(0)
    errors: dict[str, Exception | None] = {}
    hold = threading.Event()
    store._file.submit(Task(lambda _: hold.wait(HANDSHAKE_S) and None, lambda _: None))
    store.store(key(2), {"a": rng.random(200_000)}, on_stored=lambda e: errors.update(large=e))
    store.store(key(3), {"a": rng.random(100)}, on_stored=lambda e: errors.update(small=e))
    hold.set()
    store.flush()
    assert "disk is full" in str(errors["large"])
    assert errors["small"] is None
    assert (store.count(key(1)), store.count(key(2)), store.count(key(3))) == (100, 0, 100)
    assert same(store.load(key(1)), columns(key(1), 100))
    assert store.check().ok


@pytest.mark.skipif(os.name != "posix", reason="there is no limit to the size of files")
def test_a_file_that_may_not_grow_loses_nothing_that_was_durable(path) -> None:
    """A limit of the system's, which SQLite meets while it writes, as on a full disk."""
    said = finish(start("fill", path))
    count, *rest = said.split()
    durable, message = [int(x) for x in rest[: int(count)]], " ".join(rest[int(count) :])
    assert "cannot be written" in message
    assert 10 < len(durable) < 200
    with closing(ResultStore(path)) as store:
        assert store.check().problems == ()
        assert all(same(store.load(key(x), 300), columns(key(x), 300)) for x in durable)
        store_now(store, key(999), 300)


def test_a_full_disk_does_not_lose_a_job(path) -> None:
    @bgsim.simulation(outputs={"a": "f8"}, compile=False)
    def noise(p, rng):
        return rng.random()

    with closing(ResultStore(path)) as store:
        limit_pages(store, 0)
        with bgsim.Engine(store, workers=1) as engine:
            job = engine.submit(noise, {}, replicates=20_000)
            assert job.result(timeout=60).replicates == 20_000
            assert "disk is full" in job.status().store_error


@pytest.mark.parametrize("then", ["nothing", "another"])
def test_a_file_that_is_deleted_or_replaced_while_open(path, then) -> None:
    """The store refuses to write into a lost file; opened again, it works."""
    store = ResultStore(path)
    store_now(store, key(1), 10)
    for suffix in ("", "-wal", "-shm"):
        Path(f"{path}{suffix}").unlink()
    if then == "another":
        fill(path, 1)
    errors: list[Exception | None] = []
    store.store(key(2), columns(key(2), 10), on_stored=errors.append)
    store.flush()
    with pytest.raises(StoreError, match="deleted or replaced"):
        store.delete(key(1).hash)
    assert "open it anew" in str(errors[0])
    store.close()
    store = ResultStore(path)
    store_now(store, key(2), 10)
    assert store.count(key(0)) == (400 if then == "another" else 0)
    assert store.check().ok
    store.close()


def test_a_file_system_without_shared_memory_falls_back(path, monkeypatch) -> None:
    """As on a network drive, where SQLite cannot have a write-ahead log."""
    monkeypatch.setattr(database, "VFS", "unix-dotfile")
    store = ResultStore(path)
    with store._readers.reading() as reader:
        assert reader.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    store_now(store, key(1), 500, "w")
    store_now(store, key(1), 900, "w")
    other = ResultStore(path)
    store_now(other, key(2), 10)
    assert same(store.load(key(2)), columns(key(2), 10))
    assert same(other.load(key(1)), columns(key(1), 900))
    assert store.check().ok
    other.close()
    store.close()


def test_cleaning_up_touches_no_other_file(tmp_path, store) -> None:
    (tmp_path / "thesis.tex").write_text("x")
    store_now(store, key(1), 10)
    store.max_storage_bytes = 1
    store.cleanup()
    assert (tmp_path / "thesis.tex").exists()


def test_the_file_shrinks(store, path) -> None:
    store.store(key(1), {"a": np.random.default_rng(0).random(300_000)})
    store.flush()
    store.cleanup()
    store.delete(key(1).hash)
    assert store.cleanup().file_bytes > 1_000_000
    assert path.stat().st_size < 408 * 2**10
    assert Path(f"{path}-wal").stat().st_size == 0


# ---- the writer ----------------------------------------------------------------------------------


def stop_writer(store: ResultStore, gate) -> None:
    """Have the writer stop inside of a transaction."""
    store._file.submit(Task(gate.stop_here, lambda _: None))
    gate.wait_until_reached()


def test_what_has_piled_up_is_one_transaction(store, gate) -> None:
    stop_writer(store, gate)
    commits: list[str] = []
    store._file.writer.connection.set_trace_callback(lambda s: commits.append(s) if s == "COMMIT" else None)
    for x in range(50):
        store.store(key(x), columns(key(x), 10))
    gate.open()
    store.flush()
    store._file.writer.connection.set_trace_callback(None)
    assert len(commits) == 2  # of the one that stopped, and of the fifty
    assert len(store.results()) == 50


def test_what_piles_up_is_stored_as_if_it_had_come_one_by_one(store, gate) -> None:
    """More than one statement takes, of new results, one that is there already, and one that grows and shrinks."""
    store_now(store, key(0), 5)
    stop_writer(store, gate)
    errors: list[Exception | None] = []
    for x in range(150):
        store.store(key(x), columns(key(x), 10), on_stored=errors.append)
    for replicates in (30, 20, 40):
        store.store(key(1), columns(key(1), replicates), workspace="w", on_stored=errors.append)
    gate.open()
    store.flush()
    assert errors == [None] * 153
    for x in range(150):
        held = 40 if x == 1 else 10
        assert same(store.load(key(x)), columns(key(x), held))
    assert store.slots("w").primary.replicates == 40
    assert store.check().ok
    stored_bytes = sum(result.stored_bytes for result in store.results())
    assert store._upkeep._total[1] == stored_bytes == store.size()[1]


def test_of_what_piles_up_under_one_hash_the_first_is_stored_and_another_refused(store, gate, monkeypatch) -> None:
    monkeypatch.setattr(type(key(1)), "hash", property(lambda key: "c" * 32 if key.seed else key.identity[:32]))
    stop_writer(store, gate)
    errors: dict[float, Exception | None] = {}
    for x in (1, 2, 3):
        of = key(x, seed=int(x > 1))
        store.store(of, columns(of, 10), on_stored=lambda e, x=x: errors.update({x: e}))
    gate.open()
    store.flush()
    assert errors[1] is errors[2] is None
    assert "another result" in str(errors[3])
    assert same(store.load(key(2, seed=1)), columns(key(2, seed=1), 10))


def test_a_patient_task_goes_into_the_next_transaction_or_the_last(path, monkeypatch) -> None:
    """It does not wait for its moment to pass if something else comes, or the store is closed."""
    monkeypatch.setattr(writer, "LINGER_S", 1000.0)
    store = ResultStore(path)
    store.flush()
    commits: list[str] = []
    store._file.writer.connection.set_trace_callback(lambda s: commits.append(s) if s == "COMMIT" else None)
    done: list[Exception | None] = []
    store._file.submit(Task(lambda _: None, done.append, patient=True))
    assert (done, commits) == ([], [])
    store_now(store, key(1), 10)
    assert (done, commits) == ([None], ["COMMIT"])
    store._file.submit(Task(lambda _: None, done.append, patient=True))
    store.close()
    assert done == [None, None]


def test_one_that_fails_fails_alone(store, gate) -> None:
    stop_writer(store, gate)
    errors: dict[int, Exception | None] = {}
    for x in range(5):
        given = columns(key(x), 10)
        store.store(key(x), given, on_stored=lambda e, x=x: errors.update({x: e}))
        if x == 2:
            store._file.submit(
                Task(lambda c: c.execute("INSERT INTO nobody VALUES (1)"), lambda e: errors.update({99: e}))
            )
    gate.open()
    store.flush()
    assert "no such table" in str(errors.pop(99))
    assert errors == dict.fromkeys(range(5))
    assert len(store.results()) == 5


@pytest.mark.parametrize("workspace", ["w", "\ud800"], ids=["the other fails", "it fails"])
def test_what_one_places_in_a_slot_does_not_hang_on_another(store, gate, workspace) -> None:
    """Neither goes the placement of a result with a later task, nor fails a later task for it."""
    stop_writer(store, gate)
    stored: list[Exception | None] = []
    store.store(key(1), columns(key(1), 10), workspace=workspace, on_stored=stored.append)
    other = "w" if workspace != "w" else "\ud800"
    swapped: list[Exception | None] = []
    store._file.submit(Task(lambda connection: tables.read_slots(connection, other), swapped.append))
    gate.open()
    store.flush()
    failed, fine = (swapped, stored) if workspace == "w" else (stored, swapped)
    assert fine == [None]
    assert isinstance(failed[0], UnicodeEncodeError)
    assert [slot.hash for slot in store.slots("w")] == ([key(1).hash] if workspace == "w" else [])


def test_a_group_of_which_one_fails_keeps_the_slots_of_all_others(store, gate) -> None:
    """A placement is written with its own task, also where a later one looks at slots before it fails."""
    stop_writer(store, gate)
    store.store(key(1), columns(key(1), 10), workspace="w")

    def look_and_fail(connection: sqlite3.Connection) -> None:
        store._upkeep.write(connection)
        raise RuntimeError("no")

    errors: list[Exception | None] = []
    store._file.submit(Task(look_and_fail, errors.append))
    gate.open()
    store.flush()
    assert str(errors) == "[RuntimeError('no')]"
    assert [slot.hash for slot in store.slots("w")] == [key(1).hash]


def test_readers_do_not_wait_for_the_writer(store, gate) -> None:
    store_now(store, key(1), 10)
    stop_writer(store, gate)
    assert store.count(key(1)) == 10
    assert same(store.load(key(1)), columns(key(1), 10))
    assert len(store.results()) == 1


def test_a_full_backlog_makes_callers_wait(store, gate, monkeypatch) -> None:
    monkeypatch.setattr(writer, "BACKLOG_BYTES", 10)
    stop_writer(store, gate)
    store.store(key(1), columns(key(1), 10))
    second = threading.Thread(target=store.store, args=(key(2), columns(key(2), 10)), daemon=True)
    second.start()
    second.join(0.1)
    assert second.is_alive()
    gate.open()
    second.join(HANDSHAKE_S)
    store.flush()
    assert store.count(key(2)) == 10


def test_a_callback_that_raises_harms_no_other(store, caplog) -> None:
    def fail(_: object) -> None:
        raise ZeroDivisionError

    with caplog.at_level(logging.CRITICAL, "bgsim.storage"):
        store.store(key(1), columns(key(1), 10), on_stored=fail)
        store_now(store, key(2), 10)
    assert store.count(key(1)) == 10


def test_waiting_for_the_writer_in_its_own_thread_is_refused(store) -> None:
    found: list[Exception] = []

    def stored(_: object) -> None:
        try:
            store.flush()
        except StoreError as error:
            found.append(error)

    store.store(key(1), columns(key(1), 10), on_stored=stored)
    store.flush()
    assert "cannot wait for itself" in str(found[0])


def test_a_busy_file_is_waited_for(store, path) -> None:
    """Another process keeps the file locked for a while; no caller sees `database is locked`."""
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    errors: list[Exception | None] = []
    store.store(key(1), columns(key(1), 10), on_stored=errors.append)
    assert store.count(key(1)) == 0
    assert not errors
    other.execute("COMMIT")
    other.close()
    store.flush()
    assert errors == [None]


def test_the_log_is_bounded_and_emptied_when_idle(path, monkeypatch) -> None:
    monkeypatch.setattr(writer, "IDLE_S", 0.001)
    monkeypatch.setattr(writer, "JOURNAL_LIMIT_BYTES", 100_000)
    store = ResultStore(path)
    log = Path(f"{path}-wal")
    rng = np.random.default_rng(0)
    for x in range(20):
        store.store(key(x), {"a": rng.random(5000)})
        store.flush()
        assert log.stat().st_size < 400_000
    store_now(store, key(100), 10)
    wait_until(lambda: log.stat().st_size == 0, "the log is empty")
    store.close()


def tells_its_end(gone: threading.Event) -> Callable[[object], None]:
    """Return a callback, and set an event when nothing holds it."""

    def stored(_: object) -> None:
        return

    weakref.finalize(stored, gone.set)
    return stored


def test_a_writer_that_waits_keeps_nothing_of_what_it_has_done(path, monkeypatch) -> None:
    """Such as the job that a callback tells."""
    monkeypatch.setattr(writer, "IDLE_S", 1000.0)
    gone = threading.Event()
    store = ResultStore(path)
    store.store(key(0), columns(key(0), 3), on_stored=tells_its_end(gone))
    assert gone.wait(HANDSHAKE_S)
    store.close()


def test_loads_count_as_use_after_reopening(path) -> None:
    """The time of a load is written down, so that least recently used holds over sessions."""
    fill(path, 4)
    store = ResultStore(path)
    store.load(key(0), 5)
    store.close()
    store = ResultStore(path)
    assert store.results()[0].hash == key(0).hash
    store.close()


def test_a_load_counts_as_use_though_the_transaction_that_writes_it_down_is_undone(path, gate, monkeypatch) -> None:
    fill(path, 4)
    store = ResultStore(path)
    stop_writer(store, gate)
    store.load(key(0), 5)
    write, failures = store.journal.write, [sqlite3.OperationalError("once")]

    def fail_once(connection: sqlite3.Connection, ended: list[str]) -> None:
        if failures:
            raise failures.pop()
        write(connection, ended)

    monkeypatch.setattr(store.journal, "write", fail_once)
    for x in (8, 9):
        store.store(key(x), columns(key(x), 10))
    gate.open()
    store.flush()
    assert not failures
    store.close()
    store = ResultStore(path)
    assert {result.hash for result in store.results()[:3]} == {key(0).hash, key(8).hash, key(9).hash}
    store.close()


def test_slots_are_decoded_once(store, path) -> None:
    """Switching between slots reads no file: it works while nothing can be read."""
    store_now(store, key(1), 300, "w")
    store_now(store, key(2), 300, "w")
    store._readers.close()
    assert same(store.load(key(1), 300), columns(key(1), 300))
    assert same(store.load(key(2), 200), columns(key(2), 200))


def test_what_another_process_deleted_is_not_served_from_memory(store, path, clock, monkeypatch) -> None:
    """At most 10 ms longer than it was there, without asking the file each time."""
    monkeypatch.setattr(store._cache, "_clock", clock)
    looked_up: list[str] = []
    is_stored = store._cache._is_stored
    monkeypatch.setattr(store._cache, "_is_stored", lambda h: (looked_up.append(h), is_stored(h))[1])
    for x in (1, 2):
        store_now(store, key(x), 100, "w")
    for _ in range(5):
        assert same(store.load(key(1), 100), columns(key(1), 100))
    assert looked_up == [key(1).hash]
    with closing(ResultStore(path)) as other:
        other.delete(key(1).hash)
    clock.advance(VALID_S)
    assert store.load(key(1), 100) is None
    assert same(store.load(key(2), 100), columns(key(2), 100))
    with closing(ResultStore(path)) as other:
        store_now(other, key(1), 50)
    assert same(store.load(key(1), 100), columns(key(1), 50))


def test_slot_memory_is_bounded(path) -> None:
    store = ResultStore(path)
    store._cache._max_bytes = 3 * 10_000 * 8
    for x in range(10):
        store.store(key(x), {"a": np.full(10_000, float(x))}, workspace=f"w{x}")
    store.flush()
    held = store._cache._held
    assert list(held) == [key(x).hash for x in (7, 8, 9)]
    assert store.load(key(0))["a"][0] == 0.0
    store.close()


def test_survive_power_loss_waits_for_the_disk(path) -> None:
    for wanted, expected in ((False, 1), (True, 2)):
        store = ResultStore(path, survive_power_loss=wanted)
        assert store._file.writer.connection.execute("PRAGMA synchronous").fetchone() == (expected,)
        store.close()


def test_a_store_that_was_copied_is_the_same(tmp_path, path) -> None:
    fill(path, 2)
    shutil.copy(path, tmp_path / "copy.db")
    store = ResultStore(tmp_path / "copy.db")
    assert same(store.load(key(1)), columns(key(1), 400))
    store.close()


@pytest.mark.parametrize("text", ["0.5", "[1]", "null", '"x"', '{"__float__": "1"}', '{"x": {"__bytes__": 1}}'])
def test_parameters_that_are_no_object_are_damage_of_the_one_result(store, text) -> None:
    for x in (1, 2):
        store_now(store, key(x), 5, "w")
    with closing(sqlite3.connect(store.path)) as file, file:
        file.execute("UPDATE results SET parameters = ? WHERE hash = ?", (text, key(1).hash))
    assert [result.hash for result in store.results()] == [key(2).hash]
    with pytest.raises(StoreError):
        store.compare("w")
    assert store.most_similar({"x": 2.0})[0].hash == key(2).hash
