"""Races that a test forces: a thread stops at a gate, and the test opens it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from bgsim.control import stop_requested
from bgsim.simulation import simulation

HANDSHAKE_S = 30.0
"""How long any of these waits at most: only a bug lets it take so long."""


class Gate:
    """A handshake of two events: a thread stops here, and the test waits for that and lets it go on.

    Attributes
    ----------
    reached : threading.Event
        Set by the first thread that stops here.
    go_on : threading.Event
        Set by `open`.
    """

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.go_on = threading.Event()

    def stop_here(self, *_: object) -> None:
        """Stop until the gate is open; takes and ignores arguments, so that it is a callback of any kind."""
        self.reached.set()
        assert self.go_on.wait(HANDSHAKE_S), "the test has not opened the gate"

    def wait_until_reached(self) -> None:
        """Wait until a thread has come."""
        assert self.reached.wait(HANDSHAKE_S), "no thread came to the gate"

    def open(self) -> None:
        """Let every thread go on, those that come later too."""
        self.go_on.set()


GATES: dict[str, Gate] = {}
"""By the name in the parameters of `gated`; `gate` puts one in and takes it out."""


@contextmanager
def gate(name: str) -> Iterator[Gate]:
    """Make a gate for the simulation `gated`; leaving the block opens it.

    Examples
    --------
    >>> import bgsim
    >>> from bgsim.testing import gate, gated
    >>> with bgsim.Engine() as engine, gate("a") as a:
    ...     job = engine.submit(gated, {"name": "a"}, replicates=1)
    ...     a.wait_until_reached()
    ...     job.state.value
    'running'
    """
    made = GATES[name] = Gate()
    try:
        yield made
    finally:
        GATES.pop(name, None)
        made.open()


@dataclass(frozen=True)
class Gated:
    """Parameters of `gated`: the name of its gate; without a gate of that name it does not stop."""

    name: str = ""


@simulation(outputs={"x": "f8"}, compile=False, depends_on=())
def gated(p: Gated, rng: Any, control: Any) -> float:
    """Draw once, after stopping at a gate; return 0 if the engine asked it to stop there."""
    found = GATES.get(p.name)
    if found is not None:
        found.stop_here()
        if stop_requested(control):
            return 0.0
    return float(rng.random())
