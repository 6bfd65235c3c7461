"""`ResultStore.database`: sqlite-utils on a store's file, for reading alone; and when sqlite-utils is imported."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest
from conftest import HANDSHAKE_S
from forked import in_child
from store_helpers import columns, key, store_now

from bgsim.errors import StoreError
from bgsim.storage import ResultStore
from bgsim.storage.sqlite import forks, schema


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "s.db"


@pytest.fixture
def store(path: Path):
    with closing(ResultStore(path)) as opened:
        store_now(opened, key(1), 100, "w")
        store_now(opened, key(2), 200, "w")
        yield opened


def test_it_answers_questions_with_the_tables_and_the_views(store: ResultStore) -> None:
    with store.database() as db:
        rows = list(
            db.query("SELECT simulation, sum(replicates) AS replicates FROM stored_results GROUP BY simulation")
        )
        assert rows == [{"simulation": "tests.model", "replicates": 300}]
        assert [row["slot"] for row in db.view("stored_slots").rows] == ["primary", "secondary"]
        (mean,) = db.view("stored_outputs").rows_where("hash = ? AND name = 'value'", [key(1).hash], select="mean")
        assert mean["mean"] == pytest.approx(columns(key(1), 100)["value"].mean())
        assert set(db.view_names()) >= {"stored_results", "pending_requests"}
        assert db.table("results").strict


def test_it_sees_what_is_stored_while_it_is_open(store: ResultStore) -> None:
    with store.database() as db:
        store_now(store, key(3), 10)
        assert db.table("results").count == 3
        store.delete(key(3).hash)
        assert db.table("results").count == 2


@pytest.mark.parametrize(
    "write",
    [
        lambda db, _: db.execute("DELETE FROM results"),
        lambda db, _: db.table("notes").insert({"text": "hello"}),
        lambda db, _: db.create_view("mine", "SELECT 1"),
        lambda db, _: db.execute("PRAGMA query_only = OFF").connection.execute("DELETE FROM slots"),
        lambda db, _: db.execute("PRAGMA user_version = 99"),
        lambda db, _: db.execute("PRAGMA writable_schema = ON").connection.execute("DELETE FROM sqlite_schema"),
        lambda db, path: db.attach("again", path),
        lambda db, path: db.execute("ATTACH ? AS again", [f"file:{path}?mode=rwc"]),
        lambda db, path: db.execute("VACUUM INTO ?", [f"{path}.copy"]),
        lambda db, _: db.vacuum(),
    ],
)
def test_it_writes_nothing(store: ResultStore, path: Path, write) -> None:
    with (
        store.database() as db,
        pytest.raises(sqlite3.DatabaseError, match="readonly|too many attached databases"),
    ):
        write(db, path)
    assert store.size()[0] == 2
    assert len(list(store.slots("w"))) == 2
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (schema.SCHEMA_VERSION,)
    assert [file.name for file in path.parent.iterdir() if "copy" in file.name] == []


def test_it_is_closed_with_its_block(store: ResultStore) -> None:
    with store.database() as db:
        pass
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        db.execute("SELECT 1")
    with pytest.raises(ZeroDivisionError), store.database() as db:
        raise ZeroDivisionError
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        db.execute("SELECT 1")
    assert not forks.GUARD.uses


def test_a_closed_store_gives_none_and_one_that_is_open_stays(path: Path) -> None:
    store = ResultStore(path)
    store_now(store, key(1), 10)
    with store.database() as db:
        store.close()
        assert db.table("results").count == 1
    with pytest.raises(StoreError, match="is closed"), store.database():
        pass


def test_each_thread_has_a_database_of_its_own(store: ResultStore, in_threads) -> None:
    def count() -> list[int]:
        with store.database() as db:
            return [db.execute("SELECT count(*) FROM results").fetchone()[0] for _ in range(50)]

    assert in_threads(*([count] * 4)) == [[2] * 50] * 4
    with (
        store.database() as db,
        pytest.raises(sqlite3.ProgrammingError, match="can only be used in that same thread"),
    ):
        in_threads(lambda: db.execute("SELECT 1"))


@pytest.mark.skipif(not hasattr(sys.modules["os"], "fork"), reason="there is no fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_fork_waits_for_its_block_and_a_child_is_refused(store: ResultStore, path: Path) -> None:
    opened, leave = threading.Event(), threading.Event()

    def use() -> None:
        with store.database() as db:
            opened.set()
            assert leave.wait(HANDSHAKE_S)
            assert db.table("results").count == 2

    def check() -> None:
        with pytest.raises(StoreError, match="opened before a fork"), store.database():
            pass
        ResultStore(path).close()

    user = threading.Thread(target=use, daemon=True)
    user.start()
    assert opened.wait(HANDSHAKE_S)
    fork = threading.Thread(target=in_child, args=(check,), daemon=True)
    fork.start()
    fork.join(0.05)
    assert fork.is_alive()
    leave.set()
    for thread in (user, fork):
        thread.join(HANDSHAKE_S)
        assert not thread.is_alive()


LATE = """
import sys
from bgsim.storage import ResultStore
from store_helpers import key, request, store_now

for opened in ("anew", "again"):
    store = ResultStore(sys.argv[1])
    store_now(store, key(1), 10, "w")
    store.journal.add(request(1))
    store.journal.flush()
    assert store.count(key(1)) == 10 and store.load(key(1)) and store.slots("w").primary and store.size()[0]
    store.place(key(1), 5, "w")
    store.swap("w")
    store.journal.interrupted(), store.journal.schedules(), store.journal.dead_letters()
    store.flush()
    store.close()
print("sqlite_utils" in sys.modules)
store = ResultStore(sys.argv[1])
store.results()
print("sqlite_utils" in sys.modules)
store.close()
"""


def test_sqlite_utils_is_imported_for_lists_and_not_to_open_store_or_load(path: Path) -> None:
    """It takes longer to import than NumPy."""
    support = Path(__file__).parents[1] / "support"
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(support)!r})\n{LATE}", str(path)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("False\nTrue\n", "")


def test_the_schema_is_that_of_the_golden_file_to_the_byte(path: Path) -> None:
    from paths import GOLDEN

    ResultStore(path).close()
    schemas = []
    for file in (path, GOLDEN / f"store-{schema.SCHEMA_VERSION}.db"):
        with closing(sqlite3.connect(f"file:{file}?immutable=1", uri=True)) as connection:
            schemas.append(connection.execute("SELECT type, name, sql FROM sqlite_schema ORDER BY 1, 2").fetchall())
    assert schemas[0] == schemas[1]
