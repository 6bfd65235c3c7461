"""Cold start: importing bgsim, a second process's first result, and the first compilation of each simulation."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.harness import Case, compare, installed, report
from bgsim.registry import BUILT_IN

FIRST_RESULT = """
import time
import numba
began = time.perf_counter()
import bgsim
from bgsim.models.{module} import {name}
result = bgsim.run({name}, {parameters}, replicates=10)
print(time.perf_counter() - began)
from bgsim.kernels import compiled as kernel
assert kernel.run_chunk.stats.cache_misses.total() == 0
(compiled,) = {name}.revision().compiled.by_layout.values()
assert compiled._dispatcher.stats.cache_misses.total() == 0
"""

SIMULATIONS = (
    ("options", "asian_call", "None"),
    ("battle", "battle", "battle.parameters_class.from_file('examples/encounters/ogre_bridge.json')"),
)


FIRST_COMPILATION = """
import time
import numba
from bgsim.registry import find_simulation
simulation = find_simulation({name!r})
parameters = simulation.bind({parameters})
began = time.process_time()
simulation.warmup(parameters)
print(time.process_time() - began)
assert simulation.revision().compiled.by_layout
"""

PARAMETERS = {
    "battle": "simulation.parameters_class.from_file('examples/encounters/ogre_bridge.json')",
    "reactions": "simulation.parameters_class.from_file('examples/networks/dimerisation.toml', [1.0])",
    "tau_leaping": "simulation.parameters_class.from_file('examples/networks/dimerisation.toml', [1.0])",
}
"""Of those that have no default for all."""


def in_new_process(code: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, env={**os.environ, **environment}
    )
    return done.stdout


def first_compilations(rounds: int = 3) -> None:
    """Print the processor time to compile each simulation in a new process that finds nothing on disk."""
    cases = []
    for name in BUILT_IN:
        case = Case(name, lambda: None)
        code = FIRST_COMPILATION.format(name=name, parameters=PARAMETERS.get(name))
        for _ in range(rounds):
            with tempfile.TemporaryDirectory() as folder:
                case.seconds.append(float(in_new_process(code, NUMBA_CACHE_DIR=folder)))
        cases.append(case)
    report("the first compilation, processor time", cases, unit="s")


def command(*arguments: str, **environment: str) -> str:
    """Run a command of this environment's, and return what it printed."""
    name, *rest = arguments
    done = subprocess.run(
        [Path(sys.executable).with_name(name), *rest],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )
    assert done.stdout
    return done.stdout


def first_words(rounds: int = 20) -> None:
    """Print how long a terminal waits for an answer that needs no run, beside another command made with click."""
    with tempfile.TemporaryDirectory() as folder:
        store = ("--store", f"{folder}/runs.db")
        command("bgsim", "run", "mmc", "-n", "1000", *store)
        cases = [
            Case("bgsim --version", lambda: command("bgsim", "--version")),
            Case("bgsim list", lambda: command("bgsim", "list")),
            Case(
                "the completion of `bgsim run as`",
                lambda: command("bgsim", _BGSIM_COMPLETE="bash_complete", COMP_WORDS="bgsim run as", COMP_CWORD="2"),
            ),
            Case("bgsim run, answered from the store", lambda: command("bgsim", "run", "mmc", "-n", "1000", *store)),
        ]
        if installed("distributed"):
            cases.append(Case("dask --version", lambda: command("dask", "--version")))
        compare("the first words in a terminal", cases, rounds=rounds, unit="ms")


def main() -> None:
    compare(
        "a new process",
        [
            Case("import bgsim", lambda: in_new_process("import bgsim")),
            Case("import numpy", lambda: in_new_process("import numpy")),
            Case("nothing", lambda: in_new_process("pass")),
        ],
        rounds=20,
        unit="ms",
    )
    cases = []
    for module, name, parameters in SIMULATIONS:
        code = FIRST_RESULT.format(module=module, name=name, parameters=parameters)
        in_new_process(code.split("from bgsim.kernels")[0])  # fills the cache
        case = Case(f"{name}: from `import numba` done to the first result", lambda: None)
        for _ in range(10):
            case.seconds.append(float(in_new_process(code)))
        cases.append(case)
    case = Case("import numba", lambda: None)
    for _ in range(10):
        began = time.perf_counter()
        in_new_process("import numba")
        case.seconds.append(time.perf_counter() - began)
    report("a second process, with numba's cache", [*cases, case], unit="ms")
    first_words()
    first_compilations()


if __name__ == "__main__":
    main()
