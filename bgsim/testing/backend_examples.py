"""Simulations for the tests of a backend, in a module that its workers import, and what makes its engine."""

from __future__ import annotations

import logging
import os
import signal
import time
import unittest
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bgsim.control import report_fraction, stop_requested
from bgsim.engine import Engine
from bgsim.simulation import simulation

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from bgsim.backends.base import Backend
    from bgsim.job import Job
    from bgsim.simulation import Simulation

logger = logging.getLogger(__name__)

WAIT_S = 120.0
"""Bound on any wait: reached only by a bug."""

_LOOK_S = 0.002
"""Between two looks at what another process does."""


@dataclass(frozen=True)
class Walk:
    """Parameters of `walk`: the length of its path, and how much it computes besides."""

    steps: int = 8
    work: int = 0


@simulation(outputs={"end": "f8", "path": ("f8", "steps"), "ups": "i4", "high": "?"})
def walk(p: Walk, rng: Any) -> Any:
    """Walk at random: draws of several kinds, and outputs of several shapes."""
    path = np.empty(p.steps)
    position, ups = 0.0, 0
    for i in range(p.steps):
        step = rng.standard_normal() + rng.random() - 0.5
        if rng.integers(0, 2) == 1:
            ups += 1
            position += step
        else:
            position -= step
        path[i] = position
    for _ in range(p.work):
        position += np.exp(-abs(position)) * 1e-3
    return position, path, ups, position > 0


@simulation(outputs={"end": "f8", "path": ("f8", "steps"), "ups": "i4", "high": "?"}, compile=False, depends_on=())
def plain_walk(p: Walk, rng: Any) -> Any:
    """Walk the same way as plain Python."""
    return walk.function(p, rng)


@dataclass(frozen=True)
class Long:
    """Parameters of `long` and `plain_long`."""

    steps: int = 10**13


@simulation(outputs={"x": "f8"})
def long(p: Long, rng: Any, control: Any) -> float:
    """Compute for hours, and say how far it is."""
    x = rng.random()
    for i in range(p.steps):
        if i % 1_000 == 0:
            if stop_requested(control):
                return 0.0
            report_fraction(control, 1.0 - 1.0 / (1.0 + 1e-7 * i))
        x = x * 0.999 + 0.001
    return float(x)


@simulation(outputs={"x": "f8"}, compile=False, depends_on=())
def plain_long(p: Long, rng: Any, control: Any) -> float:
    """Take hours as plain Python, which sleeps."""
    x = rng.random()
    for i in range(p.steps):
        if stop_requested(control):
            return 0.0
        report_fraction(control, 1.0 - 1.0 / (2.0 + i))
        time.sleep(0.001)
    return float(x)


@dataclass(frozen=True)
class Limit:
    """Parameters of `fragile` and the deadly ones: what happens if a draw is below a limit."""

    below: float = 0.5


@simulation(outputs={"x": "f8"})
def fragile(p: Limit, rng: Any) -> float:
    """Raise where the draw is below a limit."""
    x = rng.random()
    if x < p.below:
        raise ValueError("the draw is too small")
    return float(x)


@simulation(outputs={"x": "f8"})
def first_draw(p: Any, rng: Any) -> float:
    """Return what `fragile` and the deadly ones compare with their limit."""
    return float(rng.random())


@dataclass(frozen=True)
class Absent:
    """Parameters of `refused_while_absent`: a file."""

    path: str


@simulation(outputs={"x": "f8"}, compile=False, depends_on=())
def refused_while_absent(p: Absent, rng: Any) -> float:
    """Raise what may pass, while a file is not there."""
    if not os.path.exists(p.path):  # noqa: PTH110 - a path of a worker
        raise OSError("not there yet")
    return float(rng.random())


@simulation(outputs={"x": "i8"}, compile=False, depends_on=())
def talkative(p: Any, rng: Any) -> int:
    """Log what is drawn."""
    x = int(rng.integers(0, 2**40))
    logger.warning("drew %d", x)
    return x


@simulation(outputs={"x": "f8"}, compile=False, depends_on=())
def deadly(p: Limit, rng: Any) -> float:
    """Have the process killed, as by a system without memory, where the draw is below a limit."""
    x = rng.random()
    if x < p.below:
        os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))
    return float(x)


@simulation(outputs={"x": "f8"}, compile=False, depends_on=())
def leaving(p: Limit, rng: Any) -> float:
    """Leave the process, as a library does that gives up, where the draw is below a limit."""
    x = rng.random()
    if x < p.below:
        os._exit(3)
    return float(x)


@simulation(outputs={"x": "f8"})
def wild(p: Limit, rng: Any) -> float:
    """Write to memory of nobody, where the draw is below a limit: compiled code checks no index."""
    found = np.zeros(4)
    x = rng.random()
    if x < p.below:
        found[2**44 + int(4 * x)] = x
    return float(x + found.sum())


def scaled(scale: float, *, compile: bool) -> Simulation[Any]:
    """Make a simulation that no module has, with what it closes over."""

    @simulation(outputs={"x": "f8"}, compile=compile, name=f"tests.scaled.{compile}")
    def made(p: Any, rng: Any) -> float:
        return float(scale * rng.random())

    return made


@dataclass(frozen=True)
class Wide:
    """Parameters of `wide`: how much it returns."""

    size: int = 4


@simulation(outputs={"rows": ("f8", "size")})
def wide(p: Wide, rng: Any) -> Any:
    """Return so many numbers."""
    return np.full(p.size, rng.random())


class BackendMaker:
    """Makes the backend of a test; override `make_backend`.

    Attributes
    ----------
    survives_a_lost_process : bool
        Whether a replicate may end the process that computes it, and the engine goes on. False for threads.
    sees_orders : bool
        Whether an order reaches a kernel that runs.
    """

    survives_a_lost_process = True
    sees_orders = True

    def make_backend(self) -> AbstractContextManager[Backend]:
        """Return a context manager of a backend that no engine has.

        It may share a cluster, or an executor, with those before it, as long as that is not broken.
        """
        raise NotImplementedError

    @contextmanager
    def opened(self, **settings: Any) -> Iterator[Engine]:
        """Make an engine with a fresh backend; what has not ended in the end is cancelled."""
        with self.make_backend() as backend:
            engine = Engine(backend=backend, **settings)
            try:
                yield engine
            finally:
                engine.close(cancel=True)

    def needs_orders(self) -> None:
        """Skip a test whose kernels never end by themselves."""
        if not self.sees_orders:
            raise unittest.SkipTest("no order reaches a kernel of this backend")

    def needs_processes(self) -> None:
        """Skip a test that ends processes."""
        if not self.survives_a_lost_process:
            raise unittest.SkipTest("this backend computes in a process that must not end")


def wait_until(condition: Callable[[], Any], what: str) -> None:
    """Wait until something has happened that another process does; fail if it does not."""
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, f"after {WAIT_S:g} s still not: {what}"
        time.sleep(_LOOK_S)


def has_moved(job: Job, above: int = 0) -> None:
    """Wait until more than so many replicates of a job are done, with the first ones among them."""
    wait_until(
        lambda: job.status().replicates_completed > above and job.partial().replicates,
        f"{job} has done its first replicates, and more than {above}",
    )


def of_one_thread(
    kernel: Simulation[Any], parameters: Any = None, *, replicates: int, seed: int = 0
) -> Mapping[str, NDArray[Any]]:
    """Return what one thread of this process computes."""
    with Engine(workers=1) as engine:
        return dict(engine.submit(kernel, parameters, replicates=replicates, seed=seed).result(WAIT_S))


def assert_same(found: Mapping[str, NDArray[Any]], expected: Mapping[str, NDArray[Any]]) -> None:
    """Fail unless columns are the first rows of the expected ones, bit for bit."""
    assert list(found) == list(expected)
    for name, column in found.items():
        first = expected[name][: len(column)]
        assert len(column) == len(first), f"{name} has {len(column)} rows, and only {len(first)} are expected"
        assert column.dtype == first.dtype
        assert column.tobytes() == first.tobytes(), f"{name} has other bits from row {_first_other(column, first)} on"


def states_of(summary: Any) -> dict[str, bytes]:
    """Return the exact state of each output of a result that keeps a summary."""
    return {name: summary.tally(name).to_bytes() for name in summary}


def _first_other(column: NDArray[Any], expected: NDArray[Any]) -> int:
    differ = [i for i in range(len(column)) if column[i].tobytes() != expected[i].tobytes()]
    return differ[0]


def go(path: Path) -> None:
    """Put the file there for which `refused_while_absent` waits."""
    path.touch()
