"""What holds in a queue between two calls; the tests look after each step. The cost grows with what is there."""

from __future__ import annotations

from collections import Counter

from bgsim.priority import Priority
from bgsim.queue.core import QueueCore
from bgsim.queue.entry import Entry, EntryState
from bgsim.queue.order import ServiceOrder
from bgsim.queue.timetable import Event, Timetable


def check(core: QueueCore, now: float) -> None:
    """Assert all of it; `now` is the time of the last `advance`."""
    entries = {id(entry): entry for entry in core.by_id.values()}.values()
    for entry in entries:
        _check_entry(entry, core)
    assert len(core.by_id) == sum(len(entry.members) for entry in entries)
    assert core.joined == len(core.by_id) - len(entries)
    assert all(entry.key == key and entry.members for key, entry in core.by_key.items())
    assert set(core.newest.words().values()) <= set(core.by_id)
    _check_order(core.order, [entry for entry in entries if entry.state is not EntryState.PROCESSING], now)


def _check_entry(entry: Entry, core: QueueCore) -> None:
    members = entry.members.values()
    assert all(core.by_id[member.id] is entry for member in members)
    assert entry.key is None or core.by_key[entry.key] is entry
    assert entry.priority is max(member.priority for member in members)
    assert entry.replicates == max(member.replicates for member in members)
    assert entry.level == min(entry.priority + entry.aged, Priority.CRITICAL)
    assert entry.state is not EntryState.GONE


def _check_order(order: ServiceOrder, waiting: list[Entry], now: float) -> None:
    assert order.waiting == len(waiting)
    assert {id(entry) for entry in order.entries()} == {id(entry) for entry in waiting}
    assert order.by_priority == [sum(entry.priority is p for entry in waiting) for p in Priority]
    ready, moved = order.ready.copy(), order.moved.copy()
    for state, entries in _by_state(order).items():
        assert all(entry.state is state for entry in entries), state
    assert order.delayed == sum(entry.state is EntryState.DELAYED for entry in waiting)
    assert all(entry.place == place for place, entry in order.places().items())
    assert all(entry.moved and key == (entry.since, entry.sequence) for key, entry in moved.items())
    assert len(moved) == sum(entry.moved for entry in order.places().values())
    stay = [entry.since for entry in ready.values() if not entry.moved]
    assert stay == sorted(stay)
    order.ready.check()
    order.moved.check()
    _check_groups(order, waiting, now)
    _check_timetable(order.timetable, now)


def _by_state(order: ServiceOrder) -> dict[EntryState, list[Entry]]:
    return {
        EntryState.READY: list(order.ready.copy().values()),
        EntryState.PARKED: [entry for group in order.groups for entry in group.parked.copy().values()],
        EntryState.DELAYED: [value for key, value in order.timetable.copy().items() if key[1] is Event.DUE],
    }


def _check_groups(order: ServiceOrder, waiting: list[Entry], now: float) -> None:
    counts = Counter(entry.group for entry in waiting if entry.group is not None)
    assert counts == Counter({group.name: group.waiting for group in order.groups})
    for group in order.groups:
        group.parked.check()
        assert group.limit is None or 0 <= group.processing <= group.limit
        assert group.limit is not None or group.rate is not None or group.waiting or group.processing
        assert group.watched_for == (group.reopens_at() if len(group.parked) else float("inf"))
        ready = [entry.place for entry in order.ready.copy().values() if entry.group == group.name]
        parked = list(group.parked.copy())
        room = max(group.room(now), 0)
        assert set(sorted(ready + parked)[:room]) <= set(ready), "the best of a group with room are not ready"


def _check_timetable(timetable: Timetable, now: float) -> None:
    timetable.check()
    assert timetable.next_at() > now
