"""What numba keeps: machine code on disk, machine code that is older than its values, and copies with values of now."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

HEAD = """
import collections, operator
from typing import Any, NamedTuple
import numpy as np
import bgsim
from numba import cfunc, njit, objmode, stencil, vectorize
from numba.extending import overload, register_jitable
"""


def write(folder: Path, source: str, name: str = "model") -> None:
    """Write a module."""
    (folder / f"{name}.py").write_text(HEAD + textwrap.dedent(source))


def in_process(folder: Path, code: str, seed: str = "0") -> list[str]:
    """Run code in a new process, with one cache of machine code in the folder; return the lines that it prints."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROLOGUE + textwrap.dedent(code)],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={
            **os.environ,
            "NUMBA_CACHE_DIR": str(folder / "machine_code"),
            "PYTHONHASHSEED": seed,
            "PYTHONDONTWRITEBYTECODE": "1",
        },
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.split("\n")[:-1]


PROLOGUE = """
import sys
sys.path.insert(0, "")
import bgsim, model
def ask(simulation=model.sim):
    try:
        with bgsim.Engine() as engine:
            print(engine.submit(simulation, replicates=1).result()["x"][0])
    except bgsim.errors.BgsimError as error:
        print(type(error).__name__)
def stored(simulation=model.sim):
    with bgsim.Engine() as engine:
        engine.submit(simulation, replicates=1).result()
        print(engine.submit(simulation, replicates=1).status().from_store > 0)
"""


# ---- machine code on disk ----------------------------------------------------------------------------


def test_a_helper_that_calls_itself_runs_in_each_process(tmp_path: Path) -> None:
    write(
        tmp_path,
        """
        @njit
        def fib(n):
            if n < 2:
                return 1.0
            return fib(n - 1) + fib(n - 2)

        @bgsim.simulation(outputs={"x": "f8"})
        def sim(p, rng):
            return fib(10)
        """,
    )
    assert [in_process(tmp_path, "ask()") for _ in range(2)] == [["89.0"]] * 2


def test_a_file_of_another_identity_is_compiled_anew(tmp_path: Path) -> None:
    write(
        tmp_path,
        """
        @bgsim.simulation(outputs={"x": "f8"})
        def sim(p, rng):
            return 2.0
        """,
    )
    assert in_process(tmp_path, "ask()") == ["2.0"]
    files = sorted((tmp_path / "machine_code" / "bgsim").iterdir())
    assert len(files) > 1
    contents = [file.read_bytes() for file in files]
    for file, content in zip(files, contents[1:] + contents[:1], strict=True):
        file.write_bytes(content)
    assert in_process(tmp_path, "ask()") == ["2.0"]


def test_a_file_that_others_may_write_is_not_read(tmp_path: Path) -> None:
    from bgsim.kernel_cache import _is_ours

    file = tmp_path / "a.kernel"
    file.touch(mode=0o600)
    found = []
    for mode in (0o600, 0o644, 0o664, 0o606):
        file.chmod(mode)
        found.append(_is_ours(file))
    for mode in (0o700, 0o775, 0o777, 0o1777):
        tmp_path.chmod(mode)
        found.append(_is_ours(tmp_path))
    tmp_path.chmod(0o700)
    assert found == [True, True, False, False, True, False, False, True]


# ---- machine code that is older than its values ------------------------------------------------------

HELPERS = {
    "tried with another value": ("K = 2.0\n@njit\ndef f(x):\n    return x * K\n", "model.K = 3.0; model.f(1.0); model.K = 2.0"),
    "array changed in place": ("T = np.array([2.0])\n@njit\ndef f(x):\n    return x * T[0]\n", "model.f(1.0); model.T[0] = 7.0"),
    "inner helper compiled again": (
        "K = 2.0\n@njit\ndef g(x):\n    return x * K\n@njit\ndef f(x):\n    return g(x)\n",
        "model.f(1.0); model.K = 7.0; model.g.recompile()",
    ),
    "C callback": ("K = 2.0\n@cfunc('f8(f8)')\ndef c(x):\n    return x * K\nf = c.ctypes\n", "model.K = 7.0"),
    "stencil": (
        "K = 2.0\n@stencil\ndef s(a):\n    return a[0] * K\n@njit\ndef f(x):\n    return s(np.ones(3))[1]\n",
        "model.K = 7.0",
    ),
}


@pytest.mark.parametrize("name", HELPERS)
def test_plain_code_is_not_stored_with_machine_code_of_other_values(tmp_path: Path, name: str) -> None:
    """The helper is compiled and changed before or after the first look at the simulation."""
    source, change = HELPERS[name]
    simulation = '@bgsim.simulation(outputs={"x": "f8"}, compile=False)\ndef sim(p, rng):\n    return f(1.0)\n'
    write(tmp_path, source + simulation)
    assert in_process(tmp_path, f"{change}\nstored()") == ["False"]
    assert in_process(tmp_path, f"model.sim.fingerprint\n{change}\nstored()") == ["False"]


@pytest.mark.parametrize("value", ["2.0", "np.array([2.0])"])
def test_plain_code_is_stored_with_a_helper_that_it_has_compiled_itself(tmp_path: Path, value: str) -> None:
    write(
        tmp_path,
        f"""
        K = {value}
        def make(k):
            @njit
            def closure(x):
                return x * k
            return closure
        g = make(3.0)
        @njit
        def f(x):
            return g(x) * (K + np.zeros(1))[0]
        @bgsim.simulation(outputs={{"x": "f8"}}, compile=False)
        def sim(p, rng):
            return f(1.0)
        """,
    )
    assert in_process(tmp_path, "stored(); ask(); stored()") == ["True", "6.0", "True"]


ENDLESS = """
def total(t):
    pass

@overload(total)
def total_of(t):
    if len(t) == 0:
        return lambda t: 0.0
    scale = 2.0
    return lambda t: scale * t[0] + total(t[1:])

@register_jitable
def twice(x):
    return 2.0 * x

@bgsim.simulation(outputs={"x": "f8"})
def sim(p, rng):
    return twice(total((1.0, 2.0, 3.0, 4.0)))
"""


def test_an_overload_that_leads_to_itself_is_looked_at_once(tmp_path: Path) -> None:
    write(tmp_path, ENDLESS)
    assert in_process(tmp_path, "ask(); model.sim.fingerprint; ask()") == ["40.0", "40.0"]


def test_an_overload_of_an_operator_counts(tmp_path: Path) -> None:
    found = []
    for factor in (2.0, 7.0):
        write(
            tmp_path,
            f"""
            @overload(operator.neg)
            def negative(a):
                if hasattr(a, "count"):
                    return lambda a: a[0] * {factor}
            @bgsim.simulation(outputs={{"x": "f8"}})
            def sim(p, rng):
                return -(1.0, 2.0)
            """,
        )
        found += in_process(tmp_path, "print(model.sim.fingerprint); ask()")
    assert found[0] != found[2]
    assert found[1::2] == ["2.0", "7.0"]


@pytest.mark.parametrize(
    "source",
    [
        "f = np.frompyfunc(lambda x: 2.0 * x, 1, 1)",
        "from numba import vectorize\n@vectorize(['f8(f8)'], target='parallel')\ndef f(x):\n    return x * 2.0",
        "from numba.typed import List\nT = List([2.0])\ndef f(x):\n    return x * T[0]",
        "from numba.typed import Dict\nT = Dict()\nT[1] = 2.0\ndef f(x):\n    return x * T[1]",
    ],
)
def test_what_of_numba_cannot_be_looked_into_is_said(tmp_path: Path, source: str) -> None:
    simulation = '\n@bgsim.simulation(outputs={"x": "f8"}, compile=False)\ndef sim(p, rng):\n    return float(f(1.0))\n'
    write(tmp_path, source + simulation)
    assert in_process(tmp_path, "stored(); ask()") == ["False", "2.0"]
