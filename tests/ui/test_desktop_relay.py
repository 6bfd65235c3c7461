"""What becomes of jobs reaches one thread in order, conflated, and each end once; no toolkit is needed for that."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from conftest import Clock
from kernels import fragile, one_draw

from bgsim import Engine, Job, ProgressUpdate, UpdateType
from bgsim.errors import GuiError
from bgsim.progress import ProgressBus
from bgsim.testing import HANDSHAKE_S, Gate, SteppedEngine, gated, run_all
from bgsim.ui.desktop import relay as relay_module
from bgsim.ui.desktop.relay import INTERVAL_S, Relay
from bgsim.ui.desktop.rows import MOST_ROWS, Row, Rows, press


class Seen:
    """A receiver that writes down what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []

    def job_progressed(self, job: Job, update: ProgressUpdate) -> None:
        self.told.append(("progressed", job.id, update.replicates_completed))

    def job_finished(self, job: Job) -> None:
        assert job.done()
        self.told.append(("finished", job.id))

    def job_completed(self, job: Job) -> None:
        self.told.append(("completed", job.id))

    def of(self, what: str) -> list[Any]:
        return [told[-1] for told in self.told if told[0] == what]


class BusOnly:
    """What a relay asks of an engine, with a bus that the test publishes to."""

    def __init__(self) -> None:
        self.bus = ProgressBus(threads=False)

    def subscribe(self, callback: Any, *, job: Job, maxlen: int) -> Any:
        return self.bus.subscribe(callback, job=job.id, maxlen=maxlen)

    def publish(self, job: Any, kind: UpdateType, done: int = 0) -> None:
        self.bus.publish(job.id, kind, replicates_completed=done, total_replicates=10_000)
        self.bus.deliver()


class Handle:
    """A job as a relay sees it."""

    supersede = None

    def __init__(self, name: str) -> None:
        self.id = name
        self.callbacks: list[Any] = []

    def add_done_callback(self, callback: Any) -> None:
        self.callbacks.append(callback)

    def end(self) -> None:
        for callback in self.callbacks:
            callback(self)

    def done(self) -> bool:
        return True

    def cancelled(self) -> bool:
        return False

    def exception(self) -> None:
        return None


@pytest.fixture
def source() -> BusOnly:
    return BusOnly()


def published(source: BusOnly, job: Handle, numbers: range) -> None:
    for number in numbers:
        source.publish(job, UpdateType.PROGRESS, number)


def test_ten_thousand_updates_are_one_post_and_one_call_with_the_newest(source: BusOnly, clock: Clock) -> None:
    posts: list[None] = []
    relay, seen, job = Relay(lambda: posts.append(None), clock), Seen(), Handle("a")
    relay.watch(source, job)
    source.publish(job, UpdateType.STARTED)
    published(source, job, range(1, 10_001))
    assert len(posts) == 1
    assert relay.deliver(seen) is None
    assert seen.told == [("progressed", "a", 10_000)]


def test_a_job_is_told_of_thirty_times_a_second(source: BusOnly, clock: Clock) -> None:
    """While it is held back nothing is posted: the window knows when to look again."""
    posts: list[None] = []
    relay, seen, job = Relay(lambda: posts.append(None), clock), Seen(), Handle("a")
    relay.watch(source, job)
    source.publish(job, UpdateType.STARTED)
    relay.deliver(seen)
    for number in range(1000):  # one second
        clock.advance(0.001)
        source.publish(job, UpdateType.PROGRESS, number)
        again = relay.deliver(seen)
        assert again is None or 0 < again <= INTERVAL_S
    assert 28 <= len(seen.told) - 1 <= 30
    before = len(posts)
    relay.deliver(seen)
    source.publish(job, UpdateType.PROGRESS, 5000)
    source.publish(job, UpdateType.PROGRESS, 5001)
    assert len(posts) <= before + 1
    clock.advance(INTERVAL_S)
    relay.deliver(seen)
    assert seen.told[-1] == ("progressed", "a", 5001)


def test_the_end_comes_once_behind_the_last_update(source: BusOnly, clock: Clock) -> None:
    relay, seen, job = Relay(clock=clock), Seen(), Handle("a")
    relay.watch(source, job)
    relay.watch(source, job)  # twice is once
    source.publish(job, UpdateType.STARTED)
    relay.deliver(seen)
    source.publish(job, UpdateType.PROGRESS, 7)
    source.publish(job, UpdateType.COMPLETED, 10)
    job.end()
    assert relay.deliver(seen) == pytest.approx(INTERVAL_S)
    clock.advance(INTERVAL_S)
    assert relay.deliver(seen) is None
    assert seen.told[1:] == [("progressed", "a", 10), ("finished", "a"), ("completed", "a")]
    assert relay.jobs == []
    job.end()
    clock.advance(1.0)
    relay.deliver(seen)
    assert len(seen.told) == 4


def test_a_slow_receiver_gets_turns_and_the_window_its_own(source: BusOnly, clock: Clock) -> None:
    """Of many jobs with news at once a few are told of, and then it is the window's turn."""
    relay, seen = Relay(clock=clock), Seen()
    seen.job_progressed = lambda job, update: (clock.advance(0.015), seen.told.append((job.id,)))  # type: ignore[method-assign]
    jobs = [Handle(str(number)) for number in range(10)]
    for job in jobs:
        relay.watch(source, job)
        source.publish(job, UpdateType.STARTED)
    turns = 0
    while relay.deliver(seen) == 0.0:
        turns += 1
    assert turns == 5
    assert [told[0] for told in seen.told] == [job.id for job in jobs]


def test_a_dialog_in_a_receiver_delivers_the_others_meanwhile(source: BusOnly, clock: Clock) -> None:
    """As a message box does, which runs the event loop within a slot."""
    relay, seen = Relay(clock=clock), Seen()
    first, second = Handle("first"), Handle("second")
    tell = seen.job_progressed

    def dialog(job: Any, update: ProgressUpdate) -> None:
        tell(job, update)
        if job is first and len(seen.told) == 1:
            source.publish(first, UpdateType.COMPLETED, 10)
            first.end()
            clock.advance(INTERVAL_S)
            relay.deliver(seen)
            assert [told[:2] for told in seen.told][-1] == ("completed", "first")

    seen.job_progressed = dialog  # type: ignore[method-assign]
    for job in (first, second):
        relay.watch(source, job)
        source.publish(job, UpdateType.STARTED)
    relay.deliver(seen)
    assert sorted(told[:2] for told in seen.told) == [
        ("completed", "first"), ("finished", "first"),
        ("progressed", "first"), ("progressed", "first"), ("progressed", "second"),
    ]  # fmt: skip
    assert relay.deliver(seen) is None


def test_a_destructor_may_end_it_whatever_lock_its_thread_holds(source: BusOnly, clock: Clock) -> None:
    """The garbage collector may run within any line of any thread, and delete a window there."""
    relay, seen, job = Relay(clock=clock), Seen(), Handle("a")
    relay.watch(source, job)
    source.publish(job, UpdateType.STARTED)
    watched = relay._watched["a"]
    assert watched.subscription is not None
    with relay._lock, source.bus._channels.lock, watched.subscription._lock:
        relay.end()
    assert relay.deliver(seen) is None
    assert seen.told == []
    source.publish(job, UpdateType.PROGRESS, 1)
    assert source.bus.stats().subscriptions == 0
    assert watched.job is None


@pytest.mark.parametrize("when", ["before", "within"])
def test_nothing_comes_after_close(source: BusOnly, clock: Clock, when: str) -> None:
    relay, seen, job = Relay(clock=clock), Seen(), Handle("a")
    relay.watch(source, job)
    source.publish(job, UpdateType.STARTED)
    if when == "within":
        seen.job_progressed = lambda *_: relay.close()  # type: ignore[method-assign]
        job.end()
    else:
        relay.close()
    assert relay.deliver(seen) is None
    source.publish(job, UpdateType.PROGRESS, 1)
    job.end()
    assert relay.deliver(seen) is None
    assert seen.told == []
    assert source.bus.stats().subscriptions == 0
    relay.watch(source, job)
    assert relay.jobs == []


def test_the_older_of_a_word_is_silent_from_the_newers_start(source: BusOnly, clock: Clock) -> None:
    """Its end still comes, once; a result that it has is not for drawing any more."""
    relay, seen = Relay(clock=clock), Seen()
    older, newer = Handle("older"), Handle("newer")
    older.supersede = newer.supersede = "preview"  # type: ignore[assignment]
    relay.watch(source, older)
    source.publish(older, UpdateType.STARTED)
    source.publish(older, UpdateType.COMPLETED, 10)
    older.end()  # before the newer, and told after it
    relay.watch(source, newer)
    source.publish(newer, UpdateType.STARTED)
    source.publish(newer, UpdateType.COMPLETED, 10)
    newer.end()
    relay.deliver(seen)
    assert seen.told == [
        ("finished", "older"), ("progressed", "newer", 10), ("finished", "newer"), ("completed", "newer")
    ]  # fmt: skip
    assert seen.of("completed") == ["newer"]


def test_the_newer_may_end_before_the_older_has_stopped(source: BusOnly, clock: Clock) -> None:
    relay, seen = Relay(clock=clock), Seen()
    older, newer = Handle("older"), Handle("newer")
    older.supersede = newer.supersede = "preview"  # type: ignore[assignment]
    for job in (older, newer):
        relay.watch(source, job)
        source.publish(job, UpdateType.STARTED)
    newer.end()
    relay.deliver(seen)
    source.publish(older, UpdateType.PROGRESS, 5)
    older.end()
    clock.advance(INTERVAL_S)
    relay.deliver(seen)
    assert seen.told == [
        ("progressed", "newer", 0), ("finished", "newer"), ("completed", "newer"), ("finished", "older")
    ]  # fmt: skip


def test_a_job_of_an_engine_however_it_ends() -> None:
    """Completed, failed, cancelled in the queue, answered by the store: each is finished once, one with a result."""
    with SteppedEngine() as engine:
        relay, seen = Relay(), Seen()
        done = engine.submit(one_draw, replicates=5)
        failed = engine.submit(fragile, {"fails_at": 1.0}, replicates=5)
        run_all(engine)
        stored = engine.submit(one_draw, replicates=5)
        cancelled = engine.submit(one_draw, replicates=6)
        for job in (done, failed, stored, cancelled):
            relay.watch(engine, job)
        cancelled.cancel()
        run_all(engine)
        relay.deliver(seen)
        assert sorted(seen.of("finished")) == sorted(job.id for job in (done, failed, stored, cancelled))
        assert sorted(seen.of("completed")) == sorted([done.id, stored.id])
        ends = {job.id: seen.told.index(("finished", job.id)) for job in (done, failed, stored, cancelled)}
        assert all(seen.told.index(told) < ends[told[1]] for told in seen.told if told[0] == "progressed")


def test_only_its_own_thread_may_use_it(source: BusOnly) -> None:
    relay, errors = Relay(), []

    def elsewhere() -> None:
        for call in (lambda: relay.watch(source, Handle("a")), lambda: relay.deliver(Seen())):
            try:
                call()
            except GuiError as error:
                errors.append(str(error))

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert len(errors) == 2
    assert "the window's thread" in errors[0]


def test_news_come_from_the_callback_thread_and_are_told_in_this(hold: Gate) -> None:
    """A post is made by the callback thread, without a lock: it may itself look at the relay."""
    posted, threads = threading.Event(), []

    def post() -> None:
        threads.append(threading.current_thread().name)
        assert relay.jobs
        posted.set()

    with Engine(workers=1) as engine:
        relay, seen = Relay(post), Seen()
        job = engine.submit(gated, {"name": "a"}, replicates=2)
        relay.watch(engine, job)
        hold.wait_until_reached()
        assert posted.wait(HANDSHAKE_S)
        relay.deliver(seen)
        posted.clear()
        hold.open()
        job.result()
        while not seen.of("completed"):
            if relay.deliver(seen) is None and not seen.of("completed"):
                assert posted.wait(HANDSHAKE_S)
                posted.clear()
    assert seen.of("finished") == [job.id]
    assert all(name.startswith("bgsim-callbacks") for name in threads)


def test_a_turn_is_short_and_thirty_a_second_is_smooth() -> None:
    assert relay_module.TURN_S <= INTERVAL_S < 0.05


# ---- rows of a table ----------------------------------------------------------------------------------


def test_a_superseding_job_takes_the_row() -> None:
    with SteppedEngine() as engine:
        rows = Rows()
        other = engine.submit(one_draw, replicates=3)
        older = engine.submit(one_draw, replicates=4, supersede="preview")
        for job in (other, older):
            assert rows.place_of(job) is None
            rows.all.insert(0, Row(job))
        newer = engine.submit(one_draw, replicates=5, supersede="preview")
        assert rows.place_of(newer) == 0
        assert rows.place_of(other) == 1
        press(newer, "pause")
        assert newer.paused
        press(newer, "resume")
        press(newer, "cancel")
        press(None, "cancel")
        assert newer.done()


def test_a_row_keeps_no_job_that_has_ended() -> None:
    with SteppedEngine() as engine:
        job = engine.submit(one_draw, replicates=3)
        rows = Rows()
        rows.all.append(Row(job))
        assert not rows.rest
        assert rows.all[0].texts[1:3] == ("queued", "0 %")
        assert rows.refresh() == rows.refresh_job(job) == []
        run_all(engine)
        assert rows.refresh_job(job) == [0]
        assert rows.rest
        assert rows.all[0].job is None
        assert rows.all[0].texts[2] == "100 %"
        assert rows.all[0].note == f"{job.id}: 3 of 3"
        assert rows.refresh() == []


def test_the_oldest_that_have_ended_make_room() -> None:
    with SteppedEngine() as engine:
        rows = Rows()
        running = engine.submit(one_draw, replicates=2, delay_s=5.0)
        rows.all.insert(0, Row(running))
        for seed in range(MOST_ROWS):
            job = engine.submit(one_draw, replicates=1, seed=seed)
            run_all(engine)
            assert rows.surplus() is None
            rows.all.insert(0, Row(job))
        assert rows.surplus() == MOST_ROWS - 1
        running.cancel()
