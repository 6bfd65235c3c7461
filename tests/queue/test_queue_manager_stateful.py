"""The queue against a plain model: a list that is sorted anew for each question."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import pytest
from conftest import Clock
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from bgsim.errors import InvalidInputError, QueueFullError, RequestNotFoundError
from bgsim.queue_manager import EntryState, Priority, SimulationQueue, SimulationRequest

CAPACITY = 6
LIMITS = {"one": 1, "both": 2}
RATES = {"rate": (2, 4.0), "both": (1, 2.0)}

priorities = st.sampled_from(Priority)
# Each example draws from a few keys and groups of its own, so that its requests meet.
keys = st.runner().flatmap(lambda machine: st.sampled_from(machine.keys))
groups = st.runner().flatmap(lambda machine: st.sampled_from(machine.groups))
# Halves are exact, so that model and queue agree on what comes first.
times = st.integers(0, 12).map(lambda n: n / 2)


@dataclass
class Member:
    """A request, as the model sees it."""

    id: str
    priority: Priority
    replicates: int
    word: str | None
    due_at: float
    expires_at: float


@dataclass
class Run:
    """What is served: a row of members in the order in which they came."""

    number: int
    key: str | None
    group: str | None
    members: list[Member] = field(default_factory=list)
    due: bool = False  # got or released at least once, so its members' times count no more
    held_until: float = -math.inf
    processing: bool = False
    since: float | None = None  # from when on it has been due without a break

    @property
    def priority(self) -> Priority:
        return max(m.priority for m in self.members)

    @property
    def due_at(self) -> float:
        return max(self.held_until, -math.inf if self.due else min(m.due_at for m in self.members))


class Model:
    """All that the queue promises, in the plainest way: nothing is kept in order, everything is looked for."""

    def __init__(self, age_after_s: float | None) -> None:
        self.age_after_s = age_after_s
        self.runs: list[Run] = []
        self.starts: dict[str, list[float]] = {}
        self.newest: dict[str, str] = {}  # word -> id
        self.bursts: dict[str, float] = {}  # word -> when it began
        self.numbers = 0
        self.expired: list[str] = []

    # What time does, event by event.

    def advance(self, now: float) -> None:
        while True:
            waiting = [r for r in self.runs if not r.processing]
            expiring = [(m.expires_at, 0, m.id) for r in waiting for m in r.members if m.expires_at <= now]
            becoming = [(r.due_at, 1, r.number) for r in waiting if r.since is None and r.due_at <= now]
            if not expiring and not becoming:
                return
            when, what, which = min([*expiring, *becoming])
            if what == 0:
                self.expired.append(which)
                self.leave(which, when)
            else:
                next(r for r in waiting if r.number == which).since = when

    def settle(self, run: Run, now: float) -> None:
        """A waiting run is due or not, by its members."""
        if run.processing or run not in self.runs:
            return
        if run.due_at > now:
            run.since = None
        elif run.since is None:
            run.since = now

    # What callers do.

    def find(self, request_id: str) -> tuple[Run, Member] | None:
        return next(((r, m) for r in self.runs for m in r.members if m.id == request_id), None)

    def leave(self, request_id: str, now: float) -> Run:
        run, member = self.find(request_id)
        run.members.remove(member)
        if member.word is not None and self.newest.get(member.word) == request_id:
            del self.newest[member.word]
            self.bursts.pop(member.word, None)
        if run.members:
            self.settle(run, now)
        elif not run.processing:
            self.runs.remove(run)
        return run

    def put(self, request: SimulationRequest, now: float) -> tuple[bool, list[str], list[str]] | None:
        """Return joined, dropped, to_cancel; None for no room."""
        run = next((r for r in self.runs if r.members and r.key is not None and r.key == request.key), None)
        older = self.newest.get(request.supersede) if request.supersede is not None else None
        waiting = [r for r in self.runs if not r.processing]
        if run is None and older is not None:
            old_run = self.find(older)[0]
            if not old_run.processing and len(old_run.members) == 1:
                waiting.remove(old_run)
        if run is None and len(waiting) >= CAPACITY:
            return None
        due = now + request.delay_s
        if request.debounce_s is not None:
            began = self.bursts.setdefault(request.supersede, now)
            wait = math.inf if request.max_wait_s is None else request.max_wait_s
            due = max(due, min(now + request.debounce_s, began + wait))
        joined = run is not None
        if run is None:
            run = Run(self.numbers, request.key, request.group)
            self.numbers += 1
            self.runs.append(run)
        expires = math.inf
        if request.queue_timeout_s is not None and not run.processing:
            expires = now + request.queue_timeout_s
        run.members.append(Member(request.id, request.priority, request.replicates, request.supersede, due, expires))
        self.settle(run, now)
        if request.supersede is not None:
            self.newest[request.supersede] = request.id
        if older is None:
            return joined, [], []
        old_run = self.find(older)[0]
        if old_run.processing and old_run is not run:
            return joined, [], [older]
        self.leave(older, now)
        return joined, [older], []

    def level(self, run: Run, now: float) -> int:
        aged = 0 if self.age_after_s is None or run.since is None else int((now - run.since) // self.age_after_s)
        return min(run.priority + aged, Priority.CRITICAL)

    def in_order(self, now: float) -> list[Run]:
        due = [r for r in self.runs if not r.processing and r.since is not None]
        return sorted(due, key=lambda r: (-self.level(r, now), r.number))

    def delayed(self) -> list[Run]:
        later = [r for r in self.runs if not r.processing and r.since is None]
        return sorted(later, key=lambda r: (r.due_at, r.number))

    def has_room(self, group: str | None, now: float) -> bool:
        if group in LIMITS and sum(r.processing and r.group == group for r in self.runs) >= LIMITS[group]:
            return False
        if group in RATES:
            number, seconds = RATES[group]
            return sum(start + seconds > now for start in self.starts.get(group, [])) < number
        return True

    def first(self, now: float) -> Run | None:
        return next((r for r in self.in_order(now) if self.has_room(r.group, now)), None)

    def take(self, run: Run, now: float) -> None:
        run.processing = run.due = True
        run.since, run.held_until = None, -math.inf
        if run.group in RATES:
            self.starts.setdefault(run.group, []).append(now)
        for member in run.members:
            member.expires_at = math.inf
            if member.word is not None and self.newest.get(member.word) == member.id:
                self.bursts.pop(member.word, None)


class QueueMachine(RuleBasedStateMachine):
    """Any sequence of operations and of steps of the clock; the queue answers as the model does."""

    age_after_s: float | None = None

    @initialize(
        some_keys=st.sampled_from([[None], ["a"], ["a", "b", None]]),
        some_groups=st.sampled_from([[None], ["one"], ["rate"], ["both"], [None, "one", "rate", "free"]]),
    )
    def begin(self, some_keys, some_groups) -> None:
        self.keys, self.groups = some_keys, some_groups
        self.clock = Clock(0.0)
        self.queue = SimulationQueue(
            CAPACITY, limits=LIMITS, rate_limits=RATES, age_after_s=self.age_after_s, clock=self.clock
        )
        self.model = Model(self.age_after_s)
        self.count = 0
        self.ended: list[str] = []

    # ---- putting

    def put(self, **arguments) -> None:
        request = SimulationRequest(f"r{self.count:04}", **arguments)
        self.count += 1
        self.model.advance(self.clock.now)
        expected = self.model.put(request, self.clock.now)
        if expected is None:
            with pytest.raises(QueueFullError, match="max_queue_size=6"):
                self.queue.put(request)
            return
        placement = self.queue.put(request)
        joined, dropped, to_cancel = expected
        assert placement.joined == joined
        assert [r.id for r in placement.dropped] == dropped
        assert [r.id for r in placement.to_cancel] == to_cancel
        assert placement.entry is self.queue.entry(request.id)
        self.ended += dropped

    @rule(key=keys, priority=priorities, replicates=st.integers(1, 3), group=groups)
    def put_plain(self, key, priority, replicates, group) -> None:
        self.put(key=key, priority=priority, replicates=replicates, group=group)

    @rule(group=groups, number=st.integers(2, 4))
    def put_a_row(self, group, number) -> None:
        for _ in range(number):
            self.put(group=group)

    @rule(key=keys, priority=priorities, group=groups, delay=times, timeout=st.none() | times)
    def put_with_times(self, key, priority, group, delay, timeout) -> None:
        self.put(key=key, priority=priority, group=group, queue_timeout_s=timeout, delay_s=delay)

    @rule(
        key=keys,
        word=st.sampled_from(["x", "y"]),
        delay=st.just(0.0) | times,
        debounce=st.none() | times,
        longest=st.none() | times,
    )
    def put_superseding(self, key, word, delay, debounce, longest) -> None:
        wait = {} if debounce is None else {"debounce_s": debounce, "max_wait_s": longest}
        self.put(key=key, supersede=word, delay_s=delay, **wait)

    # ---- serving

    @rule()
    def get(self) -> None:
        self.model.advance(self.clock.now)
        expected = self.model.first(self.clock.now)
        entry = self.queue.get_nowait()
        assert (entry is None) == (expected is None)
        if entry is not None:
            assert list(entry.members) == [m.id for m in expected.members]
            self.model.take(expected, self.clock.now)

    @rule(number=st.integers(2, 4))
    def get_several(self, number) -> None:
        for _ in range(number):
            self.get()

    def one_that_is_processed(self, data):
        run = data.draw(st.sampled_from([r for r in self.model.runs if r.processing and r.members]))
        return run, self.queue.entry(run.members[0].id)

    @precondition(lambda self: any(r.processing and r.members for r in self.model.runs))
    @rule(data=st.data())
    def done(self, data) -> None:
        run, entry = self.one_that_is_processed(data)
        self.model.advance(self.clock.now)
        self.queue.done(entry)
        assert entry.state is EntryState.GONE
        for member in list(run.members):
            self.ended.append(member.id)
            self.model.leave(member.id, self.clock.now)
        self.model.runs.remove(run)
        with pytest.raises(RequestNotFoundError, match="finished"):
            self.queue.done(entry)

    @precondition(lambda self: any(r.processing and r.members for r in self.model.runs))
    @rule(data=st.data(), delay=times)
    def requeue(self, data, delay) -> None:
        run, entry = self.one_that_is_processed(data)
        self.model.advance(self.clock.now)
        self.queue.requeue(entry, delay_s=delay)
        run.processing = False
        run.held_until = self.clock.now + delay
        self.model.settle(run, self.clock.now)

    def one_that_is_here(self, data):
        self.model.advance(self.clock.now)
        run = data.draw(st.sampled_from([r for r in self.model.runs if r.members] or [None]))
        return (None, None) if run is None else (run, self.queue.entry(run.members[0].id))

    @rule(data=st.data())
    def hold(self, data) -> None:
        run, entry = self.one_that_is_here(data)
        if run is not None:
            self.queue.hold(entry)
            run.processing = False
            run.held_until = math.inf
            self.model.settle(run, self.clock.now)

    @rule(data=st.data(), delay=times)
    def release(self, data, delay) -> None:
        run, entry = self.one_that_is_here(data)
        if run is not None:
            self.queue.release(entry, delay_s=delay)
            if not run.processing:
                run.due, run.held_until = True, self.clock.now + delay
                self.model.settle(run, self.clock.now)

    # ---- changing

    def any_member(self, data) -> str:
        return data.draw(st.sampled_from([m.id for r in self.model.runs for m in r.members]))

    @precondition(lambda self: any(r.members for r in self.model.runs))
    @rule(data=st.data())
    def cancel(self, data) -> None:
        request_id = self.any_member(data)
        self.model.advance(self.clock.now)
        if self.model.find(request_id) is None:  # it has just expired
            with pytest.raises(RequestNotFoundError):
                self.queue.cancel(request_id)
            return
        run = self.model.leave(request_id, self.clock.now)
        entry, last = self.queue.cancel(request_id)
        assert last == (not run.members)
        self.ended.append(request_id)
        if last and run.processing:  # the engine stops it, and says so
            self.queue.done(entry)
            self.model.runs.remove(run)

    @precondition(lambda self: any(r.members for r in self.model.runs))
    @rule(data=st.data(), priority=priorities)
    def set_priority(self, data, priority) -> None:
        request_id = self.any_member(data)
        self.model.advance(self.clock.now)
        found = self.model.find(request_id)
        if found is None:
            with pytest.raises(RequestNotFoundError):
                self.queue.set_priority(request_id, priority)
            return
        found[1].priority = priority
        self.queue.set_priority(request_id, priority.name)

    @rule(really=st.integers(0, 4))
    def clear(self, really) -> None:
        if really:  # seldom, for it ends what was going on
            return
        self.model.advance(self.clock.now)
        waiting = sorted((r for r in self.model.runs if not r.processing), key=lambda r: r.number)
        expected = [m.id for r in waiting for m in r.members]
        assert [r.id for r in self.queue.clear()] == expected
        for request_id in expected:
            self.model.leave(request_id, self.clock.now)
        self.ended += expected

    @rule(seconds=times)
    def wait(self, seconds) -> None:
        self.clock.advance(seconds)

    @rule()
    def take_expired(self) -> None:
        self.model.advance(self.clock.now)
        assert [r.id for r in self.queue.take_expired()] == self.model.expired
        self.ended += self.model.expired
        self.model.expired = []

    # ---- what is refused changes nothing

    @precondition(lambda self: any(r.members for r in self.model.runs))
    @rule(data=st.data())
    def put_an_id_twice(self, data) -> None:
        request_id = self.any_member(data)
        self.model.advance(self.clock.now)
        if self.model.find(request_id) is not None:
            with pytest.raises(InvalidInputError, match="in the queue already"):
                self.queue.put(SimulationRequest(request_id))

    @precondition(lambda self: self.ended)
    @rule(data=st.data(), priority=priorities)
    def ask_for_what_has_ended(self, data, priority) -> None:
        request_id = data.draw(st.sampled_from(self.ended))
        for refused in (self.queue.cancel, self.queue.entry, self.queue.position):
            with pytest.raises(RequestNotFoundError, match="unknown or has finished"):
                refused(request_id)
        with pytest.raises(RequestNotFoundError, match=request_id):
            self.queue.set_priority(request_id, priority)

    # ---- after each step

    @invariant()
    def agrees(self) -> None:
        now = self.clock.now
        self.model.advance(now)
        head, expected = self.queue.peek(), self.model.first(now)
        assert (None if head is None else list(head.members)) == (
            None if expected is None else [m.id for m in expected.members]
        )
        self.queue.check_invariants()
        in_order, later = self.model.in_order(now), self.model.delayed()
        assert [list(e.members) for e in self.queue.pending()] == [[m.id for m in r.members] for r in in_order + later]
        for place, run in enumerate(in_order):
            assert self.queue.position(run.members[-1].id) == place
        for run in later:
            assert self.queue.position(run.members[0].id) is None
        for run in self.model.runs:
            for member in run.members:
                entry = self.queue.entry(member.id)
                assert entry.priority == run.priority
                assert entry.replicates == max(m.replicates for m in run.members)
                assert (entry.key, entry.group, entry.sequence) == (run.key, run.group, run.number)
        self.agrees_on_counts(now, in_order, later)

    def agrees_on_counts(self, now, in_order, later) -> None:
        stats = self.queue.stats()
        waiting = in_order + later
        assert stats.waiting == len(self.queue) == len(waiting)
        assert stats.delayed == len(later)
        assert stats.processing == sum(r.processing for r in self.model.runs)
        assert stats.joined == sum(max(len(r.members) - 1, 0) for r in self.model.runs)
        assert stats.by_priority == {p.name: sum(r.priority is p for r in waiting) for p in Priority}
        named = {r.group for r in self.model.runs if r.group is not None} | {*LIMITS, *RATES}
        assert stats.by_group == {g: sum(r.group == g for r in waiting) for g in named}
        assert stats.processing_by_group == {
            g: sum(r.group == g and r.processing for r in self.model.runs) for g in named
        }
        assert stats.oldest_wait_s == max((now - r.since for r in in_order), default=0.0)
        assert stats.capacity == CAPACITY
        upcoming = [m.expires_at for r in waiting for m in r.members if m.expires_at < math.inf]
        upcoming += [r.due_at for r in later if r.due_at < math.inf]
        at = self.queue.next_event_at()
        assert at is None or at > now
        assert at is not None or not upcoming
        assert at is None or at <= min(upcoming, default=math.inf)


class AgeingMachine(QueueMachine):
    """The same, while those who wait move up."""

    age_after_s = 3.0


TestQueue = QueueMachine.TestCase
TestQueue.settings = settings(max_examples=250, stateful_step_count=50)
TestAgeingQueue = AgeingMachine.TestCase
TestAgeingQueue.settings = settings(max_examples=250, stateful_step_count=50)
