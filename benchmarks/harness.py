"""Interleaved timing of ours and its peers: the same process, the same minute, median and p99, ratios.

The machine may be noisy, so nothing here passes or fails by time; a benchmark asserts that the work was done.
"""

from __future__ import annotations

import gc
import importlib.util
import resource
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np


@dataclass(slots=True)
class Case:
    """One contender: what it is called, a function that does `operations` operations, and what it took."""

    name: str
    run: Callable[[], object]
    operations: int = 1
    seconds: list[float] = field(default_factory=list)  # an operation, one entry a round

    @property
    def median(self) -> float:
        """Seconds an operation."""
        return float(np.median(self.seconds))

    @property
    def p99(self) -> float:
        """Seconds an operation, of all but the slowest hundredth of the rounds."""
        return float(np.quantile(self.seconds, 0.99))


def compare(
    title: str,
    cases: Sequence[Case],
    *,
    rounds: int = 30,
    warmup: int = 3,
    unit: str = "us",
    clock: Callable[[], float] = time.perf_counter,
) -> None:
    """Run the cases in turn, `rounds` times each, and print a line a case; ratios are to the first, ours.

    Parameters
    ----------
    unit : {"ns", "us", "ms", "s"}
        Of the printed times, each of one operation.
    clock : callable
        Returns seconds; `cpu_seconds` for work of one thread on a busy machine.
    """
    for case in cases:
        for _ in range(warmup):
            case.run()
    for _ in range(rounds):
        for case in cases:
            gc.collect()
            began = clock()
            case.run()
            case.seconds.append((clock() - began) / case.operations)
    report(title, cases, unit=unit)


def cpu_seconds() -> float:
    """Return the processor time of this process and of its children that have ended."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def report(title: str, cases: Sequence[Case], *, unit: str = "us") -> None:
    """Print median, p99 and the ratio to the first case of what was measured."""
    scale = {"ns": 1e9, "us": 1e6, "ms": 1e3, "s": 1.0}[unit]
    print(f"\n{title}")
    print(f"  {'':40} {'median':>12} {'p99':>12} {'ratio':>8}   ({unit} an operation, n={len(cases[0].seconds)})")
    for case in cases:
        ratio = case.median / cases[0].median if cases[0].median else float("nan")
        print(f"  {case.name:40} {case.median * scale:12.3f} {case.p99 * scale:12.3f} {ratio:8.2f}", flush=True)


def installed(*modules: str) -> bool:
    """Tell whether a peer is there; say so when it is not."""
    missing = [m for m in modules if importlib.util.find_spec(m) is None]
    if missing:
        print(f"  (skipped: {', '.join(missing)} not installed; `make bench` installs it)")
    return not missing
