"""The executor: what the standard library's thread pool does, on an engine's queue and workers; races by handshake."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import gc
import itertools
import operator
import sys
import threading
import traceback
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ALL_COMPLETED, FIRST_COMPLETED, FIRST_EXCEPTION, CancelledError, Future
from typing import Any

import pytest
from conftest import HANDSHAKE_S, Gate
from hypothesis import given
from hypothesis import strategies as st

import bgsim
from bgsim.errors import EngineClosedError, InvalidInputError
from bgsim.jobs.executor import EngineExecutor
from bgsim.priority import Priority


@pytest.fixture
def engine_factory() -> Iterator[Callable[..., bgsim.Engine]]:
    """Make engines with so many workers, two by default; they are closed when the test ends."""
    engines = []

    def make(workers: int = 2) -> bgsim.Engine:
        engines.append(bgsim.Engine(workers=workers))
        return engines[-1]

    yield make
    for engine in engines:
        engine.close()


@pytest.fixture
def executor_factory(engine_factory: Callable[..., bgsim.Engine]) -> Callable[..., EngineExecutor]:
    """Make executors, each of an engine of its own."""
    return lambda workers=2, **options: engine_factory(workers).executor(**options)


@pytest.fixture
def executor(executor_factory: Callable[..., EngineExecutor]) -> EngineExecutor:
    return executor_factory()


class Held:
    """An executor with one worker, which a call keeps busy until `release`."""

    def __init__(self, executor: EngineExecutor, gate: Gate) -> None:
        self.executor = executor
        self.busy = executor.submit(gate.stop_here)
        self.release = gate.open
        gate.wait_until_reached()


@pytest.fixture
def held(executor_factory: Callable[..., EngineExecutor], gate: Gate) -> Held:
    return Held(executor_factory(workers=1), gate)


class Thing:
    """Something that can be referred to weakly."""

    def method(self) -> None:
        pass

    def fail(self) -> None:
        raise ValueError("no")


def watch(thing: object) -> tuple[threading.Event, object]:
    """Return an event that is set when the thing is gone, and the reference that sets it, which is to be kept."""
    gone = threading.Event()
    return gone, weakref.ref(thing, lambda _: gone.set())


def capture(*args: object, **kwargs: object) -> tuple[Any, Any]:
    return args, kwargs


def exploding(n: int) -> int:
    if n == 2:
        raise ValueError(f"no {n}")
    return n


def until(futures: list[Future[Any]]) -> None:
    """Wait for all to be done."""
    assert not concurrent.futures.wait(futures, HANDSHAKE_S).not_done


# ---- submitting --------------------------------------------------------------------------------------


def test_submit_calls_with_the_arguments(executor: EngineExecutor) -> None:
    assert executor.submit(pow, 2, 8).result(HANDSHAKE_S) == 256
    assert executor.submit(capture, 1, self=2, fn=3).result(HANDSHAKE_S) == ((1,), {"self": 2, "fn": 3})
    for wrong in ({"fn": capture}, {"arg": 1}):
        with pytest.raises(TypeError):
            executor.submit(**wrong)  # type: ignore[call-arg]


def test_it_is_an_executor_and_its_futures_are_futures(executor: EngineExecutor) -> None:
    future = executor.submit(int)
    assert isinstance(executor, concurrent.futures.Executor)
    assert isinstance(future, Future)
    assert future.result(HANDSHAKE_S) == 0


def test_a_future_is_pending_then_running_then_done(held: Held) -> None:
    waiting = held.executor.submit(int)
    assert (held.busy.running(), held.busy.done()) == (True, False)
    assert (waiting.running(), waiting.done()) == (False, False)
    assert repr(held.executor) == "<EngineExecutor: 1 running, 1 waiting>"
    held.release()
    assert waiting.result(HANDSHAKE_S) == 0
    assert (waiting.running(), waiting.done()) == (False, True)
    held.executor.shutdown()
    assert repr(held.executor) == "<EngineExecutor: 0 running, 0 waiting, shut down>"


def test_any_number_may_wait(executor_factory: Callable[..., EngineExecutor]) -> None:
    executor, allowed = executor_factory(workers=4), threading.Semaphore(0)
    futures = [executor.submit(allowed.acquire, timeout=HANDSHAKE_S) for _ in range(3000)]
    allowed.release(3000)
    assert all(f.result(HANDSHAKE_S) for f in futures)


def test_the_higher_priority_is_served_first(engine_factory: Callable[..., bgsim.Engine], gate: Gate) -> None:
    engine, order = engine_factory(workers=1), list[str]()
    low, high = engine.executor(priority="low"), engine.executor(priority=Priority.HIGH)
    low.submit(gate.stop_here)
    gate.wait_until_reached()
    futures = [low.submit(order.append, "low"), high.submit(order.append, "high")]
    gate.open()
    until(futures)
    assert order == ["high", "low"]


def test_an_unknown_priority_is_refused(engine_factory: Callable[..., bgsim.Engine]) -> None:
    with pytest.raises(InvalidInputError, match="priority must be one of"):
        engine_factory().executor(priority="hihg")


# ---- exceptions --------------------------------------------------------------------------------------


def test_an_exception_arrives_with_its_traceback(executor: EngineExecutor) -> None:
    future = executor.submit(exploding, 2)
    with pytest.raises(ValueError, match="no 2") as caught:
        future.result(HANDSHAKE_S)
    assert future.exception() is caught.value
    assert "exploding" in [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, GeneratorExit, StopIteration])
def test_whatever_is_raised_goes_to_the_caller_and_the_worker_lives(
    executor_factory: Callable[..., EngineExecutor], error: type[BaseException]
) -> None:
    def fail() -> None:
        raise error

    executor = executor_factory(workers=1)
    assert isinstance(executor.submit(fail).exception(HANDSHAKE_S), error)
    assert executor.submit(int).result(HANDSHAKE_S) == 0


def from_submit(executor: EngineExecutor, call: Callable[[], None]) -> None:
    executor.submit(call).result(HANDSHAKE_S)


def from_map(executor: EngineExecutor, call: Callable[[], None]) -> None:
    next(executor.map(lambda f: f(), [call]))


@pytest.mark.parametrize("use", [from_submit, from_map])
def test_an_exception_keeps_no_cycle(executor: EngineExecutor, use: Callable[..., None]) -> None:
    """Once it has been handled, all goes with it, without the garbage collector."""
    gc.collect()
    gc.disable()
    try:
        thing = Thing()
        gone, reference = watch(thing)
        with contextlib.suppress(ValueError):
            use(executor, thing.fail)
        del thing
        assert gone.wait(HANDSHAKE_S), reference
    finally:
        gc.enable()


# ---- references --------------------------------------------------------------------------------------


def test_nothing_is_kept_of_a_call_that_is_done(executor: EngineExecutor) -> None:
    """Neither the function, nor its arguments; the future was never kept."""
    thing, argument = Thing(), Thing()
    events, references = zip(watch(thing), watch(argument), strict=True)
    executor.submit(thing.method)
    executor.submit(capture, argument, key=argument)
    del thing, argument
    assert all(event.wait(HANDSHAKE_S) for event in events), references


def test_nothing_is_kept_of_a_result(executor: EngineExecutor) -> None:
    future = executor.submit(Thing)
    gone, reference = watch(future.result(HANDSHAKE_S))
    assert not gone.is_set()
    del future
    assert gone.wait(HANDSHAKE_S), reference


def test_nothing_is_kept_of_a_cancelled_call(held: Held) -> None:
    """Although the queue still has its entry."""
    thing = Thing()
    gone, reference = watch(thing)
    future = held.executor.submit(thing.method)
    assert future.cancel()
    del thing, future
    assert gone.is_set(), reference


def test_nothing_is_kept_of_a_refused_call(engine_factory: Callable[..., bgsim.Engine]) -> None:
    engine = engine_factory()
    executor, thing = engine.executor(), Thing()
    gone, reference = watch(thing)
    engine.close()
    with pytest.raises(EngineClosedError):
        executor.submit(thing.method)
    del thing
    gc.collect()  # the exception's traceback has the frames
    assert gone.wait(HANDSHAKE_S), reference


@pytest.mark.parametrize("sizes", [{}, {"chunksize": 3}, {"buffersize": 2}])
def test_map_keeps_no_reference_to_a_result_that_was_taken(executor: EngineExecutor, sizes: dict[str, int]) -> None:
    for thing in executor.map(lambda _: Thing(), range(10), **sizes):
        reference = weakref.ref(thing)
        del thing
        assert reference() is None


def test_as_completed_keeps_no_reference_to_a_future_that_was_taken(executor: EngineExecutor) -> None:
    futures = [executor.submit(int) for _ in range(8)]
    until(futures)
    executor.shutdown()
    waiting = iter(concurrent.futures.as_completed(futures, HANDSHAKE_S))
    for _ in range(len(futures)):
        future = next(waiting)
        futures.remove(future)
        reference = weakref.ref(future)
        del future
        assert reference() is None


# ---- cancelling --------------------------------------------------------------------------------------


def test_a_waiting_call_can_be_cancelled_and_never_runs(held: Held) -> None:
    ran: list[int] = []
    future = held.executor.submit(ran.append, 1)
    assert future.cancel()
    assert future.cancel()  # as often as one likes
    assert (future.cancelled(), future.done()) == (True, True)
    for ask in (future.result, future.exception):
        with pytest.raises(CancelledError):
            ask(0)
    held.release()
    held.executor.shutdown()
    assert ran == []


def test_who_waits_hears_of_a_cancel_before_a_worker_is_free(held: Held) -> None:
    """The call is withdrawn by the one who cancels."""
    futures = [held.executor.submit(int) for _ in range(2)]
    assert all(future.cancel() for future in futures)
    until(futures)
    assert set(concurrent.futures.as_completed(futures, HANDSHAKE_S)) == set(futures)


def test_a_running_or_finished_call_cannot_be_cancelled(held: Held) -> None:
    assert not held.busy.cancel()
    held.release()
    assert held.busy.result(HANDSHAKE_S) is None
    assert not held.busy.cancel()
    assert not held.busy.cancelled()


class ManualEngine:
    """Runs a task when the test says so; `on_enqueue` is called before `enqueue` returns."""

    def __init__(self) -> None:
        self.tasks: list[Callable[[], None]] = []
        self.on_enqueue: Callable[[], object] = lambda: None

    def enqueue(self, task: Callable[[], None], *, priority: Priority, group: str | None) -> Callable[[], bool]:
        self.tasks.append(task)
        self.on_enqueue()
        return lambda: bool(task in self.tasks and not self.tasks.remove(task))  # type: ignore[func-returns-value]

    def take(self) -> Callable[[], None]:
        return self.tasks.pop()

    def run(self) -> None:
        self.take()()

    def call_back(self, callback: Callable[..., object], *arguments: object) -> None:
        callback(*arguments)

    def during(self, what: str, *, is_over: Callable[[], bool]) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    def begin(self, *arguments: object) -> None:
        pass


def test_a_cancel_while_a_worker_takes_the_call() -> None:
    """1. A worker takes the task. 2. The future is cancelled, too late to withdraw. 3. The worker runs the task."""
    engine, ran = ManualEngine(), list[int]()
    executor = EngineExecutor(engine.enqueue, engine.call_back, engine)
    future = executor.submit(ran.append, 1)
    task = engine.take()
    assert future.cancel()
    task()
    until([future])
    assert ran == []
    executor.shutdown()


def test_a_shutdown_that_cancels_while_a_call_is_being_queued() -> None:
    """The call is withdrawn by the one who submits; nobody would run it, were the engine closing."""
    engine = ManualEngine()
    executor = EngineExecutor(engine.enqueue, engine.call_back, engine)
    engine.on_enqueue = lambda: executor.shutdown(wait=False, cancel_futures=True)
    future = executor.submit(int)
    assert future.cancelled()
    until([future])
    assert engine.tasks == []
    executor.shutdown()


def test_a_call_that_is_done_before_submit_returns() -> None:
    engine = ManualEngine()
    executor = EngineExecutor(engine.enqueue, engine.call_back, engine)
    engine.on_enqueue = engine.run
    assert executor.submit(int).result(0) == 0
    executor.shutdown()


def test_a_refusal_leaves_nothing_to_wait_for() -> None:
    """Also when the executor is shut down at that moment."""
    engine = ManualEngine()
    executor = EngineExecutor(engine.enqueue, engine.call_back, engine)

    def refuse() -> None:
        executor.shutdown(wait=False, cancel_futures=True)
        raise EngineClosedError("closed")

    engine.on_enqueue = refuse
    with pytest.raises(EngineClosedError):
        executor.submit(int)
    executor.shutdown()


# ---- callbacks ---------------------------------------------------------------------------------------


def test_callbacks_are_called_with_the_future_in_order(held: Held) -> None:
    seen: list[tuple[str, object]] = []
    outcomes: dict[str, Future[Any]] = {
        "result": held.executor.submit(int),
        "error": held.executor.submit(exploding, 2),
        "cancelled": held.executor.submit(int),
    }
    for name, future in outcomes.items():
        future.add_done_callback(lambda f, name=name: seen.append((name, f)))  # type: ignore[misc]
        future.add_done_callback(lambda f, name=name: seen.append((f"{name} again", f)))  # type: ignore[misc]
    outcomes["cancelled"].cancel()
    held.release()
    held.executor.shutdown()
    names = ["cancelled", "cancelled again", "result", "result again", "error", "error again"]
    assert [name for name, _ in seen] == names
    assert all(outcomes[name.removesuffix(" again")] is future for name, future in seen)
    called = threading.Event()
    outcomes["result"].add_done_callback(lambda f: (seen.append(("late", f)), called.set()))
    assert called.wait(HANDSHAKE_S)
    assert seen[-1] == ("late", outcomes["result"])


@pytest.mark.parametrize("error", [ValueError, SystemExit])
def test_a_callback_that_raises_is_logged_and_the_worker_lives(
    executor_factory: Callable[..., EngineExecutor], gate: Gate, error: type[BaseException], caplog: Any
) -> None:
    def fail(_: object) -> None:
        raise error("from the callback")

    held = Held(executor_factory(workers=1), gate)
    future = held.executor.submit(int)
    called = threading.Event()
    future.add_done_callback(fail)
    future.add_done_callback(lambda _: called.set())
    held.release()
    assert held.executor.submit(int).result(HANDSHAKE_S) == 0
    held.executor.shutdown()
    assert called.wait(HANDSHAKE_S)
    assert future.result(0) == 0
    assert "from the callback" in caplog.text


def test_a_future_that_somebody_else_resolved_does_no_harm(held: Held, caplog: Any) -> None:
    future = held.executor.submit(int)
    future.set_result(7)
    held.release()
    held.executor.shutdown()
    assert future.result(0) == 7
    assert "could not be resolved" in caplog.text


def test_no_lock_is_held_in_calls_and_callbacks(held: Held) -> None:
    """Each uses the executor, from another thread, and waits for that."""
    used: list[str] = []
    ended = threading.Event()

    def use(where: str) -> None:
        thread = threading.Thread(target=lambda: used.append(f"{where} {held.executor.submit(int).cancel()}"))
        thread.start()
        thread.join(HANDSHAKE_S)
        assert not thread.is_alive()

    future = held.executor.submit(use, "call")
    future.add_done_callback(lambda _: use("callback"))
    future.add_done_callback(lambda _: ended.set())
    cancelled = held.executor.submit(int)
    cancelled.add_done_callback(lambda _: use("cancel"))
    cancelled.cancel()
    held.release()
    assert ended.wait(HANDSHAKE_S)
    assert sorted(used) == ["call True", "callback True", "cancel True"]


# ---- shutting down -----------------------------------------------------------------------------------


def test_nothing_is_accepted_after_shutdown(executor: EngineExecutor) -> None:
    executor.shutdown()
    executor.shutdown()
    with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
        executor.submit(int)
    with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
        executor.map(int, ["1"])


def test_shutdown_waits_for_calls_and_their_callbacks(held: Held) -> None:
    done: list[str] = []
    futures = [held.executor.submit(done.append, "call") for _ in range(20)]
    for future in futures:
        future.add_done_callback(lambda _: done.append("callback"))
    held.release()
    held.executor.shutdown()
    assert sorted(done) == ["call"] * 20 + ["callback"] * 20
    assert all(future.done() for future in futures)


def test_shutdown_without_waiting_lets_all_calls_run(held: Held) -> None:
    results = held.executor.map(abs, range(-5, 5))
    held.executor.shutdown(wait=False)
    assert not held.busy.done()
    held.release()
    assert list(results) == [5, 4, 3, 2, 1, 0, 1, 2, 3, 4]


@pytest.mark.parametrize("wait", [True, False])
def test_shutdown_may_cancel_what_has_not_started(held: Held, wait: bool) -> None:
    futures = [held.executor.submit(int) for _ in range(50)]
    if wait:
        futures[-1].add_done_callback(lambda _: held.release())
    held.executor.shutdown(wait, cancel_futures=True)
    assert all(future.cancelled() for future in futures)
    until(futures)
    held.release()
    assert held.busy.result(HANDSHAKE_S) is None


def test_a_second_shutdown_may_cancel(held: Held) -> None:
    future = held.executor.submit(int)
    held.executor.shutdown(wait=False)
    assert not future.done()
    held.executor.shutdown(wait=False, cancel_futures=True)
    assert future.cancelled()


def test_shutdown_does_not_wait_for_a_call_that_was_cancelled(executor: EngineExecutor, held: Held) -> None:
    executor.submit(int).result(HANDSHAKE_S)
    executor.submit(int).cancel()
    executor.shutdown()
    held.executor.submit(int).cancel()
    held.release()
    held.executor.shutdown()


def test_leaving_the_block_waits(executor: EngineExecutor) -> None:
    with executor as entered:
        assert entered is executor
        future = executor.submit(pow, 2, 5)
    assert future.result(0) == 32
    with pytest.raises(RuntimeError):
        executor.submit(int)


def test_leaving_the_block_by_an_exception_waits_too(held: Held) -> None:
    with pytest.raises(ZeroDivisionError), held.executor:
        future = held.executor.submit(int)
        held.release()
        raise ZeroDivisionError
    assert future.done()


def test_a_call_that_waits_for_its_own_executor_is_told(executor: EngineExecutor) -> None:
    """The executor is shut down nonetheless, as the standard library's is."""
    future = executor.submit(executor.shutdown)
    with pytest.raises(RuntimeError, match="cannot wait for its own executor"):
        future.result(HANDSHAKE_S)
    with pytest.raises(RuntimeError, match="after shutdown"):
        executor.submit(int)


def test_a_call_and_a_callback_may_shut_down_without_waiting(executor_factory: Callable[..., EngineExecutor]) -> None:
    first, second = executor_factory(), executor_factory()
    first.submit(first.shutdown, wait=False).result(HANDSHAKE_S)
    future = second.submit(int)
    future.add_done_callback(lambda _: second.shutdown(wait=False))
    until([future])
    for executor in (first, second):
        executor.shutdown()
        with pytest.raises(RuntimeError):
            executor.submit(int)


def test_several_may_wait_for_the_end(held: Held, in_threads: Callable[..., Any]) -> None:
    held.executor.submit(int)
    in_threads(held.executor.shutdown, held.executor.shutdown, held.release)
    assert held.busy.done()


def test_shutting_down_leaves_the_engine_and_its_other_executors(
    engine_factory: Callable[..., bgsim.Engine], gate: Gate
) -> None:
    engine = engine_factory()
    one, other = engine.executor(), engine.executor()
    busy = other.submit(gate.stop_here)
    gate.wait_until_reached()
    with one:
        assert one.submit(int).result(HANDSHAKE_S) == 0
    one.shutdown(cancel_futures=True)
    assert not busy.done()
    assert other.submit(int).result(HANDSHAKE_S) == 0
    assert engine.executor().submit(int).result(HANDSHAKE_S) == 0


def test_a_closed_engine_refuses(engine_factory: Callable[..., bgsim.Engine]) -> None:
    engine = engine_factory()
    executor = engine.executor()
    engine.close()
    with pytest.raises(EngineClosedError):
        executor.submit(int)
    with pytest.raises(RuntimeError):
        executor.map(int, ["1"])
    executor.shutdown()


# ---- map ---------------------------------------------------------------------------------------------


def test_map_is_map(executor: EngineExecutor) -> None:
    assert list(executor.map(pow, range(10), range(10))) == list(map(pow, range(10), range(10)))
    assert list(executor.map(pow, range(10), range(4), chunksize=3)) == list(map(pow, range(10), range(4)))
    assert list(executor.map(str, [])) == list(executor.map(str)) == list(executor.map(str, buffersize=2)) == []


@given(length=st.integers(0, 30), chunksize=st.integers(1, 12), buffersize=st.none() | st.integers(1, 12))
def test_sizes_do_not_change_the_results(length: int, chunksize: int, buffersize: int | None) -> None:
    engine = ManualEngine()
    engine.on_enqueue = engine.run
    executor = EngineExecutor(engine.enqueue, engine.call_back, engine)
    mapped = executor.map(operator.add, range(length), range(100), chunksize=chunksize, buffersize=buffersize)
    assert list(mapped) == [2 * n for n in range(length)]


@pytest.mark.parametrize("sizes", [{}, {"chunksize": 4}, {"chunksize": 2}, {"buffersize": 1}])
def test_an_exception_comes_in_its_place_and_ends_map(executor: EngineExecutor, sizes: dict[str, int]) -> None:
    results = executor.map(exploding, range(4), **sizes)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ValueError, match="no 2") as caught:
        next(results)
    assert "exploding" in [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert list(results) == []


def test_an_exception_that_is_false_is_raised(executor: EngineExecutor) -> None:
    class FalseError(Exception):
        def __bool__(self) -> bool:
            return False

    def fail(_: object) -> None:
        raise FalseError

    with pytest.raises(FalseError):
        next(executor.map(fail, [1]))


def test_an_exception_cancels_the_rest(held: Held, gate: Gate) -> None:
    ran: list[int] = []
    second = Gate()

    def call(n: int) -> None:
        if n == 0:
            raise ValueError
        second.stop_here()
        ran.append(n)

    results = held.executor.map(call, range(4))
    held.release()
    second.wait_until_reached()  # the one after is running
    with pytest.raises(ValueError):
        next(results)
    second.open()
    held.executor.shutdown()
    assert ran == [1]


def test_map_submits_without_being_iterated(executor: EngineExecutor) -> None:
    finished: list[int] = []
    executor.map(finished.append, range(10))
    executor.shutdown()
    assert sorted(finished) == list(range(10))


@pytest.mark.parametrize("sizes", [{}, {"chunksize": 2}, {"buffersize": 2}])
def test_a_time_out_of_map_cancels_what_has_not_started(held: Held, sizes: dict[str, int]) -> None:
    ran: list[int] = []
    results = held.executor.map(ran.append, range(4), timeout=0, **sizes)
    with pytest.raises(TimeoutError):
        next(results)
    assert list(results) == []
    held.release()
    held.executor.shutdown()
    assert ran == []


def test_results_that_are_there_come_after_the_time_out(executor: EngineExecutor) -> None:
    results = executor.map(abs, [-1, -2], timeout=0)
    executor.shutdown()
    assert list(results) == [1, 2]


@pytest.mark.parametrize("timeout", [None, HANDSHAKE_S])
def test_a_time_out_of_a_call_is_not_that_of_map(executor: EngineExecutor, timeout: float | None) -> None:
    def fail(_: object) -> None:
        raise TimeoutError("of the call")

    with pytest.raises(TimeoutError, match="of the call"):
        next(executor.map(fail, range(3), timeout=timeout))


@pytest.mark.parametrize("sizes", [{}, {"chunksize": 2}])
def test_closing_the_iterator_cancels_what_has_not_started(held: Held, sizes: dict[str, int]) -> None:
    second, ran = Gate(), list[int]()

    def call(n: int) -> int:
        if n == 2:
            second.stop_here()
        ran.append(n)
        return n

    results = held.executor.map(call, range(8), **sizes)
    held.release()
    assert next(results) == 0
    second.wait_until_reached()
    results.close()  # type: ignore[attr-defined]
    assert list(results) == []
    second.open()
    held.executor.shutdown()
    assert ran == [0, 1, 2, 3][: 2 + sizes.get("chunksize", 1)]


def test_calls_cancelled_by_a_shutdown_end_map(held: Held) -> None:
    results = held.executor.map(abs, range(3))
    held.executor.shutdown(wait=False, cancel_futures=True)
    with pytest.raises(CancelledError):
        next(results)


@pytest.mark.parametrize("name", ["buffersize", "chunksize"])
def test_sizes_are_checked_before_anything_is_read(executor: EngineExecutor, name: str) -> None:
    items = iter(range(3))
    for wrong in ("foo", 2.0, True):
        with pytest.raises(TypeError, match=f"{name} must be an integer of 1 or more; got {wrong!r}"):
            executor.map(str, items, **{name: wrong})  # type: ignore[arg-type]
    for wrong in (0, -1):
        with pytest.raises(ValueError, match=f"{name} must be an integer of 1 or more; got {wrong}"):
            executor.map(str, items, **{name: wrong})
    assert next(items) == 0


@pytest.mark.parametrize(("chunksize", "buffersize"), [(1, 2), (3, 2), (1, 1)])
def test_a_full_buffer_reads_no_further(executor: EngineExecutor, chunksize: int, buffersize: int) -> None:
    """One task more for each result, or chunk of them, that is asked for."""
    taken = 0

    def items() -> Iterator[int]:
        nonlocal taken
        while True:
            yield taken
            taken += 1

    numbers = items()
    results = executor.map(lambda n: n, numbers, chunksize=chunksize, buffersize=buffersize)
    assert taken == chunksize * buffersize - 1  # the last is counted when the next is asked for
    for n in range(3 * chunksize):
        assert next(results) == n
        assert taken == chunksize * (buffersize + 1 + n // chunksize) - 1
    numbers.close()  # type: ignore[attr-defined]
    assert len(list(results)) == chunksize * buffersize


def test_endless_iterables(executor: EngineExecutor) -> None:
    sums = executor.map(operator.add, itertools.count(), itertools.count(1), buffersize=2)
    assert [next(sums) for _ in range(5)] == [1, 3, 5, 7, 9]


def test_a_buffered_map_goes_on_when_its_executor_was_a_temporary(engine_factory: Callable[..., bgsim.Engine]) -> None:
    """Unlike the standard library's, which then ends early: here no thread belongs to the executor."""
    assert list(engine_factory().executor().map(abs, range(10), buffersize=2)) == list(range(10))


def test_a_buffered_map_ends_with_its_executor(executor: EngineExecutor) -> None:
    results = executor.map(abs, itertools.count(), buffersize=2)
    assert next(results) == 0
    executor.shutdown()
    with pytest.raises(RuntimeError, match="after shutdown"):
        list(results)


def test_an_iterable_that_raises_is_heard_of_where_it_is_read(executor: EngineExecutor) -> None:
    with pytest.raises(ZeroDivisionError):
        executor.map(abs, (1 // n for n in (1, 0)))
    results = executor.map(abs, (1 // n for n in (1, 1, 0)), buffersize=1)
    assert next(results) == 1
    with pytest.raises(ZeroDivisionError):
        list(results)


# ---- wait and as_completed ---------------------------------------------------------------------------


def test_wait_for_the_first(held: Held, executor: EngineExecutor) -> None:
    quick = executor.submit(operator.mul, 21, 2)
    done, pending = concurrent.futures.wait([held.busy, quick], HANDSHAKE_S, FIRST_COMPLETED)
    assert (done, pending) == ({quick}, {held.busy})


def test_wait_for_the_first_when_some_are_done_or_cancelled_already(held: Held, executor: EngineExecutor) -> None:
    quick, cancelled = executor.submit(int), held.executor.submit(int)
    until([quick])
    cancelled.cancel()
    done, pending = concurrent.futures.wait([held.busy, quick, cancelled], HANDSHAKE_S, FIRST_COMPLETED)
    assert (done, pending) == ({quick, cancelled}, {held.busy})


def test_wait_for_the_first_exception(executor_factory: Callable[..., EngineExecutor], gate: Gate) -> None:
    executor, go = executor_factory(workers=3), threading.Event()

    def fail() -> None:
        assert go.wait(HANDSHAKE_S)
        raise ValueError

    quick, failing, long = executor.submit(int), executor.submit(fail), executor.submit(gate.stop_here)
    quick.add_done_callback(lambda _: go.set())
    done, pending = concurrent.futures.wait([quick, failing, long], HANDSHAKE_S, FIRST_EXCEPTION)
    assert failing in done
    assert pending == {long}
    assert concurrent.futures.wait([failing, long], HANDSHAKE_S, FIRST_EXCEPTION).not_done == {long}


def test_wait_for_all(executor: EngineExecutor, held: Held) -> None:
    futures = [executor.submit(divmod, 2, 0), executor.submit(operator.mul, 2, 21), held.executor.submit(int)]
    futures[2].cancel()
    done, pending = concurrent.futures.wait([*futures, futures[0]], HANDSHAKE_S, ALL_COMPLETED)
    assert (done, pending) == (set(futures), set())


def test_wait_gives_up_at_its_time_out(held: Held) -> None:
    waiting = held.executor.submit(int)
    assert concurrent.futures.wait([held.busy, waiting], timeout=0).not_done == {held.busy, waiting}
    for ask in (waiting.result, waiting.exception, held.busy.result):
        with pytest.raises(TimeoutError):
            ask(timeout=0)


def test_as_completed_gives_each_once_as_it_ends(held: Held, executor: EngineExecutor) -> None:
    quick, failing, cancelled = executor.submit(int), executor.submit(divmod, 1, 0), held.executor.submit(int)
    cancelled.cancel()
    waiting = concurrent.futures.as_completed([held.busy, quick, failing, cancelled, quick], HANDSHAKE_S)
    assert {next(waiting) for _ in range(3)} == {quick, failing, cancelled}
    held.release()
    assert list(waiting) == [held.busy]


def test_as_completed_gives_up_at_its_time_out(held: Held, executor: EngineExecutor) -> None:
    quick = executor.submit(int)
    until([quick])
    waiting = concurrent.futures.as_completed([held.busy, held.executor.submit(int), quick], timeout=0)
    assert next(waiting) is quick
    with pytest.raises(TimeoutError, match=r"2 \(of 3\) futures unfinished"):
        next(waiting)


def test_asyncio(executor: EngineExecutor, held: Held) -> None:
    async def use() -> None:
        loop = asyncio.get_running_loop()
        assert await loop.run_in_executor(executor, pow, 2, 5) == 32
        assert await asyncio.gather(*(asyncio.wrap_future(executor.submit(abs, n)) for n in range(3))) == [0, 1, 2]
        waiting, heard = held.executor.submit(int), asyncio.Event()
        waiting.add_done_callback(lambda _: loop.call_soon_threadsafe(heard.set))
        asyncio.wrap_future(waiting).cancel()
        await heard.wait()
        assert waiting.cancelled()

    asyncio.run(asyncio.wait_for(use(), HANDSHAKE_S))


# ---- no deadlocks, and nothing lost ------------------------------------------------------------------


def test_calls_may_submit_calls_and_wait_for_them(executor_factory: Callable[..., EngineExecutor]) -> None:
    executor = executor_factory(workers=4)

    def nested(depth: int) -> int:
        return 0 if depth == 0 else 1 + executor.submit(nested, depth - 1).result(HANDSHAKE_S)

    assert executor.submit(nested, 3).result(HANDSHAKE_S) == 3
    assert executor.submit(lambda: sum(executor.map(abs, range(-50, 0)))).result(HANDSHAKE_S) == 1275


def test_calls_and_callbacks_may_go_on_submitting(executor_factory: Callable[..., EngineExecutor]) -> None:
    """One worker is enough, for nobody waits."""
    executor, steps, ended = executor_factory(workers=1), itertools.count(1), threading.Event()

    def step(_: object = None) -> None:
        n = next(steps)
        if n == 500:
            ended.set()
        elif n < 500 and n % 2:
            executor.submit(step)
        elif n < 500:
            executor.submit(int).add_done_callback(step)

    step()
    assert ended.wait(HANDSHAKE_S)


def test_a_call_that_submits_while_its_executor_is_shut_down(held: Held) -> None:
    future = held.executor.submit(lambda: held.executor.submit(int))
    held.executor.shutdown(wait=False)
    held.release()
    with pytest.raises(RuntimeError, match="after shutdown"):
        future.result(HANDSHAKE_S)


@pytest.fixture
def many_switches() -> Iterator[None]:
    """Let threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.stress
def test_waiting_for_many_that_end_at_once(executor: EngineExecutor, many_switches: None) -> None:
    go = threading.Event()
    futures = [executor.submit(go.wait, HANDSHAKE_S) for _ in range(100)]
    go.set()
    until(futures)


@pytest.mark.stress
def test_submitting_cancelling_and_shutting_down_at_once(
    executor_factory: Callable[..., EngineExecutor], many_switches: None, in_threads: Callable[..., Any]
) -> None:
    """Each call runs once and is done, or never and is cancelled; none is forgotten."""
    for round_number in range(20):
        _race(executor_factory(workers=3), in_threads, cancel=bool(round_number % 2))


def _race(executor: EngineExecutor, in_threads: Callable[..., Any], *, cancel: bool) -> None:
    ran: list[int] = []
    futures: dict[int, Future[Any]] = {}

    def submit(first: int) -> None:
        for n in range(first, first + 50):
            try:
                futures[n] = executor.submit(ran.append, n)
            except RuntimeError:
                return
            if n % 3 == 0:
                futures[n].cancel()

    in_threads(
        lambda: submit(0), lambda: submit(50), lambda: submit(100), lambda: executor.shutdown(cancel_futures=cancel)
    )
    executor.shutdown()
    until(list(futures.values()))
    assert len(ran) == len(set(ran))
    assert {n for n, future in futures.items() if not future.cancelled()} == set(ran)
