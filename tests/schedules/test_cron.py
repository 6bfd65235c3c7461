"""Cron expressions: against a clock that is walked minute by minute, and against cronsim where cronsim is right."""

from __future__ import annotations

import datetime as dt
import sys
import zoneinfo
from collections.abc import Iterator
from dataclasses import dataclass

import cronsim
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bgsim.errors import InvalidInputError, MissingExtraError
from bgsim.schedules.cron import Cron

CHANGES = {
    "Europe/Berlin": [(2026, 3, 29), (2026, 10, 25)],
    "America/New_York": [(2026, 3, 8), (2026, 11, 1)],
    "Australia/Lord_Howe": [(2026, 4, 5), (2026, 10, 4)],  # by half an hour
    "America/Santiago": [(2026, 4, 5), (2026, 9, 6)],  # at midnight
    "Africa/Cairo": [(2026, 4, 24), (2026, 10, 30)],  # at midnight, on a Friday
    "Asia/Kathmandu": [(2026, 3, 29)],  # never, 5 h 45 ahead of UTC
}
"""Dates on which clocks are set."""


@dataclass(frozen=True)
class Fields:
    """A cron expression as sets; None is a star."""

    minutes: frozenset[int] | None
    hours: frozenset[int] | None
    days: frozenset[int] | None
    weekdays: frozenset[int] | None

    def __str__(self) -> str:
        fields = (self.minutes, self.hours, self.days, None, self.weekdays)
        return " ".join("*" if f is None else ",".join(map(str, sorted(f))) for f in fields)

    def match(self, wall: dt.datetime) -> bool:
        """Tell whether a minute on the wall matches: days and weekdays are alternatives when both are given."""
        on = [
            value in wanted
            for wanted, value in ((self.days, wall.day), (self.weekdays, wall.isoweekday() % 7))
            if wanted is not None
        ]
        return (
            (self.minutes is None or wall.minute in self.minutes)
            and (self.hours is None or wall.hour in self.hours)
            and (not on or any(on))
        )


def walk(fields: Fields, zone: zoneinfo.ZoneInfo, start: int, minutes: int) -> Iterator[int]:
    """Yield the runs as a daemon would have them that looks at the wall every minute.

    It runs an expression that names its times also for the minutes that were left out, and not for those that it has
    seen before.
    """
    fixed = fields.minutes is not None and fields.hours is not None
    seen: set[dt.datetime] = set()
    wall = None
    for instant in range(start - 86_400, start + 60 * minutes, 60):
        before, wall = wall, dt.datetime.fromtimestamp(instant, zone).replace(tzinfo=None)
        passed = [wall]
        if fixed and before is not None:
            left_out = int((wall - before).total_seconds()) // 60
            passed = [wall - dt.timedelta(minutes=m) for m in range(left_out)]
        due = any(fields.match(minute) and not (fixed and minute in seen) for minute in passed)
        seen.update(passed)
        if due and instant >= start:
            yield instant


@st.composite
def windows(draw: st.DrawFn) -> tuple[str, int]:
    """Return a zone, and an instant up to three days before clocks are set there."""
    name = draw(st.sampled_from(sorted(CHANGES)))
    date = dt.datetime(*draw(st.sampled_from(CHANGES[name])), tzinfo=zoneinfo.ZoneInfo(name))
    return name, int(date.timestamp()) - 60 * draw(st.integers(0, 3 * 1440))


def some(low: int, high: int) -> st.SearchStrategy[frozenset[int] | None]:
    return st.none() | st.frozensets(st.integers(low, high), min_size=1, max_size=4)


expressions = st.builds(
    Fields,
    minutes=some(0, 59),
    hours=st.none() | st.frozensets(st.integers(0, 4) | st.integers(22, 23), min_size=1),
    days=some(1, 31),
    weekdays=some(0, 6),
)

NIGHT = frozenset({2})
BERLIN_SPRING, BERLIN_AUTUMN = 1774738800, 1792879200  # midnight of the two Sundays


@given(fields=expressions, window=windows(), length=st.integers(1, 5 * 1440))
@example(fields=Fields(frozenset({15, 45}), NIGHT, None, None), window=("Europe/Berlin", BERLIN_SPRING), length=1440)
@example(fields=Fields(frozenset({30}), NIGHT, None, None), window=("Europe/Berlin", BERLIN_AUTUMN), length=1440)
@example(fields=Fields(None, NIGHT, None, None), window=("Australia/Lord_Howe", 1775307600), length=1440)
@example(fields=Fields(frozenset({30}), None, None, None), window=("Australia/Lord_Howe", 1775307600), length=1440)
@example(fields=Fields(frozenset({0, 30}), None, None, None), window=("America/Santiago", 1788580800), length=2880)
def test_every_minute_of_weeks_in_which_clocks_are_set(fields: Fields, window: tuple[str, int], length: int) -> None:
    name, start = window
    expected = list(walk(fields, zoneinfo.ZoneInfo(name), start, length))
    cron, end = Cron(str(fields), name), start + 60 * (length - 1)

    found, at = [], cron.after(start - 1)
    while at is not None and at <= end:
        found.append(at)
        at = cron.after(at)
    assert found == expected
    assert list(cron.between(start - 1, end)) == expected[::-1]


@given(fields=expressions, window=windows(), split=st.integers(0, 86_400))
def test_any_moment_may_be_asked_from(fields: Fields, window: tuple[str, int], split: int) -> None:
    """Also one in the hour that comes twice, and one between two seconds."""
    name, start = window
    cron = Cron(str(fields), name)
    whole = list(cron.between(start, start + 86_400))
    assert [*cron.between(start + split + 0.5, start + 86_400), *cron.between(start, start + split + 0.5)] == whole
    later = [t for t in whole if t > start + split + 0.5]
    found = cron.after(start + split + 0.5)
    assert found is not None
    assert found == later[-1] if later else found > start + 86_400


steps = st.sampled_from(["*", "*/7", "5", "0,30", "10-40/15"])


@given(
    expression=st.tuples(
        steps,
        st.sampled_from(["*", "*/5", "2", "1-3", "0,12"]),
        st.sampled_from(["*", "1", "L", "LW", "*/10", "28-31"]),
        st.sampled_from(["*", "3", "OCT", "3,10,11"]),
        st.sampled_from(["*", "0", "SUN", "MON-FRI", "7L", "1#2"]),
    ),
    name=st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu"]),
    hours=st.integers(0, 365 * 24),
)
def test_as_cronsim_where_clocks_are_set_by_an_hour_at_night(
    expression: tuple[str, ...], name: str, hours: int
) -> None:
    start = dt.datetime(2026, 1, 1, tzinfo=dt.UTC) + dt.timedelta(hours=hours)
    theirs = cronsim.CronSim(" ".join(expression), start.astimezone(zoneinfo.ZoneInfo(name)))
    ours, at = Cron(" ".join(expression), name), start.timestamp()
    for _ in range(100):
        expected = next(theirs).timestamp()
        if expected <= at:  # cronsim takes the second of two equal times for the first
            expected = next(theirs).timestamp()
        found = ours.after(at)
        assert found == expected
        at = found


@pytest.mark.parametrize(
    ("cron", "zone", "date", "runs"),
    [
        ("30 2 * * *", "Europe/Berlin", (2026, 3, 29), ["03:00+0200"]),
        ("15,45 2 * * *", "Europe/Berlin", (2026, 3, 29), ["03:00+0200"]),
        ("*/30 2 * * *", "Europe/Berlin", (2026, 3, 29), []),
        ("30 2 * * *", "Europe/Berlin", (2026, 10, 25), ["02:30+0200"]),
        ("*/30 2 * * *", "Europe/Berlin", (2026, 10, 25), ["02:00+0200", "02:30+0200", "02:00+0100", "02:30+0100"]),
        ("0 30 2 * * *", "Europe/Berlin", (2026, 10, 25), ["02:30+0200", "02:30+0100"]),
        ("45 1 * * *", "Australia/Lord_Howe", (2026, 4, 5), ["01:45+1100"]),
        ("15 2 * * *", "Australia/Lord_Howe", (2026, 10, 4), ["02:30+1100"]),
        ("30 0 * * *", "America/Santiago", (2026, 9, 6), ["01:00-0300"]),
        ("30 23 * * *", "America/Santiago", (2026, 4, 4), ["23:30-0300"]),
    ],
)
def test_what_the_documents_say(cron: str, zone: str, date: tuple[int, int, int], runs: list[str]) -> None:
    where = zoneinfo.ZoneInfo(zone)
    start = dt.datetime(*date, tzinfo=where).timestamp()
    end = (dt.datetime(*date, tzinfo=where) + dt.timedelta(days=1)).timestamp()
    found = [dt.datetime.fromtimestamp(t, where) for t in Cron(cron, zone).between(start - 1, end - 1)]
    assert [f"{t:%H:%M%z}" for t in found[::-1]] == runs


def test_seconds() -> None:
    cron = Cron("*/20 * * * * *", "UTC")
    assert [cron.after(t) for t in (0, 19.5, 20, 59)] == [20, 20, 40, 60]
    assert list(cron.between(0, 60)) == [60, 40, 20]


def test_rare_days_are_found_in_both_directions() -> None:
    cron = Cron("0 0 * 2 MON#5", "UTC")
    at = dt.datetime(2073, 1, 1, tzinfo=dt.UTC).timestamp()
    found = cron.after(at)
    assert found == dt.datetime(2112, 2, 29, tzinfo=dt.UTC).timestamp()
    before = dt.datetime(2072, 2, 29, tzinfo=dt.UTC).timestamp()
    assert list(cron.between(before - 1, at)) == [before]
    assert list(cron.between(before, at)) == []


@pytest.mark.parametrize(
    ("cron", "why"),
    [
        ("0 2 * *", "wrong number of fields"),
        ("60 2 * * *", "bad minute"),
        ("0 24 * * *", "bad hour"),
        ("0 2 31 2 *", "bad day-of-month"),
        ("0 2 * * FUN", "bad day-of-week"),
        ("@dayly", "the names are .*; did you mean '@daily'\\?"),
        ("@reboot", "the names are @yearly.*"),
        ("", "wrong number of fields"),
        ("\0", "wrong number of fields"),
        ("٣ 2 * * *", "bad minute"),
        ("１ 2 * * *", "bad minute"),
        ("*/0 2 * * *", "bad minute"),
        ("5-1 2 * * *", "bad minute"),
        ("\ud800 2 * * *", "bad minute"),
        ("0 0 31 4,6 *", "bad day-of-month"),
        ("9" * 900 + " 2 * * *", "bad minute"),
        ("*/" + "9" * 5000 + " 2 * * *", "it must have at most 1,000 characters"),
        (" ".join("*" * 10_000), "it must have at most 1,000 characters"),
        ("1," * 50_000 + "1 2 * * *", "it must have at most 1,000 characters"),
        ("* * */20 * 1L", "no day matches it"),
    ],
)
def test_a_bad_expression_is_refused(cron: str, why: str) -> None:
    with pytest.raises(InvalidInputError, match=rf"cron must have five fields, .*; {why}; got '") as caught:
        Cron(cron, "UTC")
    assert (caught.value.field, caught.value.value) == ("cron", cron)


@pytest.mark.parametrize("cron", [5, None, b"0 2 * * *", ["0 2 * * *"], 10**5000], ids=range(5))
def test_what_is_no_text_is_refused(cron: object) -> None:
    with pytest.raises(InvalidInputError, match="it must be a text"):
        Cron(cron, "UTC")  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match="timezone must be a name"):
        Cron("0 2 * * *", cron)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("@yearly", "0 0 1 1 *"),
        ("@annually", "0 0 1 1 *"),
        ("@monthly", "0 0 1 * *"),
        ("@weekly", "0 0 * * SUN"),
        ("@daily", "0 0 * * *"),
        ("@midnight", "0 0 * * *"),
        ("@hourly", "0 * * * *"),
        (" @Daily\n", "0 0 * * *"),
    ],
)
def test_names(name: str, fields: str) -> None:
    """Also where clocks are set: at midnight, and by half an hour."""
    for zone, changes in CHANGES.items():
        start = dt.datetime(*changes[0], tzinfo=dt.UTC).timestamp() - 3 * 86_400
        end = start + (400 if name in ("@yearly", "@annually") else 40) * 86_400
        found = list(Cron(name, zone).between(start, end))
        assert found == list(Cron(fields, zone).between(start, end))
        assert found


@pytest.mark.parametrize("zone", ["Europe/Berln", "europe/berlin", "../etc/passwd", "Europe", "/UTC"])
def test_an_unknown_zone_is_refused_with_the_nearest(zone: str) -> None:
    with pytest.raises(InvalidInputError, match=r"timezone must be a name of the IANA database") as caught:
        Cron("0 2 * * *", zone)
    assert (caught.value.field, caught.value.value) == ("timezone", zone)
    assert zone.lower()[:9] != "europe/be" or "did you mean 'Europe/Berlin'" in str(caught.value)


def test_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zoneinfo, "available_timezones", set)
    with pytest.raises(MissingExtraError, match="pip install tzdata"):
        Cron("0 2 * * *", "Nowhere/Here")
    monkeypatch.setitem(sys.modules, "cronsim", None)
    with pytest.raises(MissingExtraError, match="pip install cronsim"):
        Cron("0 2 * * *", "UTC")
