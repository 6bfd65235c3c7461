"""Each message that the page on troubleshooting quotes is what bgsim says today."""

from __future__ import annotations

import math
import pickle
import re
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from paths import ROOT
from scipy import stats

import bgsim
from bgsim.backends import DaskBackend, ExecutorBackend, dask_link, remote
from bgsim.models.options import asian_call, european_call
from bgsim.registry import find_simulation

PAGE = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
SETTINGS = {"rate": 0.1}
LIST = [1, 2, 3]


def helper(x: float) -> float:
    return x + 1.0


def a_plain_helper(p: Any, rng: Any) -> Any:
    return helper(rng.random())


def a_dict(p: Any, rng: Any) -> Any:
    return SETTINGS["rate"] * rng.random()


def a_list(p: Any, rng: Any) -> Any:
    return LIST[0] * rng.random()


def text(p: Any, rng: Any) -> Any:
    x = rng.random()
    print(f"{x:.3f}")
    return x


def types_returned(p: Any, rng: Any) -> Any:
    if rng.random() < 0.5:
        return np.zeros(3)
    return 1.0


def types_of_a_variable(p: Any, rng: Any) -> Any:
    x = 0.0
    if rng.random() < 0.5:
        x = np.zeros(3)  # type: ignore[assignment]
    return x


def a_kind_of_exception(p: Any, rng: Any) -> Any:
    try:
        return 1.0 / rng.integers(0, 2)
    except ZeroDivisionError:
        return 0.0


def a_file(p: Any, rng: Any) -> Any:
    with open("x.txt") as file:  # noqa: PTH123
        return float(file.read())


def an_import(p: Any, rng: Any) -> Any:
    import math as maths

    return maths.sqrt(rng.random())


def scipy(p: Any, rng: Any) -> Any:
    return stats.norm.cdf(rng.random())


def a_draw_that_numba_lacks(p: Any, rng: Any) -> Any:
    return rng.multivariate_normal(np.zeros(2), np.eye(2))[0]


def an_argument_that_numba_lacks(p: Any, rng: Any) -> Any:
    return np.percentile(np.array([1.0, 2.0]), q=50, method="linear")


def a_missing_parameter(p: Any, rng: Any) -> Any:
    return p.strike * rng.random()


def the_global_generator(p: Any, rng: Any) -> Any:
    return np.random.random()


def a_float(p: Any, rng: Any) -> Any:
    return rng.random()


def four_values(p: Any, rng: Any) -> Any:
    return np.zeros(4)


KERNELS: list[tuple[Callable[..., Any], Any]] = [
    (a_plain_helper, "f8"),
    (a_dict, "f8"),
    (a_list, "f8"),
    (text, "f8"),
    (types_returned, "f8"),
    (types_of_a_variable, "f8"),
    (a_kind_of_exception, "f8"),
    (a_file, "f8"),
    (an_import, "f8"),
    (scipy, "f8"),
    (a_draw_that_numba_lacks, "f8"),
    (an_argument_that_numba_lacks, "f8"),
    (a_missing_parameter, "f8"),
    (the_global_generator, "f8"),
    (a_float, "i4"),
    (four_values, ("f8", 3)),
]


def plain(text: str) -> str:
    """Return a message without what differs from run to run: names, numbers, paths."""
    text = re.sub(r"\b[\w.]*\b(?:walk|model\.\w+|test_troubleshooting\.\w+|european_call)\b", "NAME", text)
    text = re.sub(r"\b\w+-[0-9a-f]{8}-\d+", "JOB", text)
    text = re.sub(r"[\w./-]*/([\w.-]+)", r"\1", text)
    return re.sub(r"\d[\d,.]*(?<=\d)", "N", text).strip()


def said(error: BaseException) -> list[str]:
    first, *others = str(error).splitlines()
    return [plain(f"{type(error).__module__}.{type(error).__name__}: {first}"), *map(plain, [first, *others])]


def quoted(beginning: str = "") -> list[str]:
    """Return the lines of all messages on the page, but for lines of a reader's code."""
    blocks = re.findall(r"^```text\n(.*?)^```", PAGE, flags=re.DOTALL | re.MULTILINE)
    lines = [line for block in blocks for line in block.splitlines()]
    return [plain(line) for line in lines if line.startswith(beginning) and not line.startswith("    ")]


@pytest.mark.parametrize(("function", "outputs"), KERNELS, ids=lambda value: getattr(value, "__name__", ""))
def test_what_is_wrong_with_a_kernel_is_told_as_the_page_quotes_it(function: Callable[..., Any], outputs: Any) -> None:
    kernel = bgsim.simulation(function, outputs={"a": outputs})
    with pytest.raises(bgsim.errors.BgsimError) as caught, warnings.catch_warnings():
        warnings.simplefilter("ignore", bgsim.IdentityWarning)
        bgsim.run(kernel, {"x": 1.0}, replicates=10)
    lines = said(caught.value)
    remedy = lines[3] if isinstance(caught.value, bgsim.errors.CompileError) else lines[0]
    assert remedy in quoted()


def test_the_remedies_of_the_page_are_remedies() -> None:
    assert bgsim.run(bgsim.simulation(a_plain_helper, outputs={"a": "f8"}, compile=False), replicates=3)["a"].min() >= 1
    assert 0.5 * math.erfc(-1.5 / math.sqrt(2.0)) == pytest.approx(stats.norm.cdf(1.5))


@bgsim.simulation(outputs={"a": "f8"}, compile=False)
def fails(p: Any, rng: Any) -> float:
    raise ValueError("no convergence")


def too_many(**settings: Any) -> None:
    with bgsim.Engine(immediate=True, **settings) as engine:
        engine.submit(european_call, replicates=10**12)


def larger_than_the_store() -> None:
    with bgsim.Engine(immediate=True, max_storage_bytes=10**6) as engine:
        engine.submit(european_call, replicates=10**6)


def full_queue() -> None:
    with bgsim.testing.SteppedEngine(max_queue_size=1, max_concurrent_simulations=1) as engine:
        for seed in range(3):
            engine.submit(european_call, replicates=1, seed=seed)


def late(**limits: Any) -> None:
    with bgsim.testing.SteppedEngine(max_concurrent_simulations=1) as engine:
        engine.submit(european_call, replicates=1)
        job = engine.submit(european_call, replicates=1, seed=1, **limits)
        engine.clock.advance(1.0)
        bgsim.testing.run_all(engine)
        job.result()


def waits_within() -> None:
    with bgsim.Engine(workers=1) as engine, engine.executor() as executor:
        executor.submit(lambda: engine.submit(asian_call, replicates=10).result()).result(timeout=30.0)


def without_xarray() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "xarray", None)
        bgsim.run(european_call, replicates=10).to_xarray()


def no_directory(folder: Path) -> None:
    bgsim.ResultStore(folder / "results" / "runs.db")


def another_programs(folder: Path) -> None:
    import sqlite3

    with sqlite3.connect(folder / "other.db") as connection:
        connection.execute("CREATE TABLE theirs (a)")
    connection.close()
    bgsim.ResultStore(folder / "other.db")


def in_an_executor(simulation: Any, **settings: Any) -> None:
    with ThreadPoolExecutor(1) as executor:
        backend = ExecutorBackend(executor, **settings)
        with bgsim.Engine(backend=backend) as engine:
            engine.submit(simulation, replicates=3).result()


def with_a_lock() -> None:
    lock = threading.Lock()

    @bgsim.simulation(outputs={"a": "f8"}, compile=False)
    def walk(p: Any, rng: Any) -> float:
        with lock:
            return float(rng.random())

    in_an_executor(walk)


def with_another_numba() -> None:
    found = {**remote.this_environment(), "numba": "0.1"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(remote, "this_environment", lambda: found)
        in_an_executor(european_call)


def without_a_scheduler() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dask_link, "CONNECT_S", 0.1)
        DaskBackend("tcp://127.0.0.1:1")


SITUATIONS: dict[str, Callable[[Path], object]] = {
    "memory": lambda _: too_many(),
    "the store's limit": lambda _: larger_than_the_store(),
    "a full queue": lambda _: full_queue(),
    "a job that waits too long": lambda _: late(queue_timeout_s=0.2),
    "a wait without end": lambda _: waits_within(),
    "a replicate that fails": lambda _: bgsim.run(fails, {"n": 1}, replicates=3),
    "a misspelt parameter": lambda _: bgsim.run(asian_call, {"strik": 90}, replicates=10),
    "a misspelt name": lambda _: find_simulation("asian_cal"),
    "what is not installed": lambda _: without_xarray(),
    "rows of a summary": lambda _: bgsim.run(european_call, replicates=10, keep="summary")["payoff"],
    "an engine in a pickle": lambda _: pickle.dumps(bgsim.Engine(immediate=True)),
    "no directory": no_directory,
    "a file of another program": another_programs,
    "no scheduler": lambda _: without_a_scheduler(),
    "another numba": lambda _: with_another_numba(),
    "what cannot be sent": lambda _: with_a_lock(),
    "a large replicate": lambda _: in_an_executor(european_call, max_chunk_bytes=4),
}


@pytest.mark.parametrize("situation", SITUATIONS)
def test_what_goes_wrong_is_told_as_the_page_quotes_it(situation: str, tmp_path: Path) -> None:
    with pytest.raises(bgsim.errors.BgsimError) as caught:
        SITUATIONS[situation](tmp_path)
    first = said(caught.value)[0]
    assert any(first.startswith(line) for line in quoted("bgsim.errors.")), first


def test_warnings_are_told_as_the_page_quotes_them(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with bgsim.Engine(tmp_path / "runs.db", max_storage_bytes=700_000) as engine:
        for seed in range(6):
            engine.submit(european_call, replicates=30_000, seed=seed, priority="low").result()
    logged = [plain(f"{r.levelname} {r.name}: {r.getMessage()}") for r in caplog.records if "room" in r.getMessage()]
    assert set(logged) & set(quoted("WARNING")) != set()
    kernel = bgsim.simulation(a_file, outputs={"a": "f8"}, compile=False)
    with pytest.warns(bgsim.IdentityWarning) as caught, bgsim.Engine(immediate=True) as engine:
        engine.submit(kernel, {"x": 1.0}, replicates=1)
    (quote,) = quoted("IdentityWarning")
    assert plain(f"IdentityWarning: {caught[0].message}") == quote


def test_a_result_says_that_its_precision_was_not_reached_as_the_page_quotes_it() -> None:
    rule = bgsim.Precision("payoff", standard_error=0.001, maximum=4096)
    found = bgsim.run(european_call, replicates=rule)
    assert quoted("SimulationResult") == [plain(repr(found).splitlines()[0])]


def test_the_command_line_says_what_the_page_quotes(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bgsim", "serve", str(tmp_path / "runs.db"), "--host", "0.0.0.0", "--port", "0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert plain(done.stderr) in quoted("bgsim: error")
