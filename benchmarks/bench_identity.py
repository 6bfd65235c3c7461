"""Looking at a simulation again at each submission, against what joblib does at each call of a cached function."""

from __future__ import annotations

import tempfile

import joblib
from numba import njit

import bgsim
from benchmarks.harness import Case, compare
from bgsim.identity.look import look
from bgsim.models.battle import battle

A, B, C, D = 1.0, 2.0, (3.0, 4.0), {"r": 5.0}
LOOKS = 200


@njit
def first(x: float) -> float:
    return x * A


@njit
def second(x: float) -> float:
    return first(x) + B


@njit
def third(x: float) -> float:
    return second(x) * C[0]


@bgsim.simulation(outputs={"x": "f8"})
def ten(p, rng):  # type: ignore[no-untyped-def]
    """Ten dependencies: three helpers with their options, and four constants."""
    return third(rng.random()) + first(A) + D["r"]


def main() -> None:
    """Compare."""
    ten.revision()
    battle.revision()
    with tempfile.TemporaryDirectory() as folder:
        memory = joblib.Memory(folder, verbose=0)
        cached = memory.cache(lambda: 1)
        cached()

        def again(simulation: bgsim.Simulation) -> None:
            found = simulation.revision()
            for _ in range(LOOKS):
                assert simulation.revision() is found

        def joblibs() -> None:
            for _ in range(20):
                assert cached.check_call_in_cache()

        def anew() -> None:
            function = ten.function
            assert len(look(ten.name, function.__module__, (function,), compiled=True).fingerprint) == 32

        print(f"{len(ten.parts)} parts of a small kernel, {len(battle.parts)} of the battle")
        compare(
            "a look where nothing has changed",
            [
                Case("a kernel with ten dependencies", lambda: again(ten), LOOKS),
                Case("the battle", lambda: again(battle), LOOKS),
                Case("joblib.Memory: is this call in the cache?", joblibs, 20),
            ],
        )
        compare("a look at everything anew", [Case("a kernel with ten dependencies", anew)], unit="ms")
