"""The bus against blinker, psygnal, pyee, reactivex and a plain list; in-kernel progress against numba-progress.

The peers call their subscribers before publishing returns. Ours delivers later, in threads that share the interpreter
with the publisher: thousands of publishes are timed together, so that the time of those threads counts.
"""

from __future__ import annotations

import io
import threading
import time
import tracemalloc
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import numba
import numpy as np
from numba import njit, types

from benchmarks.harness import Case, compare, installed, report
from bgsim.control import new_control_block
from bgsim.kernels.draws import RNG, rng_of_replicate
from bgsim.kernels.stream import WorkerStream
from bgsim.models.options import asian_call
from bgsim.progress import ProgressBus, UpdateType
from bgsim.simulation import simulation
from bgsim.streams import stream_key

COUNTS = (0, 1, 10, 100)
OTHERS = 10_000
TOTAL = 1_000_000

STARTED, PROGRESS, COMPLETED, *_ = UpdateType


@simulation(outputs={"x": "f8"})
def one_draw(p: Any, rng: Any) -> float:
    return rng.random()


class Sink:
    """A subscriber that counts."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, *_: Any, **__: Any) -> None:
        self.calls += 1


class Ours:
    """A bus with a started job."""

    def __init__(self) -> None:
        self.bus = ProgressBus()
        self.bus.publish("job", STARTED)

    def publish(self, number: int) -> None:
        for done in range(number):
            self.bus.publish(
                "job", PROGRESS, fraction=done / number, replicates_completed=done, total_replicates=number
            )


def peers(sinks: list[Sink]) -> dict[str, Callable[[int], None]]:  # noqa: C901 - one block a peer
    """Return functions that publish a number of times, to these subscribers."""

    def plain(number: int) -> None:
        for done in range(number):
            for sink in sinks:
                sink(done)

    found: dict[str, Callable[[int], None]] = {"a plain list of functions": plain}
    if installed("blinker"):
        import blinker

        signal = blinker.Signal()
        for sink in sinks:
            signal.connect(sink)

        def send(number: int) -> None:
            for done in range(number):
                signal.send("job", done=done)

        found["blinker"] = send
    if installed("psygnal"):
        import psygnal

        psygnal_signal = psygnal.SignalInstance((int,))
        for sink in sinks:
            psygnal_signal.connect(lambda done, sink=sink: sink(done))

        def emit(number: int) -> None:
            for done in range(number):
                psygnal_signal.emit(done)

        found["psygnal"] = emit
    if installed("pyee"):
        import pyee

        emitter = pyee.EventEmitter()
        for sink in sinks:
            emitter.on("job", sink)

        def emit_event(number: int) -> None:
            for done in range(number):
                emitter.emit("job", done)

        found["pyee"] = emit_event
    if installed("reactivex"):
        import reactivex

        subject: Any = reactivex.Subject()
        for sink in sinks:
            subject.subscribe(sink)

        def on_next(number: int) -> None:
            for done in range(number):
                subject.on_next(done)

        found["reactivex"] = on_next
    return found


def publishing(subscribers: int) -> None:
    """Compare publishing to a number of subscribers."""
    ours, sinks, peer_sinks = Ours(), [Sink() for _ in range(subscribers)], [Sink() for _ in range(subscribers)]
    for sink in sinks:
        ours.bus.subscribe(sink, job="job")
    number = 20_000 if subscribers < 100 else 4_000
    cases = [Case("bgsim", lambda: ours.publish(number), number)]
    for name, publish in peers(peer_sinks).items():
        cases.append(Case(name, lambda publish=publish: publish(number), number))
    compare(f"publish to {subscribers} subscribers, until it returns", cases, rounds=15)
    ours.bus.publish("job", COMPLETED)
    ours.bus.close()
    assert all(sink.calls >= 2 for sink in sinks)
    assert all(sink.calls > number for sink in peer_sinks)


def delivering() -> None:
    """Compare publishing and delivering updates that are never conflated; ours is timed until all have them."""
    jobs = 500

    def ours() -> None:
        sinks = [Sink() for _ in range(10)]
        with ProgressBus() as bus:
            for sink in sinks:
                bus.subscribe(sink)
            for number in range(jobs):
                bus.publish(f"job{number}", STARTED)
                bus.publish(f"job{number}", COMPLETED)
        assert all(sink.calls == 2 * jobs for sink in sinks)

    cases = [Case("bgsim", ours, 2 * jobs)]
    for name, publish in peers([Sink() for _ in range(10)]).items():
        cases.append(Case(name, lambda publish=publish: publish(2 * jobs), 2 * jobs))
    compare("publish to 10 subscribers, until all have been called", cases, rounds=15)


def not_matching() -> None:
    """Compare publishing without subscribers and beside thousands of subscribers to other jobs."""
    alone, beside = Ours(), Ours()
    others = [Sink() for _ in range(OTHERS)]
    for number, sink in enumerate(others):
        beside.bus.subscribe(sink, job=f"other{number}")
    number = 20_000
    cases = [
        Case("0 subscribers", lambda: alone.publish(number), number),
        Case(f"{OTHERS:,} subscribers to other jobs", lambda: beside.publish(number), number),
    ]
    compare("publish without a matching subscriber", cases, rounds=30)
    assert not any(sink.calls for sink in others)
    alone.bus.close()
    beside.bus.close()


def matching_many() -> None:
    ours, sinks = Ours(), [Sink() for _ in range(OTHERS)]
    for sink in sinks:
        ours.bus.subscribe(sink)
    number = 20_000
    compare(f"publish to {OTHERS:,}", [Case("bgsim", lambda: ours.publish(number), number)], rounds=15)
    ours.bus.close()
    assert all(sink.calls for sink in sinks)


def stuck_among_100() -> None:
    """Compare the single publish's p99 with and without a callback that does not return."""
    number, gaps = 2_000, {}
    let_go, entered = threading.Event(), threading.Event()

    def hang(*_: Any) -> None:
        entered.set()
        let_go.wait()

    buses = {"100 callbacks": Ours(), "one of them does not return": Ours()}
    for name, ours in buses.items():
        gaps[name] = Case(name, lambda: None)
        for i in range(100):
            ours.bus.subscribe(hang if i == 50 and "not return" in name else Sink(), job="job")
    assert entered.wait(60)
    p99: dict[str, list[float]] = {name: [] for name in buses}
    for _ in range(60):
        for name, ours in buses.items():
            times = np.empty(number)
            for i in range(number):
                began = time.perf_counter()
                ours.bus.publish("job", PROGRESS, fraction=i / number)
                times[i] = time.perf_counter() - began
            p99[name].append(float(np.quantile(times, 0.99)))
            gaps[name].seconds.extend(times.tolist())
    report("a single publish", list(gaps.values()))
    one, other = (float(np.median(values)) for values in p99.values())
    print(
        f"  p99 of {number:,}, median of 60 rounds: {1e6 * one:.2f} and {1e6 * other:.2f} us, {other / one:.2f} times"
    )
    let_go.set()
    for ours in buses.values():
        ours.bus.close()


def memory() -> None:
    """Publish a million updates that one iterator never reads and one callback never returns from."""
    let_go = threading.Event()
    ours = Ours()
    unread = ours.bus.subscribe(job="job")
    ours.bus.subscribe(lambda _: let_go.wait(), job="job")
    tracemalloc.start()
    ours.publish(1000)
    before, _ = tracemalloc.get_traced_memory()
    tracemalloc.reset_peak()
    ours.publish(TOTAL)
    after, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    print(f"\n{TOTAL:,} updates, unread: memory grows by {after - before:,} bytes, at most by {peak - before:,}")
    assert unread.get(timeout_s=60) is not None
    let_go.set()
    ours.bus.close()


@njit(nogil=True)
def bare_loop(kernel: Any, p: Any, state: Any, key0: Any, key1: Any, out: Any) -> None:
    """Run the kernel on each replicate's stream."""
    for i in range(len(out)):
        out[i] = kernel(p, rng_of_replicate(state, key0, key1, np.uint64(i)))


@njit(nogil=True)
def loop_with_bar(kernel: Any, p: Any, state: Any, key0: Any, key1: Any, out: Any, bar: Any) -> None:
    """Do the same, and report each replicate to numba-progress."""
    for i in range(len(out)):
        out[i] = kernel(p, rng_of_replicate(state, key0, key1, np.uint64(i)))
        bar.update(1)


def compiled(loop: Any, simulation: Any, *arguments: Any) -> Callable[..., None]:
    """Return a loop compiled to take the simulation as a first-class function, as ours does."""
    kernel = njit(nogil=True)(simulation.function)
    types_of = [numba.typeof(argument) for argument in arguments]
    kernel_type = types.FunctionType(types.float64(types_of[0], RNG))
    loop.compile((kernel_type, *types_of))
    entry = loop.overloads[(kernel_type, *types_of)].entry_point
    return lambda *given: entry(kernel, *given)


def in_kernel(title: str, simulation: Any, replicates: int, rounds: int) -> None:
    """Compare a kernel's loop without progress, with ours, and with numba-progress, per replicate."""
    key, stream, control = stream_key(7), WorkerStream(), new_control_block()
    bound = simulation.bind()
    view, runner = bound.kernel_view(), simulation.prepare(bound)
    state, key0, key1 = (np.uint64(word) for word in (stream.state, *key))
    ours, bare, theirs = (np.empty(replicates) for _ in range(3))
    arguments = (view, state, key0, key1)
    without = compiled(bare_loop, simulation, *arguments, bare)
    cases = [
        Case("bgsim, with progress and cancel", lambda: runner(stream, key, 0, (ours,), control), replicates),
        Case("the bare loop", lambda: without(*arguments, bare), replicates),
    ]
    with ExitStack() as stack:
        if installed("numba_progress"):
            from numba_progress import ProgressBar

            bar = stack.enter_context(ProgressBar(file=io.StringIO(), total=replicates))
            with_bar = compiled(loop_with_bar, simulation, *arguments, theirs, bar)
            cases.append(Case("numba-progress", lambda: with_bar(*arguments, theirs, bar), replicates))
        compare(title, cases, rounds=rounds, unit="ns")
    assert np.array_equal(ours, bare)
    for case in cases[1:]:
        pairs = np.array(cases[0].seconds) / np.array(case.seconds)
        print(f"  bgsim takes {np.median(pairs):.4f} times as long as {case.name}, median of {rounds} pairs")


def main() -> None:
    for subscribers in COUNTS:
        publishing(subscribers)
    matching_many()
    delivering()
    not_matching()
    stuck_among_100()
    memory()
    in_kernel("Asian call of 252 steps: one replicate", asian_call, 2_000, 300)
    in_kernel("the cheapest kernel, one draw: one replicate", one_draw, 200_000, 100)


if __name__ == "__main__":
    main()
