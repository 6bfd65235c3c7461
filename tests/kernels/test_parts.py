"""Helpers become parts of a kernel, whatever numba lets them be."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from compilations import compilations
from new_process import printed
from numba import njit, objmode, prange

import bgsim
from bgsim.errors import ReplicateError
from bgsim.kernels.parts import Part


@njit
def factorial(n: int) -> int:
    return 1 if n <= 1 else n * factorial(n - 1)


@njit
def is_even(n: int) -> bool:
    return True if n == 0 else is_odd(n - 1)


@njit
def is_odd(n: int) -> bool:
    return False if n == 0 else is_even(n - 1)


@njit
def tripled(x: float) -> float:
    return x * 3.0


@njit
def in_object_mode(x: float) -> float:
    with objmode(r="f8"):
        r = tripled(x)
    return r


@njit
def doubled(x: float) -> float:
    return x * 2.0


@njit
def one_of_two(first: bool) -> float:
    f = tripled if first else doubled
    return f(1.0)


@njit
def counted(n: int) -> Iterator[float]:
    numbers = np.arange(n)
    for i in range(n):
        yield numbers[i]


@njit(parallel=True)
def in_parallel(n: int) -> float:
    total = 0.0
    for i in prange(n):
        total += i
    return total


@njit(inline="always")
def put_in_place(x: float) -> float:
    return x + 0.5


@njit("f8(f8)")
def declared(x: float) -> float:
    return x / 2


@njit
def with_default(a: float, b: float = 2.0) -> float:
    return a + b


@njit
def applied(f: Any, x: float) -> float:
    return f(x)


@njit
def refuses(n: int) -> int:
    if n > 0:
        raise ValueError("too many:", n)
    return n


KERNELS: dict[str, tuple[Callable[[Any, Any], Any], float]] = {
    "calls itself": (lambda p, rng: factorial(5) * 1.0, 120.0),
    "calls itself through another": (lambda p, rng: 1.0 if is_even(7) else 0.0, 0.0),
    "in object mode": (lambda p, rng: in_object_mode(2.0), 6.0),
    "is a value": (lambda p, rng: one_of_two(rng.random() >= 0.0), 3.0),
    "is an argument": (lambda p, rng: applied(doubled, 1.0) + applied(tripled, 1.0), 5.0),
    "in parallel": (lambda p, rng: in_parallel(10), 45.0),
    "others": (lambda p, rng: put_in_place(1.0) + declared(3.0) + with_default(1.0), 6.0),
}


def rows(kernel: Any) -> list[float]:
    simulation = bgsim.simulation(kernel, outputs={"x": "f8"}, version="1")
    with warnings.catch_warnings(), bgsim.Engine(store=None, workers=1) as engine:
        warnings.simplefilter("ignore")
        return [float(x) for x in engine.submit(simulation, replicates=2).result()["x"]]


@pytest.fixture(autouse=True)
def _nothing_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))


@pytest.mark.parametrize("name", KERNELS)
def test_a_helper_is_what_numba_lets_it_be(name: str) -> None:
    kernel, expected = KERNELS[name]
    assert rows(kernel) == [expected] * 2


def test_a_helper_that_yields() -> None:
    def kernel(p: Any, rng: Any) -> float:
        total = 0.0
        for x in counted(4):
            total += x
        return total

    assert rows(kernel) == [6.0] * 2


def test_what_a_helper_raises_reaches_the_caller() -> None:
    with pytest.raises(ReplicateError, match="too many"):
        rows(lambda p, rng: refuses(3) * 1.0)


def test_a_helper_is_compiled_once_and_never_for_python() -> None:
    """Else each would be optimised again in each caller, and get machine code that nothing runs."""
    with compilations() as compiled:
        assert rows(lambda p, rng: doubled(tripled(1.0)) + tripled(doubled(rng.random() * 0.0))) == [6.0] * 2
    parts = [d for d in compiled if isinstance(d, Part) and d.py_func.__name__ in ("doubled", "tripled")]
    assert len(parts) == 2
    for part in parts:
        (overload,) = part.overloads.values()
        assert not part.calls_itself
        assert not callable(overload.entry_point)
        assert not overload.library.codegen._engine.is_symbol_defined(overload.fndesc.llvm_func_name)


SIMULATION = """
import bgsim
from numba import njit

@njit
def half(x):
    if x < 0.0:
        raise ValueError("negative")
    return x / 2

@njit
def quarter(x):
    return half(half(x))

@bgsim.simulation(outputs={"x": "f8"})
def eighth(p, rng):
    return half(quarter(1.0))
"""

RUN = """
import parted
import bgsim
with bgsim.Engine(store=None, workers=1) as engine:
    assert engine.submit(parted.eighth, replicates=2).result()["x"].tolist() == [0.125, 0.125]
kernel = next(iter(parted.eighth.revision().compiled.by_layout.values()))._dispatcher
print(kernel.stats.cache_misses.total(), kernel.stats.cache_hits.total())
"""


def test_the_next_process_loads_a_kernel_with_its_parts(tmp_path: Path) -> None:
    (tmp_path / "parted.py").write_text(SIMULATION)
    found = [printed(RUN, tmp_path, NUMBA_CACHE_DIR=str(tmp_path)).split() for _ in range(2)]
    assert found == [["1", "0"], ["0", "1"]]
