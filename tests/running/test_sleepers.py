"""Workers that sleep: the one that is woken for a run can work on it, and no wake is lost."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from kernels import one_draw, plain_walk, walk

import bgsim
from bgsim.backends.base import Chunk, Host, ShutOutError
from bgsim.backends.threads import ThreadLane
from bgsim.running.sleepers import Sleepers
from bgsim.testing import HANDSHAKE_S, Gate, gated, parts
from bgsim.testing.backend_examples import wait_until


class Lane(ThreadLane):
    """Computes in this process, as one of another place."""

    def __init__(self, place: str, refuses: tuple[str, ...] = ()) -> None:
        super().__init__()
        self.place = place  # type: ignore[misc] # a thread's is the empty place
        self.refuses = refuses
        self.computed: list[str] = []

    def compute(self, chunk: Chunk) -> tuple[int, float]:
        name = chunk.computation.simulation.short_name
        if name in self.refuses:
            raise ShutOutError("it computes other bits")
        self.computed.append(name)
        return super().compute(chunk)


class Lanes:
    """A backend of lanes that are given."""

    name = "lanes"
    is_here = False
    chunk_s = 0.02
    chunk_bytes = 2**30

    def __init__(self, *lanes: Lane) -> None:
        self.lanes = lanes
        self.cores = len(lanes)

    def open(self, host: Host) -> None:
        for lane in self.lanes:
            host.add(lane)

    def close(self) -> None:
        pass

    def alerts(self) -> list[str]:
        return []


def asleep(engine: bgsim.Engine, *, last: str | None) -> None:
    """Wait until all workers sleep, and have that of a place be the one that fell asleep last; None is no lane's."""
    workers, sleepers = parts(engine).workers.all, parts(engine).state.sleepers
    wait_until(lambda: len(sleepers) == len(workers), "all workers sleep")
    with parts(engine).lock:
        assert len(sleepers) == len(workers)
        (found,) = [w for w in workers if (None if w.lane is None else w.lane.place) == last]
        sleepers._alarms[found] = sleepers._alarms.pop(found)


@pytest.mark.parametrize("kernel", [one_draw, plain_walk], ids=["prepared at once", "prepared apart"])
def test_a_worker_without_a_lane_hands_on_what_it_was_woken_for(kernel: Any) -> None:
    """It prepares the run, and cannot compute it; the others sleep."""
    with bgsim.Engine(backend=Lanes(Lane("a"))) as engine:
        for seed in range(5):
            asleep(engine, last=None)
            assert engine.submit(kernel, replicates=3, seed=seed).result(HANDSHAKE_S).replicates == 3


def test_a_lane_that_is_shut_out_is_not_woken_in_the_place_of_another() -> None:
    """Whichever fell asleep last; and it does what it can."""
    bad, good = Lane("bad", refuses=("walk",)), Lane("good")
    with bgsim.Engine(backend=Lanes(bad, good), max_concurrent_simulations=1) as engine:
        for seed in range(4):
            for last in ("bad", "good"):
                asleep(engine, last=last)
                job = engine.submit(walk, replicates=50, seed=seed, cache="off", allow_deduplication=False)
                assert job.result(HANDSHAKE_S).replicates == 50
        asleep(engine, last="bad")
        assert engine.submit(one_draw, replicates=3).result(HANDSHAKE_S).replicates == 3
    assert set(bad.computed) == {"one_draw"}
    assert "walk" in good.computed


def test_a_batch_has_no_chunk_for_a_lane_that_is_shut_out(hold: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small runs share a batch; the other lane is busy, so all that the one may compute are its own."""
    bad, good = Lane("bad"), Lane("good", refuses=("one_draw",))
    with bgsim.Engine(backend=Lanes(bad, good), max_concurrent_simulations=100) as engine:
        for kernel in (walk, one_draw):  # so that both have a pace, and take no time
            engine.submit(kernel, replicates=2000, seed=100).result(HANDSHAKE_S)
        good.refuses = ()
        monkeypatch.setattr(bad, "refuses", ("gated",))
        held = engine.submit(gated, {"name": "a"}, replicates=1)
        hold.wait_until_reached()
        bad.computed.clear()
        engine.pause()
        jobs = [engine.submit(k, replicates=1, seed=seed) for seed in range(6) for k in (one_draw, walk)]
        with parts(engine).lock:
            for job in jobs:
                if job.simulation is walk:
                    job.run.shut_out["bad"] = "it computes other bits"
        engine.resume()
        for job in jobs:
            if job.simulation is one_draw:
                assert job.result(HANDSHAKE_S).replicates == 1
        hold.open()
        for job in (held, *jobs):
            assert job.result(HANDSHAKE_S).replicates
    assert bad.computed == ["one_draw"] * 6


def test_the_worker_that_fell_asleep_last_wakes_first() -> None:
    """Of those that can work on the run, a spare one last; none is woken for a run that none can work on."""

    class One:
        def __init__(self, name: str, *, can: bool, is_spare: bool = False) -> None:
            self.name, self.can, self.is_spare = name, can, is_spare

        def computes(self, run: Any) -> bool:
            return self.can

        def can_work_on(self, run: Any) -> bool:
            return self.can

    lock = threading.Lock()
    sleepers = Sleepers(lock)
    woken: list[str] = []

    def sleep(one: One) -> None:
        with lock:
            sleepers.sleep(one)
            woken.append(one.name)

    threads = []
    ones = (One("a", can=True), One("b", can=True), One("spare", can=True, is_spare=True), One("c", can=False))
    for number, one in enumerate(ones, 1):
        thread = threading.Thread(target=sleep, args=(one,), daemon=True)
        thread.start()
        threads.append(thread)
        wait_until(lambda number=number: len(sleepers) == number, "it sleeps")
    for expected in ("b", "a", "spare"):
        with lock:
            assert sleepers.wake_one_for(None)  # type: ignore[arg-type] # nothing looks at it
        wait_until(lambda expected=expected: woken[-1:] == [expected], f"{expected} is awake")
    with lock:
        assert not sleepers.wake_one_for(None)  # type: ignore[arg-type] # as above
        assert len(sleepers) == 1
        sleepers.wake_all()
    for thread in threads:
        thread.join(HANDSHAKE_S)
        assert not thread.is_alive()
    assert woken == ["b", "a", "spare", "c"]
