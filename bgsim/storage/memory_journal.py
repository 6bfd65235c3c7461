"""The journal of a store in memory, which ends with the process."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TypeVar

from bgsim.storage.journal import MAX_DEAD_LETTERS, DeadLetter, Journal, PendingRequest, ScheduledRequest
from bgsim.storage.large_values import SharedValues
from bgsim.storage.owners import Owner
from bgsim.threads.locks import Lock

_Entry = TypeVar("_Entry", PendingRequest, DeadLetter, ScheduledRequest)

_ENTRY_BYTES = 2000


class MemoryJournal(Journal):
    """Requests, dead letters and schedules in dictionaries.

    Parameters
    ----------
    clock : callable
        Seconds since the epoch.

    Attributes
    ----------
    values : SharedValues
        Large values of parameters, each once for all entries, which have the short text.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self.values = SharedValues()
        # Guards all below; nothing that blocks is called under it.
        self._lock = Lock()
        self._owners: dict[str, Owner] = {}
        self._requests: dict[str, PendingRequest] = {}
        self._letters: dict[str, DeadLetter] = {}  # the oldest first
        self._schedules: dict[str, ScheduledRequest] = {}

    @property
    def size_bytes(self) -> int:
        """About what the journal takes."""
        return self.values.size_bytes + _ENTRY_BYTES * (len(self._requests) + len(self._letters) + len(self._schedules))

    # ---- owners --------------------------------------------------------------------------------------

    def register(self, owner: str) -> None:
        found = Owner.here(owner, self._clock())
        with self._lock:
            self._owners[owner] = found

    def heartbeat(self, owner: str) -> None:
        self.register(owner)

    def release(self, owner: str) -> None:
        with self._lock:
            self._owners.pop(owner, None)

    # ---- pending requests ----------------------------------------------------------------------------

    def add(self, request: PendingRequest) -> None:
        with self._lock:
            self._put(self._requests, request.id, request)

    def start(self, id: str) -> None:
        with self._lock:
            if id in self._requests:
                self._requests[id] = replace(self._requests[id], started=True)

    def remove(self, id: str) -> None:
        with self._lock:
            self._pop(self._requests, id)

    def interrupted(self) -> list[PendingRequest]:
        with self._lock:
            return [self._whole(request) for request in self._interrupted()]

    def claim(self, owner: str, ids: Iterable[str] | None = None) -> list[PendingRequest]:
        wanted = None if ids is None else set(ids)
        with self._lock:
            found = [
                replace(r, owner=owner, crashes=r.crashes + r.started, started=False)
                for r in self._interrupted()
                if wanted is None or r.id in wanted
            ]
            self._requests.update((r.id, r) for r in found)
            return [self._whole(request) for request in found]

    def _interrupted(self) -> list[PendingRequest]:
        now = self._clock()
        alive = {name for name, owner in self._owners.items() if owner.is_alive(now)}
        return sorted((r for r in self._requests.values() if r.owner not in alive), key=lambda r: r.submitted_at)

    # ---- dead letters --------------------------------------------------------------------------------

    def add_dead_letter(self, letter: DeadLetter) -> None:
        with self._lock:
            self._pop(self._letters, letter.id)
            self._put(self._letters, letter.id, letter)
            while len(self._letters) > MAX_DEAD_LETTERS:
                self._pop(self._letters, next(iter(self._letters)))

    def dead_letters(self) -> list[DeadLetter]:
        with self._lock:
            return [self._whole(letter) for letter in reversed(self._letters.values())]

    def take_dead_letter(self, id: str) -> DeadLetter | None:
        with self._lock:
            return self._pop(self._letters, id)

    # ---- schedules -----------------------------------------------------------------------------------

    def put_schedule(self, schedule: ScheduledRequest) -> None:
        with self._lock:
            old = self._schedules.get(schedule.name)
            if old is not None and (old.cron, old.timezone) == (schedule.cron, schedule.timezone):
                schedule = replace(schedule, last_run_at=old.last_run_at)
            self._put(self._schedules, schedule.name, schedule)

    def schedules(self) -> list[ScheduledRequest]:
        with self._lock:
            return [self._whole(self._schedules[name]) for name in sorted(self._schedules)]

    def remove_schedule(self, name: str) -> bool:
        with self._lock:
            return self._pop(self._schedules, name) is not None

    def mark_schedule_run(self, name: str, last_run_at: str | None, previous: str | None) -> bool:
        with self._lock:
            found = self._schedules.get(name)
            if found is None or found.last_run_at != previous:
                return False
            self._schedules[name] = replace(found, last_run_at=last_run_at)
            return True

    def flush(self) -> None:
        """Do nothing: there is nothing that could outlive the process."""

    # ---- entries, under the lock -----------------------------------------------------------------------

    def _put(self, entries: dict[str, _Entry], key: str, entry: _Entry) -> None:
        short = self.values.add(entry.parameters)
        self._pop(entries, key)
        entries[key] = entry if short is entry.parameters else replace(entry, parameters=short)

    def _pop(self, entries: dict[str, _Entry], key: str) -> _Entry | None:
        entry = entries.pop(key, None)
        if entry is None:
            return None
        found = self._whole(entry)
        self.values.remove(entry.parameters)
        return found

    def _whole(self, entry: _Entry) -> _Entry:
        text = self.values.whole(entry.parameters)
        return entry if text is entry.parameters else replace(entry, parameters=text)
