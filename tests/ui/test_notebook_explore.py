"""Sliders over a simulation, and a cell that is one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import bgsim
from bgsim.errors import InvalidInputError, OutputError, ParameterError
from bgsim.models.options import AsianCall
from bgsim.testing import HANDSHAKE_S, SteppedEngine, run_all
from bgsim.ui.notebook import magic
from bgsim.ui.notebook.default import engine as default_engine
from bgsim.ui.notebook.explorer import ExplorerSource
from bgsim.ui.notebook.render import card, page


@bgsim.simulation(outputs={"y": "f8"}, compile=False)
def curve(p: AsianCall, rng: Any) -> float:
    return p.strike * rng.random() + p.steps


@bgsim.simulation(outputs={"y": "f8"}, compile=False)
def any_parameters(p: Any, rng: Any) -> float:
    return p.a * rng.random()


def test_sliders_take_the_defaults_and_integers_step_by_one() -> None:
    engine = SteppedEngine()
    found = bgsim.notebook.explore(
        curve, {"rate": 0.01}, strike=(80.0, 120.0), steps=(10, 300), maturity=(2.0, 4.0, 0.5), spot=99.0,
        replicates=10, engine=engine,
    )  # fmt: skip
    sliders = {s["name"]: (s["low"], s["high"], s["step"], s["value"]) for s in found.sliders()}
    assert sliders == {
        "strike": (80.0, 120.0, 0.2, 100.0),
        "steps": (10, 300, 1, 252),
        "maturity": (2.0, 4.0, 0.5, 2.0),
    }
    assert found.parameters == {"rate": 0.01, "spot": 99.0, "strike": 100.0, "steps": 252, "maturity": 2.0}
    found.set(steps=20.4, strike=1000)
    assert found.job.parameters["steps"] == 20
    assert found.job.parameters["strike"] == 120.0
    engine.close(cancel=True)


def test_the_newest_values_win() -> None:
    engine = SteppedEngine()
    found = bgsim.notebook.explore(any_parameters, a=(0, 10), replicates=10, engine=engine)
    assert found.parameters == {"a": 5}
    first = found.job
    found.set(a=6)
    found.set(a=7)
    run_all(engine)
    engine.clock.advance(1.0)
    run_all(engine)
    assert first.cancelled()
    assert found.job.result()["y"].max() <= 7
    engine.close()


def test_the_results_of_older_values_stay_until_there_are_new_ones() -> None:
    engine = SteppedEngine()
    found = bgsim.notebook.explore(any_parameters, a=(0.0, 10.0), replicates=50, engine=engine)
    source = ExplorerSource(found)
    assert not source.is_over()
    engine.clock.advance(1.0)
    run_all(engine)
    before = source.state(0.0, "")
    assert source.is_over()
    assert (before["word"], before["ended"]) == ("up to date", False)
    source.do({"set": {"a": 9.0}})
    after = source.state(0.0, "")
    assert after["histogram"] == before["histogram"]
    assert after["outputs"] == before["outputs"]
    assert [s["value"] for s in after["sliders"]] == [9.0]
    engine.clock.advance(1.0)
    run_all(engine)
    assert source.state(0.0, "")["outputs"] != before["outputs"]
    html = card(after)
    assert 'type="range"' in html
    assert 'max="10.0"' in html
    assert "<input" not in page(after)  # what is saved has no sliders that do nothing
    assert '<span class="key">a</span> <span class="value">9</span>' in page(after)
    engine.close()


def test_what_a_slider_cannot_do_is_said_by_the_card() -> None:
    engine = SteppedEngine()
    found = bgsim.notebook.explore(any_parameters, a=(0.0, 10.0), replicates=50, engine=engine)
    source = ExplorerSource(found)
    source.do({"set": {"b": 1.0}})
    assert "there is no slider 'b'" in source.state(0.0, "")["error"]
    source.do({"set": "nonsense"})
    source.do({"set": {"a": 1.0}})
    assert source.state(0.0, "")["error"] == ""
    engine.close(cancel=True)
    source.do({"set": {"a": 2.0}})
    assert "engine is closed" in source.state(0.0, "")["error"]


@pytest.mark.parametrize(("ranges", "match"), [
    ({"strike": (1.0,)}, r"strike must be a pair \(low, high\)"),
    ({"strike": (2.0, 1.0)}, "low < high"),
    ({"strike": (1.0, 2.0, 0)}, "step above 0"),
    ({"strike": (1.0, float("inf"))}, "of numbers"),
    ({"strke": (1.0, 2.0)}, "did you mean 'strike'"),
])  # fmt: skip
def test_a_wrong_range_is_refused_by_name(ranges: dict[str, Any], match: str) -> None:
    with bgsim.Engine(workers=1) as engine, pytest.raises((InvalidInputError, ParameterError), match=match):
        bgsim.notebook.explore(curve, engine=engine, **ranges)


def test_an_explorer_keeps_no_engine() -> None:
    engine = bgsim.Engine(workers=1)
    found = bgsim.notebook.explore(any_parameters, a=(0.0, 10.0), engine=engine, replicates=5)
    found.job.result(HANDSHAKE_S)
    engine.close()
    del engine
    with pytest.raises((InvalidInputError, bgsim.errors.EngineClosedError)):
        found.set(a=2.0)


def test_the_default_engine_is_the_newest_open_one() -> None:
    with bgsim.Engine(workers=1), bgsim.Engine(workers=1) as newest:
        assert default_engine() is newest
        with bgsim.Engine(workers=1) as closed:
            closed.close()
            assert default_engine() is newest
        assert bgsim.notebook.engine is default_engine


# ---- %%simulate --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "count"), [("1000", 1000), ("1_000", 1000), ("1e6", 10**6), ("2M", 2 * 10**6)])
def test_a_count_may_be_written_as_people_write_it(text: str, count: int) -> None:
    assert magic.read_count(text) == count


@pytest.mark.parametrize("text", ["1.5", "many", "inf", "nan"])
def test_a_count_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InvalidInputError, match="--replicates must be an integer"):
        magic.read_count(text)


def test_settings_are_json_or_text() -> None:
    assert magic.read_settings(["a=0.4", "b=[1, 2]", "c=x=y"]) == {"a": 0.4, "b": [1, 2], "c": "x=y"}
    with pytest.raises(InvalidInputError, match="KEY=VALUE"):
        magic.read_settings(["a"])


CELL = """
def helper(x):
    return x

def walk(p, rng):
    if p.a > 1:
        return 0.0, 1, True
    end = rng.random()
    ups = 3
    return end, ups, end > 0
"""


def test_outputs_are_what_the_last_function_returns() -> None:
    space: dict[str, Any] = {}
    exec(CELL, space)
    assert magic.last_function(CELL) == "walk"
    assert magic.infer_outputs(space["walk"], CELL, {"a": 1.0}) == {"end": "f8", "ups": "i8", "value": "?"}

    def annotated(p: Any, rng: Any) -> tuple[float, int]: ...

    cell = "def annotated(p, rng) -> tuple[float, int]:\n    return p.never_called, 1"
    assert magic.infer_outputs(annotated, cell, {}) == {"value0": "f8", "value1": "i8"}
    arrays = "def f(p, rng):\n    import numpy\n    path = numpy.zeros(3, numpy.float32)\n    return path"
    exec(arrays, space)
    assert magic.infer_outputs(space["f"], arrays, {}) == {"path": ("f8", (3,))}
    text = "def g(p, rng):\n    return 'a'"
    exec(text, space)
    with pytest.raises(OutputError, match="give --outputs"):
        magic.infer_outputs(space["g"], text, {})
    with pytest.raises(InvalidInputError, match="defines a function"):
        magic.last_function("x = 1")
    assert dict([magic.read_output("a:i4"), magic.read_output("b")]) == {"a": "i4", "b": "f8"}


IN_IPYTHON = '''
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config
config = Config()
config.HistoryManager.enabled = False
shell = InteractiveShell.instance(config=config)
def run(cell):
    result = shell.run_cell(cell)
    result.raise_error()
    return result.result
run("%load_ext bgsim")
run("""%%simulate walk_job --replicates 1e3 --set beta=0.5 --seed 3
from numba import njit

@njit
def step(x):
    return 2 * x

def walk(p, rng):
    end = step(p.beta) * rng.random()
    return end
""")
job = shell.user_ns["walk_job"]
result = job.result()
print(result.simulation.short_name, list(result), result.replicates, job.seed, job.parameters["beta"])
print(run("walk_job is not None and walk is not None and walk_job.simulation is walk"))
print(run("engine_of = __import__('bgsim').engines()\\nlen(engine_of)"))
run("""%%simulate --replicates 10 --outputs x:i4 --plain
def f(p, rng):
    return 3
""")
other = shell.user_ns["job"]
print(other.result()["x"].dtype, other.simulation.compiles, len(__import__("bgsim").engines()))
run("""%%simulate
import bgsim
@bgsim.simulation(outputs={"z": "f8"})
def h(p, rng):
    return 1.0
""")
taken = shell.user_ns["job"]
print(list(taken.result()), taken.replicates)
print(shell.run_cell("%%simulate\\n1 / 0").error_in_exec)
'''


def test_a_cell_is_a_simulation(tmp_path: Path) -> None:
    """In IPython itself."""
    done = subprocess.run(
        [sys.executable, "-c", IN_IPYTHON], capture_output=True, text=True, timeout=120, check=False,
        env={**os.environ, "IPYTHONDIR": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if line and not line.startswith("Out[")]
    assert lines[0] == "walk ['end'] 1000 3 0.5"
    assert lines[1:3] == ["True", "1"]
    assert lines[3] == "int32 False 1"
    assert lines[4] == "['z'] 100000"
    assert "ZeroDivisionError" in done.stdout
