"""Which owners are alive, and the journal in a file; the rest is its contract (`test_contract`)."""

from __future__ import annotations

import logging
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import fields, replace
from pathlib import Path

import pytest
from new_process import start_script
from odd_rows import TABLES, execute_unchecked, set_value
from paths import SUPPORT
from store_helpers import columns, key, letter, request, schedule, store_now

import bgsim
from bgsim.errors import NewerSchemaError, StoreError
from bgsim.storage import DeadLetter, PendingRequest, ResultStore, ScheduledRequest
from bgsim.storage.owners import STALE_AFTER_S, Owner, process_start
from bgsim.storage.sqlite import schema
from bgsim.storage.sqlite.task import Task
from bgsim.storage.times import time_text


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "s.db"


@pytest.fixture
def in_file(path):
    opened = ResultStore(path)
    yield opened
    opened.close()


def ids(requests) -> list[str]:
    return [r.id for r in requests]


# ---- which owners are alive --------------------------------------------------------------------------------


def test_this_process_is_alive_whatever_its_heartbeat() -> None:
    owner = Owner.here("a", 1000.0)
    assert (owner.pid, owner.host) == (os.getpid(), socket.gethostname())
    assert owner.is_alive(1000.0)
    if process_start(os.getpid()):
        assert owner.is_alive(1000.0 + 10 * STALE_AFTER_S)


def test_a_process_that_is_gone_is_dead_at_once() -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    owner = replace(Owner.here("a", 1000.0), pid=process.pid, process_start=process_start(process.pid) or "")
    assert owner.is_alive(1000.0)
    process.communicate(b"\n")
    assert not owner.is_alive(1000.0)


@pytest.mark.skipif(not process_start(os.getpid()), reason="a process's start cannot be found out here")
def test_a_later_process_of_the_same_number_is_another() -> None:
    owner = Owner.here("a", 1000.0)
    assert not replace(owner, process_start=owner.process_start + "1").is_alive(1000.0)


@pytest.mark.skipif(not process_start(os.getpid()), reason="a process's state cannot be found out here")
def test_a_process_that_its_parent_has_not_asked_about_is_dead() -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    os.kill(process.pid, 9)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and is still listed
    assert process_start(process.pid) is None
    process.communicate()


@pytest.mark.parametrize("unknown", [{"host": "elsewhere"}, {"process_start": ""}])
def test_where_the_process_cannot_be_told_the_heartbeat_decides(unknown) -> None:
    owner = replace(Owner.here("a", 1000.0), **unknown)
    assert owner.is_alive(1000.0 + STALE_AFTER_S)
    assert not owner.is_alive(1000.0 + STALE_AFTER_S + 0.001)
    assert not replace(owner, heartbeat_at="damaged").is_alive(1000.0)


@pytest.mark.parametrize("pid", [0, -1, 2**70])
def test_a_number_that_is_no_process_is_none(pid) -> None:
    assert process_start(pid) is None


def test_a_heartbeat_keeps_what_an_engine_elsewhere_has(in_file, clock, monkeypatch) -> None:
    journal = in_file.journal
    monkeypatch.setattr(journal, "_clock", clock)
    monkeypatch.setattr(socket, "gethostname", lambda: "far away")
    journal.register("a")
    journal.add(request(0))
    journal.flush()
    monkeypatch.setattr(socket, "gethostname", lambda: "here")
    clock.advance(STALE_AFTER_S + 1)
    assert ids(journal.interrupted()) == ["r0"]
    monkeypatch.setattr(socket, "gethostname", lambda: "far away")
    journal.heartbeat("a")
    journal.flush()
    monkeypatch.setattr(socket, "gethostname", lambda: "here")
    assert journal.interrupted() == []


@pytest.mark.parametrize("column", ["host", "pid", "process_start", "heartbeat_at"])
@pytest.mark.parametrize("value", [None, b"\xff", 10**300, -1.5, "odd"], ids=repr)
@pytest.mark.parametrize("host", ["here", "elsewhere"])
def test_an_owner_with_odd_values_is_alive_or_dead_and_no_error(column, value, host) -> None:
    owner = Owner.here("a", 1000.0)
    if host == "elsewhere":
        owner = replace(owner, host="elsewhere")
    assert replace(owner, **{column: value}).is_alive(1000.0) in (True, False)


def test_a_heartbeat_of_null_loses_no_request(in_file, path) -> None:
    in_file.journal.register("a")
    in_file.journal.add(request(1, "a"))
    in_file.journal.flush()
    in_file.close()
    execute_unchecked(path, "UPDATE owners SET heartbeat_at = NULL, host = NULL, pid = NULL, process_start = NULL")
    with bgsim.Engine(path, workers=1) as engine:
        assert ids(engine.interrupted()) == ["r1"]


ODD = [None, 3, 1.5, b"\xff", (b"\xff",)]
"""The last is text that is no UTF-8."""


@pytest.mark.parametrize("value", ODD, ids=repr)
@pytest.mark.parametrize(
    "column", [field.name for field in fields(PendingRequest) if field.name not in ("owner", "stored")]
)
def test_an_odd_request_is_claimed_beside_the_others_and_written_as_it_should_be(in_file, path, column, value) -> None:
    for number in (1, 2):
        in_file.journal.add(request(number, "gone"))
    in_file.journal.flush()
    set_value(path, "requests", column, value, "r1")
    in_file.journal.register("b")
    assert len(in_file.journal.interrupted()) == 2
    claimed = in_file.journal.claim("b")
    assert sorted(request(2).id == each.id for each in claimed) == [False, True]
    for each in claimed:
        in_file.journal.start(each.id)
        in_file.journal.remove(each.id)
    in_file.journal.flush()
    assert read(path, "SELECT count(*) FROM requests") == [(0,)]


@pytest.mark.parametrize("table", TABLES)
def test_text_that_is_no_utf_8_keeps_no_file_from_opening_as_it_is(in_file, path, table) -> None:
    in_file.journal.register("gone")
    in_file.journal.add(request(1, "gone", stored=2))
    in_file.journal.add_dead_letter(letter(1))
    in_file.journal.put_schedule(schedule("s"))
    in_file.journal.flush()
    in_file.close()
    keys = {"requests": "r1", "checkpoints": "r1", "dead_letters": letter(1).id, "schedules": "s", "owners": "gone"}
    for column in TABLES[table]:
        copy = Path(shutil.copy(path, path.with_name(f"{column}.db")))
        set_value(copy, table, column, (b"\xff",), keys[table])
        assert read(copy, f"SELECT count(*) FROM {table} WHERE hex({column}) = 'FF'") == [(1,)]
        with closing(ResultStore(copy)) as store:
            store.journal.interrupted()
            store.journal.dead_letters()
        assert not list(path.parent.glob(f"{column}.db.corrupt-*"))


def test_a_request_that_has_crashed_without_end_is_claimed(in_file) -> None:
    in_file.journal.add(request(1, "gone", started=True, crashes=2**63 - 1))
    in_file.journal.register("b")
    assert [each.crashes for each in in_file.journal.claim("b")] == [2**31]


@pytest.mark.parametrize("value", ODD, ids=repr)
@pytest.mark.parametrize("column", [field.name for field in fields(DeadLetter)])
def test_an_odd_dead_letter_is_listed_and_taken_beside_the_others(in_file, path, column, value) -> None:
    for number in (1, 2):
        in_file.journal.add_dead_letter(letter(number))
    in_file.journal.flush()
    set_value(path, "dead_letters", column, value, "d1")
    good, odd = in_file.journal.dead_letters()
    assert good == letter(2)
    assert in_file.journal.take_dead_letter(odd.id) == odd
    assert in_file.journal.dead_letters() == [good]


@pytest.mark.parametrize("value", ODD, ids=repr)
@pytest.mark.parametrize("column", [field.name for field in fields(ScheduledRequest)])
def test_an_odd_schedule_is_listed_marked_and_removed_beside_the_others(in_file, path, column, value) -> None:
    for name in ("s", "t"):
        in_file.journal.put_schedule(schedule(name))
    set_value(path, "schedules", column, value, "t")
    odd = next(each for each in in_file.journal.schedules() if each != schedule("s"))
    assert in_file.journal.mark_schedule_run(odd.name, time_text(9), odd.last_run_at)
    assert {each.last_run_at for each in in_file.journal.schedules()} == {None, time_text(9)}
    assert in_file.journal.remove_schedule(odd.name)
    assert in_file.journal.schedules() == [schedule("s")]


def test_dead_owners_without_requests_are_deleted(in_file, path) -> None:
    in_file.journal.register("a")
    in_file.journal.flush()
    execute(path, "UPDATE owners SET process_start = 'another'")
    in_file.journal.register("b")
    in_file.journal.flush()
    assert read(path, "SELECT owner FROM owners") == [("b",)]


# ---- in the file ---------------------------------------------------------------------------------


def execute(path: Path, statement: str, *values: object) -> None:
    connection = sqlite3.connect(path)
    with connection:
        assert connection.execute(statement, values).rowcount
    connection.close()


def read(path: Path, statement: str) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(path)
    try:
        return connection.execute(statement).fetchall()
    finally:
        connection.close()


def stop_writer(store: ResultStore, gate) -> list[str]:
    """Have the writer stop inside of a transaction; return the list that gets what it executes from then on."""
    statements: list[str] = []
    store._file.submit(Task(gate.stop_here, lambda _: None))
    gate.wait_until_reached()
    store._file.writer.connection.set_trace_callback(statements.append)
    return statements


def test_what_was_flushed_is_in_the_file(in_file, path) -> None:
    in_file.journal.register("a")
    in_file.journal.add(request(0))
    in_file.journal.flush()
    assert read(path, "SELECT id, owner, started FROM requests") == [("r0", "a", 0)]


def test_what_was_added_is_there_after_closing_and_opening(path) -> None:
    store = ResultStore(path)
    store.journal.register("a")
    store.journal.add(request(0))
    store.journal.add_dead_letter(letter(0))
    store.journal.put_schedule(schedule())
    store.journal.release("a")
    store.close()
    store = ResultStore(path)
    assert store.journal.interrupted() == [request(0)]
    assert store.journal.dead_letters() == [letter(0)]
    assert store.journal.schedules() == [schedule()]
    store.close()


def test_a_request_that_ends_before_it_was_written_costs_no_sql(in_file, gate) -> None:
    statements = stop_writer(in_file, gate)
    for number in range(50):
        in_file.journal.add(request(number))
        in_file.journal.start(f"r{number}")
        in_file.journal.remove(f"r{number}")
    gate.open()
    in_file.flush()
    in_file._file.writer.connection.set_trace_callback(None)
    assert statements
    assert not [s for s in statements if "requests" in s]


def test_many_changes_are_one_task_and_one_commit(in_file, gate) -> None:
    statements = stop_writer(in_file, gate)
    for number in range(50):
        in_file.journal.add(request(number))
    assert len(in_file._file.writer._backlog) == 1
    gate.open()
    in_file.flush()
    in_file._file.writer.connection.set_trace_callback(None)
    assert statements.count("COMMIT") <= 2  # that of the task that stopped, which may have included them
    assert len(in_file.journal.interrupted()) == 50


def test_a_result_and_the_end_of_its_request_are_one_commit(in_file, gate) -> None:
    in_file.journal.add(request(0))
    in_file.journal.flush()
    statements = stop_writer(in_file, gate)
    in_file.store(key(1), columns(key(1), 10), finishes=["r0"])
    gate.open()
    in_file.flush()
    in_file._file.writer.connection.set_trace_callback(None)
    commits = "\n".join(statements).split("\nCOMMIT")
    (one,) = [commit for commit in commits if "INSERT INTO results" in commit]
    assert "DELETE FROM requests" in one
    assert statements.count("COMMIT") == 2  # of the one that stopped, and this


def test_changes_during_a_commit_are_not_lost(in_file, gate, monkeypatch) -> None:
    """A request starts, and another ends, while the writer is writing that they were added."""
    journal = in_file.journal
    committed = journal.committed
    monkeypatch.setattr(journal, "committed", lambda: (gate.stop_here(), committed()))
    journal.add(request(0))
    journal.add(request(1))
    gate.wait_until_reached()
    journal.start("r0")
    journal.remove("r1")
    gate.open()
    assert journal.interrupted() == [request(0, started=True)]


# ---- when the file cannot be written -------------------------------------------------------------


def limit_pages(store: ResultStore, more: int) -> None:
    """Let the file grow by this number of pages; then SQLite finds the disk full."""

    def work(connection: sqlite3.Connection) -> None:
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages + more}").fetchone()

    store._file.writer.run(work, alone=True)


def test_a_full_disk_keeps_the_journal_in_memory_and_harms_no_result(in_file, caplog) -> None:
    journal = in_file.journal
    limit_pages(in_file, 2)
    large = '{"x": "' + "y" * 50_000 + '"}'
    with caplog.at_level(logging.WARNING, "bgsim.storage"):
        journal.register("a")
        for number in range(3):
            journal.add(request(number, parameters=large))
            journal.start(f"r{number}")
            with pytest.raises(StoreError, match="disk is full"):
                journal.flush()
            store_now(in_file, key(number), 2)
        journal.add(request(9))
        journal.remove("r1")
    assert [r.message for r in caplog.records if "journal" in r.message and "disk is full" in r.message] != []
    assert len(caplog.records) == 1
    assert journal.interrupted() == []
    limit_pages(in_file, 1000)
    journal.heartbeat("a")
    in_file.flush()
    assert read(in_file.path, "SELECT id, started FROM requests") == [("r0", 1), ("r2", 1), ("r9", 0)]
    journal.flush()


def test_a_large_result_that_does_not_fit_takes_no_request_with_it(in_file, gate) -> None:
    import numpy as np

    limit_pages(in_file, 12)
    stop_writer(in_file, gate)
    errors: list[Exception | None] = []
    in_file.store(key(1), {"a": np.random.default_rng(0).random(200_000)}, on_stored=errors.append)
    in_file.journal.add(request(0))
    gate.open()
    in_file.flush()
    assert "disk is full" in str(errors[0])
    assert in_file.journal.failure is None
    assert read(in_file.path, "SELECT id FROM requests") == [("r0",)]


def test_a_file_that_is_gone_raises_nothing(path, caplog) -> None:
    store = ResultStore(path)
    for suffix in ("", "-wal", "-shm"):
        Path(f"{path}{suffix}").unlink()
    with caplog.at_level(logging.WARNING, "bgsim.storage"):
        store.journal.register("a")
        store.journal.add(request(0))
        store.journal.start("r0")
        store.journal.remove("r0")
        store.journal.heartbeat("a")
        store.journal.add_dead_letter(letter(0))
        with pytest.raises(StoreError, match="deleted or replaced"):
            store.journal.flush()
        store.close()
        store.journal.add(request(1))
        store.journal.release("a")
    assert [r.message.partition(":")[0] for r in caplog.records] == [
        "the journal cannot be written, so a crash would lose it"
    ]
    with pytest.raises(StoreError, match="is closed"):
        store.journal.interrupted()


def test_a_newer_store_takes_nothing_and_says_so_when_asked(path, caplog) -> None:
    ResultStore(path).close()
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {schema.SCHEMA_VERSION + 1}")
    connection.close()
    before = path.read_bytes()
    with caplog.at_level(logging.CRITICAL, "bgsim.storage"):
        store = ResultStore(path)
        store.journal.register("a")
        store.journal.add(request(0))
        store.journal.remove("r0")
    assert store.journal.interrupted() == []
    for refused in (lambda: store.journal.claim("a"), lambda: store.journal.put_schedule(schedule())):
        with pytest.raises(NewerSchemaError, match="update bgsim"):
            refused()
    store.close()
    assert path.read_bytes() == before


def test_a_damaged_file_is_rebuilt_with_its_journal(in_file, path) -> None:
    journal = in_file.journal
    journal.add(request(0, started=True))
    journal.add_dead_letter(letter(1))
    journal.put_schedule(schedule())
    journal.flush()
    (page,) = read(path, "SELECT rootpage FROM sqlite_schema WHERE name = 'slots'")[0]
    (size,) = read(path, "PRAGMA page_size")[0]
    in_file.close()
    with path.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * size)
    with pytest.warns(RuntimeWarning, match="is damaged"):
        store = ResultStore(path)
    assert store.journal.interrupted() == [request(0, started=True)]
    assert store.journal.dead_letters() == [letter(1)]
    assert store.journal.schedules() == [schedule()]
    store.close()


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        ("UPDATE requests SET parameters = '{' WHERE id = 'r0'", "parameters cannot be read"),
        ("UPDATE requests SET options = '[]' WHERE id = 'r0'", "options is no dict"),
        ("UPDATE requests SET submitted_at = 'soon' WHERE id = 'r0'", "submitted_at cannot be read"),
        ("UPDATE dead_letters SET attempts = '{}' WHERE id = 'd0'", "attempts is no list"),
        ("UPDATE schedules SET seed = 'x' WHERE name = 's'", "seed cannot be read"),
    ],
)
def test_check_finds_what_makes_no_sense_in_the_journal(in_file, path, statement, says) -> None:
    journal = in_file.journal
    journal.add(request(0))
    journal.add(request(1))
    journal.add_dead_letter(letter(0))
    journal.put_schedule(schedule())
    journal.flush()
    assert in_file.check().ok
    execute(path, statement)
    assert says in " ".join(in_file.check().problems)
    assert in_file.check(repair=True).repaired
    assert in_file.check().problems == ()
    assert "r1" in ids(journal.interrupted())


def test_people_read_the_journals_views(in_file, path) -> None:
    journal = in_file.journal
    journal.register("a")
    journal.add(request(0, started=True))
    journal.add(request(1, "gone"))
    journal.add_dead_letter(letter(0))
    journal.put_schedule(schedule(paused=True))
    journal.flush()
    assert read(path, "SELECT id, state, host, pid FROM pending_requests") == [
        ("r0", "running", socket.gethostname(), os.getpid()),
        ("r1", "waiting", None, None),
    ]
    assert read(path, "SELECT id, attempts, last_error FROM failed_requests") == [("d0", 2, "second")]
    assert read(path, "SELECT name, state FROM scheduled_requests") == [("s", "paused")]


# ---- several processes ---------------------------------------------------------------------------


def start(*arguments: object) -> subprocess.Popen[str]:
    """Start another process that uses the store, and wait until it is ready."""
    process = start_script(SUPPORT / "store_process.py", *arguments)
    assert process.stdout.readline() == "ready\n", process.stderr.read()
    return process


def finish(process: subprocess.Popen[str], text: str = "go\n") -> list[str]:
    out, err = process.communicate(text, timeout=120)
    assert process.returncode == 0, err
    return out.split()


def test_processes_that_claim_at_once_share_nothing(in_file, path) -> None:
    for number in range(300):
        in_file.journal.add(request(number, "gone"))
    in_file.journal.flush()
    processes = [start("claim", path, name, 300) for name in ("b", "c")]
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    found = [i for process in processes for i in process.stdout.readline().split()]
    for process in processes:
        finish(process)
    assert sorted(found) == sorted(f"r{number}" for number in range(300))


def test_what_a_killed_process_had_is_interrupted_and_claimed_by_a_new_one(in_file, path) -> None:
    """While it lives its requests are its own; after ``kill -9`` the two that had started have crashed once."""
    process = start("own", path, "a")
    journal = in_file.journal
    journal.register("b")
    assert journal.interrupted() == []
    assert journal.claim("b") == []
    process.kill()
    process.communicate()
    expected = [request(0, started=True), request(1), request(2, started=True)]
    assert journal.interrupted() == expected
    assert finish(start("claim", path, "c"), "go\ngo\n") == ["r0", "r1", "r2"]
    assert [(r.crashes, r.started, r.owner) for r in journal.claim("b")] == [(n, False, "b") for n in (1, 0, 1)]


def test_a_process_that_ended_without_closing_has_crashed(in_file, path) -> None:
    finish(start("own", path, "a"))
    assert ids(in_file.journal.interrupted()) == ["r0", "r1", "r2"]


def test_of_two_processes_one_runs_a_due_time(in_file, path) -> None:
    in_file.journal.put_schedule(schedule())
    processes = [start("mark", path, 50) for _ in range(2)]
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    found = [name for process in processes for name in finish(process, "")]
    assert sorted(found) == sorted(f"t{number}" for number in range(50))


def test_a_request_does_not_end_with_a_result_that_cannot_be_stored(in_file, path, monkeypatch) -> None:
    """Its row stays until the engine has told how it ended: a crash in between would lose it."""
    told = []

    def fail(_: object, results: list[object]) -> list[int]:
        if results:
            raise StoreError("it does not fit")
        return []

    in_file.journal.add(request(1, "a"))
    in_file.journal.add(request(2, "a"))
    in_file.journal.flush()
    with monkeypatch.context() as patch:
        patch.setattr("bgsim.storage.sqlite.tables.write_results", fail)
        in_file.store(key(1), columns(key(1), 5), on_stored=told.append, finishes=["r1"])
        in_file.flush()
    in_file.journal.flush()
    assert str(told[0]) == "it does not fit"
    assert read(path, "SELECT id FROM requests ORDER BY id") == [("r1",), ("r2",)]
    in_file.store(key(1), columns(key(1), 5), finishes=["r1"])
    in_file.flush()
    assert read(path, "SELECT id FROM requests") == [("r2",)]


def test_a_flush_that_wrote_nothing_says_so_though_its_failure_is_forgotten(in_file, monkeypatch) -> None:
    """Another caller's flush begins before this one has looked at the failure."""

    def refuse(*_: object) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    with monkeypatch.context() as patch:
        patch.setattr("bgsim.storage.sqlite.journal_tables.write_requests", refuse)
        patch.setattr(in_file.journal, "_fail", lambda _: None)
        in_file.journal.add(request(1, "a"))
        with pytest.raises(StoreError, match="the journal cannot be written"):
            in_file.journal.flush()
    in_file.journal.flush()
