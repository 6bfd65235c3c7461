"""Cold start: importing bgsim, and a second process's first result of a built-in simulation."""

from __future__ import annotations

import subprocess
import sys
import time

from benchmarks.harness import Case, compare, report

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
assert {name}._dispatcher.stats.cache_misses.total() == 0
"""

SIMULATIONS = (
    ("options", "asian_call", "None"),
    ("battle", "battle", "battle.parameters_class.from_file('examples/encounters/ogre_bridge.json')"),
)


def in_new_process(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout


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
        in_new_process(code.split("from bgsim import kernel")[0])  # fills the cache
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


if __name__ == "__main__":
    main()
