"""The history in a file; the rest is its contract (`test_contract`)."""

from __future__ import annotations

import json
import logging
import sqlite3
from contextlib import closing
from dataclasses import fields
from pathlib import Path

import pytest
from new_process import start_script
from odd_rows import execute_unchecked
from paths import SUPPORT
from store_helpers import delivery, history_job

from bgsim.errors import InvalidInputError, NewerSchemaError, StoreError
from bgsim.storage import MemoryStore, ResultStore
from bgsim.storage.history import AuditRow, Delivery, JobQuery, JobRow, TokenRow
from bgsim.storage.sqlite import schema
from bgsim.storage.times import time_text

SCRIPT = SUPPORT / "store_process.py"
ENDED = {"state": "completed", "ended_at": time_text(9)}


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "s.db"


@pytest.fixture
def store(path):
    opened = ResultStore(path)
    yield opened
    opened.close()


def ids(rows) -> list[str]:
    return [row.id for row in rows]


# ---- several processes -----------------------------------------------------------------------------


def test_of_processes_that_use_a_key_one_adds_its_job(path) -> None:
    """The others are told which job that is."""
    count = 30
    processes = [start_script(SCRIPT, "add", path, name, count) for name in "ab"]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    found = []
    for process in processes:
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        found.append(out.split())
    with closing(ResultStore(path)) as store:
        there = {row.idempotency_key: row.id for row in store.history.jobs(JobQuery(limit=1000))}
    assert len(there) == count
    for number, (a, b) in enumerate(zip(*found, strict=True)):
        added = there[f"k{number}"]
        assert (a, b) in ((added, f"!{added}"), (f"!{added}", added))


def test_what_was_added_outlives_kill_9(path) -> None:
    """With what was noted and ended before, and its deliveries; nothing is there by half."""
    process = start_script(SCRIPT, "add-for-ever", path)
    told = [int(process.stdout.readline()) for _ in range(40)]
    process.kill()
    told += [int(line) for line in process.stdout.read().splitlines(keepends=True) if line.endswith("\n")]
    process.communicate(timeout=60)
    with closing(ResultStore(path)) as store:
        assert store.check().problems == ()
        there = set(ids(store.history.jobs(JobQuery(limit=10**6))))
        assert {f"j{number}" for number in told} <= there
        assert {f"noted{number}" for number in told[:-1]} <= there
        ended = store.history.jobs(JobQuery(states=("completed",), limit=10**6))
        deliveries = store.history.deliveries(limit=10**6)
        assert ids(deliveries) == [delivery(int(row.id[1:])).id for row in ended]
        again = store.history.add_job(history_job(0, id="again", token="t", idempotency_key="k7"))
        assert again is not None
        assert again.id == "j7"


# ---- a file that cannot be written -----------------------------------------------------------------


def test_what_cannot_be_written_is_kept_and_written_later(store, monkeypatch, caplog) -> None:
    """It is told once, and the caller of each end is told."""
    history, told = store.history, []
    history.note_job(history_job(0, tags='["a"]'))
    store.flush()

    def refuse(*_: object) -> None:
        raise sqlite3.OperationalError("no")

    with monkeypatch.context() as patched, caplog.at_level(logging.WARNING, "bgsim.storage"):
        patched.setattr("bgsim.storage.history_tables.end_jobs", refuse)
        for number in range(3):
            history.end_job(history_job(number, **ENDED), [delivery(number)], told.append)
            store.flush()
            history.note_job(history_job(number + 3))
            assert (history.job(f"j{number}").state, history.job(f"j{number + 3}").state) == ("completed", "")
        assert history.job("j0").tags == '["a"]'
        assert history.deliveries() == []
        assert ids(history.jobs(JobQuery())) == ["j0"]
    assert [type(error) for error in told] == [StoreError] * 3
    assert [record.message.partition(":")[0] for record in caplog.records] == [
        "the history of jobs cannot be written, and is kept in memory"
    ]
    assert ids(history.jobs(JobQuery())) == ["j5", "j4", "j3", "j2", "j1", "j0"]
    assert ids(history.jobs(JobQuery(states=("completed",)))) == ["j2", "j1", "j0"]
    assert history.deliveries() == [delivery(2), delivery(1), delivery(0)]
    assert history.job("j0").tags == '["a"]'
    assert len(told) == 3


def test_what_is_kept_is_bounded(store, monkeypatch) -> None:
    """The oldest go."""
    history = store.history

    def refuse(*_: object) -> None:
        raise sqlite3.OperationalError("no")

    with monkeypatch.context() as patched:
        patched.setattr("bgsim.storage.sqlite.file_history._MOST_KEPT", 10)
        patched.setattr("bgsim.storage.history_tables.add_audit", refuse)
        for number in range(30):
            history.note_job(history_job(number))
            history.end_job(history_job(100 + number, **ENDED), [delivery(number)])
            history.add_audit(AuditRow(time_text(number), "t", "", "", "", "", 200, ""))
            store.flush()
    assert ids(history.open_jobs()) == [f"j{number}" for number in range(20, 30)]
    assert len(history.jobs(JobQuery())) == 20
    assert len(history.deliveries()) == len(history.audit(None, 100)) == 10


def test_a_task_that_fails_beside_it_costs_it_nothing(store, gate) -> None:
    """Its transaction is tried again, and nothing is written twice."""
    from bgsim.storage.sqlite.task import Task

    def refuse(_: object) -> None:
        raise StoreError("no")

    store._file.submit(Task(gate.stop_here, lambda _: None))
    gate.wait_until_reached()
    store.history.end_job(history_job(0, **ENDED), [delivery(0)])
    store.history.add_audit(AuditRow(time_text(0), "t", "", "", "", "", 200, ""))
    store._file.submit(Task(refuse, lambda _: None))
    gate.open()
    assert len(store.history.audit(None, 10)) == len(store.history.deliveries()) == 1


def test_a_closed_store_has_no_history_and_loses_none(path, caplog) -> None:
    store, told = ResultStore(path), []
    store.history.note_job(history_job(0))
    store.close()
    with caplog.at_level(logging.CRITICAL, "bgsim.storage"):
        store.history.end_job(history_job(1, **ENDED), on_written=told.append)
    assert "is closed" in str(told[0])
    for refused in (store.history.open_jobs, lambda: store.history.add_job(history_job(2))):
        with pytest.raises(StoreError, match="is closed"):
            refused()
    with closing(ResultStore(path)) as again:
        assert ids(again.history.open_jobs()) == ["j0"]


def test_a_newer_store_shows_its_history_and_takes_nothing(path, caplog) -> None:
    with closing(ResultStore(path)) as store:
        store.history.add_job(history_job(0))
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {schema.SCHEMA_VERSION + 1}")
    with caplog.at_level(logging.CRITICAL, "bgsim.storage"), closing(ResultStore(path)) as store:
        store.history.note_job(history_job(1))
        assert ids(store.history.open_jobs()) == ["j0"]
        with pytest.raises(NewerSchemaError, match="update bgsim"):
            store.history.add_job(history_job(2))


# ---- damage ----------------------------------------------------------------------------------------

ODD = [None, 5, b"\x00", "text", (b"\xff\xfe",)]


@pytest.mark.parametrize(
    ("table", "of"), [("jobs", JobRow), ("tokens", TokenRow), ("deliveries", Delivery), ("audit", AuditRow)]
)
def test_a_row_with_odd_values_costs_itself_alone(path, table, of) -> None:
    """Every value of it in turn: the rows are listed, the check names the row, and the repair removes it alone."""
    columns = [field.name for field in fields(of) if field.metadata.get("column", True)]
    with closing(ResultStore(path)) as store:
        fill(store)
    whole = path.read_bytes()
    for column in columns:
        for value in ODD:
            path.write_bytes(whole)
            place, given = ("CAST(? AS TEXT)", value[0]) if isinstance(value, tuple) else ("?", value)
            execute_unchecked(path, f"UPDATE {table} SET {column} = {place} WHERE rowid = 1", (given,))
            with closing(ResultStore(path)) as store:
                assert lengths(store) == [2, 2, 2, 2], (column, value)
                found = store.check(repair=True)
                assert store.check().ok
                left = lengths(store)
                assert left.pop(["jobs", "tokens", "deliveries", "audit"].index(table)) == 2 - (not found.ok)
                assert left == [2, 2, 2]


def fill(store: ResultStore) -> None:
    history = store.history
    history.add_job(history_job(0, tags='["a"]', webhook='{"url": "https://example.com"}'))
    history.add_job(history_job(1))
    for number in range(2):
        history.add_token(TokenRow(f"t{number}", "d" * 64, "admin", "", "", time_text(0)))
        history.add_audit(AuditRow(time_text(0), "t", "", "admin", "POST", "j", 200, ""))
    history.end_job(history_job(1, **ENDED), [delivery(0), delivery(1)])
    store.flush()


def lengths(store: ResultStore) -> list[int]:
    history = store.history
    assert len(history.jobs(JobQuery(tag="a", parameters={"x": 1}))) <= 2
    rows = history.jobs(JobQuery()), history.tokens(), history.deliveries(), history.audit(None, 10)
    return [len(found) for found in rows]


def test_a_large_value_is_kept_as_long_as_a_job_has_it(store, path) -> None:
    large = json.dumps({"x": "abc" * 1000})
    for number in range(20):
        store.history.end_job(history_job(number, parameters=large, **ENDED))
    store.history.add_job(history_job(20, parameters=large))
    store.cleanup()
    assert [row.parameters for row in store.history.jobs(JobQuery())] == [large] * 21
    with closing(sqlite3.connect(path)) as connection:
        query = "SELECT (SELECT count(*) FROM parameter_values), max(length(parameters)) FROM jobs"
        assert connection.execute(query).fetchone() < (2, 200)
        connection.execute("DELETE FROM jobs WHERE id != 'j7'")
        connection.commit()
        store.cleanup()
        assert connection.execute(query).fetchone()[0] == 1
    assert store.history.forget_jobs(time_text(10), 0) == 1
    store.cleanup()
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM parameter_values").fetchone() == (0,)


# ---- what it costs ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "index"),
    [
        (JobQuery(), "jobs_by_time"),
        (JobQuery(states=("failed",)), "jobs_by_state (state=?)"),
        (JobQuery(states=("failed", "")), "jobs_by_state (state=?)"),
        (JobQuery(simulation="model"), "jobs_by_simulation (simulation=?)"),
        (JobQuery(tenant="lab"), "jobs_by_tenant (tenant=?)"),
        (JobQuery(since=time_text(0)), "jobs_by_time (submitted_at>?)"),
        (JobQuery(before=(time_text(0), "j0")), "jobs_by_time (submitted_at<?)"),
        (JobQuery(tenant="lab", before=(time_text(0), "j0")), "jobs_by_tenant (tenant=? AND submitted_at<?)"),
    ],
)
def test_a_page_of_jobs_is_read_by_an_index(store, query, index) -> None:
    """In its order: no more rows are read than the page has, and those of one moment sorted."""
    store.history.add_job(history_job(0))
    plans: list[str] = []
    with store._readers.reading() as connection:
        connection.set_trace_callback(plans.append)
        from bgsim.storage import history_tables

        assert len(history_tables.jobs(connection, query)) <= 1
        connection.set_trace_callback(None)
        plan = " / ".join(row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {plans[-1]}"))
    assert index in plan
    assert "SCAN jobs /" not in plan


def test_the_text_of_rows_hides_secrets() -> None:
    row = history_job(0, webhook='{"secret": "whsec_c2VjcmV0"}')
    token = TokenRow("t0", "d" * 64, "admin", "", "", time_text(0))
    text = repr([row, token, delivery(0)])
    assert not any(secret in text for secret in ("whsec", "c2VjcmV0", "ddd", "example.com"))


def test_columns_that_are_not_to_be_changed_are_named(store) -> None:
    with pytest.raises(InvalidInputError, match="did you mean 'tags'.*got 'tagz'"):
        store.history.change_job("j0", tagz="[]")


def test_a_store_in_memory_makes_its_history_when_it_is_asked_for() -> None:
    store = MemoryStore()
    assert "history" not in vars(store)
    store.history.note_job(history_job(0))
    assert store.history.job("j0") == history_job(0)
    with pytest.raises(StoreError, match="refuses that"):
        store.history.add_job(history_job(1, state=None))
    assert ids(store.history.open_jobs()) == ["j0"]
