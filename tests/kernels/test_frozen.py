"""What is compiled is what was looked at: a copy of the kernel, its helpers, its modules and arrays."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bgsim
from bgsim.errors import CompileError

HELPERS = """
import numpy as np
from numba import njit
K = 2.0
TABLE = np.array([2.0, 5.0])

@njit
def grow(x):
    return x * 1.0

@njit
def clip(x):
    return x * K
"""

SIM = """
import bgsim
import helpers_{n} as helpers
from numba import njit

@njit
def inner(x):
    return helpers.clip(x)

@bgsim.simulation(outputs={{"x": "f8"}})
def two_readers(p, rng):
    return helpers.grow(inner(1.0))

@bgsim.simulation(outputs={{"x": "f8"}})
def of_a_module(p, rng):
    return helpers.K

@bgsim.simulation(outputs={{"x": "f8"}})
def of_an_array(p, rng):
    return helpers.TABLE[0]
"""


def load(folder: Path, n: str, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, Any]:
    """Import a module with helpers and one with simulations."""
    (folder / f"helpers_{n}.py").write_text(HELPERS)
    (folder / f"sims_{n}.py").write_text(SIM.format(n=n))
    monkeypatch.syspath_prepend(folder)
    sims = __import__(f"sims_{n}")
    return sims, sims.helpers


def run_once(sim: bgsim.Simulation) -> float:
    with bgsim.Engine(store=None, workers=1) as engine:
        return float(engine.submit(sim, replicates=1).result()["x"][0])


GATE = threading.Event()


def waits(p: Any, rng: np.random.Generator) -> float:
    GATE.wait()
    return 0.0


@pytest.mark.parametrize("name", ["two_readers", "of_a_module", "of_an_array"])
def test_a_job_that_waits_runs_with_the_values_of_its_submission(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """What is compiled later is the copy of that moment."""
    sims, helpers = load(tmp_path, f"waits_{name}", monkeypatch)
    blocker = bgsim.simulation(waits, outputs={"x": "f8"}, compile=False, depends_on=())
    GATE.clear()
    with bgsim.Engine(store=None, workers=1) as engine:
        engine.submit(blocker, replicates=1)
        job = engine.submit(getattr(sims, name), replicates=2)
        helpers.K = 7.0
        helpers.TABLE[0] = 7.0
        GATE.set()
        assert job.result()["x"].tolist() == [2.0, 2.0]
        assert engine.submit(getattr(sims, name), replicates=2).result()["x"].tolist() == [7.0, 7.0]


SCALE = 2.0


def scaled() -> float:
    return SCALE


def test_object_mode_finds_its_names() -> None:
    """numba looks the names of such a part up in a module, which is that of the copy."""
    from numba import objmode

    @bgsim.simulation(outputs={"x": "f8"})
    def partly(p: Any, rng: Any) -> float:
        with objmode(r="f8"):
            r = scaled()
        return r

    with pytest.warns(Warning, match="object mode"):
        assert run_once(partly) == 2.0


def test_an_import_in_a_kernel_is_refused_with_the_remedy() -> None:
    """numba raises what is none of its errors there."""

    @bgsim.simulation(outputs={"x": "f8"})
    def imports(p: Any, rng: Any) -> float:
        import math

        return math.pi

    with pytest.raises(CompileError, match="Import at the top of the module"):
        imports.warmup()
