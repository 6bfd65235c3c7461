"""Races in the queue, forced: one thread is stopped while it holds the lock, the other comes to the lock meanwhile."""

from __future__ import annotations

import itertools
import queue as standard
import random
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from conftest import HANDSHAKE_S, Clock, Gate

from bgsim.errors import EngineClosedError, QueueFullError, RequestNotFoundError
from bgsim.queue.waiters import Waiters
from bgsim.queue_manager import EntryState, Priority, SimulationQueue, SimulationRequest


class WatchedLock:
    """A lock that tells when somebody has to wait for it, and stops its next holder at a gate."""

    def __init__(self) -> None:
        self.raw = self  # for conditions
        self._lock = threading.Lock()
        self.gate: Gate | None = None
        self.wanted = threading.Event()

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        if blocking and self._lock.locked():
            self.wanted.set()
        got = self._lock.acquire(blocking, timeout)
        gate, self.gate = self.gate, None
        if got and gate is not None:
            gate.stop_here()
        return got

    def release(self) -> None:
        self._lock.release()

    __enter__ = acquire

    def __exit__(self, *exception: object) -> None:
        self.release()


class Waits:
    """Knows how many threads have gone to sleep on a condition, and for how long at most."""

    def __init__(self, condition: threading.Condition) -> None:
        self._condition = condition
        self._wait = condition.wait
        self._fell_asleep = threading.Semaphore(0)
        self.timeouts: list[float | None] = []
        condition.wait = self.wait  # type: ignore[method-assign]

    def wait(self, timeout: float | None = None) -> bool:
        self.timeouts.append(timeout)
        self._fell_asleep.release()
        return self._wait(timeout)  # the lock, which the test needs for its next step, is released in here

    def until_asleep(self) -> None:
        assert self._fell_asleep.acquire(timeout=HANDSHAKE_S), "nobody waits"

    @property
    def sleeping(self) -> int:
        """Threads that have not been woken."""
        return len(self._condition._waiters)  # type: ignore[attr-defined]


@pytest.fixture
def clock() -> Clock:
    return Clock()


def watched(queue: SimulationQueue) -> WatchedLock:
    """Give a new queue a lock that tells."""
    lock = WatchedLock()
    queue._lock = lock  # type: ignore[assignment]
    queue._waiters = Waiters(lock, queue._core)  # type: ignore[arg-type]
    return lock


class Race:
    """Two calls, of which the first has the lock and the second waits for it."""

    def __init__(self, queue: SimulationQueue, gate: Gate) -> None:
        self.queue = queue
        self.lock = watched(queue)
        self.gate = gate

    def run(self, first: Callable[[], Any], second: Callable[[], Any]) -> list[Any]:
        """Return what each returns, or the error that it raises."""
        results: list[Any] = [None, None]

        def call(index: int, function: Callable[[], Any]) -> None:
            try:
                results[index] = function()
            except Exception as error:
                results[index] = error

        threads = [threading.Thread(target=call, args=pair, daemon=True) for pair in enumerate((first, second))]
        self.lock.gate = self.gate
        self.lock.wanted.clear()
        threads[0].start()
        self.gate.wait_until_reached()
        threads[1].start()
        assert self.lock.wanted.wait(HANDSHAKE_S), "the second does not come to the lock"
        self.gate.open()
        for thread in threads:
            thread.join(HANDSHAKE_S)
            assert not thread.is_alive(), "a thread hangs"
        self.queue.check_invariants()
        return results


@pytest.fixture
def race(gate: Gate, clock: Clock) -> Race:
    return Race(SimulationQueue(2, clock=clock), gate)


def request(name: str, **arguments: Any) -> SimulationRequest:
    return SimulationRequest(name, **arguments)


def ids(queue: SimulationQueue) -> list[str]:
    return ["+".join(entry.members) for entry in queue.pending()]


# ---- the races that have names -----------------------------------------------------------------------


def test_completion_then_duplicate(race: Race) -> None:
    """The duplicate comes a moment too late to join: it is a run of its own, never lost with the old one."""
    queue = race.queue
    queue.put(request("a", key="k"))
    entry = queue.get()
    _, placement = race.run(lambda: queue.done(entry), lambda: queue.put(request("b", key="k")))
    assert not placement.joined
    assert placement.entry.state is EntryState.READY
    assert ids(queue) == ["b"]


def test_duplicate_then_completion(race: Race) -> None:
    """The duplicate has joined: it ends with the run, and the key is free."""
    queue = race.queue
    queue.put(request("a", key="k"))
    entry = queue.get()
    placement, _ = race.run(lambda: queue.put(request("b", key="k")), lambda: queue.done(entry))
    assert placement.joined
    assert list(entry.members) == ["a", "b"], "whom the engine gives the result"
    with pytest.raises(RequestNotFoundError):
        queue.entry("b")
    assert not queue.put(request("c", key="k")).joined


def test_cancel_then_get(race: Race) -> None:
    queue = race.queue
    queue.put(request("a"))
    (entry, last), got = race.run(lambda: queue.cancel("a"), queue.get_nowait)
    assert (entry.state, last, got) == (EntryState.GONE, True, None)


def test_get_then_cancel(race: Race) -> None:
    queue = race.queue
    queue.put(request("a", key="k"))
    got, (entry, last) = race.run(queue.get_nowait, lambda: queue.cancel("a"))
    assert got is entry
    assert (entry.state, last) == (EntryState.PROCESSING, True), "so the engine stops it"
    assert not queue.put(request("b", key="k")).joined


def test_set_priority_then_get(race: Race) -> None:
    queue = race.queue
    queue.put(request("a"))
    queue.put(request("b"))
    _, got = race.run(lambda: queue.set_priority("b", "high"), queue.get_nowait)
    assert list(got.members) == ["b"]


def test_get_then_set_priority(race: Race) -> None:
    """What has been got is not put in line again, and its priority counts all the same."""
    queue = race.queue
    queue.put(request("a"))
    queue.put(request("b"))
    got, error = race.run(queue.get_nowait, lambda: queue.set_priority("a", "high"))
    assert error is None
    assert (list(got.members), got.priority, got.state) == (["a"], Priority.HIGH, EntryState.PROCESSING)
    assert ids(queue) == ["b"]


def test_put_then_close(race: Race) -> None:
    queue = race.queue
    placement, _ = race.run(lambda: queue.put(request("a")), queue.close)
    assert queue.get() is placement.entry
    with pytest.raises(EngineClosedError):
        queue.get()


def test_close_then_put(race: Race) -> None:
    queue = race.queue
    _, error = race.run(queue.close, lambda: queue.put(request("a")))
    assert isinstance(error, EngineClosedError)
    assert len(queue) == 0


def test_two_duplicates_against_the_last_free_place(race: Race) -> None:
    """One takes the place, the other shares it; the reference held two with a capacity of one."""
    queue = race.queue
    queue.put(request("x"))
    first, second = race.run(lambda: queue.put(request("a", key="k")), lambda: queue.put(request("b", key="k")))
    assert (first.joined, second.joined) == (False, True)
    assert first.entry is second.entry
    assert ids(queue) == ["x", "a+b"]


def test_two_strangers_against_the_last_free_place(race: Race) -> None:
    queue = race.queue
    queue.put(request("x"))
    first, second = race.run(lambda: queue.put(request("a")), lambda: queue.put(request("b")))
    assert not first.joined
    assert isinstance(second, QueueFullError)
    assert ids(queue) == ["x", "a"]


def test_expiry_against_get(race: Race, clock: Clock) -> None:
    """A request is handed out once: as expired, or to be run."""
    queue = race.queue
    queue.put(request("a", queue_timeout_s=5))
    clock.advance(5)
    expired, got = race.run(queue.take_expired, queue.get_nowait)
    assert ([r.id for r in expired], got) == (["a"], None)


# ---- threads that wait -------------------------------------------------------------------------------


class Callers:
    """Threads that call something which waits."""

    def __init__(self) -> None:
        self.results: standard.Queue[Any] = standard.Queue()
        self._threads: list[threading.Thread] = []

    def start(self, function: Callable[[], Any], waits: Waits | None = None) -> None:
        """Start a thread; with `waits`, come back when it sleeps."""

        def call() -> None:
            try:
                self.results.put(function())
            except Exception as error:
                self.results.put(error)

        thread = threading.Thread(target=call, daemon=True)
        self._threads.append(thread)
        thread.start()
        if waits is not None:
            waits.until_asleep()

    def next(self) -> Any:
        return self.results.get(timeout=HANDSHAKE_S)

    def join(self) -> None:
        for thread in self._threads:
            thread.join(HANDSHAKE_S)
            assert not thread.is_alive(), "a thread hangs"


@pytest.fixture
def callers() -> Any:
    found = Callers()
    yield found
    found.join()


def test_a_single_put_wakes_a_single_thread(callers: Callers, clock: Clock) -> None:
    queue = SimulationQueue(clock=clock)
    waits = Waits(queue._waiters._has_work)
    for _ in range(3):
        callers.start(queue.get, waits)
    for left in (2, 1, 0):
        queue.put(request(f"r{left}"))
        assert waits.sleeping == left
        assert list(callers.next().members) == [f"r{left}"]
        assert waits.sleeping == left


def test_a_burst_reaches_every_thread_that_waits(callers: Callers, clock: Clock) -> None:
    """Wake-ups are not lost when several things come before anybody has woken."""
    queue = SimulationQueue(limits={"g": 1}, clock=clock)
    waits = Waits(queue._waiters._has_work)
    for _ in range(3):
        callers.start(queue.get, waits)
    for name in "abc":
        queue.put(request(name, group="g"))
    for name in "abc":
        entry = callers.next()
        assert list(entry.members) == [name]
        queue.done(entry)


def test_who_leaves_hands_on_the_watch_over_the_next_event(callers: Callers, clock: Clock) -> None:
    """Of those who wait one watches the clock; were nobody to follow him, what is due next would lie for ever."""
    queue = SimulationQueue(clock=clock)
    waits = Waits(queue._waiters._has_work)
    queue.put(request("soon", delay_s=1000))
    queue.put(request("late", delay_s=3000))
    callers.start(queue.get, waits)
    callers.start(queue.get, waits)
    assert waits.timeouts == [1000, None]
    clock.advance(1000)
    queue.stats()  # looks at the clock, and wakes one for what is due
    assert list(callers.next().members) == ["soon"]
    waits.until_asleep()
    assert waits.timeouts == [1000, None, 2000], "the other watches now"
    clock.advance(2000)
    queue.stats()
    assert list(callers.next().members) == ["late"]


def test_an_earlier_event_is_watched_for_instead(callers: Callers, clock: Clock) -> None:
    queue = SimulationQueue(clock=clock)
    waits = Waits(queue._waiters._has_work)
    callers.start(queue.get, waits)
    for delay_s in (500, 300):
        queue.put(request(f"in {delay_s}", delay_s=delay_s))
        waits.until_asleep()
    queue.put(request("in 400", delay_s=400))
    assert waits.timeouts == [None, 500, 300]
    queue.put(request("now"))
    assert list(callers.next().members) == ["now"]


def test_a_timer_ends_the_wait_without_anybody_else(callers: Callers) -> None:
    """By the real clock: nobody but the getter itself looks at it."""
    queue = SimulationQueue()
    callers.start(queue.get)
    queue.put(request("a", delay_s=0.01))
    assert list(callers.next().members) == ["a"]


def test_get_ends_in_time_and_at_close(callers: Callers, clock: Clock) -> None:
    queue = SimulationQueue(clock=clock)
    with pytest.raises(standard.Empty):
        queue.get(timeout_s=0)
    waits = Waits(queue._waiters._has_work)
    callers.start(queue.get, waits)
    callers.start(queue.get, waits)
    queue.close()
    assert {type(callers.next()) for _ in range(2)} == {EngineClosedError}


def test_a_place_that_is_freed_wakes_one_who_waits_for_room(callers: Callers, clock: Clock) -> None:
    queue = SimulationQueue(1, clock=clock)
    waits = Waits(queue._waiters._has_room)
    queue.put(request("x"))
    for name in "ab":
        callers.start(lambda name=name: queue.put(request(name), block=True), waits)
    queue.get()
    assert waits.sleeping == 1
    assert list(callers.next().entry.members) == ["a"]
    queue.cancel("a")
    assert list(callers.next().entry.members) == ["b"]


def test_blocked_duplicates_need_one_place_between_them(callers: Callers, clock: Clock) -> None:
    queue = SimulationQueue(1, clock=clock)
    waits = Waits(queue._waiters._has_room)
    queue.put(request("x"))
    for name in ("a", "b", "c"):
        callers.start(lambda name=name: queue.put(request(name, key="k"), block=True), waits)
    callers.start(lambda: queue.put(request("stranger"), block=True), waits)
    queue.get()
    placements = [callers.next() for _ in range(3)]
    assert sorted(p.joined for p in placements) == [False, True, True]
    assert sorted(placements[0].entry.members) == ["a", "b", "c"]
    waits.until_asleep()  # the stranger was woken with them, and there was no room
    queue.get()
    assert list(callers.next().entry.members) == ["stranger"]


def test_a_larger_queue_lets_those_in_who_wait(callers: Callers, clock: Clock) -> None:
    queue = SimulationQueue(1, clock=clock)
    waits = Waits(queue._waiters._has_room)
    queue.put(request("x"))
    for name in "ab":
        callers.start(lambda name=name: queue.put(request(name), block=True), waits)
    queue.max_queue_size = 3
    callers.join()
    assert sorted(ids(queue)) == ["a", "b", "x"]


def test_who_waits_for_room_watches_for_what_expires(callers: Callers, clock: Clock) -> None:
    """A place that time frees is as good as any other."""
    queue = SimulationQueue(1, clock=clock)
    waits = Waits(queue._waiters._has_room)
    queue.put(request("x", queue_timeout_s=1000))
    for name in "ab":
        callers.start(lambda name=name: queue.put(request(name, queue_timeout_s=500), block=True), waits)
    assert waits.timeouts == [1000, None]
    clock.advance(1000)
    assert [r.id for r in queue.take_expired()] == ["x"]
    assert list(callers.next().entry.members) == ["a"]
    waits.until_asleep()
    assert waits.timeouts == [1000, None, 500], "the other watches now"
    clock.advance(500)
    assert [r.id for r in queue.take_expired()] == ["a"]
    assert list(callers.next().entry.members) == ["b"]


def test_close_ends_the_wait_for_room(callers: Callers, clock: Clock) -> None:
    queue = SimulationQueue(1, clock=clock)
    waits = Waits(queue._waiters._has_room)
    queue.put(request("x"))
    callers.start(lambda: queue.put(request("a"), block=True), waits)
    callers.start(lambda: queue.wait_for_room("a"), waits)
    queue.close()
    results = [callers.next(), callers.next()]
    assert {type(result) for result in results} == {EngineClosedError, bool}
    assert ids(queue) == ["x"]


def test_waiting_for_room_says_whether_it_came(clock: Clock) -> None:
    queue = SimulationQueue(1, clock=clock)
    assert queue.wait_for_room(timeout_s=0)
    queue.put(request("x", key="k"))
    assert not queue.wait_for_room(timeout_s=0)
    assert not queue.wait_for_room("other", timeout_s=0)
    assert queue.wait_for_room("k", timeout_s=0), "which can join"


# ---- everything at once ------------------------------------------------------------------------------

PUTTERS, GETTERS, CANCELLERS = 8, 4, 4
OPERATIONS = 200_000
EACH = OPERATIONS // (PUTTERS + GETTERS + CANCELLERS)


class Storm:
    """Threads that put, get, cancel, and write down how each request ended."""

    def __init__(self) -> None:
        ticks = itertools.count()
        self.queue = SimulationQueue(
            150,
            limits={"one": 1, "two": 2},
            rate_limits={"two": (3, 0.5)},
            age_after_s=5.0,
            clock=lambda: next(ticks) / 1000,  # called under the lock only
        )
        self.put_ids: list[str] = []  # appending is atomic
        self.ends: list[tuple[str, str]] = []
        self.refused = 0

    def end(self, how: str, *requests: SimulationRequest) -> None:
        self.ends.extend((one.id, how) for one in requests)

    def cancel(self, name: str) -> None:
        try:
            entry, last = self.queue.cancel(name)
        except RequestNotFoundError:
            return
        self.ends.append((name, "cancelled"))
        assert not last or not entry.members

    def put(self, thread: int) -> None:
        chance = random.Random(thread)
        for number in range(EACH):
            word = chance.choice([None, None, None, "x", "y"])
            one = SimulationRequest(
                f"{thread}-{number}",
                key=chance.choice([None, *"abcdefgh"]),
                replicates=chance.randint(1, 9),
                priority=Priority(chance.randrange(4)),
                group=chance.choice([None, None, None, "one", "two", "free"]),
                supersede=word,
                debounce_s=0.05 if word == "y" else None,
                max_wait_s=0.2 if word == "y" else None,
                delay_s=chance.choice([0.0, 0.0, 0.0, 0.3]),
                queue_timeout_s=chance.choice([None, None, 2.0]),
            )
            try:
                placement = self.queue.put(one, block=number % 4 == 0, timeout_s=0.001)
            except QueueFullError:
                self.refused += 1  # of no account: the ids of those that were put are checked
                continue
            self.put_ids.append(one.id)
            self.end("superseded", *placement.dropped)
            for old in placement.to_cancel:
                self.cancel(old.id)

    def get(self, thread: int) -> None:
        chance = random.Random(1000 + thread)
        for _ in range(EACH):
            try:
                entry = self.queue.get(timeout_s=0.001)
            except standard.Empty:
                continue
            if chance.random() < 0.05:
                self.queue.requeue(entry)
            else:
                self.queue.done(entry)
                self.end("served", *entry.members.values())

    def disturb(self, thread: int) -> None:
        chance = random.Random(2000 + thread)
        for number in range(EACH):
            name = chance.choice(self.put_ids[-300:] or [""])
            if number % 2:
                self.cancel(name)
            elif number % 500 == 0:
                self.queue.stats()
                self.queue.pending()
                self.end("expired", *self.queue.take_expired())
            else:
                try:
                    self.queue.set_priority(name, Priority(chance.randrange(4)))
                    self.queue.position(name)
                except RequestNotFoundError:
                    pass


@pytest.mark.stress
def test_in_a_storm_every_request_ends_exactly_once(in_threads: Callable[..., list[object]]) -> None:
    storm = Storm()
    roles = [(storm.put, PUTTERS), (storm.get, GETTERS), (storm.disturb, CANCELLERS)]
    in_threads(*(lambda role=role, n=n: role(n) for role, count in roles for n in range(count)))
    queue = storm.queue
    queue.check_invariants()
    queue.close()
    storm.end("cleared", *queue.clear())
    storm.end("expired", *queue.take_expired())
    assert Counter(name for name, _ in storm.ends) == Counter(storm.put_ids)
    assert {how for _, how in storm.ends} >= {"superseded", "cancelled", "served", "expired"}
    stats = queue.stats()
    assert (stats.waiting, stats.delayed, stats.parked, stats.processing, stats.joined) == (0, 0, 0, 0, 0)
    assert not queue._core.by_id
    assert not queue._core.by_key
    assert not queue._core.newest.words()
