"""Plain simulations for the tests that end processes: held at a replicate, deadly, and slow to let go."""

from __future__ import annotations

import multiprocessing.connection
import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bgsim

HOOKS: list[Callable[[], object]] = []
"""Called in every replicate of `hooked`: what a process wants to do to itself there."""


@dataclass(frozen=True)
class Hooked:
    scale: float = 1.0


@bgsim.simulation(outputs={"x": "f8", "n": "i4"}, compile=False, depends_on=())
def hooked(p: Hooked, rng: Any) -> Any:
    """Two draws; in between, the hooks."""
    x = p.scale * rng.standard_normal()
    for hook in HOOKS:
        hook()
    return x, rng.integers(0, 100)


@bgsim.simulation(outputs={"x": "f8"}, compile=False, depends_on=())
def deadly(p: Any, rng: Any) -> float:
    """Ends its process at once, as a fault in compiled code does."""
    os.kill(os.getpid(), signal.SIGKILL)
    return 0.0


@dataclass(frozen=True)
class Once:
    """Parameters of `cut_short`: a file that is there when it has happened, and whether the process ends."""

    path: str
    ends: bool = True


@bgsim.simulation(outputs={"x": "f8"}, compile=False, depends_on=())
def cut_short(p: Once, rng: Any) -> float:
    """Have its process killed while it sends its reply to the engine's, once; or stay there when all is sent."""
    if not Path(p.path).exists():
        Path(p.path).touch()

        def send_half(self: Any, buffer: Any, write: Any = os.write) -> None:
            write(self.fileno(), buffer[: len(buffer) // 2 if p.ends else None])
            if p.ends:
                os.kill(os.getpid(), signal.SIGKILL)
            threading.Event().wait()

        multiprocessing.connection.Connection._send = send_half
    return float(rng.random())


@bgsim.simulation(outputs={"x": "f8"}, compile=False, depends_on=())
def deaf(p: Any, rng: Any, control: Any) -> float:
    """Says that it has begun, and is stubborn then."""
    bgsim.report_fraction(control, 0.5)
    while True:
        time.sleep(3600)


@bgsim.simulation(outputs={"x": "f8"}, compile=False, depends_on=())
def stubborn(p: Any, rng: Any) -> float:
    """Takes no notice of the engine, and never ends."""
    while True:
        time.sleep(3600)


@bgsim.simulation(outputs={"x": "f8"}, compile=False, depends_on=())
def patient(p: Any, rng: Any, control: Any) -> float:
    """Runs until it is asked to stop."""
    while not bgsim.stop_requested(control):
        time.sleep(0.001)
    return 0.0
