"""What numba keeps: machine code on disk, machine code that is older than its values, and copies with values of now."""

from __future__ import annotations

import gc
import textwrap
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from new_process import printed

import bgsim

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
    environment = {"NUMBA_CACHE_DIR": str(folder / "machine_code"), "PYTHONHASHSEED": seed}
    found = printed(PROLOGUE + textwrap.dedent(code), folder, "-W", "ignore", **environment)
    return found.split("\n")[:-1]


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
    from bgsim.kernels.cache import _is_ours

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
    "tried with another value": (
        "K = 2.0\n@njit\ndef f(x):\n    return x * K\n",
        "model.K = 3.0; model.f(1.0); model.K = 2.0",
    ),
    "array changed in place": (
        "T = np.array([2.0])\n@njit\ndef f(x):\n    return x * T[0]\n",
        "model.f(1.0); model.T[0] = 7.0",
    ),
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


# ---- copies with the values of now -------------------------------------------------------------------

SIM = '\n@bgsim.simulation(outputs={"x": "f8"})\ndef sim(p, rng):\n    return f(1.0)\n'

COPIED = {
    "named tuple of jitted functions": (
        "K = 2.0\n@njit\ndef a(x):\n    return x * K\nclass F(NamedTuple):\n    a: Any\n    b: Any\nN = F(a, a)\n"
        "@njit\ndef f(x):\n    return N.b(x)\n",
        "model.a(1.0)",
    ),
    "one tuple in two functions": (
        "K = 2.0\n@njit\ndef a(x):\n    return x * K\nT = (a,)\n@njit\ndef g(x):\n    return T[0](x)\n"
        "@njit\ndef f(x):\n    return g(x) * 1.0 + T[0](0.0)\n",
        "model.a(1.0)",
    ),
    "C callback": (
        "K = 2.0\n@cfunc('f8(f8)')\ndef c(x):\n    return x * K\n@njit\ndef f(x):\n    return c(x)\n",
        "pass",
    ),
    "object mode": (
        "K = 2.0\ndef helper(x):\n    return K\n@njit\ndef f(x):\n    with objmode(r='f8'):\n        r = helper(x)\n"
        "    return r\n",
        "model.f(1.0)",
    ),
    "array": ("K = np.array([2.0])\n@njit\ndef f(x):\n    return x * K[0]\n", "model.f(1.0)"),
}


@pytest.mark.parametrize("name", COPIED)
def test_what_a_compiled_simulation_reaches_is_compiled_with_the_values_of_now(tmp_path: Path, name: str) -> None:
    source, before = COPIED[name]
    write(tmp_path, source + SIM)
    new = "np.array([7.0])" if name == "array" else "7.0"
    assert in_process(tmp_path, f"import numpy as np; {before}; ask(); model.K = {new}; ask()") == ["2.0", "7.0"]
    assert in_process(tmp_path, f"import numpy as np; model.K = {new}; ask()") == ["7.0"]
    assert in_process(tmp_path, "ask()") == ["2.0"]


@pytest.mark.parametrize("seed", ["0", "1", "2", "3", "4", "5"])
def test_two_functions_read_of_one_module(tmp_path: Path, seed: str) -> None:
    """The names that each reads of it are copied, whichever comes first; numba's own code is the old one."""
    package = tmp_path / "pack"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "helpers.py").write_text(
        "from numba import njit\nK = 2.0\nB = 0.0\n@njit\ndef grow(x):\n    return x + B\n@njit\ndef clip(x):\n    return x * K\n"
    )
    write(
        tmp_path,
        """
        import pack.helpers
        @njit
        def inner(x):
            return pack.helpers.clip(x)
        @bgsim.simulation(outputs={"x": "f8"})
        def sim(p, rng):
            return pack.helpers.grow(inner(1.0)) + 0.0 * pack.helpers.K
        """,
    )
    code = "model.pack.helpers.clip(1.0); model.pack.helpers.K = 3.0; ask(); model.pack.helpers.B = 1.0; ask()"
    code += "; print(model.pack.helpers.clip(1.0))"
    assert in_process(tmp_path, code, seed) == ["3.0", "4.0", "2.0"]


def test_a_queued_simulation_is_compiled_with_the_values_of_its_submission(tmp_path: Path) -> None:
    (tmp_path / "held.py").write_text("K = 2.0\n")
    write(
        tmp_path,
        """
        import held
        A = np.array([10.0])
        B = np.zeros(300_000)
        @bgsim.simulation(outputs={"x": "f8"})
        def sim(p, rng):
            return held.K + A[0] + B[7]
        """,
    )
    code = """
    revision = model.sim.revision()
    model.held.K, model.A[0], model.B[7] = 3.0, 20.0, 100.0
    import numpy as np
    from bgsim.control import new_control_block
    from bgsim.kernels.stream import WorkerStream
    parameters = model.sim.bind(None)
    run = model.sim.prepare(parameters, revision)
    ask()
    print(model.sim.prepared(parameters, revision) is not None)
    columns = (np.zeros(1),)
    key = np.zeros(2, np.uint64)
    run(WorkerStream(), key, 0, columns, new_control_block())
    print(columns[0][0])
    """
    assert in_process(tmp_path, code) == ["123.0", "True", "12.0"]


def test_a_helper_that_has_no_copy_is_refused_if_it_is_older_than_its_values(
    tmp_path: Path,
) -> None:
    """As it would be if numba learnt to call what a container holds that a copy is not made of."""
    write(tmp_path, "K = 2.0\n@njit\ndef f(x):\n    return x * K\n" + SIM)
    code = """
    from bgsim.kernels import frozen
    frozen._Copies._dispatcher = lambda copies, dispatcher: dispatcher
    model.f(1.0)
    model.K = 7.0
    ask()
    """
    assert in_process(tmp_path, code) == ["CompileError"]


def test_values_of_older_revisions_are_not_kept() -> None:
    """A table that a notebook makes anew, under a name or in a list, leaves nothing of the old one behind."""
    space: dict[str, Any] = {"__name__": "model_of_arrays", "B": []}
    exec("def sim(p, rng):\n    return A[0] + B[0][0]\n", space)
    held = []
    simulation = None
    for value in (1.0, 2.0, 3.0):
        space["A"] = np.full(1000, value)
        space["B"][:] = [np.zeros(1000)]
        held += [weakref.ref(space["A"]), weakref.ref(space["B"][0])]
        if simulation is None:
            simulation = bgsim.simulation(outputs={"x": "f8"}, compile=False)(space["sim"])
        assert bgsim.run(simulation, replicates=1)["x"].tolist() == [value]
        simulation.revision()
    gc.collect()
    assert [array() is not None for array in held] == [False] * 4 + [True] * 2
