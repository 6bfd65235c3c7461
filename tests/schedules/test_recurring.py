"""Schedules of an engine: due, missed, paused, replaced, kept in the store, shared by engines, and clocks that are set."""

from __future__ import annotations

import builtins
import logging
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from conftest import HANDSHAKE_S
from kernels import one_draw
from new_process import start_script
from odd_rows import set_value
from paths import SUPPORT

import bgsim
from bgsim.clock import ManualClock
from bgsim.errors import (
    EngineClosedError,
    InvalidInputError,
    MissingExtraError,
    QueueFullError,
    RequestNotFoundError,
    StoreError,
)
from bgsim.job import Job
from bgsim.storage import MemoryStore, ResultStore
from bgsim.testing import GATES, Gate, gated, parts, run_all

SCRIPT = SUPPORT / "engine_process.py"
HOUR, DAY = 3600.0, 86_400.0
NOON = datetime(2026, 6, 1, 12, tzinfo=UTC).timestamp()


class Runs:
    """An immediate engine with a clock, and when its schedules started jobs, by the wall clock."""

    def __init__(self, store: Any = None, now: float = NOON, **settings: Any) -> None:
        self.clock = ManualClock(now)
        self.engine = bgsim.Engine(store, immediate=True, clock=self.clock, **settings)
        self.at: list[float] = []
        submit = self.engine._submitter.submit

        def submit_and_note(submission: Any, **options: Any) -> Job:
            job = submit(submission, **options)
            self.at.append(self.clock.time())
            return job

        self.engine._submitter.submit = submit_and_note  # type: ignore[method-assign]

    def add(self, cron: str, **options: Any) -> Any:
        return self.engine.schedule(one_draw, replicates=2, cron=cron, cache="off", **options)

    def take(self) -> list[str]:
        """Return when jobs were started since the last time, in UTC."""
        taken, self.at = self.at, []
        return [f"{datetime.fromtimestamp(at, UTC):%d %H:%M}" for at in taken]

    def run(self) -> list[str]:
        """Do what is due, and return when jobs were started."""
        run_all(self.engine)
        return self.take()

    def after(self, seconds: float) -> list[str]:
        self.clock.advance(seconds)
        return self.run()

    def live_through(self, seconds: float) -> list[str]:
        """Let time pass as the timekeeper's thread does: look when it says, and no later."""
        ends = self.clock.monotonic() + seconds
        while True:
            run_all(self.engine)
            left = ends - self.clock.monotonic()
            if left <= 0:
                return self.take()
            self.clock.advance(min(left, max(1.0, self.engine.schedules().wait_s())))


@pytest.fixture
def runs() -> Iterator[Runs]:
    found = Runs()
    yield found
    found.engine.close()


# ---- due ---------------------------------------------------------------------------------------------


def test_a_schedule_runs_when_it_is_due_and_once(runs: Runs) -> None:
    schedule = runs.add("30 14 * * *", name="daily")
    assert (schedule.name, schedule.last_run_at) == ("daily", None)
    assert runs.run() == []
    assert runs.after(2.5 * HOUR - 1) == []
    assert runs.after(1) == ["01 14:30"]
    assert runs.run() == []
    assert runs.live_through(2 * DAY) == ["02 14:30", "03 14:30"]
    (listed,) = runs.engine.schedules()
    assert f"{listed.last_run_at:%d %H:%M}" == "03 14:30"
    assert "daily: 30 14 * * * UTC" in repr(runs.engine.schedules())


def test_what_a_schedule_starts_is_a_job_like_any_other(runs: Runs) -> None:
    seen: list[Any] = []
    runs.engine.subscribe(seen.append, completions_only=True)
    runs.engine.schedule(one_draw, replicates=3, seed=4, priority="high", cron="0 * * * *")
    assert runs.after(HOUR) == ["01 13:00"]
    (result,) = runs.engine.store.results()
    assert (result.replicates, result.record.seed) == (3, "4")
    assert runs.after(HOUR) == ["01 14:00"]
    assert runs.engine.stats().from_store == 1, "by default what is stored is not computed again"


@pytest.mark.parametrize(("misfire", "expected"), [("once", ["04 12:30"]), ("skip", []), ("all", ["04 12:30"] * 3)])
def test_what_is_missed_is_made_up_for_as_it_was_said(runs: Runs, misfire: str, expected: list[str]) -> None:
    """The computer slept for three days."""
    runs.add("0 14 * * *", misfire=misfire)
    assert runs.after(3 * DAY + HOUR / 2) == expected
    assert runs.live_through(2 * HOUR) == ["04 14:00"]


@pytest.mark.parametrize("misfire", ["once", "skip", "all"])
def test_a_minute_late_is_not_missed(runs: Runs, misfire: str) -> None:
    runs.add("0 14 * * *", misfire=misfire)
    assert runs.after(2 * HOUR + 60) == ["01 14:01"]


def test_pause_resume_and_remove(runs: Runs) -> None:
    """What was missed while it was paused is not made up for."""
    runs.add("0 * * * *", name="hourly")
    schedules = runs.engine.schedules()
    assert schedules.pause("hourly").paused
    assert runs.after(5.5 * HOUR) == []
    assert not schedules.resume("hourly").paused
    assert runs.run() == []
    assert runs.live_through(HOUR) == ["01 18:00"]
    schedules.remove("hourly")
    assert runs.live_through(DAY) == []
    assert (len(schedules), list(schedules)) == (0, [])
    for verb in (schedules.get, schedules.pause, schedules.resume, schedules.remove):
        with pytest.raises(RequestNotFoundError, match="no schedule 'hourly'"):
            verb("hourly")


def test_a_schedule_is_replaced_if_that_is_said(runs: Runs) -> None:
    runs.add("0 * * * *", name="s")
    with pytest.raises(InvalidInputError, match="replace=True"):
        runs.add("30 * * * *", name="s")
    runs.add("30 * * * *", name="s", replace=True)
    assert runs.live_through(2 * HOUR) == ["01 12:30", "01 13:30"]
    assert [schedule.cron for schedule in runs.engine.schedules()] == ["30 * * * *"]
    assert [kept.cron for kept in runs.engine.store.journal.schedules()] == ["30 * * * *"]


def test_a_program_that_declares_its_schedule_at_each_start_forgets_no_run(tmp_path: Path) -> None:
    """With other times it begins anew."""
    path = tmp_path / "s.db"
    runs = Runs(path)
    runs.add("0 * * * *", name="s")
    assert runs.after(HOUR) == ["01 13:00"]
    runs.engine.close()
    again = Runs(path, NOON + 3.5 * HOUR)
    again.add("0 * * * *", name="s", replace=True)
    assert again.run() == ["01 15:30"]
    again.add("0 * * * *", name="s", replace=True)
    assert again.run() == []
    again.engine.close()
    third = Runs(path, NOON + 6.5 * HOUR)
    third.add("15 * * * *", name="s", replace=True)
    assert third.run() == []
    assert third.live_through(HOUR) == ["01 19:15"]
    third.engine.close()


@pytest.mark.parametrize("misfire", ["once", "skip", "all"])
def test_a_paused_schedule_that_is_declared_again_goes_on_without_what_it_missed(runs: Runs, misfire: str) -> None:
    runs.add("0 * * * *", name="s", misfire=misfire)
    runs.engine.schedules().pause("s")
    assert runs.after(5.5 * HOUR) == []
    assert not runs.add("0 * * * *", name="s", misfire=misfire, replace=True).paused
    assert runs.run() == []
    assert runs.live_through(HOUR) == ["01 18:00"]


def test_a_run_that_comes_while_its_schedule_is_declared_again_is_not_repeated(
    runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs.add("0 * * * *", name="s", misfire="all")
    assert runs.after(HOUR) == ["01 13:00"]
    runs.clock.advance(HOUR)
    journal, found = runs.engine.store.journal, []
    put = journal.put_schedule

    def run_and_put(schedule: Any) -> None:
        monkeypatch.setattr(journal, "put_schedule", put)
        found.extend(runs.run())
        put(schedule)

    monkeypatch.setattr(journal, "put_schedule", run_and_put)
    runs.add("0 * * * *", name="s", misfire="all", replace=True)
    found += runs.run()
    assert found == ["01 14:00"]
    assert runs.after(HOUR) == ["01 15:00"]


@pytest.mark.parametrize("verb", ["remove", "pause"])
def test_a_schedule_that_is_changed_while_the_queue_refuses_its_run_stays_changed(
    runs: Runs, verb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs.add("0 * * * *", name="s")

    def change_and_refuse(*_: Any, **__: Any) -> Job:
        getattr(runs.engine.schedules(), verb)("s")
        raise QueueFullError("no room")

    with monkeypatch.context() as patched:
        patched.setattr(runs.engine._submitter, "submit", change_and_refuse)
        assert runs.after(HOUR) == []
    assert runs.after(HOUR) == []
    kept = runs.engine.store.journal.schedules()
    assert [schedule.paused for schedule in kept] == ([] if verb == "remove" else [True])


@pytest.mark.parametrize("misfire", ["once", "skip", "all"])
def test_a_run_for_which_the_queue_has_no_room_is_tried_again(
    runs: Runs, misfire: str, caplog: pytest.LogCaptureFixture
) -> None:
    parts(runs.engine).state.queue.capacity = 1
    blocking = runs.engine.submit(one_draw, replicates=1, seed=5, delay_s=2 * HOUR)
    runs.take()
    runs.add("0 * * * *", misfire=misfire)
    with caplog.at_level(logging.WARNING, "bgsim.engine"):
        assert runs.after(HOUR) == []
    assert "will try again: the queue holds 1 requests" in caplog.text
    assert runs.after(30.0) == []
    blocking.cancel()
    assert runs.after(30.0) == ["01 13:01"]
    (schedule,) = runs.engine.schedules()
    assert f"{schedule.last_run_at:%H:%M}" == "13:00"
    assert runs.run() == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cron": "0 25 * * *"}, "cron must have five fields"),
        ({"cron": "0 0 31 2 *"}, "bad day-of-month"),
        ({"timezone": "Europe/Berlni"}, "did you mean 'Europe/Berlin'"),
        ({"misfire": "onec"}, "did you mean 'once'"),
        ({"priority": "hihg"}, "did you mean 'high'"),
        ({"flavour": 1}, "no option 'flavour'"),
    ],
)
def test_a_bad_schedule_is_refused_and_not_kept(runs: Runs, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        runs.engine.schedule(one_draw, **{"replicates": 1, "cron": "0 * * * *"} | options)
    assert len(runs.engine.schedules()) == 0
    assert runs.engine.store.journal.schedules() == []


# ---- clocks ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cron", "day", "expected"),
    [
        ("30 2 * * *", 28, ["28 01:30", "29 01:00", "30 00:30"]),  # there is no 2:30: at the change
        ("30 * * * *", 29, [f"{28 + (h + 23) // 24} {(h + 23) % 24:02}:30" for h in range(23)]),
        ("0 12 * * *", 28, ["28 11:00", "29 10:00", "30 10:00"]),
    ],
)
def test_clocks_that_are_set_forward(cron: str, day: int, expected: list[str]) -> None:
    """29 March 2026 in Berlin has 23 hours."""
    berlin = ZoneInfo("Europe/Berlin")
    began = datetime(2026, 3, day, tzinfo=berlin)
    ends = datetime(2026, 3, 31 if day == 28 else 30, tzinfo=berlin)
    runs = Runs(now=began.timestamp() - 1)
    runs.add(cron, timezone="Europe/Berlin")
    assert runs.live_through(ends.timestamp() - began.timestamp()) == expected
    runs.engine.close()


@pytest.mark.parametrize(
    ("cron", "expected"),
    [
        ("30 2 * * *", ["25 00:30", "26 01:30"]),  # twice on the wall, once in truth
        ("*/30 2 * * *", ["25 00:00", "25 00:30", "25 01:00", "25 01:30", "26 01:00", "26 01:30"]),
        ("0 12 * * *", ["25 11:00", "26 11:00"]),
    ],
)
def test_clocks_that_are_set_back(cron: str, expected: list[str]) -> None:
    """25 October 2026 in Berlin has 25 hours."""
    berlin = ZoneInfo("Europe/Berlin")
    began, ends = datetime(2026, 10, 25, tzinfo=berlin), datetime(2026, 10, 27, tzinfo=berlin)
    runs = Runs(now=began.timestamp() - 1)
    runs.add(cron, timezone="Europe/Berlin")
    assert runs.live_through(ends.timestamp() - began.timestamp()) == expected
    runs.engine.close()


def test_a_wall_clock_that_is_set_a_day_forward_has_missed_runs(runs: Runs) -> None:
    """They are one run, and the next comes when it would."""
    runs.add("0 * * * *")
    assert runs.after(HOUR) == ["01 13:00"]
    runs.clock.set_time(NOON + HOUR + DAY)
    assert runs.run() == ["02 13:00"]
    assert runs.live_through(HOUR) == ["02 14:00"]


def test_a_wall_clock_that_is_set_a_day_back_runs_nothing_twice(runs: Runs) -> None:
    runs.add("0 * * * *")
    assert runs.after(HOUR) == ["01 13:00"]
    runs.clock.set_time(NOON + HOUR - DAY)
    assert runs.live_through(DAY + HOUR / 2) == []
    assert runs.live_through(HOUR) == ["01 14:00"]


def test_a_wall_clock_that_was_wrong_by_years_keeps_no_schedule_waiting(runs: Runs) -> None:
    runs.clock.set_time(NOON + 3650 * DAY)
    runs.add("0 * * * *")
    assert len(runs.after(HOUR)) == 1
    runs.clock.set_time(NOON)
    assert runs.live_through(HOUR) == ["01 13:00"]


# ---- the store ---------------------------------------------------------------------------------------


def test_a_schedule_outlives_its_engine_with_its_options(tmp_path: Path) -> None:
    """What was due while no engine ran is made up for; what has run is not run again."""
    path = tmp_path / "s.db"
    first = Runs(path)
    first.engine.schedule(
        "kernels.walk", {"steps": 3}, replicates=4, seed=6, workspace="w", cron="0 * * * *", name="n", misfire="all"
    )
    assert first.after(HOUR) == ["01 13:00"]
    first.engine.close()
    second = Runs(path, NOON + HOUR + 1)
    (kept,) = second.engine.schedules()
    assert (kept.name, kept.misfire, f"{kept.last_run_at:%H:%M}") == ("n", "all", "13:00")
    assert second.run() == []
    assert second.after(2 * HOUR) == ["01 15:00"] * 2
    (result,) = second.engine.store.results()
    assert (result.replicates, result.record.seed, result.record.simulation) == (4, "6", "kernels.walk")
    assert second.engine.store.slots("w").primary is not None
    second.engine.close()


def test_a_paused_schedule_stays_paused_and_a_removed_one_removed(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    first = Runs(path)
    for name in ("paused", "removed", "resumed"):
        first.add("0 * * * *", name=name)
    first.engine.schedules().pause("paused")
    first.engine.schedules().remove("removed")
    first.engine.schedules().pause("resumed")
    first.clock.advance(5.5 * HOUR)
    first.engine.schedules().resume("resumed")
    first.engine.close()
    second = Runs(path, NOON + 5.5 * HOUR)
    assert [(schedule.name, schedule.paused) for schedule in second.engine.schedules()] == [
        ("paused", True),
        ("resumed", False),
    ]
    assert second.run() == [], "what was missed while it was paused is not made up for"
    assert second.live_through(HOUR) == ["01 18:00"]
    second.engine.close()


def test_an_engine_without_schedules_lists_and_keeps_them_and_runs_none(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    Runs(path).engine.close()
    quiet = Runs(path, run_schedules=False)
    quiet.add("0 * * * *", name="s")
    assert quiet.live_through(DAY) == []
    assert [schedule.name for schedule in quiet.engine.schedules()] == ["s"]
    quiet.engine.close()
    quiet = Runs(path, NOON + DAY, run_schedules=False)
    assert [schedule.name for schedule in quiet.engine.schedules()] == ["s"]
    assert quiet.after(DAY) == []
    quiet.engine.close()
    active = Runs(path, NOON + DAY + 60)
    assert active.run() == ["02 12:01"]
    active.engine.close()


def test_two_engines_on_one_store_run_each_due_time_once() -> None:
    """Whoever is first; the other takes note."""
    store = MemoryStore()
    first = Runs(store)
    first.add("0 * * * *")
    second = Runs(store)
    engines = [first, second]
    for hour in range(6):
        for runs in engines:
            runs.clock.advance(HOUR)
        taken = [runs.run() for runs in engines]
        assert taken == [[f"01 {13 + hour}:00"], []]
        engines.reverse()
    for runs in engines:
        runs.engine.close()
    store.close()


CHANGES = {
    "paused": (lambda schedules: schedules.pause("s"), []),
    "removed": (lambda schedules: schedules.remove("s"), []),
    "replaced": (None, ["01 13:30"]),
}


@pytest.mark.parametrize(("change", "expected"), CHANGES.values(), ids=CHANGES.keys())
def test_what_another_engine_changes_counts(change: Any, expected: list[str]) -> None:
    """Before it has run for the first time, too, when there is no last run to compare."""
    store = MemoryStore()
    first = Runs(store)
    first.add("0 * * * *", name="s")
    second = Runs(store)
    if change is None:
        second.add("30 13 * * *", name="s", replace=True)
    else:
        change(second.engine.schedules())
    assert first.live_through(2 * HOUR) == expected
    first.engine.close()
    second.engine.close()
    store.close()


def test_two_processes_on_one_store_run_each_due_time_once(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    runs = Runs(path)
    for number in range(8):
        runs.add("0 * * * *", name=f"s{number}", misfire="all")
    runs.engine.close()
    processes = [start_script(SCRIPT, "schedules", path, int(NOON + 3 * HOUR)) for _ in range(2)]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    started = 0
    for process in processes:
        out, err = process.communicate(timeout=HANDSHAKE_S)
        assert (process.returncode, err) == (0, "")
        started += int(out)
    assert started == 8 * 3
    store = ResultStore(path)
    assert {kept.last_run_at for kept in store.journal.schedules()} == {
        (datetime.fromtimestamp(NOON, UTC) + timedelta(hours=3)).isoformat(timespec="microseconds")
    }
    store.close()


# ---- what goes wrong ---------------------------------------------------------------------------------


def test_a_run_that_cannot_be_started_keeps_none_of_the_others(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A simulation that this process has not imported, and options that nobody knows."""
    path = tmp_path / "s.db"
    runs = Runs(path)
    for name in ("a", "b", "c"):
        runs.add("0 * * * *", name=name)
    journal = runs.engine.store.journal
    changes = ({"simulation": "model_that_is_gone.x"}, {"options": '{"flavour": "sweet"}'})
    for kept, change in zip(journal.schedules(), changes, strict=False):
        journal.put_schedule(replace(kept, **change))
    runs.engine.close()
    again = Runs(path)
    assert again.after(HOUR) == ["01 13:00"]
    assert "'model_that_is_gone.x', which is unknown here" in caplog.text
    assert next(kept.last_run_at for kept in again.engine.store.journal.schedules()) is None
    assert "the schedule b could not start" in caplog.text
    assert again.after(HOUR) == ["01 14:00"], "and they are tried again when they are due again"
    again.engine.close()


def test_a_store_that_fails_loses_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither of the schedule that could not be marked, nor of those after it; a minute later it is tried again."""
    runs = Runs(tmp_path / "s.db")
    for name in ("a", "b", "c"):
        runs.add("0 * * * *", name=name)
    journal = runs.engine.store.journal
    mark, left = journal.mark_schedule_run, [1]

    def fail_second(*arguments: Any) -> bool:
        left[0] -= 1
        if left[0] == -1:
            raise StoreError("the disk is full")
        return mark(*arguments)

    monkeypatch.setattr(journal, "mark_schedule_run", fail_second)
    assert runs.after(HOUR) == ["01 13:00"]
    assert "the disk is full" in caplog.text
    assert runs.engine.schedules().wait_s() > 0, "the timekeeper would spin"
    assert runs.run() == []
    assert runs.after(61) == ["01 13:01"] * 2
    assert runs.live_through(HOUR) == ["01 14:00"] * 3
    runs.engine.close()


def test_a_store_that_has_lost_its_file_does_not_make_the_timekeeper_spin(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    runs = Runs(path)
    runs.add("0 * * * *")
    for file in tmp_path.iterdir():
        file.unlink()
    assert runs.after(HOUR) == []
    assert runs.engine.schedules().wait_s() == pytest.approx(60.0)
    runs.engine.close()


def test_an_engine_that_is_closing_leaves_what_is_due_to_the_next(tmp_path: Path) -> None:
    """It marks no run that it would have to refuse."""
    path = tmp_path / "s.db"
    runs = Runs(path)
    runs.add("0 * * * *")
    runs.engine.close()
    runs.clock.advance(HOUR)
    runs.engine.schedules().run()
    assert runs.take() == []
    again = Runs(path, NOON + HOUR)
    assert again.run() == ["01 13:00"]
    again.engine.close()


def test_a_run_that_is_refused_because_the_engine_closes_is_due_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Due, marked, and only then refused."""
    store = MemoryStore()
    runs = Runs(store)
    runs.add("0 * * * *")

    def refuse(*_: Any, **__: Any) -> Job:
        raise EngineClosedError("it is closed")

    monkeypatch.setattr(runs.engine._submitter, "submit", refuse)
    assert runs.after(HOUR) == []
    runs.engine.close()
    again = Runs(store, NOON + HOUR)
    assert again.run() == ["01 13:00"]
    again.engine.close()
    store.close()


def test_a_threaded_engine_starts_what_is_due_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The timekeeper looks before it waits."""
    path = tmp_path / "s.db"
    runs = Runs(path)
    runs.engine.schedule(gated, {"name": "scheduled"}, replicates=1, cron="0 * * * *")
    runs.engine.close()
    hold = Gate()
    monkeypatch.setitem(GATES, "scheduled", hold)
    with bgsim.Engine(path, workers=1, clock=ManualClock(NOON + HOUR)) as engine:
        assert hold.reached.wait(HANDSHAKE_S)
        (job,) = engine.jobs()
        assert job.simulation is gated
        hold.go_on.set()
    assert job.result().replicates == 1


def test_a_threaded_engine_notices_a_schedule_that_is_added(monkeypatch: pytest.MonkeyPatch) -> None:
    """Though its timekeeper sleeps for ever by then: the clock stands still just before the hour."""
    waited = threading.Event()

    class Clock(ManualClock):
        def time(self) -> float:
            """The wall clock jumps over the hour once the schedule has been made."""
            return super().time() + (HOUR if made.is_set() else 0.0)

    made = threading.Event()
    hold = Gate()
    monkeypatch.setitem(GATES, "scheduled", hold)
    with bgsim.Engine(workers=1, clock=Clock(NOON)) as engine:
        recurring = engine.schedules()
        look_again = recurring._look_again

        def jump_and_look() -> None:
            made.set()
            look_again()
            waited.set()

        monkeypatch.setattr(recurring, "_look_again", jump_and_look)
        engine.schedule(gated, {"name": "scheduled"}, replicates=1, cron="0 * * * *")
        assert waited.wait(HANDSHAKE_S)
        assert hold.reached.wait(HANDSHAKE_S)
        hold.go_on.set()


def test_without_cronsim_schedules_say_what_to_install_and_jobs_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Also on a store that keeps a schedule of somebody who has it."""
    from bgsim.schedules import schedule as schedules

    path = tmp_path / "s.db"
    runs = Runs(path)
    runs.add("17 * * * *", name="s")
    runs.engine.close()
    import_ = builtins.__import__

    def refuse(name: str, *arguments: Any, **options: Any) -> Any:
        if name == "cronsim":
            raise ImportError(name)
        return import_(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", refuse)
    schedules._cron.cache_clear()
    without = Runs(path)
    assert "pip install cronsim" in caplog.text
    with pytest.raises(MissingExtraError, match="pip install cronsim"):
        without.add("19 * * * *")
    assert without.engine.submit(one_draw, replicates=2).result().replicates == 2
    without.engine.close()
    monkeypatch.undo()
    again = Runs(path)
    assert again.live_through(HOUR) == ["01 12:17"]
    again.engine.close()


# ---- a schedule that the store has otherwise than it should ------------------------------------------------


def with_an_odd_schedule(path: Path, column: str, value: Any, name: str, *, beside: str) -> Path:
    """Store two hourly schedules, one of them with an odd value; return the path."""
    with bgsim.Engine(path, immediate=True, clock=ManualClock(NOON)) as engine:
        for each in (name, beside):
            engine.schedule(one_draw, replicates=2, cron="0 * * * *", name=each, cache="off")
    set_value(path, "schedules", column, value, name)
    return path


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("cron", "never"), ("cron", None), ("timezone", "Mars/Base"), ("misfire", b"\xff"), ("created_at", "soon"),
        ("created_at", "2026-06-01"), ("last_run_at", 3), ("last_run_at", "9999-12-31T23:59:59+00:00"), ("name", ""),
    ],
)  # fmt: skip
def test_a_schedule_that_cannot_be_read_costs_itself_alone(tmp_path: Path, column: str, value: Any) -> None:
    runs = Runs(with_an_odd_schedule(tmp_path / "s.db", column, value, "odd", beside="good"))
    with runs.engine as engine:
        assert runs.after(HOUR) == ["01 13:00"]
        assert [schedule.name for schedule in engine.schedules()] == ["good"]
        (alert,) = engine.health().alerts
        assert "as the store has it, is not run" in alert
        if column != "name":
            runs.add("30 * * * *", name="odd", replace=True)
            assert engine.health().ok
            assert runs.after(HOUR) == ["01 14:00"] * 2, "at half past, and at the hour"


@pytest.mark.parametrize(
    ("column", "value"), [("options", "[" * 500), ("parameters", 3), ("seed", "x"), ("replicates", b"\xff")]
)
def test_a_schedule_whose_request_is_refused_keeps_no_other_from_running(
    tmp_path: Path, column: str, value: Any, caplog: pytest.LogCaptureFixture
) -> None:
    runs = Runs(with_an_odd_schedule(tmp_path / "s.db", column, value, "a", beside="z"))
    with runs.engine:
        assert runs.after(HOUR) == ["01 13:00"]
    assert f"the schedule a could not start the run of 2026-06-01T13:00:00.000000+00:00: {column}" in caplog.text
    assert "Traceback" not in caplog.text
