"""The engine: how soon a cancel frees a worker and an urgent job starts, and how well one job uses the cores."""

from __future__ import annotations

import itertools
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import bgsim
from benchmarks.harness import Case, compare, report
from bgsim.job import JobState
from bgsim.models.options import AsianCall, asian_call
from bgsim.progress import UpdateType

CANCELS = 100
URGENT = 200
REPLICATES = 200_000
LONG = 3_000_000


@dataclass(frozen=True)
class Spin:
    iterations: int = 3_000_000_000
    number: int = 0


@bgsim.simulation(outputs={"x": "i8"})
def spin(p: Spin, rng: Any, control: Any) -> int:
    """Use registers only, and poll."""
    x = p.number
    for _ in range(p.iterations):
        if bgsim.stop_requested(control):
            return -1
        x = x * 6364136223846793005 + 1442695040888963407
    return x


@bgsim.simulation(outputs={"t": "f8"}, compile=False)
def clock(p: Any, rng: Any) -> float:
    """Return the time at which a worker got to it."""
    return time.perf_counter()


def cancel_latency(engine: bgsim.Engine, title: str) -> Case:
    """Measure from `cancel` to the moment at which the worker begins its next chunk."""
    case = Case(title, lambda: None)
    for number in range(CANCELS):
        job = engine.submit(spin, Spin(number=number), replicates=1, priority="high", cache="off")
        for update in job.updates():
            if update.update_type is UpdateType.STARTED:
                break
        while job.status().phase != "running":
            time.sleep(0.001)
        time.sleep(0.003)
        after = engine.submit(clock, {"number": number}, replicates=1, priority="high", cache="off")
        began = time.perf_counter()
        job.cancel()
        case.seconds.append(float(after.result()["t"][0]) - began)
        while not job.done():
            time.sleep(0.001)
        assert job.state is JobState.CANCELLED
    return case


def urgent_start() -> Case:
    """Measure from the submission of a CRITICAL job to its first replicate, while two long LOW jobs keep all busy."""
    case = Case("a CRITICAL job, beside two LOW ones", lambda: None)
    with bgsim.Engine() as engine:
        options: dict[str, Any] = {"replicates": 100_000_000, "priority": "low", "cache": "off"}
        long = [engine.submit(asian_call, AsianCall(strike=100.0 + n), **options) for n in range(2)]
        while any(job.status().replicates_completed < 100_000 for job in long):
            time.sleep(0.01)
        for number in range(URGENT):
            began = time.perf_counter()
            job = engine.submit(clock, {"number": number}, replicates=1, priority="critical", cache="off")
            case.seconds.append(float(job.result()["t"][0]) - began)
        assert not any(job.cancel() is False for job in long)
    return case


def scaling(rounds: int = 5) -> None:
    """Compare one job on one worker with the same on all, as parts of the ideal."""
    cores = len(os.sched_getaffinity(0))
    seconds: dict[int, list[float]] = {1: [], cores: []}
    for seed in range(rounds):
        for workers, found in seconds.items():
            with bgsim.Engine(workers=workers) as engine:
                began = time.perf_counter()
                engine.submit(asian_call, AsianCall(), replicates=REPLICATES, seed=seed).result()
                found.append(time.perf_counter() - began)
    efficiency = np.median(seconds[1]) / np.median(seconds[cores]) / cores
    print(f"\none job on {cores} workers: {100 * efficiency:.0f} % of {cores} times as fast as on one")


def checkpoints(folder: Path) -> None:
    """Compare a job whose finished replicates are stored while it runs with one that is stored when it ends."""
    numbers = itertools.count()

    def run(interval_s: float | None) -> None:
        path = folder / f"{next(numbers)}.db"
        with bgsim.Engine(path, checkpoint_interval_s=interval_s) as engine:
            engine.submit(asian_call, AsianCall(), replicates=LONG).result()
        path.unlink()

    cases = [
        Case("stored when it ends", lambda: run(None)),
        Case("checkpoints as by default", lambda: run(30.0)),
        Case("a checkpoint each second", lambda: run(1.0)),
    ]
    compare(f"a job of {LONG:,} Asian calls, with a file", cases, rounds=7, warmup=1, unit="s")


def main() -> None:
    spin.warmup()
    asian_call.warmup()
    with bgsim.Engine(workers=1) as engine:
        alone = cancel_latency(engine, "one worker, alone")
    with bgsim.Engine(workers=1) as engine:
        other = engine.submit(
            asian_call, AsianCall(), replicates=100_000_000 // 252, seed=1, priority="low", cache="off"
        )
        beside = cancel_latency(engine, "one worker, while a second job runs")
        other.cancel()
    report("from cancel() to the worker's next chunk", [alone, beside], unit="ms")
    report("from submit to the first replicate", [urgent_start()], unit="ms")
    scaling()
    with tempfile.TemporaryDirectory() as folder:
        checkpoints(Path(folder))

    workers = min(2, len(os.sched_getaffinity(0)))
    shares = []
    for seed in range(10):
        with bgsim.Engine(workers=workers) as engine:
            job = engine.submit(asian_call, AsianCall(), replicates=REPLICATES, seed=seed)
            job.result()
            shares.append(engine.stats().utilisation)
            assert job.status().replicates_completed == REPLICATES
    print(
        f"\n{REPLICATES:,} replicates of an Asian call, {workers} workers: in kernels for a median of "
        f"{100 * np.median(shares):.1f} % of the wall time (least {100 * min(shares):.1f} %)"
    )


if __name__ == "__main__":
    main()
