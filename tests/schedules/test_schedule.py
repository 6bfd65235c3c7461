"""Schedules: each run once, whatever the clock does; policies for missed runs; pausing; several by name."""

from __future__ import annotations

import dataclasses
import datetime as dt
import itertools
import math
import zoneinfo
from typing import Any

import pytest
from conftest import Clock
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from bgsim.errors import InvalidInputError, RequestNotFoundError
from bgsim.schedules.cron import Cron
from bgsim.schedules.schedule import MAX_CATCH_UP, MAX_WAIT_S, MISFIRES, Schedule, Schedules

BERLIN = zoneinfo.ZoneInfo("Europe/Berlin")
HOUR, DAY = 3600.0, 86_400.0


def berlin(*when: int, fold: int = 0) -> float:
    return dt.datetime(*when, tzinfo=BERLIN, fold=fold).timestamp()  # type: ignore[misc, arg-type]


def utc(seconds: float) -> dt.datetime:
    return dt.datetime.fromtimestamp(seconds, dt.UTC)


def nightly(since: float, **fields: Any) -> Schedule:
    return Schedule("nightly", "30 2 * * *", utc(since), **{"timezone": "Europe/Berlin", **fields})


def times(schedule: Schedule, now: float) -> list[float]:
    return [t.timestamp() for t in schedule.due(now)]


# ---- one schedule ------------------------------------------------------------------------------------


def test_a_run_is_due_when_its_time_has_come_and_once() -> None:
    schedule, when = nightly(berlin(2026, 6, 1)), berlin(2026, 6, 1, 2, 30)
    assert schedule.due(when - 1) == []
    assert schedule.next_at(when - 1) == utc(when)
    assert schedule.due(when) == [utc(when)]
    assert schedule.next_at(when + 5) == utc(when)
    ran = schedule.ran(utc(when))
    assert ran.due(when) == ran.due(when + HOUR) == []
    assert ran.next_at(when) == utc(when + DAY)
    assert ran.last_run_at == utc(when)


def test_the_next_runs_are_listed_and_the_expression_put_in_words() -> None:
    schedule, when = nightly(berlin(2026, 3, 28)), berlin(2026, 3, 28, 12)
    expected = [berlin(2026, 3, 29, 3, 0), berlin(2026, 3, 30, 2, 30), berlin(2026, 3, 31, 2, 30)]
    assert [at.timestamp() for at in schedule.upcoming(when - DAY, 4)] == [berlin(2026, 3, 28, 2, 30), *expected]
    assert schedule.upcoming(when, 2) == [utc(berlin(2026, 3, 28, 2, 30)), utc(expected[0])], "one is due already"
    assert dataclasses.replace(schedule, paused=True).upcoming(when, 3) == []
    assert schedule.words == "At 02:30 every day"
    assert dataclasses.replace(schedule, cron="@hourly").words == "At the start of every hour"


def test_now_may_be_a_datetime_of_any_zone() -> None:
    schedule, when = nightly(berlin(2026, 6, 1)), dt.datetime(2026, 6, 1, 2, 30, tzinfo=BERLIN)
    tokyo = when.astimezone(zoneinfo.ZoneInfo("Asia/Tokyo"))
    assert schedule.due(tokyo) == schedule.due(when) == [when]
    assert schedule.due(when)[0].tzinfo is dt.UTC
    assert schedule.next_at(tokyo) == when


@pytest.mark.parametrize("misfire", MISFIRES)
def test_nights_on_which_clocks_are_set_have_one_run(misfire: str) -> None:
    """In spring at 03:00, when the clock is set; in autumn at the first 02:30."""
    for date, expected in (
        ((2026, 3, 29), berlin(2026, 3, 29, 3, 0)),
        ((2026, 10, 25), berlin(2026, 10, 25, 2, 30)),
    ):
        schedule, found = nightly(berlin(*date), misfire=misfire), []
        for minute in range(24 * 60):
            for nominal in schedule.due(berlin(*date) + 60 * minute):
                schedule = schedule.ran(nominal)
                found.append(nominal.timestamp())
        assert found == [expected]


MISSED = [berlin(2026, 6, day, 2, 30) for day in range(1, 11)]


@pytest.mark.parametrize(
    ("fields", "late_s", "expected"),
    [
        ({"misfire": "once"}, 5 * HOUR, MISSED[-1:]),
        ({"misfire": "skip"}, 5 * HOUR, []),
        ({"misfire": "skip"}, 60.0, MISSED[-1:]),
        ({"misfire": "skip", "grace_s": 60}, 60.0, []),
        ({"misfire": "skip", "grace_s": 60}, 59.5, MISSED[-1:]),
        ({"misfire": "skip", "grace_s": 2 * DAY}, 5 * HOUR, MISSED[-2:]),
        ({"misfire": "skip", "grace_s": math.inf}, 5 * HOUR, MISSED),
        ({"misfire": "all"}, 5 * HOUR, MISSED),
    ],
)
def test_missed_runs(fields: dict[str, Any], late_s: float, expected: list[float]) -> None:
    """What becomes of ten nights, when the computer wakes so late after the last."""
    schedule, now = nightly(berlin(2026, 6, 1), **fields), MISSED[-1] + late_s
    assert times(schedule, now) == expected
    following = schedule.next_at(now)
    assert following == utc(expected[0] if expected else MISSED[-1] + DAY)


def test_making_up_is_bounded_and_keeps_the_newest() -> None:
    """Also after a jump of a lifetime, and without walking through it."""
    schedule = Schedule("often", "* * * * * *", utc(0), misfire="all")
    assert times(schedule, 3e9) == [3e9 - n for n in reversed(range(MAX_CATCH_UP))]
    assert times(dataclasses.replace(schedule, misfire="once"), 3e9) == [3e9]


@pytest.mark.parametrize("misfire", MISFIRES)
def test_a_clock_set_forward_and_back_again_runs_nothing_twice(misfire: str) -> None:
    schedule, found = nightly(berlin(2026, 6, 1), misfire=misfire), []
    at = berlin(2026, 6, 1)
    jumps = [0, HOUR, 3 * HOUR, -2 * HOUR, 2 * HOUR, DAY, -DAY, HOUR, DAY, -DAY, DAY, HOUR]
    for jump in jumps:
        at += jump
        for nominal in schedule.due(at):
            schedule = schedule.ran(nominal)
            found.append(nominal)
    assert len(found) == len(set(found))
    assert found == sorted(found)


def test_a_clock_that_was_years_ahead_does_not_silence_a_schedule() -> None:
    """Nor is the run repeated that it had then."""
    wrong, right = berlin(2050, 1, 1, 2, 30), berlin(2026, 6, 1)
    schedule = nightly(right - DAY).ran(utc(wrong))
    assert schedule.resynchronised(wrong - 2 * DAY) is schedule
    again = schedule.resynchronised(right)
    assert times(again, right + 3 * HOUR) == [berlin(2026, 6, 1, 2, 30)]
    assert times(schedule.resynchronised(wrong - 3 * DAY), wrong) == [wrong - DAY]


def test_what_a_paused_schedule_did_not_run_is_not_made_up_for() -> None:
    since = berlin(2026, 6, 1)
    paused = nightly(since, paused=True, misfire="all")
    assert paused.due(since + 9 * DAY) == []
    assert paused.next_at(since) is None
    resumed = paused.resumed(since + 9 * DAY)
    assert resumed.due(since + 9 * DAY) == []
    assert resumed.next_at(since + 9 * DAY) == utc(berlin(2026, 6, 10, 2, 30))
    assert resumed.resumed(since + 20 * DAY) is resumed


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"name": ""}, "name must be a text, and not empty; got ''"),
        ({"cron": 5}, "cron must be a text, and not empty; got 5"),
        ({"cron": "0 2 * *"}, "cron must have five fields"),
        ({"timezone": None}, "timezone must be a text"),
        ({"timezone": "Europe/Berln"}, "did you mean 'Europe/Berlin'"),
        ({"misfire": "onec"}, "misfire must be one of once, skip, all; did you mean 'once'\\?; got 'onec'"),
        ({"grace_s": -1}, "grace_s must be a number of seconds above 0; got -1"),
        ({"grace_s": math.nan}, "grace_s must be"),
        ({"since": dt.datetime(2026, 1, 1)}, "since must be seconds since the epoch or a datetime with a time zone"),
        ({"last_run_at": "yesterday"}, "last_run_at must be seconds since the epoch"),
    ],
)
def test_bad_input_is_refused_when_a_schedule_is_made(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message) as caught:
        Schedule(**{"name": "nightly", "cron": "0 2 * * *", "since": utc(0), **fields})
    assert caught.value.field == next(iter(fields))


@pytest.mark.parametrize("now", [math.nan, math.inf, None, dt.datetime(2026, 1, 1), True])
def test_a_now_without_a_meaning_is_refused(now: Any) -> None:
    with pytest.raises(InvalidInputError, match="now must be seconds since the epoch"):
        nightly(0).due(now)


def test_a_schedule_says_what_it_is() -> None:
    schedule = nightly(berlin(2026, 6, 1))
    assert str(schedule) == "nightly: 30 2 * * * Europe/Berlin, last run never"
    ran = dataclasses.replace(schedule.ran(utc(berlin(2026, 6, 1, 2, 30))), paused=True)
    assert str(ran) == "nightly: 30 2 * * * Europe/Berlin, last run 2026-06-01 02:30:00, paused"
    assert ran.zone is BERLIN


# ---- several -----------------------------------------------------------------------------------------


@pytest.fixture
def schedules(clock: Clock) -> Schedules:
    """Every ten minutes, every hour; the clock is at 16 min 40 s past."""
    found = Schedules()
    found.add(Schedule("often", "*/10 * * * *", utc(clock()), payload="a"))
    found.add(Schedule("hourly", "0 * * * *", utc(clock())))
    return found


def test_due_hands_out_each_run_once_in_order(schedules: Schedules, clock: Clock) -> None:
    assert schedules.due(clock()) == []
    clock.now = 3600
    runs = schedules.due(clock())
    assert [(s.name, t.timestamp()) for s, t in runs] == [("often", 3600), ("hourly", 3600)]
    assert [s.last_run_at for s, _ in runs] == [utc(3600)] * 2
    assert runs[0][0].payload == "a"
    assert schedules.due(clock()) == []
    assert schedules.get("hourly") == runs[1][0]


def test_each_of_several_runs_comes_with_the_schedule_after_it(clock: Clock) -> None:
    schedules = Schedules()
    schedules.add(Schedule("all", "*/10 * * * *", utc(0), misfire="all"))
    schedules.add(Schedule("once", "5 * * * *", utc(0)))
    runs = schedules.due(1200)
    assert [(s.name, t.timestamp()) for s, t in runs] == [("once", 300), ("all", 600), ("all", 1200)]
    assert [s.last_run_at for s, _ in runs] == [t for _, t in runs]


def test_the_wait_is_to_the_next_run_and_bounded(schedules: Schedules, clock: Clock) -> None:
    assert schedules.next_at(clock()) == utc(1200)
    assert schedules.wait_s(clock()) == MAX_WAIT_S
    assert schedules.wait_s(1190.5) == 9.5
    assert schedules.wait_s(1200) == 0
    assert schedules.wait_s(5000) == 0
    schedules.due(5000)
    assert schedules.wait_s(1190) == MAX_WAIT_S  # set back: nothing until the clock is there again
    assert schedules.next_at(1190) == utc(5400)


def test_nothing_is_waited_for_without_schedules_or_with_all_paused(schedules: Schedules, clock: Clock) -> None:
    assert Schedules().wait_s(clock()) is None
    for name in ("often", "hourly"):
        assert schedules.pause(name).paused
    assert schedules.wait_s(clock()) is None
    assert schedules.next_at(clock()) is None
    assert not schedules.resume("hourly", 7300).paused
    assert schedules.due(7300) == []
    assert schedules.next_at(7300) == utc(10800)


def test_due_goes_on_when_the_clock_was_years_ahead(schedules: Schedules) -> None:
    schedules.due(2e9)
    assert schedules.due(5400) == []
    assert [t.timestamp() for _, t in schedules.due(6000)] == [6000]


def test_names_are_unique_and_known(schedules: Schedules, clock: Clock) -> None:
    other = Schedule("often", "0 0 * * *", utc(clock()))
    with pytest.raises(InvalidInputError, match="there is a schedule 'often'; remove it, or say replace=True"):
        schedules.add(other)
    schedules.add(other, replace=True)
    assert list(schedules) == [other, schedules.get("hourly")]
    assert schedules.remove("often") == other
    assert len(schedules) == 1
    for use in (schedules.get, schedules.remove, schedules.pause, lambda name: schedules.resume(name, clock())):
        with pytest.raises(RequestNotFoundError, match="there is no schedule 'hourli'; did you mean 'hourly'"):
            use("hourli")


def test_a_run_is_handed_to_one_of_several_threads(in_threads: Any) -> None:
    schedules = Schedules()
    schedules.add(Schedule("often", "* * * * *", utc(0), misfire="all"))
    found = in_threads(*[lambda: [schedules.due(60 * minute) for minute in range(200)]] * 4)
    handed_out = [t for per_thread in found for runs in per_thread for _, t in runs]
    assert sorted(handed_out) == [utc(60 * minute) for minute in range(1, 200)]


# ---- any clock ---------------------------------------------------------------------------------------


class ClockMachine(RuleBasedStateMachine):
    """Schedules against lists: all runs of two weeks, those handed out, and the last of these.

    Clocks are set during these weeks in two of the zones; the machine's clock is set as it likes, though never more
    than two days behind a run that was handed out.
    """

    CASES = (
        ("30 2 * * *", "Europe/Berlin"),
        ("*/15 1-3 * * *", "Europe/Berlin"),
        ("45 1,2 * * *", "Australia/Lord_Howe"),
        ("0 */3 * * 0,1", "America/New_York"),
        ("5 0 * * *", "Asia/Kathmandu"),
    )
    BEGIN = dt.datetime(2026, 10, 20, tzinfo=dt.UTC).timestamp()

    @initialize(misfires=st.lists(st.sampled_from(MISFIRES), min_size=len(CASES), max_size=len(CASES)))
    def begin(self, misfires: list[str]) -> None:
        self.now = self.BEGIN
        self.schedules = Schedules()
        self.runs: dict[str, list[float]] = {}
        self.after: dict[str, float] = {}
        self.paused: set[str] = set()
        self.handed_out: list[tuple[str, float]] = []
        for (cron, zone), misfire in zip(self.CASES, misfires, strict=True):
            name = f"{cron} {zone}"
            self.schedules.add(Schedule(name, cron, utc(self.now), zone, misfire))
            self.runs[name] = list(Cron(cron, zone).between(self.BEGIN - 9 * DAY, self.BEGIN + 60 * DAY))[::-1]
            self.after[name] = self.now

    @rule(seconds=st.floats(0, 120) | st.floats(0, DAY), times=st.integers(1, 5))
    def time_passes(self, seconds: float, times: int) -> None:
        for _ in range(times):
            self.now += seconds
            self.look()

    @rule(days=st.floats(0, 3))
    def clock_is_set_forward(self, days: float) -> None:
        self.now = min(self.now + days * DAY, self.BEGIN + 50 * DAY)
        self.look()

    @rule(days=st.floats(0, 2))
    def clock_is_set_back(self, days: float) -> None:
        self.now = max(self.now - days * DAY, max(self.after.values()) - 2 * DAY + 1)
        self.look()

    @rule(case=st.sampled_from(CASES))
    def pause(self, case: tuple[str, str]) -> None:
        self.schedules.pause(" ".join(case))
        self.paused.add(" ".join(case))

    @precondition(lambda self: self.paused)
    @rule(data=st.data())
    def resume(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.paused)))
        self.schedules.resume(name, self.now)
        self.paused.remove(name)
        self.after[name] = max(self.after[name], self.now)

    def look(self) -> None:
        expected = []
        for schedule in self.schedules:
            late = [t for t in self.runs[schedule.name] if self.after[schedule.name] < t <= self.now]
            if schedule.name in self.paused:
                late = []
            elif schedule.misfire == "once":
                late = late[-1:]
            elif schedule.misfire == "skip":
                late = [t for t in late if self.now - t < schedule.grace_s]
            else:
                late = late[-MAX_CATCH_UP:]
            expected += [(t, schedule.name) for t in late]
        waits = self.schedules.wait_s(self.now)
        assert (waits == 0) == bool(expected)
        found = [(t.timestamp(), s.name) for s, t in self.schedules.due(self.now)]
        assert sorted(found) == sorted(expected)
        assert [t for t, _ in found] == sorted(t for t, _ in found)
        for t, name in found:
            self.after[name] = t
        self.handed_out += [(name, t) for t, name in found]
        assert self.schedules.due(self.now) == []
        coming = [t for n, runs in self.runs.items() if n not in self.paused for t in runs if t > self.after[n]]
        upcoming = min((t for t in coming if t > self.now), default=None)
        assert self.schedules.next_at(self.now) == (None if upcoming is None else utc(upcoming))

    def teardown(self) -> None:
        if hasattr(self, "handed_out"):
            assert len(self.handed_out) == len(set(self.handed_out))
            by_name = itertools.groupby(sorted(self.handed_out, key=lambda run: run[0]), key=lambda run: run[0])
            for _, runs in by_name:
                given_out = [t for _, t in runs]
                assert given_out == sorted(given_out)


ClockMachine.TestCase.settings = settings(max_examples=40, stateful_step_count=30)
TestAnyClock = ClockMachine.TestCase


@given(now=st.floats(0, 4e9), since=st.floats(0, 4e9), cron=st.sampled_from(["* * * * *", "0 2 * * *", "0 0 1 1 *"]))
def test_looking_at_the_next_run_and_then_waiting_for_it_finds_it(now: float, since: float, cron: str) -> None:
    schedule = Schedule("any", cron, utc(since), "Europe/Berlin")
    following = schedule.next_at(now)
    assert following is not None
    at = following.timestamp()
    assert times(schedule, max(at, now)) == [at]
    assert at <= now or times(schedule, at - 1) == []
