"""What may be pickled and copied comes back equal; what belongs to its process says what to do instead."""

from __future__ import annotations

import concurrent.futures
import contextlib
import copy
import datetime as dt
import enum
import inspect
import multiprocessing
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pytest
from kernels import Walk, plain_walk, walk

import bgsim
from bgsim import errors
from bgsim.config import EngineConfig
from bgsim.errors import BgsimError, NotPicklableError, ParameterError, ReplicateError
from bgsim.parameters import ParameterSet, ResultKey
from bgsim.progress import ProgressBus
from bgsim.queue_manager import SimulationQueue
from bgsim.request import make_request
from bgsim.schedules.schedule import Schedule
from bgsim.testing import SteppedEngine, run_all

WAYS: dict[str, Callable[[Any], Any]] = {
    "pickle": lambda thing: pickle.loads(pickle.dumps(thing)),
    "newest pickle": lambda thing: pickle.loads(pickle.dumps(thing, pickle.HIGHEST_PROTOCOL)),
    "cloudpickle": lambda thing: pickle.loads(cloudpickle.dumps(thing)),
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
}


@pytest.fixture(params=WAYS)
def again(request: pytest.FixtureRequest) -> Callable[[Any], Any]:
    return WAYS[request.param]


class Side(enum.Enum):
    LEFT = "left"


def everything() -> dict[str, Any]:
    """Return parameters of each kind that a mapping takes."""
    return {
        "b": True, "c": 1 + 2j, "e": Side.LEFT, "f": float("inf"), "i": -3, "n": None, "s": "\u00e9", "y": b"\0",
        "t": (1, (2.0, "x")), "a": np.arange(4.0).reshape(2, 2),
    }  # fmt: skip


def test_a_result_comes_back_whole_and_read_only(again: Callable[[Any], Any]) -> None:
    result = bgsim.run(walk, Walk(steps=3), replicates=50, seed=4)
    found = again(result)
    assert (found.simulation, found.seed, found.replicates) == (walk, 4, 50)
    assert (found.parameters, found.fingerprint, found.versions) == (
        result.parameters,
        result.fingerprint,
        result.versions,
    )
    assert found.versions[0][2].startswith("numpy")
    assert [(n, c.dtype, c.tobytes()) for n, c in found.items()] == [
        (n, c.dtype, c.tobytes()) for n, c in result.items()
    ]
    assert not any(column.flags.writeable for column in found.values())
    assert repr(found) == repr(result)
    assert found.replay(7)[0] == result["end"][7]


@pytest.mark.parametrize("simulation", [walk, plain_walk])
def test_a_simulation_is_kept_by_its_name(simulation: Any, again: Callable[[Any], Any]) -> None:
    assert again(simulation) is simulation
    assert simulation.name.encode().rpartition(b".")[2] in pickle.dumps(simulation)


renamed = bgsim.simulation(lambda p, rng: p.k + rng.random(), outputs={"x": "f8"}, compile=False)


def test_a_simulation_of_a_function_without_a_name_is_found_by_its_own(again: Callable[[Any], Any]) -> None:
    assert again(renamed) is renamed


def test_a_simulation_that_no_name_leads_to_needs_cloudpickle() -> None:
    @bgsim.simulation(outputs={"x": "f8"}, compile=False, timeout_s=60.0, priority="high")
    def local(p: Walk, rng: np.random.Generator) -> float:
        return p.steps + rng.random()

    with pytest.raises(NotPicklableError, match=r"local cannot be pickled.* top of a module .* cloudpickle"):
        pickle.dumps(local)
    result = bgsim.run(local, Walk(steps=3), replicates=5)
    with pytest.raises(NotPicklableError, match="cloudpickle"):
        pickle.dumps(result)
    assert copy.deepcopy(result).simulation is copy.copy(local) is local
    found = pickle.loads(cloudpickle.dumps(local))
    assert (found.name, found.defaults, found.parameters_class) == (local.name, local.defaults, Walk)
    again = bgsim.run(found, Walk(steps=3), replicates=5)
    assert again["x"].tobytes() == result["x"].tobytes()


IN_MAIN = """
import sys, pickle, cloudpickle, bgsim
from dataclasses import dataclass

@dataclass(frozen=True)
class P:
    k: float = bgsim.parameter(2.0, ge=0)
    n: int = 1

@bgsim.simulation(outputs={"x": "f8"})
def mine(p: P, rng):
    return p.k * rng.random()

result = bgsim.run(mine, P(k=3.0), replicates=4, seed=1)
assert pickle.loads(pickle.dumps(result)).simulation is mine
with open(sys.argv[1], "wb") as file:
    cloudpickle.dump((mine, result, result["x"].tolist()), file)
"""

ELSEWHERE = """
import sys, pickle, bgsim
with open(sys.argv[1], "rb") as file:
    mine, result, expected = pickle.load(file)
assert result["x"].tolist() == expected
assert bgsim.run(mine, result.parameters, replicates=4, seed=1)["x"].tolist() == expected
assert result.parameters.instance().k == 3.0
try:
    mine.bind({"k": -1})
except bgsim.errors.ParameterError as error:
    print(error)
"""


def test_cloudpickle_takes_what_a_script_defines_to_another_process(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    for code in (IN_MAIN, ELSEWHERE):
        script = tmp_path / "script.py"
        script.write_text(code)
        done = subprocess.run(
            [sys.executable, str(script), str(kept)], capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stderr
    assert done.stdout == "parameter 'k' must satisfy 0 <= x; got -1.0\n"


def test_a_spawned_process_returns_a_result() -> None:
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
        found = pool.submit(_compute, walk, 3).result(120)
        assert found["end"].tobytes() == bgsim.run(walk, Walk(steps=3), replicates=5)["end"].tobytes()
        assert found.simulation is walk
        refused = pool.submit(_compute, walk, -1).exception(120)
    assert isinstance(refused, ParameterError)
    assert (refused.field, refused.value) == ("steps", -1)


def _compute(simulation: Any, steps: int) -> Any:
    return bgsim.run(simulation, {"steps": steps}, replicates=5)


def test_parameters_come_back_equal_and_read_only(again: Callable[[Any], Any]) -> None:
    for given in (ParameterSet(everything()), ParameterSet(Walk(steps=3), Walk), ParameterSet()):
        found = again(given)
        assert found == given
        assert (hash(found), found.encoding, found.parameters_class) == (
            hash(given),
            given.encoding,
            given.parameters_class,
        )
        assert repr(found.instance()) == repr(given.instance())
    assert not again(ParameterSet(everything()))["a"].flags.writeable
    view = ParameterSet(everything()).kernel_view()
    assert repr(again(view)) == repr(view)
    assert type(again(view)) is type(view)


def test_keys_options_and_states_come_back_equal(again: Callable[[Any], Any]) -> None:
    key = ResultKey("s", "f", 3, ParameterSet(everything()), {"part": "hash"})
    assert (again(key), again(key).parts, again(key).identity) == (key, key.parts, key.identity)
    retry = bgsim.Retry(2, retry_on=(OSError, ParameterError))
    schedule = Schedule("a", "0 * * * *", dt.datetime(2024, 1, 1, tzinfo=dt.UTC))
    config = EngineConfig(workers=3, limits={"g": 2})
    for thing in (retry, schedule, config, bgsim.Priority.HIGH, *bgsim.JobState, *bgsim.UpdateType):
        assert again(thing) == thing
    assert isinstance(again(bgsim.Clock()), bgsim.Clock)


def test_a_request_is_asked_for_again(again: Callable[[Any], Any]) -> None:
    request = make_request(walk, Walk(steps=3), replicates=5, seed=2, retry=bgsim.Retry(1), workspace="w", delay_s=2.0)
    found = again(request)
    assert found is not request
    assert (found.key, found.queue_key, found.options_json()) == (
        request.key,
        request.queue_key,
        request.options_json(),
    )
    assert (found.simulation, found.size_bytes, found.is_timed) == (walk, request.size_bytes, True)


def test_what_an_engine_says_comes_back_equal(again: Callable[[Any], Any]) -> None:
    with SteppedEngine() as engine:
        updates = engine.subscribe()
        job = engine.submit(walk, Walk(steps=3), replicates=5)
        engine.submit(walk, Walk(steps=4), replicates=5)
        run_all(engine)
        seen = updates.take_all()
        said = [job.status(), engine.stats(), engine.health(), *seen, *engine.store.results()]
        said += [engine.store.slots(walk.name), engine.store.compare(walk.name), walk.explain(engine.store)]
        said += [engine.store.check(), engine.store.cleanup(), engine.store.explain(walk, replicates=3)]
        for thing in said:
            assert repr(again(thing)) == repr(thing)
    update = again(seen[-1])
    assert update == seen[-1]
    with pytest.raises(TypeError):
        update.metadata["simulation"] = "other"


def test_what_belongs_to_its_process_is_refused(again: Callable[[Any], Any], tmp_path: Path) -> None:
    store = bgsim.ResultStore(tmp_path / "s.db")
    with contextlib.closing(store), SteppedEngine() as engine:
        job = engine.submit(walk, replicates=5)
        batch = engine.submit_many(walk, [], replicates=1)
        for thing in (
            engine, job, job.updates(), batch, batch.progress(), engine.executor(), engine.store, store, ProgressBus(),
            SimulationQueue(),
        ):  # fmt: skip
            with pytest.raises(NotPicklableError, match=r"belongs to the process .*; \w+") as caught:
                again(thing)
            assert type(thing).__name__ in str(caught.value)
        run_all(engine)


ALL_ERRORS = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, BgsimError)]


@pytest.mark.parametrize("kind", ALL_ERRORS)
def test_every_error_comes_back_with_its_attributes(kind: type[BgsimError], again: Callable[[Any], Any]) -> None:
    options: dict[str, Any] = {}
    if issubclass(kind, ReplicateError):
        options = {"replicate": 7, "parameters": ParameterSet({"a": np.arange(3)})}
    elif issubclass(kind, errors.InvalidInputError):
        options = {"field": "steps", "value": (1, "x")}
    error = kind("what is wrong", **options)
    error.add_note("a note")
    found = again(error)
    assert type(found) is kind
    assert (str(found), found.args, vars(found)) == (str(error), error.args, vars(error))
    assert len(ALL_ERRORS) >= 20


def test_an_error_whose_value_cannot_be_pickled_keeps_its_text() -> None:
    lock = threading.Lock()
    found = pickle.loads(pickle.dumps(ParameterError("no", field="a", value=lock)))
    assert (found.field, found.value) == ("a", repr(lock))
