"""Crashes: what was pending is found by the next engine, goes to one engine alone, and ends as if nothing had happened."""

from __future__ import annotations

import concurrent.futures
import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import HANDSHAKE_S
from crash_kernels import hooked
from engine_process import PHASES
from kernels import Fragile, fragile, one_draw
from new_process import printed, start_script
from odd_rows import set_value
from paths import SUPPORT
from store_helpers import letter, schedule

import bgsim
from bgsim.clock import ManualClock
from bgsim.errors import (
    EngineClosedError,
    InvalidInputError,
    QueueFullError,
    RequestNotFoundError,
    SimulationNotFoundError,
    StoreError,
)
from bgsim.job import JobState
from bgsim.models.options import european_call
from bgsim.priority import Priority
from bgsim.storage import ResultStore
from bgsim.storage.journal import PendingRequest
from bgsim.testing import GATES, Gate, gated, parts

SCRIPT = SUPPORT / "engine_process.py"

ROUNDS = int(os.environ.get("BGSIM_KILLS", "2"))
"""How often a process is killed in each phase; ``BGSIM_KILLS=20`` for a thorough look."""

LIMIT_S = 90 + 30 * ROUNDS
"""Bound on a process of many rounds."""

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="the rounds fork, to be quick")
needs_kill = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no SIGKILL")


def start(*arguments: object) -> subprocess.Popen[str]:
    return start_script(SCRIPT, *arguments)


def finish(process: subprocess.Popen[str], text: str = "") -> list[str]:
    out, err = process.communicate(text, timeout=LIMIT_S)
    assert (process.returncode, err) == (0, "")
    return out.split("\n")[:-1]


def kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate(timeout=HANDSHAKE_S)


def killed(*arguments: object) -> list[str]:
    """Start a process, kill it when it has said what it has to say, and return the words."""
    process = start(*arguments)
    words = process.stdout.readline().split()
    kill(process)
    return words


def pending(number: int, simulation: str = "crash_kernels.hooked", **more: Any) -> PendingRequest:
    """Return a request of an engine that is gone."""
    given = {"id": f"r{number}", "simulation": simulation, "parameters": "{}", "seed": str(number), "replicates": 3}
    given |= {"options": "{}", "submitted_at": f"2026-01-01T00:00:{number:02}.000000+00:00", "owner": "gone"}
    return PendingRequest(**given | more)


def interrupt(path: Path, *requests: PendingRequest) -> None:
    """Leave requests in a store as a crash does."""
    store = ResultStore(path)
    for request in requests:
        store.journal.add(request)
    store.journal.flush()
    store.close()


# ---- kill -9 -----------------------------------------------------------------------------------------


@needs_fork
@pytest.mark.stress
@pytest.mark.timeout(LIMIT_S + 30)
def test_kill_9_in_each_phase_loses_nothing(tmp_path: Path) -> None:
    """The next engine finds what was pending, does not start it, and goes on from what is stored, to the same bits."""
    reports = finish(start("kill", tmp_path, ROUNDS))
    assert reports == [f"{phase} {ROUNDS}" for phase in PHASES]


@needs_fork
@pytest.mark.stress
@pytest.mark.timeout(LIMIT_S + 30)
def test_kill_9_at_any_moment_loses_nothing_that_was_reported(tmp_path: Path) -> None:
    """Submitting, cancelling and finishing: what was said to be asked for or stored is there, bit-equal."""
    assert finish(start("chaos", tmp_path, 2 * ROUNDS, 11)) == [str(2 * ROUNDS)]


@needs_fork
@pytest.mark.stress
@pytest.mark.timeout(LIMIT_S + 30)
def test_kill_9_of_a_long_job_costs_an_interval(tmp_path: Path) -> None:
    """The next process begins with all that the one before has said to be stored; the bits are the same."""
    (line,) = finish(start("long", tmp_path, 2 * ROUNDS, 5))
    assert int(line.split()[0]) == 2 * ROUNDS


@needs_kill
def test_options_and_ids_survive(tmp_path: Path) -> None:
    """Priority, group, time-outs, retry, workspace, cache, delay and time are as they were submitted."""
    path = tmp_path / "s.db"
    began = time.time()
    ids = killed("queue", path)
    engine = bgsim.Engine(path, workers=1, run_schedules=False)
    assert [request.id for request in engine.interrupted()] == ids
    assert all(not request.started for request in engine.interrupted())
    engine.pause()
    jobs = engine.recover()
    assert [job.id for job in jobs] == ids
    assert [job.crashes for job in jobs] == [0] * 4
    urgent, tried, delayed, timed = (job.request for job in jobs)
    assert (urgent.urgency, urgent.group, urgent.timeout_s, urgent.seed) == (Priority.CRITICAL, "g", 9.0, 3)
    assert urgent.parameters["scale"] == 2.0
    assert (tried.workspace, tried.cache, tried.allow_deduplication) == ("w", "refresh", False)
    assert tried.retry == bgsim.Retry(retries=2, backoff="fixed", delay_s=0.5, retry_on=(ValueError,))
    assert (delayed.queue_timeout_s, delayed.deadline_s) == (7200.0, 8000.0)
    assert began + 3600 <= delayed.at.timestamp() <= time.time() + 3600, "a delay counts from the first submission"
    assert (timed.at.year, timed.supersede, timed.urgency, timed.workspace) == (2100, "s", Priority.LOW, None)
    assert [job.replicates for job in jobs] == [5, 6, 7, 8]
    assert [job.state for job in jobs] == [JobState.QUEUED, JobState.QUEUED, JobState.DELAYED, JobState.DELAYED]
    engine.close(cancel=True)


def test_a_priority_that_was_changed_survives(tmp_path: Path, hold: Gate) -> None:
    """Of one that waits and of one that runs, which has started all the same."""
    store = ResultStore(tmp_path / "s.db")
    with bgsim.Engine(store, workers=1, max_concurrent_simulations=1) as engine:
        running = engine.submit("bgsim.testing.gates.gated", {"name": "a"}, replicates=1)
        assert hold.reached.wait(HANDSHAKE_S)
        waiting = engine.submit(hooked, replicates=5)
        waiting.set_priority("low")
        running.set_priority("high")
        store.journal.flush()
        with store._file.readers.reading() as reader:
            kept = dict(reader.execute("SELECT id, options ->> 'priority' || ' ' || started FROM requests").fetchall())
        assert kept == {running.id: "high 1", waiting.id: "low 0"}
        hold.go_on.set()
    store.close()


def test_a_priority_that_is_changed_leaves_the_time_and_the_order_as_they_were(tmp_path: Path) -> None:
    clock = ManualClock(1_000_000.0)
    with bgsim.Engine(tmp_path / "s.db", immediate=True, clock=clock) as engine:
        first, second = (engine.submit(one_draw, replicates=1, seed=s, delay_s=100.0) for s in (1, 2))
        clock.advance(90.0)
        first.set_priority("high")
        engine.store.journal.flush()
        with engine.store._file.readers.reading() as connection:
            kept = connection.execute(
                "SELECT id, options ->> 'at', submitted_at FROM requests ORDER BY rowid"
            ).fetchall()
        due, asked = "1970-01-12T13:48:20+00:00", "1970-01-12T13:46:40.000000+00:00"
        assert kept == [(first.id, due, asked), (second.id, due, asked)]
        clock.advance(10.0)


@needs_kill
def test_a_recovered_delay_ends_when_it_would_have(tmp_path: Path) -> None:
    """By the wall clock, which is all that two processes share."""
    path = tmp_path / "s.db"
    ids = killed("queue", path)
    clock = ManualClock(time.time())
    with bgsim.Engine(path, immediate=True, clock=clock) as engine:
        (job,) = engine.recover([ids[2]])
        assert job.state is JobState.DELAYED
        clock.advance(3500.0)
        assert not engine.step()
        clock.advance(200.0)
        assert job.result().replicates == 7
        assert [request.id for request in engine.interrupted()] == [ids[0], ids[1], ids[3]]


@needs_kill
def test_a_live_engine_of_another_process_keeps_its_own(tmp_path: Path) -> None:
    """Until it is killed: then they are found at once."""
    path = tmp_path / "s.db"
    process = start("hold", path)
    job_id = process.stdout.readline().split()[0]
    with bgsim.Engine(path, workers=1, recover=True) as engine:
        assert engine.jobs() == []
        assert engine.interrupted() == []
        assert engine.recover() == []
        kill(process)
        (request,) = engine.interrupted()
        assert (request.id, request.started, request.crashes) == (job_id, True, 0)
        (job,) = engine.recover()
        assert (job.id, job.crashes) == (job_id, 1)
        assert job.result(HANDSHAKE_S).replicates == 5


def test_two_engines_that_recover_at_once_share_what_there_is(tmp_path: Path) -> None:
    """Each request goes to one of them."""
    path = tmp_path / "s.db"
    interrupt(path, *[pending(number) for number in range(40)])
    processes = [start("recover", path) for _ in range(2)]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    taken = [line.split() for process in processes for line in finish(process)]
    assert sorted(job_id for some in taken for job_id in some) == sorted(f"r{number}" for number in range(40))
    store = ResultStore(path)
    assert (store.journal.interrupted(), len(store.results())) == ([], 40)
    store.close()


@needs_kill
def test_three_crashes_make_a_dead_letter_and_blame_nobody_else(tmp_path: Path) -> None:
    """It ends its process at once, each time; what waited behind it is not blamed and is done in the end.

    The first crash may come before the store knows that it runs; each one after it counts.
    """
    path = tmp_path / "s.db"
    ends = []
    while len(ends) < 5 and 0 not in ends:
        process = start("die", path)
        _, err = process.communicate(timeout=HANDSHAKE_S)
        assert "Traceback" not in err
        assert "Fatal" not in err
        ends.append(process.returncode)
    assert ends in ([-signal.SIGKILL] * 3 + [0], [-signal.SIGKILL] * 4 + [0])
    with bgsim.Engine(path, workers=1) as engine:
        (letter,) = engine.dead_letters()
        assert letter.simulation == "crash_kernels.deadly"
        assert "crashed 3 times" in letter.attempts
        (job,) = engine.recover()
        assert (job.simulation, job.crashes) == (hooked, 0)
        assert engine.drain(HANDSHAKE_S)
        assert engine.submit(hooked, replicates=3, cache="only").result().replicates == 3
        assert engine.interrupted() == []
        assert engine.discard(letter.id) == letter


# ---- what is left, in one process --------------------------------------------------------------------


def test_nothing_is_recovered_unless_it_is_asked_for(tmp_path: Path) -> None:
    """So that a preview that crashed an application does not start by itself."""
    path = tmp_path / "s.db"
    interrupt(path, pending(1), pending(2))
    with bgsim.Engine(path, workers=1) as engine:
        assert engine.jobs() == []
        assert [request.id for request in engine.interrupted()] == ["r1", "r2"]
    with bgsim.Engine(path, workers=1) as engine:
        (job,) = engine.recover(["r2"])
        assert job.id == "r2"
        assert [request.id for request in engine.interrupted()] == ["r1"]
    with bgsim.Engine(path, workers=1, recover=True) as engine:
        assert engine.drain(HANDSHAKE_S)
        assert engine.status("r1").state is JobState.COMPLETED
        assert engine.interrupted() == []


def test_one_request_that_cannot_be_made_keeps_none_of_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Options nobody knows, parameters that no longer fit, nothing stored."""
    path = tmp_path / "s.db"
    interrupt(
        path,
        pending(4, options='{"flavour": "sweet"}'),
        pending(5, parameters='{"weight": 1.0}'),
        pending(6, options='{"cache": "only"}'),
        pending(7),
    )
    with bgsim.Engine(path, workers=1, recover=True) as engine:
        assert engine.drain(HANDSHAKE_S)
        assert engine.status("r7").state is JobState.COMPLETED
        letters = {letter.id: letter.attempts for letter in engine.dead_letters()}
        assert engine.interrupted() == []
    assert sorted(letters) == ["r4", "r5", "r6"]
    assert all(f"{job_id} cannot be recovered" in caplog.text for job_id in letters)


def test_a_shortage_while_a_request_is_made_again_leaves_it_in_the_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "s.db"
    interrupt(path, pending(1))

    def fail(*_: object) -> None:
        raise MemoryError

    with monkeypatch.context() as patched, bgsim.Engine(path, workers=1) as engine:
        patched.setattr("bgsim.running.submitter.read_request", fail)
        assert engine.recover() == []
        assert engine.dead_letters() == []
    with bgsim.Engine(path, workers=1) as engine:
        assert [job.id for job in engine.recover()] == ["r1"]


def test_a_store_does_not_choose_what_is_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What names a module that this process has not imported stays as it is, and goes on once it has."""
    path = tmp_path / "s.db"
    (tmp_path / "chosen_module.py").write_text(
        "import bgsim\n@bgsim.simulation(outputs={'x': 'f8'}, compile=False)\ndef model(p, rng):\n    return 1.0\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    requests = [pending(1, "chosen_module.model"), pending(2, "chosen_module:model"), pending(3, "bgsim:__getattr__")]
    interrupt(path, *requests)
    store = ResultStore(path)
    store.journal.put_schedule(schedule(simulation="chosen_module.model", cron="* * * * *", last_run_at=None))
    store.journal.add_dead_letter(replace(letter(1), simulation="chosen_module.model"))
    kept = store.journal.interrupted(), store.journal.dead_letters(), store.journal.schedules()
    store.close()
    with bgsim.Engine(path, workers=1, recover=True, immediate=True) as engine:
        engine.step()
        with pytest.raises(SimulationNotFoundError, match=r"unknown here.*engine\.recover\(\)"):
            engine.retry("d1")
        assert "chosen_module" not in sys.modules
        assert (engine.interrupted(), engine.dead_letters(), engine.store.journal.schedules()) == kept
        assert any("'chosen_module.model', which the store names, is unknown here" in a for a in engine.health().alerts)
        assert "Import the module that defines it" in caplog.text

        import chosen_module

        try:
            assert sorted(job.id for job in engine.recover()) == ["r1", "r2"]
            assert engine.retry("d1").result()["x"][0] == 1.0
            assert [request.id for request in engine.interrupted()] == ["r3"]
        finally:
            del sys.modules[chosen_module.__name__]


def test_a_model_of_ours_is_recovered_though_nothing_has_imported_it(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    interrupt(path, pending(1, european_call.name, parameters=european_call.bind(None).to_json()))
    code = f"""
        import bgsim
        with bgsim.Engine({str(path)!r}) as engine:
            print([len(job.result()) for job in engine.recover()])
    """
    assert printed(code) == "[1]\n"


def test_what_the_store_has_by_now_is_not_pending_any_more(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    with bgsim.Engine(path, workers=1) as engine:
        engine.submit(hooked, replicates=3, seed=1).result(HANDSHAKE_S)
    interrupt(path, pending(1))
    with bgsim.Engine(path, workers=1, recover=True) as engine:
        assert engine.status("r1").from_store == 3
    with bgsim.Engine(path, workers=1) as engine:
        assert engine.interrupted() == []


def test_an_engine_that_is_closed_while_it_recovers_buries_nothing(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    interrupt(path, pending(1), pending(2))
    engine = bgsim.Engine(path, workers=1)
    engine.close(timeout_s=0)
    store = ResultStore(path)
    closing = bgsim.Engine(store, workers=1)
    closing.close()
    with pytest.raises(EngineClosedError):
        closing.recover()
    assert [request.id for request in store.journal.interrupted()] == ["r1", "r2"]
    assert store.journal.dead_letters() == []
    store.close()


def test_an_immediate_engine_with_no_room_refuses_instead_of_waiting_for_itself(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    later = '{"at": "2100-01-01T00:00:00+00:00"}'
    interrupt(path, *[pending(number, options=later) for number in range(3)])
    engine = bgsim.Engine(path, immediate=True, max_queue_size=2)
    with pytest.raises(QueueFullError):
        engine.recover()
    engine.close(timeout_s=0)
    with bgsim.Engine(path) as engine:
        assert [request.id for request in engine.interrupted()] == ["r0", "r1", "r2"]
        assert engine.dead_letters() == []


def test_what_an_orderly_close_leaves_is_interrupted_and_not_blamed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four of them make no dead letter, however often it had begun."""
    monkeypatch.setattr("bgsim.running.shutdown.CLOSE_GRACE_S", 0.01)
    path = tmp_path / "s.db"
    for _ in range(4):
        hold = Gate()
        monkeypatch.setitem(GATES, "a", hold)
        engine = bgsim.Engine(path, workers=1, recover=True)
        jobs = engine.jobs() or [engine.submit(gated, {"name": "a"}, replicates=1)]
        assert hold.reached.wait(HANDSHAKE_S)
        assert engine.close(timeout_s=0) == jobs
        hold.go_on.set()
        concurrent.futures.wait(jobs, HANDSHAKE_S)
        assert jobs[0].cancelled()
    monkeypatch.delitem(GATES, "a")
    with bgsim.Engine(path, workers=1, recover=True) as engine:
        assert engine.dead_letters() == []
        assert engine.drain(HANDSHAKE_S)
        assert engine.submit(gated, {"name": "a"}, replicates=1, cache="only").result().replicates == 1


def test_a_job_that_was_cancelled_is_not_found_again(tmp_path: Path, hold: Gate) -> None:
    """Even if its kernel had not let go when the process ended."""
    path = tmp_path / "s.db"
    store = ResultStore(path)
    engine = bgsim.Engine(store, workers=1)
    job = engine.submit(gated, {"name": "a"}, replicates=1)
    assert hold.reached.wait(HANDSHAKE_S)
    assert job.cancel()
    assert engine.close(cancel=True, timeout_s=0) == [job]
    assert job.state is JobState.CANCELLING
    assert store.journal.interrupted() == []
    hold.go_on.set()
    with pytest.raises(concurrent.futures.CancelledError):
        job.result(HANDSHAKE_S)
    store.close()


def test_a_failed_job_is_in_the_journal_until_its_dead_letter_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A crash between the two loses neither."""
    seen: list[list[str]] = []
    path = tmp_path / "s.db"
    with bgsim.Engine(path, workers=1) as engine:
        journal = engine.store.journal
        write = journal.add_dead_letter

        def look_and_write(letter: Any) -> None:
            journal.flush()
            with engine.store._file.readers.reading() as connection:
                seen.append([row[0] for row in connection.execute("SELECT id FROM requests")])
            write(letter)

        monkeypatch.setattr(journal, "add_dead_letter", look_and_write)
        job = engine.submit("kernels.fragile", {"fails_at": 2.0}, replicates=1)
        assert job.exception(HANDSHAKE_S) is not None
        assert seen == [[job.id]]
        assert [letter.id for letter in engine.dead_letters()] == [job.id]
        assert engine.submit(one_draw, replicates=1).result(HANDSHAKE_S).replicates == 1
    store = ResultStore(path)
    assert store.journal.interrupted() == []
    store.close()


# ---- dead letters ------------------------------------------------------------------------------------


def bury(engine: bgsim.Engine, **options: Any) -> str:
    """Have a job fail for good, and return its id."""
    options = {"priority": "high", "allow_deduplication": False} | options
    job = engine.submit(fragile, Fragile(fails_at=2.0), replicates=3, **options)
    assert job.exception(HANDSHAKE_S) is not None
    return job.id


def test_a_dead_letter_is_tried_again_with_changes_and_is_gone(tmp_path: Path) -> None:
    with bgsim.Engine(tmp_path / "s.db", workers=1) as engine:
        letter_id = bury(engine)
        with pytest.raises(InvalidInputError, match="no 'scale' to be changed"):
            engine.retry(letter_id, scale=2)
        with pytest.raises(RequestNotFoundError, match=r"dead_letters\(\) lists them"):
            engine.retry("nobody")
        (letter,) = engine.dead_letters()
        assert (letter.id, letter.replicates) == (letter_id, 3)
        job = engine.retry(letter_id, parameters=Fragile(fails_at=0.0), replicates=4)
        assert job.result(HANDSHAKE_S).replicates == 4
        assert job.request.urgency is Priority.HIGH
        assert engine.dead_letters() == []
        with pytest.raises(RequestNotFoundError):
            engine.retry(letter_id)


def test_a_dead_letter_goes_when_the_request_that_follows_it_is_durable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A crash at any moment finds the one or the other."""
    with bgsim.Engine(tmp_path / "s.db", workers=1) as engine:
        letter_id = bury(engine)
        engine.pause()
        journal, found = engine.store.journal, []
        take = journal.take_dead_letter

        def look_and_take(id: str) -> Any:
            with engine.store._file.readers.reading() as reader:  # as another process would
                found.extend(reader.execute("SELECT id FROM requests").fetchall())
            return take(id)

        monkeypatch.setattr(journal, "take_dead_letter", look_and_take)
        job = engine.retry(letter_id, parameters=Fragile(fails_at=0.0))
        assert found == [(job.id,)]
        engine.resume()
        assert job.result(HANDSHAKE_S).replicates == 3


@pytest.mark.parametrize("options", [{}, {"supersede": "preview"}], ids=["plain", "latest wins"])
def test_of_two_who_retry_one_dead_letter_one_is_told(
    options: dict[str, Any], tmp_path: Path, in_threads: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both have read it before either takes it out; who is told has submitted nothing."""
    with bgsim.Engine(tmp_path / "s.db", workers=1) as engine:
        letter_id = bury(engine, **options)
        engine.pause()
        both, take = threading.Barrier(2), engine.store.journal.take_dead_letter

        def meet_and_take(id: str) -> Any:
            both.wait(HANDSHAKE_S)
            return take(id)

        monkeypatch.setattr(engine.store.journal, "take_dead_letter", meet_and_take)

        def retry() -> Any:
            try:
                return engine.retry(letter_id, parameters=Fragile(fails_at=0.0))
            except RequestNotFoundError:
                return None

        jobs = [job for job in in_threads(retry, retry) if job is not None]
        assert engine.jobs() == jobs
        assert len(jobs) == 1
        engine.resume()
        assert jobs[0].result(HANDSHAKE_S).replicates == 3


def test_a_dead_letter_that_cannot_be_taken_out_stays_and_nothing_is_submitted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with bgsim.Engine(tmp_path / "s.db", workers=1) as engine:
        letter_id = bury(engine)
        engine.pause()

        def refuse(_: str) -> Any:
            raise StoreError("not now")

        with monkeypatch.context() as patched:
            patched.setattr(engine.store.journal, "take_dead_letter", refuse)
            with pytest.raises(StoreError, match="not now"):
                engine.retry(letter_id)
        assert engine.jobs() == []
        assert [letter.id for letter in engine.dead_letters()] == [letter_id]
        engine.close()
    with bgsim.Engine(tmp_path / "s.db", workers=1) as engine:
        assert engine.interrupted() == []


def test_a_retry_for_which_there_is_no_room_keeps_the_dead_letter(tmp_path: Path) -> None:
    with bgsim.Engine(tmp_path / "s.db", workers=1) as engine:
        letter_id = bury(engine)
        engine.pause()
        parts(engine).state.queue.capacity = 1
        waiting = engine.submit(one_draw, replicates=1)
        with pytest.raises(QueueFullError):
            engine.retry(letter_id)
        assert [letter.id for letter in engine.dead_letters()] == [letter_id]
        assert engine.jobs() == [waiting]
        engine.resume()


def test_a_retry_that_the_store_answers_is_not_pending(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    with bgsim.Engine(path, workers=1) as engine:
        engine.submit(one_draw, replicates=3, seed=1).result(HANDSHAKE_S)
        letter_id = bury(engine)
        letter = engine.dead_letters()[0]
        engine.store.journal.take_dead_letter(letter_id)
        engine.store.journal.add_dead_letter(replace(letter, simulation="kernels.one_draw", parameters="{}", seed="1"))
        assert engine.retry(letter_id, allow_deduplication=True).done()
        engine.store.journal.flush()
        with engine.store._file.readers.reading() as connection:
            assert connection.execute("SELECT count(*) FROM requests").fetchone() == (0,)


@pytest.mark.parametrize(
    ("column", "value", "says"),
    [
        ("seed", "x", "seed of the request"), ("seed", "9" * 5000, "seed of the request"), ("replicates", None, "replicates must be"),
        ("parameters", "[1]", "parameters"), ("parameters", '{"x": {"__array__": "<f8"}}', "parameters of the request"),
        ("options", "[" * 500, "options of the request"), ("options", "3", "options of the request"), ("options", '{"nonsense": 1}', "a job has no 'nonsense'"),
        ("options", '{"simulation": "os.system"}', "a job has no 'simulation'"), ("options", '{"at": 3}', "at of the request"),
        ("options", '{"retry": {"retry_on": 3}}', "retry of the request"), ("options", b"{}", "options of the request"),
    ],
)  # fmt: skip
def test_an_odd_row_is_a_dead_letter_that_says_why_and_the_others_go_on(
    tmp_path: Path, column: str, value: Any, says: str
) -> None:
    path = tmp_path / "s.db"
    interrupt(path, pending(1), pending(2))
    set_value(path, "requests", column, value, "r1")
    with bgsim.Engine(path, workers=1, recover=False) as engine:
        (job,) = engine.recover()
        assert job.id == "r2"
        assert len(job.result()["x"])
        (dead,) = engine.dead_letters()
        assert dead.id == "r1"
        assert says in json.loads(dead.attempts)[0]["error"]
        assert engine.interrupted() == []
        with pytest.raises(InvalidInputError):
            engine.retry("r1")


def test_odd_dead_letters_are_exported_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    with contextlib.closing(ResultStore(path)) as store:
        store.journal.add_dead_letter(letter(1))
        store.journal.flush()
    for column, value in (("attempts", "[" * 500), ("options", None), ("parameters", "x")):
        set_value(path, "dead_letters", column, value, "d1")
    with bgsim.Engine(path, workers=1) as engine:
        assert engine.export_dead_letters(tmp_path / "d.json") == 1
    (row,) = json.loads((tmp_path / "d.json").read_text())
    assert (row["attempts"], row["options"], row["parameters"]) == ("[" * 500, "None", "x")
