"""The compiled side: orders and counters, equality with plain Python, the fallback, and the disk cache."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from kernels import Fragile, Spin, Walk, fragile, one_draw, plain_walk, spin, walk
from new_process import printed

import bgsim
from bgsim.control import DONE, FRACTION, FRACTION_UNIT, OBSERVED, ORDER, STOP, YIELD, new_control_block
from bgsim.errors import CompileError, OutputError
from bgsim.kernels.stream import WorkerStream
from bgsim.simulation import Simulation
from bgsim.streams import replicate_rng, stream_key


def run_chunk(
    simulation: Simulation, parameters: Any, first: int, count: int, control: Any = None, seed: int = 7
) -> tuple[Any, ...]:
    bound = simulation.bind(parameters)
    columns = simulation.new_columns(bound, count)
    control = new_control_block() if control is None else control
    done = simulation.prepare(bound)(WorkerStream(), stream_key(seed), first, columns, control)
    return done, columns, control


def test_a_control_block_is_one_cache_line_of_its_own() -> None:
    block = new_control_block()
    assert block.shape == (8,)
    assert block.dtype == np.int64
    assert block.ctypes.data % 64 == 0


@pytest.mark.parametrize("simulation", [walk, plain_walk])
def test_a_chunk_equals_the_plain_function_replicate_by_replicate(simulation: Simulation) -> None:
    """Bit for bit, for scalars, arrays, narrow integers and booleans; with text that the kernel does not see."""
    done, columns, control = run_chunk(simulation, Walk(steps=5, scale=2.0, label="text"), 1000, 20)
    assert done == 20
    assert control[DONE] == 20
    for row in range(20):
        end, path, ups, high = walk.function(Walk(5, 2.0), replicate_rng(7, 1000 + row))
        assert columns[0][row] == end
        assert columns[1][row].tobytes() == path.tobytes()
        assert columns[2][row] == ups
        assert columns[3][row] == high


def test_compiled_and_plain_columns_are_the_same_bytes() -> None:
    compiled, plain = (run_chunk(s, Walk(), 3, 50)[1] for s in (walk, plain_walk))
    assert [c.tobytes() for c in compiled] == [c.tobytes() for c in plain]


@pytest.mark.parametrize("simulation", [walk, plain_walk])
@pytest.mark.parametrize("order", [YIELD, STOP])
def test_an_order_stops_a_chunk_at_once(simulation: Simulation, order: int) -> None:
    control = new_control_block()
    control[ORDER] = order
    assert run_chunk(simulation, Walk(), 0, 10, control)[0] == 0


def test_a_stop_reaches_into_a_loop_of_registers() -> None:
    """3e9 iterations that store nowhere; the replicate in hand does not count."""
    control = new_control_block()
    results: list[Any] = []
    spin.warmup()
    thread = threading.Thread(target=lambda: results.append(run_chunk(spin, Spin(), 0, 1, control)), daemon=True)
    thread.start()
    while not thread.is_alive():
        pass
    control[ORDER] = STOP
    thread.join(20)
    assert not thread.is_alive(), "the kernel did not see the stop"
    done, _, control = results[0]
    assert done == 0
    assert control[DONE] == 0


def test_a_yield_does_not_give_up_the_replicate_in_hand() -> None:
    """Only a stop does: preemption loses no work."""

    @bgsim.simulation(outputs={"x": "i8"})
    def asks(p: Any, rng: Any, control: Any) -> int:
        control[0] = YIELD  # as if the engine preempted it now
        return 1 if bgsim.stop_requested(control) else 2

    done, columns, control = run_chunk(asks, None, 0, 3)
    assert done == 1
    assert columns[0][0] == 2
    assert control[OBSERVED] == 0


@pytest.mark.parametrize("compiles", [True, False])
def test_a_replicate_that_gave_up_does_not_count(compiles: bool) -> None:
    def gives_up(p: Any, rng: Any, control: Any) -> int:
        control[0] = STOP
        bgsim.report_fraction(control, 0.25)
        return -1 if bgsim.stop_requested(control) else 2

    simulation = bgsim.simulation(gives_up, outputs={"x": "i8"}, compile=compiles)
    done, _, control = run_chunk(simulation, None, 0, 3)
    assert done == 0
    assert control[DONE] == 0
    assert control[OBSERVED] == 1
    assert control[FRACTION] == FRACTION_UNIT // 4


@pytest.mark.parametrize("compiles", [True, False])
def test_an_exception_says_how_many_are_done(compiles: bool) -> None:
    simulation = bgsim.simulation(fragile.function, outputs={"x": "f8"}, compile=compiles)
    control = new_control_block()
    with pytest.raises(ValueError, match="the draw is too small"):
        run_chunk(simulation, Fragile(0.1), 0, 1000, control)
    first_bad = next(i for i in range(1000) if replicate_rng(7, i).random() < 0.1)
    assert control[DONE] == first_bad


def test_kernels_of_one_layout_share_the_loop_that_calls_them() -> None:
    """It is compiled for their types; which one it calls is an argument."""
    from bgsim.kernels import compiled as kernel

    def third(p: Any, rng: Any) -> float:
        return p.x / 3.0

    def half(p: Any, rng: Any) -> float:
        return p.x / 2.0

    simulations = [bgsim.simulation(function, outputs={"y": "f8"}) for function in (third, half)]
    loops = []
    for simulation, expected in zip(simulations, (2.0, 3.0), strict=True):
        assert run_chunk(simulation, {"x": 6.0}, 0, 2)[1][0].tolist() == [expected] * 2
        loops.append(len(kernel.run_chunk.signatures))
    assert loops[0] == loops[1]


def test_a_kernel_without_numeric_parameters_runs() -> None:
    done, columns, _ = run_chunk(one_draw, {"name": "text"}, 0, 3)
    assert done == 3
    assert columns[0].tolist() == [replicate_rng(7, i).random() for i in range(3)]


def test_zero_rows_are_no_work() -> None:
    assert run_chunk(one_draw, None, 0, 0)[0] == 0


# ---- outputs that do not match -----------------------------------------------------------------------


@dataclass(frozen=True)
class Length:
    n: int = 3


def test_outputs_must_match_in_number_dtype_and_dimensions() -> None:
    """Found when it is compiled, before any replicate runs."""

    def two(p: Length, rng: Any) -> Any:
        return 1.0, 2.0

    def real(p: Length, rng: Any) -> Any:
        return 1.5

    def vector(p: Length, rng: Any) -> Any:
        return np.zeros(p.n)

    for function, outputs, message in (
        (two, {"x": "f8"}, "returns 2 values and declares 1 output"),
        (real, {"x": "f8", "y": "f8"}, "returns 1 value and declares 2 outputs (x, y)"),
        (real, {"x": "i8"}, "declared as int64; the function returns float64"),
        (real, {"x": "?"}, "declared as bool"),
        (vector, {"x": "f8"}, "float64 scalar"),
        (real, {"x": ("f8", "n")}, "array of shape (n,)"),
        (vector, {"x": ("f8", ("n", 2))}, "array of shape (n, 2)"),
    ):
        with pytest.raises(OutputError) as caught:
            bgsim.simulation(function, outputs=outputs).warmup()
        assert message in str(caught.value)
        assert caught.value.field in ("outputs", "x")


def test_an_integer_that_does_not_fit_is_refused() -> None:
    @bgsim.simulation(outputs={"x": "i1"})
    def large(p: Any, rng: Any) -> int:
        return 1000

    with pytest.raises(OutputError, match="does not fit"):
        run_chunk(large, None, 0, 1)
    with pytest.raises(OutputError, match=r"output 'x' of .*large is declared as int8, which cannot hold 1000"):
        bgsim.run(large, replicates=1)


def test_a_shorter_array_is_refused() -> None:
    """Broadcasting would fill it up silently."""

    @bgsim.simulation(outputs={"x": ("f8", "n")})
    def short(p: Length, rng: Any) -> Any:
        return np.zeros(1)

    with pytest.raises(OutputError):
        run_chunk(short, None, 0, 1)
    with pytest.raises(OutputError, match=r"\(n,\) = \(3,\); the function returned \(1,\)"):
        short.check_replicate(short.bind(), 0, 0)


def test_what_numba_cannot_compile_is_an_error_that_points_at_the_line() -> None:
    @bgsim.simulation(outputs={"x": "f8"})
    def bad(p: Length, rng: Any) -> Any:
        return p.text + 1  # the kernel sees no such field

    with pytest.raises(CompileError) as caught:
        bad.warmup()
    assert "return p.text + 1" in str(caught.value)
    assert "compile=False" in str(caught.value)
    assert isinstance(caught.value, TypeError)


# ---- the disk cache ----------------------------------------------------------------------------------

SECOND_PROCESS = """
import sys
from numba.core import event
import bgsim
from bgsim.kernels import compiled as kernel
from bgsim.kernels import cache as kernel_cache
from bgsim.models.options import asian_call
compiled = []
class Listener(event.Listener):
    def on_start(self, e): compiled.append(str(e.data.get("dispatcher")))
    def on_end(self, e): pass
event.register("numba:compile", Listener())
loaded = []
load = kernel_cache.KernelCache.load_overload
def load_overload(self, *arguments):
    loaded.append(load(self, *arguments))
    return loaded[-1]
kernel_cache.KernelCache.load_overload = load_overload
result = bgsim.run(asian_call, replicates=10, seed=1, workers=1)
print(len(loaded), loaded.count(None), len(compiled))
"""


def test_a_second_process_compiles_neither_kernel_nor_chunk_loop(tmp_path: Path) -> None:
    """All three come from the disk: kernel, loop, and what a stream is equipped with."""
    first, second = (printed(SECOND_PROCESS, NUMBA_CACHE_DIR=str(tmp_path)).split() for _ in range(2))
    assert first[:2] == ["3", "3"]
    assert second == ["3", "0", "0"]


def test_a_constant_edited_in_another_module_is_not_served_from_the_cache(tmp_path: Path) -> None:
    """Numba alone would: it looks at the kernel's own file only."""
    (tmp_path / "mine.py").write_text(
        "import bgsim, constants\n@bgsim.simulation(outputs={'x': 'f8'})\ndef mine(p, rng):\n    return constants.C\n"
    )
    code = "import bgsim, mine; print(bgsim.run(mine.mine, replicates=1, workers=1)['x'][0])"
    found = []
    for value in ("1.0", "2.0", "1.0"):
        (tmp_path / "constants.py").write_text(f"C = {value}\n")
        found.append(printed(code, tmp_path).strip())
    assert found == ["1.0", "2.0", "1.0"]


def test_a_kernel_without_a_file_still_compiles() -> None:
    """Typed at a prompt, there is nothing to cache beside."""
    code = "import bgsim\nf = bgsim.simulation(lambda p, rng: rng.random(), outputs={'x': 'f8'})\nprint(f.fingerprint, bgsim.run(f, replicates=3)['x'].sum())"
    assert printed(code) == printed(code)
