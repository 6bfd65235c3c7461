"""What holds in a queue between two calls; the tests look after each step. The cost grows with what is there."""

from __future__ import annotations

from collections import Counter

from bgsim.queue.core import Roster
from bgsim.queue.entry import Entry, EntryState
from bgsim.queue.order import ServiceLine
from bgsim.queue.request import Priority
from bgsim.queue.timetable import Event, Timetable


def check(roster: Roster, now: float) -> None:
    """Assert all of it; `now` is the time of the last `advance`."""
    entries = {id(entry): entry for entry in roster.by_id.values()}.values()
    for entry in entries:
        _check_entry(entry, roster)
    assert len(roster.by_id) == sum(len(entry.members) for entry in entries)
    assert roster.joined == len(roster.by_id) - len(entries)
    assert all(entry.key == key and entry.members for key, entry in roster.by_key.items())
    assert set(roster.newest.words().values()) <= set(roster.by_id)
    _check_line(roster.line, [entry for entry in entries if entry.state is not EntryState.PROCESSING], now)


def _check_entry(entry: Entry, roster: Roster) -> None:
    members = entry.members.values()
    assert all(roster.by_id[member.id] is entry for member in members)
    assert entry.key is None or roster.by_key[entry.key] is entry
    assert entry.priority is max(member.priority for member in members)
    assert entry.replicates == max(member.replicates for member in members)
    assert entry.level == min(entry.priority + entry.aged, Priority.CRITICAL)
    assert entry.state is not EntryState.GONE


def _check_line(line: ServiceLine, waiting: list[Entry], now: float) -> None:
    assert line.waiting == len(waiting)
    assert {id(entry) for entry in line.entries()} == {id(entry) for entry in waiting}
    assert line.by_priority == [sum(entry.priority is p for entry in waiting) for p in Priority]
    ready, moved = line.ready.copy(), line.moved.copy()
    for state, entries in _by_state(line).items():
        assert all(entry.state is state for entry in entries), state
    assert line.delayed == sum(entry.state is EntryState.DELAYED for entry in waiting)
    assert all(entry.place == place for place, entry in line.places().items())
    assert all(entry.moved and key == (entry.since, entry.sequence) for key, entry in moved.items())
    assert len(moved) == sum(entry.moved for entry in line.places().values())
    stay = [entry.since for entry in ready.values() if not entry.moved]
    assert stay == sorted(stay)
    line.ready.check()
    line.moved.check()
    _check_groups(line, waiting, now)
    _check_timetable(line.timetable, now)


def _by_state(line: ServiceLine) -> dict[EntryState, list[Entry]]:
    return {
        EntryState.READY: list(line.ready.copy().values()),
        EntryState.PARKED: [entry for group in line.groups for entry in group.parked.copy().values()],
        EntryState.DELAYED: [value for key, value in line.timetable.copy().items() if key[1] is Event.DUE],
    }


def _check_groups(line: ServiceLine, waiting: list[Entry], now: float) -> None:
    counts = Counter(entry.group for entry in waiting if entry.group is not None)
    assert counts == Counter({group.name: group.waiting for group in line.groups})
    for group in line.groups:
        group.parked.check()
        assert group.limit is None or 0 <= group.processing <= group.limit
        assert group.limit is not None or group.rate is not None or group.waiting or group.processing
        assert group.watched_for == (group.reopens_at() if len(group.parked) else float("inf"))
        ready = [entry.place for entry in line.ready.copy().values() if entry.group == group.name]
        parked = list(group.parked.copy())
        room = max(group.room(now), 0)
        assert set(sorted(ready + parked)[:room]) <= set(ready), "the best of a group with room are not ready"


def _check_timetable(timetable: Timetable, now: float) -> None:
    timetable.check()
    assert timetable.next_at() > now
