"""What the queue promises, one promise a test, without an engine."""

from __future__ import annotations

import math
from typing import Any

import pytest
from conftest import Clock

from bgsim.errors import BgsimError, InvalidInputError, QueueFullError, RequestNotFoundError
from bgsim.queue_manager import EntryState, Priority, SimulationQueue, SimulationRequest


@pytest.fixture
def queue(clock: Clock) -> SimulationQueue:
    return SimulationQueue(clock=clock)


def put(queue: SimulationQueue, *ids: str, **arguments: Any) -> None:
    for name in ids:
        queue.put(SimulationRequest(name, **arguments))


def served(queue: SimulationQueue) -> list[str]:
    """Get all that is ready; the ids of each entry, joined."""
    found = []
    while (entry := queue.get_nowait()) is not None:
        found.append("+".join(entry.members))
    return found


def pending(queue: SimulationQueue) -> list[str]:
    return ["+".join(entry.members) for entry in queue.pending()]


# ---- order -------------------------------------------------------------------------------------------


def test_the_most_urgent_first_and_in_turn_within_a_priority(queue: SimulationQueue) -> None:
    """The reference's heap compared the wrong way round and served the least urgent first."""
    for turn in "12":
        for priority in ("normal", "low", "critical", "high"):
            put(queue, priority + turn, priority=priority)
    order = ["critical1", "critical2", "high1", "high2", "normal1", "normal2", "low1", "low2"]
    assert pending(queue) == order
    assert [queue.position(name) for name in order] == list(range(8))
    assert served(queue) == order


def test_payloads_are_never_compared(queue: SimulationQueue) -> None:
    class Incomparable:
        __hash__ = None  # type: ignore[assignment]

        def __lt__(self, other: object) -> bool:
            raise AssertionError("compared")

        __gt__ = __le__ = __ge__ = __eq__ = __lt__  # type: ignore[assignment]

    for number in range(50):
        queue.put(SimulationRequest(f"r{number}", payload=Incomparable(), priority=number % 4))
    for number in range(0, 50, 3):
        queue.set_priority(f"r{number}", (number + 1) % 4)
    assert len(queue.pending()) == len(served(queue)) == 50


def test_peek_takes_nothing(queue: SimulationQueue) -> None:
    assert queue.peek() is None
    put(queue, "a", "b")
    assert queue.peek() is queue.peek() is queue.get_nowait()
    assert pending(queue) == ["b"]


def test_set_priority_moves_and_keeps_the_turn(queue: SimulationQueue) -> None:
    put(queue, "a", "b", "c", "d")
    queue.set_priority("c", "HIGH")
    assert pending(queue) == ["c", "a", "b", "d"]
    queue.set_priority("c", Priority.NORMAL)
    assert pending(queue) == ["a", "b", "c", "d"]
    queue.set_priority("a", 0)
    assert served(queue) == ["b", "c", "d", "a"]


def test_who_waits_long_moves_up(clock: Clock) -> None:
    """With ageing a stream of urgent requests starves nobody."""
    queue = SimulationQueue(age_after_s=10, clock=clock)
    put(queue, "old", priority="low")
    for number in range(30):
        put(queue, f"urgent{number}", priority="critical")
        clock.advance(1)
        assert queue.get(timeout_s=0).members.keys() == ({f"urgent{number}"} if number < 29 else {"old"})
    assert queue.entry("old").priority is Priority.LOW


def test_one_that_has_aged_to_the_top_goes_on_ageing_below(clock: Clock) -> None:
    queue = SimulationQueue(age_after_s=1, clock=clock)
    put(queue, "a", priority="critical")
    clock.advance(1)
    put(queue, "b", priority="critical")
    queue.set_priority("a", "low")
    assert pending(queue) == ["b", "a"]
    clock.advance(2)
    assert pending(queue) == ["a", "b"]


# ---- not yet due -------------------------------------------------------------------------------------


def test_a_future_request_blocks_no_ready_one(queue: SimulationQueue, clock: Clock) -> None:
    put(queue, "later", delay_s=5, priority="critical")
    put(queue, "sooner", delay_s=3)
    put(queue, "first")
    put(queue, "now", priority="low")
    assert queue.entry("later").state is EntryState.DELAYED
    assert queue.position("later") is None
    assert queue.next_event_at() == clock.now + 3
    assert pending(queue) == ["first", "now", "sooner", "later"]
    assert served(queue) == ["first", "now"]
    clock.advance(3)
    assert served(queue) == ["sooner"]
    clock.advance(2)
    assert served(queue) == ["later"]
    assert queue.next_event_at() is None


def test_ageing_and_the_wait_begin_when_a_request_is_due(clock: Clock) -> None:
    queue = SimulationQueue(age_after_s=10, clock=clock)
    put(queue, "later", delay_s=1000, priority="low")
    clock.advance(1000)
    put(queue, "normal")
    assert pending(queue) == ["normal", "later"]
    clock.advance(4)
    assert queue.stats().oldest_wait_s == 4


def test_the_earliest_start_among_those_who_share_counts_and_goes_with_its_request(
    queue: SimulationQueue, clock: Clock
) -> None:
    put(queue, "late", key="k", delay_s=20)
    put(queue, "soon", key="k", delay_s=10)
    clock.advance(10)
    assert pending(queue) == ["late+soon"]
    assert queue.entry("late").state is EntryState.READY
    queue.cancel("soon")
    assert queue.entry("late").state is EntryState.DELAYED
    assert queue.get_nowait() is None
    clock.advance(10)
    assert served(queue) == ["late"]


# ---- sharing: one run for one question ---------------------------------------------------------------


def test_the_same_request_twice_is_one_run_for_both(queue: SimulationQueue) -> None:
    """Demand 6: each has its own handle; the larger number and the higher priority count."""
    first = queue.put(SimulationRequest("a", key="k", replicates=100, payload="run"))
    second = queue.put(SimulationRequest("b", key="k", replicates=500, priority="high", payload="other"))
    assert (first.joined, second.joined) == (False, True)
    assert first.entry is second.entry
    assert (first.entry.replicates, first.entry.priority, first.entry.payload) == (500, Priority.HIGH, "run")
    assert len(queue) == 1
    assert queue.stats().joined == 1
    entry, last = queue.cancel("b")
    assert (entry, last) == (first.entry, False)
    assert (entry.replicates, entry.priority) == (100, Priority.NORMAL)
    assert queue.cancel("a") == (entry, True)
    assert entry.state is EntryState.GONE
    assert len(queue) == 0


def test_a_duplicate_joins_a_run_in_progress_and_the_last_to_cancel_ends_it(queue: SimulationQueue) -> None:
    put(queue, "a", key="k")
    running = queue.get(timeout_s=0)
    placement = queue.put(SimulationRequest("b", key="k", replicates=9, delay_s=100, queue_timeout_s=0))
    assert placement.joined
    assert placement.entry is running
    assert running.replicates == 9
    assert queue.cancel("a") == (running, False)
    assert queue.cancel("b") == (running, True)
    assert running.state is EntryState.PROCESSING, "until the engine says that it has stopped"
    queue.done(running)
    assert queue.stats().processing == 0


@pytest.mark.parametrize("end", ["done", "cancel", "expire", "clear", "supersede", "cancel while running"])
def test_the_key_is_free_after_every_end(queue: SimulationQueue, clock: Clock, end: str) -> None:
    """Demand 7; the reference took identical parameters for duplicates for ever once one had run."""
    put(queue, "a", key="k", queue_timeout_s=5, supersede="w")
    if end == "done":
        queue.done(queue.get(timeout_s=0))
    elif end == "cancel":
        queue.cancel("a")
    elif end == "expire":
        clock.advance(5)
    elif end == "clear":
        queue.clear()
    elif end == "supersede":
        put(queue, "newer", key="other", supersede="w")
    else:
        queue.get(timeout_s=0)
        queue.cancel("a")
    placement = queue.put(SimulationRequest("b", key="k"))
    assert not placement.joined
    assert list(placement.entry.members) == ["b"]
    assert queue.put(SimulationRequest("a", key="k")).joined, "and so is the id"


def test_without_a_key_a_request_is_kept_apart(queue: SimulationQueue) -> None:
    """`allow_deduplication=False` reaches the queue as no key; the reference ignored it."""
    put(queue, "a", "b", key=None)
    put(queue, "c", key="k")
    put(queue, "d", key="l")
    assert pending(queue) == ["a", "b", "c", "d"]


def test_clear_frees_the_keys_of_what_waited_and_of_nothing_else(queue: SimulationQueue) -> None:
    """The reference dropped the wrong half."""
    put(queue, "running", key="r")
    queue.get(timeout_s=0)
    put(queue, "a", "b", key="w")
    put(queue, "later", key="l", delay_s=9)
    assert [r.id for r in queue.clear()] == ["a", "b", "later"]
    assert len(queue) == 0
    assert queue.put(SimulationRequest("c", key="r")).joined
    assert not queue.put(SimulationRequest("d", key="w")).joined
    assert not queue.put(SimulationRequest("e", key="l")).joined


def test_a_thousand_who_share_may_leave_in_any_order(queue: SimulationQueue) -> None:
    """The cost of leaving does not grow with those who stay: no scan for the next maximum."""
    for number in range(1000):
        put(queue, f"r{number}", key="k", replicates=number + 1, priority=number % 4, delay_s=1000 - number)
    for number in reversed(range(1, 1000)):
        entry, last = queue.cancel(f"r{number}")
        assert not last
        assert entry.replicates == number
        assert entry.priority == min(number - 1, 3)
    assert queue.entry("r0").due_at == pytest.approx(queue.next_event_at())
    queue.check_invariants()


# ---- latest wins -------------------------------------------------------------------------------------


def test_a_newer_request_drops_the_older_that_waits(queue: SimulationQueue) -> None:
    """Demand 8."""
    put(queue, "a", supersede="slider")
    put(queue, "other", supersede="another")
    placement = queue.put(SimulationRequest("b", supersede="slider"))
    assert [r.id for r in placement.dropped] == ["a"]
    assert placement.to_cancel == ()
    assert served(queue) == ["other", "b"]
    with pytest.raises(RequestNotFoundError):
        queue.cancel("a")


def test_a_newer_request_asks_to_cancel_the_older_that_runs(queue: SimulationQueue) -> None:
    put(queue, "a", supersede="slider", key="k")
    running = queue.get(timeout_s=0)
    placement = queue.put(SimulationRequest("b", supersede="slider", key="l"))
    assert [r.id for r in placement.to_cancel] == ["a"]
    assert placement.dropped == ()
    assert queue.cancel("a") == (running, True)
    assert served(queue) == ["b"]


def test_a_newer_request_for_the_same_goes_on_with_the_run(queue: SimulationQueue) -> None:
    put(queue, "a", supersede="slider", key="k")
    running = queue.get(timeout_s=0)
    placement = queue.put(SimulationRequest("b", supersede="slider", key="k"))
    assert [r.id for r in placement.dropped] == ["a"]
    assert placement.to_cancel == ()
    assert list(running.members) == ["b"]


def test_superseding_leaves_others_who_want_the_same(queue: SimulationQueue) -> None:
    put(queue, "a", supersede="slider", key="k")
    put(queue, "mine", key="k")
    put(queue, "b", supersede="slider", key="l")
    assert pending(queue) == ["mine", "b"]


def test_superseding_needs_no_room_of_its_own(clock: Clock) -> None:
    queue = SimulationQueue(1, clock=clock)
    put(queue, "a", supersede="slider")
    put(queue, "b", supersede="slider")
    with pytest.raises(QueueFullError):
        put(queue, "c", supersede="another")
    assert pending(queue) == ["b"]


def test_debounce_waits_for_quiet_but_not_for_ever(queue: SimulationQueue, clock: Clock) -> None:
    """A slider that is dragged, with eight events a second: the newest every 0.375 s, and the last."""
    shown = []
    for event in range(10):
        put(queue, f"e{event}", supersede="slider", debounce_s=0.25, max_wait_s=0.375)
        clock.advance(0.125)
        shown += served(queue)
    clock.advance(0.25)
    shown += served(queue)
    assert shown == ["e2", "e5", "e8", "e9"]


def test_debounce_starts_anew_when_the_same_comes_back(queue: SimulationQueue, clock: Clock) -> None:
    put(queue, "a", supersede="slider", debounce_s=10, key="k")
    clock.advance(6)
    put(queue, "b", supersede="slider", debounce_s=10, key="k")
    clock.advance(6)
    assert queue.get_nowait() is None
    clock.advance(4)
    assert served(queue) == ["b"]


def test_max_wait_does_not_cut_a_delay_short(queue: SimulationQueue, clock: Clock) -> None:
    put(queue, "a", supersede="slider", debounce_s=1, max_wait_s=2, delay_s=5)
    clock.advance(4.5)
    assert queue.get_nowait() is None
    clock.advance(0.5)
    assert served(queue) == ["a"]


# ---- bounded -----------------------------------------------------------------------------------------


def test_a_full_queue_says_its_size_and_what_to_do(clock: Clock) -> None:
    """Demand 26."""
    queue = SimulationQueue(2, clock=clock)
    put(queue, "a", "b")
    with pytest.raises(QueueFullError, match=r"holds 2 requests.*max_queue_size=2.*block=True, cancel some, or make"):
        put(queue, "c")
    with pytest.raises(QueueFullError):
        queue.put(SimulationRequest("c"), block=True, timeout_s=0)
    assert pending(queue) == ["a", "b"]
    queue.cancel("a")
    put(queue, "c")
    queue.get(timeout_s=0)
    put(queue, "d")
    assert pending(queue) == ["c", "d"]


def test_joining_needs_no_room(clock: Clock) -> None:
    queue = SimulationQueue(1, clock=clock)
    put(queue, "a", "b", "c", key="k")
    assert pending(queue) == ["a+b+c"]


def test_the_size_may_be_changed(clock: Clock) -> None:
    """In the reference changing the capacity did nothing."""
    queue = SimulationQueue(1, clock=clock)
    put(queue, "a")
    queue.max_queue_size = 2
    put(queue, "b")
    queue.max_queue_size = 1
    assert queue.stats().capacity == queue.max_queue_size == 1
    assert pending(queue) == ["a", "b"]
    queue.get(timeout_s=0)
    with pytest.raises(QueueFullError):
        put(queue, "c")


def test_memory_follows_what_is_here(clock: Clock) -> None:
    """Requests that come and go leave nothing behind, whatever timers and places they had."""
    queue = SimulationQueue(limits={"g": 1}, age_after_s=100, clock=clock)
    put(queue, "busy", group="g")
    queue.get(timeout_s=0)
    put(queue, "shared", key="k", delay_s=1000)
    for number in range(2000):
        name = f"r{number}"
        put(queue, name, group="g" if number % 2 else None, queue_timeout_s=500)
        queue.set_priority(name, number % 4)
        queue.cancel(name)
        put(queue, name, key="k", queue_timeout_s=500, delay_s=number, replicates=number + 1)
        queue.cancel(name)
        put(queue, name, supersede="w", debounce_s=1, max_wait_s=5, group=f"g{number}")
    queue.check_invariants()
    held = [
        queue._core.order.ready,
        queue._core.order.moved,
        queue._core.order.timetable._events,
        queue._core.order.groups["g"].parked,
    ]
    assert all(len(heap._heap) <= 70 for heap in held)
    assert len(queue.stats().by_group) == 2
    assert len(queue._core.by_id) == 3


# ---- expiry ------------------------------------------------------------------------------------------


def test_what_waits_too_long_expires_and_is_handed_out_once(queue: SimulationQueue, clock: Clock) -> None:
    put(queue, "a", "b", key="k", queue_timeout_s=5)
    put(queue, "stays", key="k")
    put(queue, "alone", queue_timeout_s=3)
    put(queue, "never due", delay_s=100, queue_timeout_s=4)
    clock.advance(4)
    assert [r.id for r in queue.take_expired()] == ["alone", "never due"]
    clock.advance(1)
    assert pending(queue) == ["stays"]
    assert [r.id for r in queue.take_expired()] == ["a", "b"]
    assert queue.take_expired() == []


def test_done_with_what_has_just_expired_is_refused(queue: SimulationQueue, clock: Clock) -> None:
    put(queue, "a", queue_timeout_s=5)
    entry = queue.entry("a")
    clock.advance(5)
    with pytest.raises(RequestNotFoundError, match="finished already"):
        queue.done(entry)
    assert [r.id for r in queue.take_expired()] == ["a"]


def test_what_has_been_got_expires_no_longer(queue: SimulationQueue, clock: Clock) -> None:
    put(queue, "a", queue_timeout_s=5)
    entry = queue.get(timeout_s=0)
    clock.advance(10)
    queue.requeue(entry)
    clock.advance(10)
    assert queue.take_expired() == []
    assert served(queue) == ["a"]


# ---- suspended ---------------------------------------------------------------------------------------


def test_a_requeued_entry_has_its_old_place_and_needs_no_room(clock: Clock) -> None:
    queue = SimulationQueue(2, clock=clock)
    put(queue, "a", "b")
    suspended = queue.get(timeout_s=0)
    put(queue, "c")
    queue.requeue(suspended)
    assert pending(queue) == ["a", "b", "c"]
    assert queue.get(timeout_s=0) is suspended
    queue.cancel("a")
    queue.requeue(suspended)
    assert suspended.state is EntryState.GONE, "for nobody wants it"
    with pytest.raises(RequestNotFoundError, match="only what is being processed can be requeued"):
        queue.requeue(suspended)
    with pytest.raises(RequestNotFoundError, match="ready"):
        queue.requeue(queue.entry("b"))


def test_what_was_suspended_is_not_delayed_by_who_joined_it(queue: SimulationQueue) -> None:
    put(queue, "a", key="k")
    suspended = queue.get(timeout_s=0)
    put(queue, "b", key="k", delay_s=100)
    queue.cancel("a")
    queue.requeue(suspended)
    assert served(queue) == ["b"]


# ---- groups ------------------------------------------------------------------------------------------


def test_a_full_group_is_passed_over_and_keeps_its_place(clock: Clock) -> None:
    """Demand 33: limits are taken at dispatch; the reference's limit was not enforced."""
    queue = SimulationQueue(limits={"db": 1}, clock=clock)
    put(queue, "d1", "d2", group="db", priority="high")
    put(queue, "x", group="free")
    put(queue, "y")
    first = queue.get(timeout_s=0)
    assert list(first.members) == ["d1"]
    assert served(queue) == ["x", "y"]
    assert queue.entry("d2").state is EntryState.PARKED
    assert (queue.position("d2"), queue.stats().parked) == (0, 1)
    put(queue, "z")
    queue.done(first)
    assert served(queue) == ["d2", "z"]


def test_the_best_of_a_group_goes_when_there_is_room(clock: Clock) -> None:
    """Also when the one that was chosen has become less urgent, or has left, in the meantime."""
    queue = SimulationQueue(limits={"db": 1}, clock=clock)
    put(queue, "running", "a", "b", "c", group="db")
    queue.done(queue.get(timeout_s=0))  # the first has room and is taken, a is next
    queue.set_priority("a", "low")
    put(queue, "other", priority="low")
    assert pending(queue) == ["b", "c", "a", "other"]
    running = queue.get(timeout_s=0)
    assert list(running.members) == ["b"]
    assert queue.peek() is queue.entry("other")
    queue.done(running)
    queue.cancel("c")
    assert served(queue) == ["a", "other"]


def test_rates_limit_starts_within_a_window(clock: Clock) -> None:
    queue = SimulationQueue(rate_limits={"api": (2, 10)}, clock=clock)
    put(queue, *"abcde", group="api")
    assert served(queue) == ["a", "b"]
    assert queue.next_event_at() == clock.now + 10
    for entry in ("a", "b"):
        queue.done(queue.entry(entry))
    clock.advance(9)
    assert served(queue) == []
    clock.advance(1)
    assert served(queue) == ["c", "d"]
    clock.advance(5)
    put(queue, "urgent", group="api", priority="critical")
    clock.advance(5)
    assert served(queue) == ["urgent", "e"]


def test_starts_that_leave_the_window_together_make_room_one_after_the_other(clock: Clock) -> None:
    """Those still parked when there is room are looked at again, whoever starts in the meantime."""
    queue = SimulationQueue(rate_limits={"api": (2, 10)}, clock=clock)
    put(queue, *"abcdef", group="api")
    assert served(queue) == ["a", "b"]
    clock.advance(10)
    assert list(queue.get(timeout_s=0).members) == ["c"]
    assert queue.next_event_at() == clock.now + 10
    clock.advance(3)
    assert served(queue) == ["d"]
    clock.advance(7)
    assert served(queue) == ["e"]
    clock.advance(3)
    assert served(queue) == ["f"]


def test_a_suspended_entry_gives_its_groups_place_back(clock: Clock) -> None:
    queue = SimulationQueue(limits={"g": 1}, clock=clock)
    put(queue, "a", group="g", priority="low")
    low = queue.get(timeout_s=0)
    put(queue, "b", group="g", priority="high")
    assert queue.get_nowait() is None
    queue.requeue(low)
    assert served(queue) == ["b"]


# ---- reading -----------------------------------------------------------------------------------------


def test_stats_count_everything(clock: Clock) -> None:
    queue = SimulationQueue(100, limits={"g": 1}, clock=clock)
    put(queue, "a", "b", group="g")
    queue.get(timeout_s=0)
    queue.get_nowait()
    clock.advance(2)
    put(queue, "c", "d", key="k", priority="high", group="h")
    put(queue, "e", delay_s=5)
    stats = queue.stats()
    assert (stats.waiting, stats.delayed, stats.parked, stats.processing, stats.joined) == (3, 1, 1, 1, 1)
    assert stats.by_priority == {"CRITICAL": 0, "HIGH": 1, "NORMAL": 2, "LOW": 0}
    assert stats.by_group == {"g": 1, "h": 1}
    assert stats.processing_by_group == {"g": 1, "h": 0}
    assert (stats.oldest_wait_s, stats.capacity) == (2, 100)
    assert len(queue) == 3


def test_the_oldest_wait_is_found_whatever_has_moved(clock: Clock) -> None:
    queue = SimulationQueue(clock=clock)
    for name in "abc":
        put(queue, name)
        clock.advance(1)
    queue.set_priority("a", "low")
    queue.set_priority("b", "low")
    assert queue.stats().oldest_wait_s == 3
    queue.cancel("a")
    assert queue.stats().oldest_wait_s == 2
    queue.cancel("b")
    assert queue.stats().oldest_wait_s == 1
    queue.cancel("c")
    assert queue.stats().oldest_wait_s == 0


def test_an_entry_shows_itself(queue: SimulationQueue) -> None:
    put(queue, "a", "b", key="k")
    assert repr(queue.entry("a")) == "<Entry 0, ready, NORMAL: a, b>"


# ---- what is refused ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"priority": "hihg"}, "priority must be one of critical, high, normal, low; did you mean 'high'"),
        ({"priority": 7}, "priority must be one of critical, high, normal, low; got 7"),
        ({"delay_s": -1}, "delay_s must be a number of seconds, 0 or more; got -1"),
        ({"delay_s": math.nan}, "delay_s must be"),
        ({"delay_s": math.nan}, "delay_s must be"),
        ({"delay_s": "1"}, "delay_s must be a number of seconds, 0 or more; got '1'"),
        ({"delay_s": None}, "delay_s must be"),
        ({"delay_s": True}, "delay_s must be"),
        ({"queue_timeout_s": -0.5}, "queue_timeout_s must be"),
        ({"debounce_s": 1}, "debounce_s needs supersede"),
        ({"supersede": "w", "debounce_s": -1}, "debounce_s must be"),
        ({"supersede": "w", "max_wait_s": 1}, "max_wait_s needs debounce_s"),
        ({"replicates": 0}, "replicates must be an integer of 1 or more; got 0"),
        ({"replicates": 1.5}, "replicates must be"),
    ],
)
def test_a_bad_request_is_refused_by_name(arguments: Any, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message) as refused:
        SimulationRequest("a", **arguments)
    assert refused.value.field in message


def test_an_id_is_a_string_and_used_once(queue: SimulationQueue) -> None:
    with pytest.raises(InvalidInputError, match="id must be a string; got 1"):
        SimulationRequest(1)  # type: ignore[arg-type]
    put(queue, "a")
    with pytest.raises(InvalidInputError, match="request 'a' is in the queue already"):
        put(queue, "a", priority="high")
    assert queue.stats().by_priority["NORMAL"] == len(queue) == 1


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"max_queue_size": 0}, "max_queue_size"),
        ({"max_queue_size": 1.5}, "max_queue_size"),
        ({"limits": {"g": 0}}, r"limits\['g'\]"),
        ({"limits": {"g": True}}, r"limits\['g'\]"),
        ({"rate_limits": {"g": (0, 1)}}, r"rate_limits\['g'\]"),
        ({"rate_limits": {"g": (1, 0)}}, r"rate_limits\['g'\]"),
        ({"rate_limits": {"g": 5}}, r"rate_limits\['g'\] must be a pair"),
        ({"age_after_s": 0}, "age_after_s"),
        ({"age_after_s": math.inf}, "age_after_s"),
    ],
)
def test_a_bad_limit_is_refused_by_name(arguments: Any, field: str) -> None:
    with pytest.raises(InvalidInputError, match=field):
        SimulationQueue(**arguments)


def test_a_bad_size_changes_nothing(queue: SimulationQueue) -> None:
    with pytest.raises(InvalidInputError, match="max_queue_size must be an integer of 1 or more; got 0"):
        queue.max_queue_size = 0
    assert queue.max_queue_size == 1000


def test_unknown_and_finished_ids_are_refused_and_change_nothing(queue: SimulationQueue) -> None:
    put(queue, "a", "b")
    finished = queue.get(timeout_s=0)
    queue.done(finished)
    before = queue.stats()
    for name in ("a", "nobody"):
        for ask in (queue.cancel, queue.entry, queue.position, lambda n: queue.set_priority(n, "high")):
            with pytest.raises(RequestNotFoundError, match=f"no request '{name}' is queued or running"):
                ask(name)
    with pytest.raises(RequestNotFoundError, match="finished already"):
        queue.done(finished)
    with pytest.raises(BgsimError, match="did you mean 'low'"):
        queue.set_priority("b", "loww")
    assert queue.stats() == before
    queue.check_invariants()
