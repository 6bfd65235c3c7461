"""Whatever stands in a row of the journal, it costs that row alone, which is listed or a dead letter; nothing is lost."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from command import run_main
from fuzzing import MARKS, ODD_TEXTS, fuzz
from hypothesis import given
from hypothesis import strategies as st
from odd_rows import TABLES, execute_unchecked, set_value

import bgsim
from bgsim.clock import ManualClock
from bgsim.errors import BgsimError
from bgsim.storage import DeadLetter, PendingRequest, ResultStore, ScheduledRequest
from bgsim.storage.times import time_text
from bgsim.testing import run_all

pytestmark = [*MARKS, pytest.mark.filterwarnings("ignore::RuntimeWarning")]

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC).timestamp()
NAME = "tests.fuzz.journal"
free = bgsim.simulation(lambda p, rng: rng.random(), outputs={"x": "f8"}, compile=False, depends_on=(), name=NAME)

CELLS = [(table, column) for table, columns in TABLES.items() for column in columns]
TEXTS = st.sampled_from(
    [
        '{"priority": "highest"}', '{"cache": 3}', '{"at": "soon"}', '{"at": 3}', '{"retry": {}}', '{"retry": {"retry_on": ["os:path"]}}',
        '{"delay_s": 1e400}', '{"delay_s": "x"}', '{"group": []}', '{"nonsense": 1}', '{"simulation": "os:system"}', '{"replicates": 0}',
        '{"parameters": 1}', '{"timeout_s": -1}', '{"workspace": "\\ud800"}', '{"deadline_s": NaN}', "[]", "{}", "null", "1", '"x"',
        "[" * 5000, '{"a":' * 500 + "1" + "}" * 500, "{", '{"a": 1' + "0" * 5000 + "}", '{"x": {"__array__": "<f8"}}', '{"x": {"__value__": "' + "f" * 64 + '"}}',
        '[{"at": 1}]', "[[]]", '[{"at": "x", "error": {}, "traceback": null}]', "1" * 5000, "-1", "1.5", "٣", "1_0", " 1", "os:system", "os.path",
        "* * * * *", "*/0 * * * *", "99 99 99 99 99", "0 0 30 2 *", "@daily", "@reboot", "UTC", "../../etc/passwd", "Mars/Base", "all", "skip",
        "9999-12-31T23:59:59.999999+00:00", "0001-01-01T00:00:00+00:00", "2026-06-01", "2026-06-01T11:00:00", "2026-06-01T11:00:00+99:99", NAME, "g1", "s",
    ]
) | ODD_TEXTS.filter(lambda text: text.isascii() or text.encode(errors="replace").decode() == text)  # fmt: skip
# Not those between: so many replicates would take long, by right.
INTEGERS = st.integers(-(2**63), 2**63 - 1).filter(lambda n: not 5_000 < n < 2**31)
VALUES = st.one_of(
    st.none(), INTEGERS, st.sampled_from([0, 1, -1, 2, 3, 2**31, 2**53, 2**62, 2**63 - 1, -(2**63)]),
    st.floats(allow_nan=False), st.binary(max_size=20), st.sampled_from([b"", b"{}", b"s", b"\xff\xfe"]), TEXTS,
    st.sampled_from([b"\xff\xfe", b"ok\xff", b"\xed\xa0\x80", b"{\"x\": \"\xff\"}"]).map(lambda raw: (raw,)),
)  # fmt: skip


@pytest.fixture(scope="module")
def template() -> Iterator[Path]:
    """Return a file with two rows of each kind, whose owner is dead: g1 and s are good, b1 and t are to be changed."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name, "s.db")
        with contextlib.closing(ResultStore(path)) as store:
            for row in ("b1", "g1"):
                store.journal.add(
                    PendingRequest(
                        row, NAME, "{}", str(ord(row[0])), 2, '{"cache": "off"}', time_text(NOON), owner="gone"
                    )
                )
                store.journal.add_dead_letter(
                    DeadLetter(f"d-{row}", NAME, "{}", "0", 2, '{"cache": "off"}', time_text(NOON), time_text(NOON), '[{"at": "x", "error": "e", "traceback": "t"}]')
                )  # fmt: skip
            for row in ("s", "t"):
                store.journal.put_schedule(
                    ScheduledRequest(row, NAME, "{}", "0", 2, '{"cache": "off"}', "0 * * * *", "UTC", "once", False, None, time_text(NOON))
                )  # fmt: skip
            store.journal.flush()
        execute_unchecked(path, "INSERT INTO owners VALUES ('gone', 'elsewhere', 1, '', ?)", [time_text(0)])
        yield path


def set_odd(path: Path, cell: tuple[str, str], value: Any) -> None:
    bad = {"requests": "b1", "dead_letters": "d-b1", "schedules": "t", "owners": "gone", "checkpoints": "b1"}[cell[0]]
    with contextlib.suppress(sqlite3.IntegrityError):  # a key that another row has
        set_value(path, *cell, value, bad)


def command(*words: str) -> str:
    code, data, remarks = run_main(*words)
    assert code in (0, 1, 2), remarks
    assert "Traceback" not in remarks
    return data


@given(cell=st.sampled_from(CELLS), value=VALUES, second=st.none() | st.tuples(st.sampled_from(CELLS), VALUES))
@fuzz(7)
def test_an_odd_row_costs_itself_alone(template: Path, cell: tuple[str, str], value: Any, second: Any) -> None:
    with tempfile.TemporaryDirectory() as name:
        path = Path(shutil.copy(template, name))
        set_odd(path, cell, value)
        if second is not None and second[0] != cell:
            set_odd(path, *second)
        goes_on(path)


def goes_on(path: Path) -> None:
    """Do all that an engine does with a journal, and see that what is good in it is served, and nothing lost."""
    clock = ManualClock(NOON)
    with bgsim.Engine(path, immediate=True, clock=clock, recover=False) as engine:
        engine.submit(free, replicates=1, cache="off")  # so the engine knows it
        assert str(engine.health())
        letters = engine.dead_letters()
        assert len(letters) == 2
        assert all(isinstance(letter.id, str) and str(letter) for letter in letters)
        waiting = engine.interrupted()
        assert "g1" in {request.id for request in waiting} or len(waiting) < 2, waiting
        jobs = engine.recover()
        good = [job for job in jobs if job.id == "g1"]
        assert len(waiting) < 2 or good
        run_all(engine)
        assert all(len(job.result()["x"]) for job in good)
        later = engine.dead_letters()
        left = engine.interrupted()
        known = {job.id for job in jobs} | {request.id for request in left} | {letter.id for letter in later}
        assert len(jobs) + len(left) + len(later) - 2 >= len(waiting), "a request is lost"
        assert {request.id for request in waiting} <= known
        for suffix in ("json", "csv"):
            assert engine.export_dead_letters(path.with_suffix(f".{suffix}")) == len(later)
        clock.advance(3600.0)
        run_all(engine)
        (schedule,) = [each for each in engine.schedules() if each.name == "s"]
        assert schedule.last_run_at is not None
        assert repr(engine.schedules())
        for letter in later:
            with contextlib.suppress(BgsimError):
                engine.retry(letter.id).cancel()
        run_all(engine)
        for letter in engine.dead_letters():
            assert engine.discard(letter.id).id == letter.id
        assert engine.dead_letters() == []
        assert str(engine.health())
    for words in (["ls"], ["check"], ["check", "--repair"], ["check"]):
        command("store", *words, "--store", str(path))
    with contextlib.closing(ResultStore(path)) as store:
        assert store.check().ok
        assert "s" in {schedule.name for schedule in store.journal.schedules()}


@given(cell=st.sampled_from(CELLS), value=VALUES)
@fuzz(2)
def test_a_repair_keeps_the_rows_beside(template: Path, cell: tuple[str, str], value: Any) -> None:
    with tempfile.TemporaryDirectory() as name:
        path = Path(shutil.copy(template, name))
        set_odd(path, cell, value)
        with contextlib.closing(ResultStore(path)) as store:
            store.check(repair=True)
            assert store.check().ok
            journal = store.journal
            assert "g1" in {request.id for request in journal.interrupted()}
            assert "d-g1" in {letter.id for letter in journal.dead_letters()}
            assert "s" in {schedule.name for schedule in journal.schedules()}
