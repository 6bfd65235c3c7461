"""What tests of simulations, of programs around an engine, and of stores need; our own tests use it.

`SteppedEngine` runs nothing but in `step`, so a test decides what happens next. A `Gate` holds another thread at a
point until the test opens it, and the simulation `gated` stops at one. None of it sleeps.
`bgsim.testing.stores` has the tests that every store passes, `bgsim.testing.backends` those of every backend.
"""

from bgsim.testing.engines import (
    SteppedEngine,
    clock_moved,
    expire,
    lock_is_free,
    parts,
    queue_position,
    run_all,
    tick,
    workers_on,
)
from bgsim.testing.gates import GATES, HANDSHAKE_S, Gate, Gated, gate, gated

__all__ = [
    "GATES",
    "HANDSHAKE_S",
    "Gate",
    "Gated",
    "SteppedEngine",
    "clock_moved",
    "expire",
    "gate",
    "gated",
    "lock_is_free",
    "parts",
    "queue_position",
    "run_all",
    "tick",
    "workers_on",
]


def __dir__() -> list[str]:
    return __all__
