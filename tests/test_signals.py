"""Signal handlers that call bgsim, and that raise, at any line of it in the main thread: no hang, nothing left broken."""

from __future__ import annotations

import concurrent.futures
import gc
import itertools
import os
import random
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from conftest import HANDSHAKE_S
from interruptions import Interruption, handled, send_at_line
from kernels import one_draw
from paths import ROOT

import bgsim
from bgsim.errors import QueueFullError
from bgsim.queue_manager import SimulationQueue, SimulationRequest
from bgsim.storage import MemoryStore, ResultStore
from bgsim.storage.sqlite.database import open_database
from bgsim.testing.backend_examples import wait_until
from bgsim.threads import locks, signals

pytestmark = [
    pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="there are no such signals"),
    pytest.mark.timeout(120),
]


class Bench:
    """What the calls of these tests use: an engine and a queue, and a seed that is new each time."""

    def __init__(self, engine: bgsim.Engine, path: Path) -> None:
        self.engine = engine
        self.path = path
        self.queue = SimulationQueue()
        self.seed = 0

    def submit(self, **options: Any) -> bgsim.Job:
        """Submit a job that is computed, though the store stays small: else its listing would get longer and longer."""
        self.seed += 1
        return self.engine.submit(
            one_draw,
            replicates=2,
            **{"seed": self.seed % 20, "cache": "refresh", "allow_deduplication": False} | options,
        )

    def use_jobs(self) -> None:
        job = self.submit()
        job.status()
        self.engine.stats()
        self.engine.health()
        self.engine.jobs()
        assert job.result(HANDSHAKE_S).replicates == 2
        self.engine.drain(0)
        later = self.submit(delay_s=3600.0, supersede="word", debounce_s=3600.0)
        later.set_priority("high")
        later.pause()
        later.resume()
        later.cancel()
        self.engine.clean()

    def use_progress(self) -> None:
        with self.engine.subscribe(lambda _: None, completions_only=True), self.engine.subscribe() as updates:
            job = self.submit()
            for update in job.updates():
                assert update.simulation_id == job.id
            updates.get(timeout_s=HANDSHAKE_S)
            job.add_done_callback(lambda _: None)

    def use_batches(self) -> None:
        self.seed += 1
        batch = self.engine.submit_many(one_draw, [None] * 2, replicates=2, cache="refresh", allow_deduplication=False)
        batch.progress()
        assert len(batch.results()) == 2
        assert batch.done()
        batch.cancel()

    def use_executor(self) -> None:
        with self.engine.executor() as executor:
            future = executor.submit(int, "7")
            assert list(executor.map(int, "12")) == [1, 2]
            assert future.result(HANDSHAKE_S) == 7
            concurrent.futures.wait([future, self.submit()], HANDSHAKE_S)

    def use_store(self) -> None:
        store, job = self.engine.store, self.submit(cache="off")
        key, columns = job.request.key, job.result(HANDSHAKE_S)
        store.store(key, dict(columns), workspace="here")
        store.flush()
        store.count(key)
        store.load(key)
        store.place(key, 2, "here")
        store.results()
        store.slots("here")
        store.size()
        store.delete(key.hash)
        store.cleanup()

    def use_queue(self) -> None:
        self.seed += 1
        name = f"queued-{self.seed}"
        placed = self.queue.put(SimulationRequest(name, key=name), block=True, timeout_s=HANDSHAKE_S)
        self.queue.position(name)
        self.queue.stats()
        self.queue.hold(placed.entry)
        self.queue.release(placed.entry)
        entry = self.queue.get(timeout_s=HANDSHAKE_S)
        self.queue.requeue(entry)
        entry = self.queue.get_nowait() or placed.entry
        self.queue.done(entry)

    def use_engines(self) -> None:
        self.seed += 1
        with bgsim.Engine(self.path / "other.db", workers=1) as engine:
            assert engine.submit(one_draw, replicates=2, seed=self.seed % 20).result(HANDSHAKE_S).replicates == 2

    def use_immediate(self) -> None:
        self.seed += 1
        with bgsim.Engine(immediate=True) as engine:
            with engine.subscribe(lambda _: None):
                assert engine.submit(one_draw, replicates=2, seed=self.seed).result().replicates == 2
            assert engine.executor().submit(int, "7").result() == 7


USES: dict[str, Callable[[Bench], None]] = {
    "batches": Bench.use_batches,
    "engines": Bench.use_engines,
    "executor": Bench.use_executor,
    "immediate": Bench.use_immediate,
    "jobs": Bench.use_jobs,
    "progress": Bench.use_progress,
    "queue": Bench.use_queue,
    "store": Bench.use_store,
}


@pytest.fixture(params=["memory", "file"])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    one_draw.warmup()
    store = ResultStore(tmp_path / "s.db") if request.param == "file" else MemoryStore()
    with bgsim.Engine(store, workers=2) as engine:
        yield Bench(engine, tmp_path)
    assert store.check().ok
    store.close()
    gc.collect()  # engines that nobody got close themselves
    for thread in threading.enumerate():
        if thread.name == "close-bgsim":
            thread.join(HANDSHAKE_S)


def assert_whole(bench: Bench) -> None:
    """Nothing is held back, no lock is held, and all that there is still works."""
    assert (signals.holds, signals.are_open, list(signals._came)) == ([], False, [])
    held = [lock for lock in gc.get_objects() if issubclass(type(lock), locks.Lock)]  # `isinstance` asks dead proxies
    deadline = time.monotonic() + HANDSHAKE_S
    for lock in held:
        assert lock.raw.acquire(timeout=max(0.0, deadline - time.monotonic())), "a lock is held for ever"
        lock.raw.release()
    bench.queue.check_invariants()
    while bench.queue.get_nowait() is not None:
        pass
    bench.queue = SimulationQueue()
    for job in bench.engine.jobs():
        job.cancel()
    for use in (bench.use_jobs, bench.use_executor, bench.use_queue):
        use()


def every_line(bench: Bench, use: Callable[[Bench], None]) -> int:
    """Send a signal at each line of a use, or at some of them; return how many."""
    line = sent = 0
    there_are_more = True
    while there_are_more:
        line += STRIDE
        with suppress(Interruption):
            there_are_more = send_at_line(line, lambda: use(bench))
        sent += there_are_more
        if sent % 100 == 0:
            assert_whole(bench)
    return sent


STRIDE = int(os.environ.get("BGSIM_SIGNAL_STRIDE", "97"))
"""A signal comes at every line of this number; 1 for a thorough look, which takes hours."""


@pytest.mark.parametrize("use", USES.values(), ids=USES.keys())
def test_a_handler_that_calls_the_engine_waits_for_nothing(bench: Bench, use: Callable[[Bench], None]) -> None:
    """At whatever line it comes."""
    called = []

    def handler(number: int, _: Any) -> None:
        called.append(number)
        job = bench.submit()
        job.status()
        bench.engine.stats()
        assert job.result(HANDSHAKE_S).replicates == 2
        bench.submit(delay_s=3600.0).cancel()
        bench.engine.store.count(job.request.key)
        with bench.engine.subscribe(lambda _: None), bench.engine.executor() as executor:
            executor.submit(int)
        bench.queue.stats()

    with handled(handler):
        sent = every_line(bench, use)
        assert signal.getsignal(signal.SIGUSR1) is handler
    assert len(called) == sent > 5
    assert_whole(bench)


@pytest.mark.parametrize("use", USES.values(), ids=USES.keys())
def test_a_handler_that_raises_leaves_nothing_broken(bench: Bench, use: Callable[[Bench], None]) -> None:
    """At whatever line it comes."""

    def handler(number: int, _: Any) -> None:
        raise Interruption(number)

    with handled(handler):
        assert every_line(bench, use) > 5
        assert signal.getsignal(signal.SIGUSR1) is handler
    assert_whole(bench)


def test_each_signal_that_came_is_handled_in_its_order_even_if_one_handler_raises() -> None:
    seen: list[tuple[int, Any]] = []

    def handler(number: int, frame: Any) -> None:
        seen.append((number, frame.f_code.co_name))
        if number == signal.SIGUSR2:
            raise Interruption(number)

    def use() -> None:
        with signals.HOLD:
            for number in (signal.SIGUSR2, signal.SIGUSR1, signal.SIGRTMAX, signal.SIGUSR2):
                signal.raise_signal(number)
            assert seen == []

    with handled(handler), handled(handler, signal.SIGUSR2), handled(handler, signal.SIGRTMAX):
        with pytest.raises(Interruption):
            use()
        assert signal.getsignal(signal.SIGUSR2) is handler
    assert seen == [(number, "use") for number in (signal.SIGUSR2, signal.SIGUSR1, signal.SIGRTMAX)]


def test_a_handler_that_is_set_while_signals_wait_stays() -> None:
    with handled(lambda *_: None):
        with signals.HOLD:
            signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        assert signal.getsignal(signal.SIGUSR1) is signal.SIG_IGN


def test_a_handler_that_raises_in_a_wait_leaves_it_with_the_lock() -> None:
    """Of the standard library's conditions another thread would lose it."""
    lock = locks.Lock()
    condition = locks.Condition(lock.raw)

    def handler(number: int, _: Any) -> None:
        assert not lock.raw.locked()
        raise Interruption(number)

    sender = threading.Timer(0.05, lambda: signal.pthread_kill(threading.main_thread().ident, signal.SIGUSR1))
    with handled(handler):
        sender.start()
        with pytest.raises(Interruption), lock:
            try:
                condition.wait(HANDSHAKE_S)
            finally:
                assert lock.raw.locked()
    sender.join()
    assert not lock.raw.locked()
    assert not condition._waiters  # type: ignore[attr-defined]


def test_a_signal_that_does_not_end_the_wait_in_the_system_is_handled_all_the_same() -> None:
    """Another thread takes it, as if it had come just before the wait."""
    latch, came = locks.Latch(), threading.Event()
    came_in_time: list[bool] = []

    def handler(number: int, _: Any) -> None:
        came.set()
        raise Interruption(number)

    def send() -> None:
        wait_until(lambda: bool(latch._changed._waiters), "the main thread waits")  # type: ignore[attr-defined]
        signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)
        came_in_time.append(came.wait(HANDSHAKE_S))
        latch.set()

    sender = threading.Thread(target=send)
    with handled(handler):
        sender.start()
        with pytest.raises(Interruption):
            latch.wait()
    sender.join()
    assert came_in_time == [True]


def test_a_thread_whose_join_was_interrupted_still_runs() -> None:
    """The standard library takes it for ended."""
    go_on = threading.Event()
    thread = locks.Thread(go_on.wait, name="waits")
    thread.start()

    def handler(number: int, _: Any) -> None:
        raise Interruption(number)

    sender = threading.Timer(0.05, lambda: signal.pthread_kill(threading.main_thread().ident, signal.SIGUSR1))
    with handled(handler):
        sender.start()
        with pytest.raises(Interruption):
            thread.join()
    assert thread.is_alive()
    go_on.set()
    thread.join()
    assert not thread.is_alive()
    sender.join()


def test_a_future_has_what_the_standard_librarys_has() -> None:
    assert vars(locks.Future()).keys() - {"lock"} == vars(concurrent.futures.Future()).keys()


def test_an_interrupt_while_a_store_is_made_leaves_a_file_that_can_be_opened(tmp_path: Path) -> None:
    def handler(number: int, _: Any) -> None:
        raise Interruption(number)

    line, there_are_more = 0, True
    with handled(handler):
        while there_are_more:
            line += 1
            path = tmp_path / f"{line}.db"
            with suppress(Interruption):
                there_are_more = send_at_line(line, lambda path=path: open_database(path).close())
            open_database(path).close()
    gc.collect()  # it closes the connections that were lost on their way to the caller
    assert line > 50


def test_the_package_has_no_locks_but_its_own_and_no_finalizers() -> None:
    """Other locks hold no signal back; what a handler raises in a finalizer is lost."""
    ours = {ROOT / "bgsim" / "threads" / "locks.py", ROOT / "bgsim" / "identity" / "atoms.py"}
    for path in set((ROOT / "bgsim").rglob("*.py")) - ours - set((ROOT / "bgsim" / "testing").rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"threading\.(Lock|Condition|Event|Semaphore|Thread)\(|def __del__", text), path


@pytest.mark.parametrize("raises", [False, True], ids=["calls", "raises"])
def test_a_thousand_signals_at_random_moments_break_nothing(bench: Bench, raises: bool) -> None:
    """Sent by another thread while the main thread uses everything."""
    came = sent = raised = 0
    may_raise = False
    over = threading.Event()

    def handler(number: int, _: Any) -> None:
        nonlocal came, raised, may_raise
        came += 1
        if raises and may_raise:
            may_raise, raised = False, raised + 1
            raise Interruption(number)
        if not raises:
            bench.engine.submit(one_draw, replicates=2, seed=came % 20).status()
            bench.engine.stats()
            bench.queue.stats()

    def send() -> None:
        nonlocal sent
        moments = random.Random(1)
        while sent < 500:
            handled_before, sent = came, sent + 1
            signal.raise_signal(signal.SIGUSR1)
            over.wait(moments.random() * 0.004)
            while came == handled_before:
                over.wait(0.0005)  # or the next one would be the same to the system
        over.set()

    sender = locks.Thread(send, name="sender")
    uses = itertools.cycle([Bench.use_jobs, Bench.use_progress, Bench.use_batches, Bench.use_executor, Bench.use_store])
    with handled(handler):
        sender.start()
        while not over.is_set():
            with suppress(Interruption, QueueFullError):
                may_raise = True
                next(uses)(bench)
                may_raise = False
        sender.join(HANDSHAKE_S)
    assert came == sent == 500
    assert not raises or raised > 100
    assert_whole(bench)
