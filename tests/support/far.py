"""Simulations for workers in other processes, which a test meets through files and variables of the environment."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import bgsim
from bgsim.testing import HANDSHAKE_S

SKEW = "BGSIM_TEST_SKEW"
"""What the worker's environment adds to each draw of `skewed`."""

logger = logging.getLogger("far")


def wait_until(condition: Callable[[], Any], what: str, timeout_s: float = HANDSHAKE_S) -> Any:
    """Wait for something in another process, and return what the condition returned."""
    deadline = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < deadline, f"in vain: {what}"
        time.sleep(0.005)
    return found


def occupy(folder: str, number: int) -> int:
    """Keep a worker busy, as a task of others, until a file is there."""
    (Path(folder) / f"begun-{number}").touch()
    wait_until((Path(folder) / "go on").exists, "go on")
    return number


def pretend(numba: str | None, seed_shift: int = 0) -> None:
    """Have this process say that it has another numba, and compute by other streams; None and 0 undo it."""
    from bgsim import streams
    from bgsim.backends import attestation, remote

    truth = attestation.this_environment
    remote.this_environment = truth if numba is None else lambda: {**truth(), "numba": numba}
    remote.stream_key = (lambda seed: streams.stream_key(seed + seed_shift)) if seed_shift else streams.stream_key


def skew(by: str) -> None:
    """Set or remove the variable that `skewed` reads."""
    os.environ.pop(SKEW, None)
    if by:
        os.environ[SKEW] = by


@dataclass(frozen=True)
class Grind:
    rounds: int = 100_000


@bgsim.simulation(outputs={"x": "f8", "y": ("f8", 3)})
def grind(p: Grind, rng: Any) -> Any:
    """Compiled, and about as long as is wanted: 100,000 rounds take about a millisecond."""
    x, y = rng.random(), np.empty(3)
    for _ in range(p.rounds):
        x = 3.999 * x * (1.0 - x)
    for i in range(3):
        y[i] = rng.normal() + x
    return x, y


@dataclass(frozen=True)
class Folder:
    folder: str = ""


@bgsim.simulation(outputs={"x": "f8"}, compile=False, depends_on=())
def held(p: Folder, rng: Any, control: Any) -> float:
    """Say by a file that a replicate has begun, and wait until a file is there, or for an order, and say so, too."""
    folder = Path(p.folder)
    token = f"{os.getpid()}-{threading.get_ident()}-{len(list(folder.iterdir()))}"
    (folder / f"begun-{token}").touch()
    while not (folder / "go on").exists():
        if bgsim.stop_requested(control):
            (folder / f"stopped-{token}").touch()
            return 0.0
        time.sleep(0.002)
    return float(rng.random())


@bgsim.simulation(outputs={"x": "f8"}, compile=False, depends_on=())
def skewed(p: Any, rng: Any) -> float:
    """Draw, and add what the environment says: other bits on a worker whose environment is another."""
    return float(rng.random()) + float(os.environ.get(SKEW, "0"))


@dataclass(frozen=True)
class Victim:
    draw: float = 2.0


@bgsim.simulation(outputs={"x": "f8"}, compile=False, depends_on=())
def deadly(p: Victim, rng: Any) -> float:
    """End the process where the draw is a certain one."""
    x = float(rng.random())
    if x == p.draw:
        os._exit(3)
    return x


@bgsim.simulation(outputs={"x": "f8"}, compile=False, depends_on=())
def talkative(p: Any, rng: Any) -> float:
    """Log each draw."""
    x = float(rng.random())
    logger.warning("drew %.17g", x)
    return x


@dataclass(frozen=True)
class Table:
    table: NDArray[np.float64] = bgsim.parameter(np.zeros(1), shape=(None,))


@bgsim.simulation(outputs={"x": "f8"})
def look_up(p: Table, rng: Any) -> float:
    """Take a number of a table, which may be large."""
    return float(p.table[rng.integers(0, len(p.table))])


@dataclass(frozen=True)
class Rows:
    width: int = 8


@bgsim.simulation(outputs={"row": ("f8", "width")})
def wide(p: Rows, rng: Any) -> Any:
    """Return a row as wide as is wanted."""
    row = np.empty(p.width)
    for i in range(p.width):
        row[i] = rng.random()
    return row
