"""Callbacks: in which thread, in which order, and what happens when one raises, waits, or calls back."""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
from concurrent.futures import Executor, Future, ThreadPoolExecutor, wait
from typing import Any

import pytest
from conftest import HANDSHAKE_S, Gate

import bgsim
import bgsim.bus.channels
import bgsim.bus.delivery
import bgsim.bus.subscription
import bgsim.progress
from bgsim.errors import EngineClosedError, InvalidInputError
from bgsim.progress import ProgressBus, ProgressUpdate, UpdateType

STARTED, PROGRESS, COMPLETED, FAILED, CANCELLED = UpdateType


class Seen:
    """A callback that keeps its updates and the threads that called it, and can be waited for."""

    def __init__(self, until: UpdateType = COMPLETED) -> None:
        self.updates: list[ProgressUpdate] = []
        self.threads: set[str] = set()
        self.until = until
        self._reached = threading.Event()

    def __call__(self, update: ProgressUpdate) -> None:
        self.updates.append(update)
        self.threads.add(threading.current_thread().name)
        if update.update_type is self.until:
            self._reached.set()

    def wait(self) -> list[UpdateType]:
        assert self._reached.wait(HANDSHAKE_S), "the update did not come"
        return [update.update_type for update in self.updates]


def play(bus: ProgressBus, job: str, *kinds: UpdateType) -> None:
    for kind in kinds:
        bus.publish(job, kind)


# ---- one thread, in order ----------------------------------------------------------------------------


def test_all_callbacks_run_in_one_thread_in_order() -> None:
    seen = [Seen(), Seen(), Seen()]
    with ProgressBus() as bus:
        for each in seen:
            bus.subscribe(each)
        for job in "abcdef":
            play(bus, job, STARTED, PROGRESS, COMPLETED)
    for each in seen:
        for job in "abcdef":
            kinds = [u.update_type for u in each.updates if u.simulation_id == job]
            assert kinds[0] is STARTED
            assert kinds[-1] is COMPLETED
        assert each.threads == seen[0].threads
    assert len(seen[0].threads) == 1
    assert "MainThread" not in seen[0].threads


def test_a_busy_callback_takes_turns_with_others() -> None:
    """One has a hundred pending updates; another that comes later does not wait for all of them."""
    order: list[str] = []
    bus = ProgressBus(threads=False)
    bus.subscribe(lambda _: order.append("busy"), job="a", maxlen=1000)
    bus.subscribe(lambda _: order.append("other"), job="b")
    play(bus, "a", STARTED)
    for _ in range(100):
        bus.subscribe()  # so that progress before and after it is not conflated
        play(bus, "a", PROGRESS)
    play(bus, "b", COMPLETED)
    bus.deliver()
    assert order.count("busy") == 101
    assert order.index("other") < 40
    bus.close()


def test_closing_delivers_what_was_published() -> None:
    seen = Seen()
    bus = ProgressBus()
    bus.subscribe(seen)
    play(bus, "a", STARTED, COMPLETED)
    bus.close()
    assert seen.wait() == [STARTED, COMPLETED]


def test_a_callback_that_raises_is_logged_counted_and_called_again(caplog: pytest.LogCaptureFixture) -> None:
    """Whatever it raises, SystemExit included; other callbacks are not affected."""
    calls, other = [], Seen()

    def callback(update: ProgressUpdate) -> None:
        calls.append(update)
        raise (SystemExit if update.update_type is STARTED else ZeroDivisionError)("in the callback")

    with ProgressBus() as bus:
        raising = bus.subscribe(callback)
        bus.subscribe(other)
        for job in "abc":
            play(bus, job, STARTED, COMPLETED)
    assert len(calls) == raising.failed == raising.delivered == bus.stats().failed_callbacks == 6
    assert len(other.updates) == 6
    assert len(caplog.records) == 1
    assert "in the callback" in caplog.text


def test_ctrl_c_in_a_callback_reaches_the_thread_that_delivers() -> None:
    """Without threads that is the caller's own; the next call delivers the rest."""
    seen: list[UpdateType] = []

    def callback(update: ProgressUpdate) -> None:
        seen.append(update.update_type)
        if update.update_type is STARTED:
            raise KeyboardInterrupt

    bus = ProgressBus(threads=False)
    bus.subscribe(callback)
    play(bus, "a", STARTED, COMPLETED)
    with pytest.raises(KeyboardInterrupt):
        bus.deliver()
    bus.deliver()
    assert seen == [STARTED, COMPLETED]
    bus.close()


@pytest.mark.stress
def test_a_storm_of_jobs_reaches_every_subscriber(in_threads: Any) -> None:
    """3 publishers, 300 jobs, subscribers that come and go: those that stay miss progress only."""
    with ThreadPoolExecutor(2) as executor:
        bus = ProgressBus()
        direct, pooled, iterated = Seen(), Seen(), bus.subscribe(maxlen=8)
        bus.subscribe(direct, maxlen=8)
        bus.subscribe(pooled, maxlen=8, executor=executor)

        def publisher(first: int) -> Any:
            def run() -> None:
                for number in range(first, 300, 3):
                    play(bus, f"job{number}", STARTED, PROGRESS, PROGRESS, COMPLETED)

            return run

        def visitor() -> None:
            for number in range(200):
                with bus.subscribe(Seen(), job=[f"job{number}", f"job{299 - number}"]):
                    bus.subscribe(job=f"job{number}")
                    bus.forget(f"job{number // 2}")

        in_threads(*[publisher(first) for first in range(3)], visitor)
        bus.close()
    for updates in (direct.updates, pooled.updates, list(iterated)):
        for number in range(300):
            kinds = [u.update_type for u in updates if u.simulation_id == f"job{number}"]
            assert kinds[0] is STARTED
            assert kinds[1:-1] in ([], [PROGRESS], [PROGRESS] * 2)
            assert kinds[-1] is COMPLETED


# ---- a callback that does not return -----------------------------------------------------------------


def test_a_callback_that_does_not_return_stops_no_other(clock: Any, gate: Gate, caplog: Any) -> None:
    """A new thread goes on once the call is overdue; the stuck one goes on with its own subscription, then retires."""
    bus = ProgressBus(clock=clock, patience_s=1.0)
    stuck, other, iterated = Seen(), Seen(until=CANCELLED), bus.subscribe()
    threads: list[threading.Thread] = []

    def callback(update: ProgressUpdate) -> None:
        if update.update_type is STARTED:
            threads.append(threading.current_thread())
            gate.stop_here()
        stuck(update)

    bus.subscribe(callback)
    bus.subscribe(other, job="b")
    play(bus, "a", STARTED)
    gate.wait_until_reached()
    clock.advance(2.0)
    play(bus, "b", CANCELLED)
    play(bus, "c", COMPLETED)
    assert other.wait() == [CANCELLED]
    assert iterated.get(timeout_s=HANDSHAKE_S) is not None
    assert bus.stats().overdue_callbacks == 1
    gate.open()
    assert stuck.wait() == [STARTED, CANCELLED, COMPLETED]
    threads[0].join(HANDSHAKE_S)
    assert stuck.threads == {threads[0].name, *other.threads}
    assert bus.stats().overdue_callbacks == 0
    bus.close()
    assert "does not return" in caplog.text


def test_a_call_that_becomes_overdue_is_noticed_without_anything_new(clock: Any, gate: Gate) -> None:
    """Another callback waits before the call is overdue; the fan-out thread wakes up by itself."""
    looked = threading.Event()

    def watched_clock() -> float:
        now: float = clock()
        if threading.current_thread().name == "bgsim-progress":
            looked.set()
        return now

    with ProgressBus(patience_s=0.01, clock=watched_clock) as bus:
        other = Seen()
        bus.subscribe(gate.stop_here, job="a")
        bus.subscribe(other, job="b")
        play(bus, "a", STARTED)
        gate.wait_until_reached()
        play(bus, "b", COMPLETED)
        assert looked.wait(HANDSHAKE_S)
        assert not other.updates
        clock.advance(1.0)
        assert other.wait() == [COMPLETED]
        gate.open()


def test_threads_are_bounded_and_the_first_to_return_goes_on(clock: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three callbacks hang in all three threads; a fourth is called when one of them returns."""
    monkeypatch.setattr(bgsim.bus.delivery, "MAX_THREADS", 3)
    gates = [Gate(), Gate(), Gate()]
    last = Seen()
    bus = ProgressBus(clock=clock, patience_s=1.0)
    for i, gate in enumerate(gates):
        bus.subscribe(gate.stop_here, job=f"job{i}")
    bus.subscribe(last, job="last")
    for i, gate in enumerate(gates):
        play(bus, f"job{i}", COMPLETED)
        gate.wait_until_reached()
        clock.advance(2.0)
    updates = bus.subscribe(job="last")
    play(bus, "last", COMPLETED)
    assert len(list(updates)) == 1
    assert bus.stats().overdue_callbacks == 2
    assert not last.updates
    gates[0].open()
    last.wait()
    for gate in gates:
        gate.open()
    bus.close()


def test_closing_waits_for_a_stuck_callback_no_longer_than_the_patience(gate: Gate) -> None:
    bus = ProgressBus(patience_s=0.01)
    others = Seen()
    bus.subscribe(gate.stop_here, job="a")
    bus.subscribe(others, job="b")
    play(bus, "a", STARTED)
    gate.wait_until_reached()
    play(bus, "b", COMPLETED)
    bus.close()
    assert others.wait() == [COMPLETED]
    gate.open()


def test_closing_gives_up_when_every_thread_is_stuck(monkeypatch: pytest.MonkeyPatch, gate: Gate) -> None:
    monkeypatch.setattr(bgsim.bus.delivery, "MAX_THREADS", 1)
    bus = ProgressBus(patience_s=0.01)
    bus.subscribe(gate.stop_here, job="a")
    bus.subscribe(Seen(), job="b")
    play(bus, "a", STARTED)
    gate.wait_until_reached()
    play(bus, "b", COMPLETED)
    bus.close()
    gate.open()


# ---- re-entrancy -------------------------------------------------------------------------------------


def test_a_callback_may_do_anything_with_the_bus() -> None:
    """Publish, subscribe, unsubscribe itself and others, look, forget and close, and get the updates of that."""
    bus = ProgressBus()
    later, other = Seen(), Seen()
    closed = threading.Event()

    def callback(update: ProgressUpdate) -> None:
        if update.simulation_id == "a":
            bus.subscribe(later, job="b")
            play(bus, "b", STARTED, COMPLETED)
            bystander.unsubscribe()
            bus.forget("a")
            assert bus.current("a") is None
            assert bus.stats().published == 3
        elif update.update_type is COMPLETED:
            mine.unsubscribe()
            bus.close()
            closed.set()

    bystander = bus.subscribe(other, job="c")
    mine = bus.subscribe(callback)
    play(bus, "a", COMPLETED)
    assert closed.wait(HANDSHAKE_S)
    assert later.wait() == [STARTED, COMPLETED]
    with pytest.raises(EngineClosedError):
        bus.subscribe()
    bus.close()


def test_a_callback_may_use_the_engine() -> None:
    """It submits, subscribes, cancels and closes; every job ends."""
    draw = bgsim.simulation(lambda p, rng: rng.random(), outputs={"x": "f8"}, compile=False)
    engine = bgsim.Engine(workers=1)
    jobs, done = [], threading.Event()

    def callback(update: ProgressUpdate) -> None:
        if update.update_type is not COMPLETED or jobs:
            return
        jobs.append(engine.submit(draw, replicates=10, seed=1, on_progress=lambda _: None))
        jobs.append(engine.submit(draw, replicates=10, seed=2))
        jobs[1].cancel()
        engine.subscribe(job=jobs[0]).unsubscribe()
        engine.close()
        done.set()

    engine.submit(draw, replicates=10, on_progress=callback)
    assert done.wait(HANDSHAKE_S)
    assert jobs[0].result(HANDSHAKE_S)["x"].shape == (10,)
    assert not wait(jobs, HANDSHAKE_S).not_done
    engine.close()


def test_no_call_begins_after_unsubscribe_returned(gate: Gate) -> None:
    """A call in progress goes on; the updates behind it are dropped."""
    calls: list[ProgressUpdate] = []

    def callback(update: ProgressUpdate) -> None:
        calls.append(update)
        gate.stop_here()

    with ProgressBus() as bus:
        subscription = bus.subscribe(callback, maxlen=1000)
        play(bus, "a", STARTED, PROGRESS, COMPLETED)
        gate.wait_until_reached()
        subscription.unsubscribe()
        gate.open()
        play(bus, "b", STARTED)
    assert len(calls) == 1


def test_unsubscribing_from_the_callback_takes_effect_at_once() -> None:
    calls: list[ProgressUpdate] = []

    def callback(update: ProgressUpdate) -> None:
        calls.append(update)
        subscription.unsubscribe()

    bus = ProgressBus(threads=False)
    subscription = bus.subscribe(callback)
    play(bus, "a", STARTED, PROGRESS, COMPLETED)
    bus.close()
    assert [update.update_type for update in calls] == [STARTED]


# ---- executors and loops -----------------------------------------------------------------------------


def test_an_executor_calls_in_order_one_after_another() -> None:
    seen, running, most = Seen(), [0], [0]

    def callback(update: ProgressUpdate) -> None:
        running[0] += 1
        most[0] = max(most[0], running[0])
        seen(update)
        running[0] -= 1

    with ThreadPoolExecutor(4, thread_name_prefix="pool") as executor, ProgressBus() as bus:
        bus.subscribe(callback, executor=executor)
        play(bus, "a", STARTED)
        for _ in range(200):
            play(bus, "a", PROGRESS)
        play(bus, "a", COMPLETED)
        kinds = seen.wait()
    assert kinds[0] is STARTED
    assert kinds.count(COMPLETED) == 1
    assert [u.sequence for u in seen.updates] == sorted({u.sequence for u in seen.updates})
    assert all(name.startswith("pool") for name in seen.threads)
    assert most == [1]


def test_an_executor_that_was_shut_down_ends_the_subscription(caplog: pytest.LogCaptureFixture) -> None:
    other = Seen()
    executor = ThreadPoolExecutor(1)
    executor.shutdown()
    with ProgressBus() as bus:
        subscription = bus.subscribe(Seen(), executor=executor)
        bus.subscribe(other)
        play(bus, "a", STARTED, COMPLETED)
        other.wait()
    assert subscription.delivered == 0
    assert "takes no more calls" in caplog.text
    assert bus.stats().subscriptions == 1


@pytest.mark.parametrize("how", ["cancelled", "failed"])
def test_an_executor_that_drops_its_tasks_ends_the_subscription(how: str, caplog: pytest.LogCaptureFixture) -> None:
    class Dropping(Executor):
        def submit(self, *_: Any, **__: Any) -> Future[Any]:
            future: Future[Any] = Future()
            if how == "cancelled":
                future.cancel()
            else:
                future.set_exception(ValueError("cannot pickle"))
            return future

    bus = ProgressBus(threads=False)
    subscription = bus.subscribe(Seen(), executor=Dropping())
    play(bus, "a", STARTED)
    bus.deliver()
    assert bus.stats().subscriptions == 0
    assert "unsubscribed" in caplog.text
    assert "ended" in repr(subscription)
    bus.close()


def test_a_loop_calls_and_awaits_in_order() -> None:
    """Plain functions and coroutines alike, in the loop's thread; one that raises is counted."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        plain, awaited = Seen(), Seen()
        ended = asyncio.Event()

        async def callback(update: ProgressUpdate) -> None:
            await asyncio.sleep(0)
            awaited(update)
            if update.update_type is COMPLETED:
                ended.set()
            raise ZeroDivisionError

        with ProgressBus() as bus:
            bus.subscribe(plain, loop=loop)
            counted = bus.subscribe(callback, loop=loop, where=lambda update: update.update_type is not PROGRESS)
            play(bus, "a", STARTED, PROGRESS, PROGRESS, COMPLETED)
            await asyncio.wait_for(ended.wait(), HANDSHAKE_S)
            assert [u.update_type for u in awaited.updates] == [STARTED, COMPLETED]
            assert counted.failed == 2
            assert {"MainThread"} == awaited.threads == plain.threads

    logging.disable(logging.ERROR)
    try:
        asyncio.run(main())
    finally:
        logging.disable(logging.NOTSET)


def test_a_loop_that_was_closed_ends_the_subscription(caplog: pytest.LogCaptureFixture) -> None:
    loop = asyncio.new_event_loop()
    bus = ProgressBus(threads=False)
    bus.subscribe(Seen(), loop=loop)
    loop.close()
    play(bus, "a", STARTED)
    bus.deliver()
    assert bus.stats().subscriptions == 0
    assert "loop is closed" in caplog.text
    bus.close()


def test_a_loop_that_ends_in_the_middle_ends_the_subscription() -> None:
    bus = ProgressBus(threads=False)

    async def main() -> None:
        entered = asyncio.Event()

        async def callback(_: ProgressUpdate) -> None:
            entered.set()
            await asyncio.Event().wait()

        bus.subscribe(callback, loop=asyncio.get_running_loop())
        play(bus, "a", STARTED)
        bus.deliver()
        await entered.wait()

    asyncio.run(main())
    assert bus.stats().subscriptions == 0
    bus.close()


def test_a_post_has_the_calls_made_elsewhere() -> None:
    """A loop of another toolkit: the bus puts a call on its queue, and its thread makes it."""
    seen = Seen()
    calls: queue.SimpleQueue[Any] = queue.SimpleQueue()
    with ProgressBus() as bus:
        bus.subscribe(seen, post=calls.put)
        play(bus, "a", STARTED, PROGRESS, COMPLETED)
        while COMPLETED not in [update.update_type for update in seen.updates]:
            calls.get(timeout=HANDSHAKE_S)()
    assert seen.threads == {threading.current_thread().name}
    assert seen.updates[0].update_type is STARTED


def test_an_executors_submit_is_a_post() -> None:
    """The future that it returns ends the subscription when the call is cancelled."""
    with ThreadPoolExecutor(1) as executor, ProgressBus(threads=False) as bus:
        gate = Gate()
        executor.submit(gate.stop_here, None)
        bus.subscribe(Seen(), post=executor.submit)
        play(bus, "a", STARTED)
        bus.deliver()
        executor.shutdown(wait=False, cancel_futures=True)
        gate.open()
        assert bus.stats().subscriptions == 0


def test_a_post_that_raises_ends_the_subscription(caplog: pytest.LogCaptureFixture) -> None:
    def post(_: Any) -> None:
        raise RuntimeError("the window is closed")

    with ProgressBus(threads=False) as bus:
        bus.subscribe(Seen(), post=post)
        play(bus, "a", STARTED)
        bus.deliver()
        assert bus.stats().subscriptions == 0
    assert "the window is closed" in caplog.text


def test_ctrl_c_in_a_post_ends_the_subscription() -> None:
    """The bus cannot tell whether the call was posted, and a second one could overlap with it."""
    calls: list[Any] = []

    def post(call: Any) -> None:
        calls.append(call)
        raise KeyboardInterrupt

    seen = Seen()
    with ProgressBus(threads=False) as bus:
        bus.subscribe(seen, post=post)
        play(bus, "a", STARTED)
        with pytest.raises(KeyboardInterrupt):
            bus.deliver()
        assert bus.stats().subscriptions == 0
        calls.pop()()
    assert not seen.updates


async def _coroutine(_: ProgressUpdate) -> None: ...


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"executor": ThreadPoolExecutor(1)}, "executor is for callbacks"),
        ({"callback": _coroutine}, "coroutine function, which loop= would await"),
        ({"callback": print, "executor": ThreadPoolExecutor(1), "loop": "new"}, "give one of executor, loop"),
        ({"callback": print, "loop": "new", "post": print}, "give one of loop, post"),
        ({"post": print}, "post is for callbacks"),
    ],
)
def test_where_calls_cannot_go_is_refused(options: dict[str, Any], message: str) -> None:
    loop = asyncio.new_event_loop()
    if "loop" in options:
        options = {**options, "loop": loop}
    with ProgressBus() as bus, pytest.raises(InvalidInputError, match=message):
        bus.subscribe(**options)
    loop.close()


# ---- locks -------------------------------------------------------------------------------------------


def test_no_lock_is_held_while_other_code_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Callbacks, predicates, executors, loops and log handlers check that their thread holds no lock of the bus."""
    held: dict[int, list[str]] = {}

    class WatchedLock:
        def __init__(self) -> None:
            self._lock = threading.Lock()

        def acquire(self, *arguments: Any) -> bool:
            taken = self._lock.acquire(*arguments)
            if taken:
                held.setdefault(threading.get_ident(), []).append("lock")
            return taken

        def release(self) -> None:
            held[threading.get_ident()].pop()
            self._lock.release()

        __enter__ = acquire

        def __exit__(self, *_: object) -> None:
            self.release()

    monkeypatch.setattr(bgsim.threads.locks.Lock, "__init__", lambda self: setattr(self, "raw", WatchedLock()))
    places: dict[str, bool] = {}

    def probe(place: str) -> None:
        places[place] = places.get(place, True) and not held.get(threading.get_ident())

    class ProbingExecutor(Executor):
        def submit(self, function: Any, /, *_: Any, **__: Any) -> Future[Any]:
            probe("executor")
            future: Future[Any] = Future()
            future.set_result(function())
            return future

    class ProbingLoop(asyncio.SelectorEventLoop):
        def call_soon_threadsafe(self, *arguments: Any, **options: Any) -> Any:
            probe("loop")
            return super().call_soon_threadsafe(*arguments, **options)

    class ProbingHandler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            probe("log handler")

    def callback(place: str) -> Any:
        def call(update: ProgressUpdate) -> None:
            probe(place)
            if update.update_type is COMPLETED and place == "callback":
                raise ZeroDivisionError

        return call

    def where(_: ProgressUpdate) -> bool:
        probe("predicate")
        return True

    async def main() -> None:
        loop = asyncio.get_running_loop()
        updates = bus.subscribe(job="a", where=where)
        bus.subscribe(callback("callback"), where=where)
        bus.subscribe(callback("in an executor"), executor=ProbingExecutor())
        bus.subscribe(callback("in a loop"), loop=loop, where=where)
        reader = asyncio.ensure_future(anext(updates))
        await asyncio.sleep(0)  # it waits, so that the bus has to wake it
        play(bus, "a", STARTED, PROGRESS, COMPLETED)
        await reader
        assert [update.update_type async for update in updates][-1] is COMPLETED
        await loop.run_in_executor(None, bus.close)
        while "in a loop" not in places:
            await asyncio.sleep(0)

    logger, handler = logging.getLogger("bgsim.progress"), ProbingHandler()
    logger.addHandler(handler)
    bus = ProgressBus()
    try:
        with asyncio.Runner(loop_factory=ProbingLoop) as runner:
            runner.run(main())
    finally:
        logger.removeHandler(handler)
    assert set(places) == {
        "callback",
        "predicate",
        "executor",
        "in an executor",
        "loop",
        "in a loop",
        "log handler",
    }
    assert all(places.values()), places
