"""What the checkers of types, mypy and pyright, find in code that uses bgsim: nothing in good code, each error in bad."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import typing
from dataclasses import fields
from pathlib import Path

import pytest
from paths import ROOT

import bgsim
from bgsim.analysis.dataset import KINDS
from bgsim.config import EngineConfig, EngineSettings
from bgsim.engine import Engine
from bgsim.jobs.tabulated import Shown
from bgsim.kernels.definition import Declared
from bgsim.models.options import AsianCall, asian_call
from bgsim.parameters.fields import Limited, Limits
from bgsim.request import ChangedOptions, JobOptions, Request
from bgsim.simulation import simulation

ENGINE = """
import asyncio
import datetime
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import bgsim
import numpy as np
from bgsim.models.battle import battle
from bgsim.models.ising import Ising, ising
from bgsim.models.options import AsianCall, EuropeanCall, asian_call, european_call
from bgsim.models.queueing import mmc
from bgsim.models.reactions import reactions

log = logging.getLogger("user")

with bgsim.Engine("runs.db", workers=2, identity="strict", limits={"gpu": 1}, recover=True) as engine:
    job = engine.submit(asian_call, replicates=10, priority="high", cache="refresh", retry=bgsim.Retry(retries=2))
    engine.submit(asian_call, AsianCall(strike=90.0), replicates=10, supersede="preview", debounce_s=0.1)
    engine.submit(european_call, {"strike": 95.0}, replicates=10, priority=bgsim.Priority.LOW, cache="only")
    engine.submit(european_call, bgsim.ParameterSet({"strike": 95.0}, EuropeanCall), replicates=10)
    engine.submit(asian_call, None, replicates=10, on_progress=print, tags=["a"], tenant="b", durable=True)
    engine.submit("my_module:walk", {"steps": 10}, replicates=10).result(timeout=3).summary(confidence=0.95)
    job = engine.submit(asian_call, job.parameters, replicates=20)
    rule = bgsim.Precision("payoff", relative=0.01, maximum=10**6)
    job = engine.submit(asian_call, replicates=rule, keep="summary")
    kept = cast(bgsim.SummaryResult, job.result())
    print(kept.quantile("payoff", 0.95).high, kept.histogram("payoff", edges=[0, 10]).counts, kept.summary()["payoff"].mean)
    print(job.stopping is not None and job.stopping.reached, [result.stopping for result in engine.map(asian_call, [{}], replicates=rule)])
    engine.compare(asian_call, {"strike": 90.0}, AsianCall(), replicates=rule).result()
    engine.sweep(asian_call, {"strike": [1.0, 2.0]}, replicates=rule, keep="summary").to_xarray("sd")
    for update in job.updates(maxlen=8):
        print(update.fraction, update.estimated_time_remaining_ms, str(update))
    for one in (ising, mmc, battle, reactions):
        print(one.name, one.fingerprint, one.outputs[0].name, one.warmup().short_name)
    engine.submit(ising, Ising(), replicates=3).pause()

    batch = engine.submit_many(asian_call, [{}, {"strike": 90.0}], replicates=10, seed=3, workspace="a", timeout_s=1.5)
    rows: list[dict[str, float]] = [{"strike": 90.0}]
    engine.submit_many(asian_call, rows, replicates=10)
    engine.submit_many(asian_call, ({"strike": s} for s in (1.0, 2.0)), replicates=10)
    engine.submit_many(asian_call, [AsianCall(), {"strike": 90.0}, None], replicates=10).failed()
    engine.submit_many(asian_call, bgsim.parameter_sets(asian_call, ["strike", "90"]), replicates=10)
    engine.submit_many(asian_call, bgsim.parameter_sets(asian_call, Path("rows.csv")), replicates=10)
    sweep = engine.sweep(asian_call, {"strike": [1.0, 2.0]}, replicates=10, group="gpu", at=datetime.datetime.now(datetime.UTC))
    engine.sweep(asian_call, {"strike": (1.0, 2.0)}, {"steps": 12}, replicates=10, design="sobol", points=8)
    engine.sweep(european_call, {"strike": range(90, 110)}, replicates=10).cancel()
    engine.sweep(european_call, {"strike": np.linspace(90.0, 110.0, 3), "rate": (0.05,)}, replicates=10).wait(1.0)
    jobs = [engine.submit(asian_call, replicates=10), engine.submit(european_call, replicates=10)]
    print([each.result()["payoff"][0] for each in jobs], asian_call.function(AsianCall(), bgsim.replicate_rng(1, 0)))
    for result in engine.map(asian_call, [AsianCall(steps=n) for n in (1, 2)], replicates=10, ahead=3):
        print(result["payoff"].mean())
    for done in engine.as_completed([job, *batch], order="submission"):
        print(done.parameters["strike"], done.parameters.instance().strike * 2, done.state is bgsim.JobState.COMPLETED)
    print([done.id for done in sweep.as_completed()], sweep[0].seed, [first.id for first in sweep[:2]], len(sweep))
    sweep.progress(lambda update: print(update.fraction))
    dataset, frame = sweep.to_xarray(), batch.to_pandas()
    print(dataset["payoff"], frame.head(), sweep.plot("payoff"))

    engine.schedule(asian_call, AsianCall(steps=12), replicates=10, cron="0 2 * * *", misfire="skip", cache="refresh")
    engine.schedules().remove("nightly")
    engine.retry("a", parameters={"strike": 90.0}, replicates=5, timeout_s=None)
    print([letter.id for letter in engine.dead_letters()], engine.recover(), engine.interrupted(), engine.discard("a"))
    job.set_priority("critical")
    engine.pause_simulation(asian_call)
    engine.pause()
    print(engine.health(), engine.stats().queue.waiting, engine.jobs(), engine.status(job.id).state, engine.drain(3.0))
    number: int = engine.executor(priority="low").submit(pow, 2, 3).result()
    print(number + sum(engine.executor().map(len, ["a", "b"])))


def told(update: bgsim.ProgressUpdate) -> None:
    log.info("%s %s", update.simulation_id, update.update_type is bgsim.UpdateType.COMPLETED)


def ended(done: bgsim.Job[AsianCall]) -> None:
    print(done.parameters.instance().strike, done.result().replay(3))


def any_ended(done: bgsim.Job) -> None:
    print(done.id, done.exception())


def lengthen(given: bgsim.Simulation[AsianCall] | str, of: bgsim.Simulation) -> Iterator[bgsim.SimulationResult]:
    yield bgsim.run(given, replicates=3)
    yield bgsim.run(of, {"any": 1}, replicates=3)


several: list[bgsim.Simulation] = [asian_call, european_call]
for simulation in several:
    bgsim.run(simulation, {"strike": 90.0}, replicates=3)


async def watched(engine: bgsim.Engine) -> float:
    waiting = engine.submit(asian_call, replicates=10)
    waiting.add_done_callback(ended)
    waiting.add_done_callback(any_ended)
    async for update in waiting.updates():
        told(update)
    async for look in engine.watch(waiting, every_s=0.1):
        print(look.estimate("payoff").mean, look.histogram("payoff", bins=8), look.partial.replicates)
    with engine.subscribe(told, job=waiting, min_type=bgsim.UpdateType.PROGRESS, loop=asyncio.get_running_loop()):
        result = await waiting
    summary = result.summary()["payoff"]
    print(f"{summary.mean:.2f}", summary.mean - 10.4 < 3 * summary.standard_error, summary.count + 1, summary.quantiles[0.5] > 3)
    return float(summary.mean)


asyncio.run(watched(engine))
found = engine.store.find(asian_call, strike=(90, 100), since="2 days", limit=3)
engine.store.load_result(found[0], asian_call).compare(job.result()).outputs["payoff"].significant
first: str = found[:2][0].hash
print(engine.store.slots("a"), engine.store.compare("a"), bgsim.MemoryStore(), bgsim.ResultStore("runs.db").location)
explorer = bgsim.notebook.explore(asian_call, {"steps": 12}, strike=(80, 120), engine=engine)
explorer.set(strike=95.0)
result = bgsim.run(european_call, EuropeanCall(strike=95.0), replicates=10, immediate=True)
print(result["payoff"][:3], result.fan("payoff")[0.5], result.to_pandas(), result.to_xarray(), result.plot())
"""

KERNELS = """
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import bgsim
import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Walk:
    steps: int = bgsim.parameter(100, ge=1, unit="steps", doc="of the walk")
    drift: float = bgsim.parameter(0, lt=1.0)
    start: float = bgsim.parameter(unit="metres")
    weights: NDArray[np.float64] = field(default_factory=lambda: np.ones(3))


class Coin(NamedTuple):
    bias: float = 0.5


@bgsim.simulation(outputs={"end": "f8", "path": ("f8", "steps")}, priority="low", retry=bgsim.Retry(retries=1))
def walk(p: Walk, rng: bgsim.Rng, control: bgsim.Control) -> tuple[float, NDArray[np.float64]]:
    path = np.empty(p.steps)
    place = 0.0
    for step in range(p.steps):
        if bgsim.stop_requested(control):
            break
        place += p.drift + p.weights[0] * rng.standard_normal()
        path[step] = place
        bgsim.report_fraction(control, step / p.steps)
    return place, path


@bgsim.simulation(outputs={"heads": "b1"}, name="toss", compile=False)
def toss(p: Coin, rng: np.random.Generator) -> bool:
    return rng.random() < p.bias


@bgsim.simulation(outputs={"x": "f8"}, depends_on=("TABLE",), version="2", timeout_s=3.0, group="gpu")
def of_any_mapping(p: Any, rng: bgsim.Rng) -> float:
    return float(p.low + rng.random() * p.width)


@bgsim.simulation(outputs={"x": "f8"})
def untold(p: object, rng: object) -> float:
    return 1.0


def scaled(factor: float, p: Coin, rng: bgsim.Rng) -> float:
    return factor * rng.random() * p.bias


def replayed(parameters: bgsim.ParameterSet, rng: bgsim.Rng) -> float:
    return float(parameters["bias"] + rng.random())


thrice = bgsim.simulation(partial(scaled, 3.0), outputs={"x": "f8"}, compile=False, replay=replayed)
bgsim.run(walk, Walk(drift=0.1, weights=np.zeros(3)), replicates=10)
bgsim.run(walk, {"steps": 3, "weights": np.zeros(3)}, replicates=10)
bgsim.run(toss, Coin(0.3), replicates=10)
bgsim.run(of_any_mapping, {"low": 1.0, "width": 2.0}, replicates=10)
bgsim.run(untold, {"low": 1.0}, replicates=10)
bgsim.run(thrice, Coin(0.3), replicates=10)
end: float = bgsim.run(walk, replicates=10)["end"][0]
once: bool = toss(Coin(0.3), bgsim.replicate_rng(7, 0))
held: bgsim.ParameterSet[Walk] = walk.bind({"steps": 3})
print(held.instance().drift + 1.0, bgsim.similarity(held, walk.bind(Walk())), held.parameters_class)
"""

REVEALED = """
from typing_extensions import assert_type

import bgsim
from bgsim.models.options import AsianCall, EuropeanCall, asian_call, european_call
from bgsim.queue_manager import SimulationQueue, SimulationRequest
from bgsim.testing import SteppedEngine

engine = bgsim.Engine()
assert_type(asian_call, bgsim.Simulation[AsianCall])
assert_type(engine.submit(asian_call, replicates=1), bgsim.Job[AsianCall])
assert_type(engine.submit(european_call, {"strike": 1.0}, replicates=1), bgsim.Job[EuropeanCall])
assert_type(engine.submit(asian_call, replicates=1).parameters.instance(), AsianCall)
assert_type(engine.submit(asian_call, replicates=1).simulation, bgsim.Simulation[AsianCall])
assert_type(engine.submit_many(asian_call, [{}], replicates=1)[0], bgsim.Job[AsianCall])
assert_type(engine.sweep(asian_call, {"strike": [1.0]}, replicates=1)[:1], list[bgsim.Job[AsianCall]])
assert_type(next(engine.as_completed([engine.submit(asian_call, replicates=1)])), bgsim.Job[AsianCall])
assert_type(bgsim.parameter_sets(asian_call, ["strike", "90"]), list[bgsim.ParameterSet[AsianCall]])
with SteppedEngine() as stepped:
    assert_type(stepped, SteppedEngine)
    assert_type(stepped.clock, bgsim.ManualClock)
SimulationQueue().put(SimulationRequest("a", priority="high"))
assert_type(bgsim.run(asian_call, replicates=1), bgsim.SimulationResult)
reveal_type(engine.submit(asian_call, replicates=1))
"""

BAD = """
import bgsim
import numpy as np
from dataclasses import dataclass
from bgsim.models.options import AsianCall, EuropeanCall, asian_call, european_call

engine = bgsim.Engine(wokers=2)  # bad: wokers
bgsim.Engine(identity="strikt")  # bad: strikt
bgsim.Engine(workers="2")  # bad: workers
bgsim.run(asian_call, replicates=1, imediate=True)  # bad: imediate
bgsim.run(asian_call)  # bad: replicates
bgsim.run(asian_call, EuropeanCall(), replicates=1)  # bad: run
job = engine.submit(asian_call, replicates=1)
engine.submit(asian_call, EuropeanCall(), replicates=1)  # bad: submit
engine.submit(european_call, AsianCall(), replicates=1)  # bad: submit
engine.submit(asian_call, AsianCall, replicates=1)  # bad: submit
engine.submit(asian_call, 90.0, replicates=1)  # bad: submit
engine.submit(asian_call, [{}], replicates=1)  # bad: submit
engine.submit(asian_call, AsianCall(strikes=1.0), replicates=1)  # bad: strikes
engine.submit(asian_call, replicates="many")  # bad: replicates
engine.submit(asian_call, replicates=1, priority="hihg")  # bad: priority
engine.submit(asian_call, replicates=1, cache="of")  # bad: cache
engine.submit(asian_call, replicates=1, timeout=1)  # bad: timeout
engine.submit(asian_call, replicates=1, retry=3)  # bad: retry
engine.submit(asian_call, replicates=1, at="tomorrow")  # bad: at
engine.submit(asian_call, replicates=1, on_progress=lambda: None)  # bad: on_progress
engine.sweep(asian_call, {"strike": [1.0]}, replicates=1, workspce="a")  # bad: workspce
engine.sweep(asian_call, {"strike": [1.0]}, replicates=1, design="sobel")  # bad: design
engine.sweep(asian_call, {"strike": [1.0]}, AsianCall(), replicates=1)  # bad: sweep
engine.sweep(asian_call, {"strike": 1.0}, replicates=1)  # bad: Collection
engine.sweep(asian_call, [{"strike": 1.0}], replicates=1)  # bad: sweep
engine.submit_many(asian_call, [{}], replicates=1, cache="of")  # bad: cache
engine.submit_many(asian_call, [EuropeanCall()], replicates=1)  # bad: submit_many
engine.submit_many(asian_call, [AsianCall(), EuropeanCall()], replicates=1)  # bad: submit_many
engine.submit_many(asian_call, AsianCall(), replicates=1)  # bad: Iterable
engine.map(asian_call, [{}], replicates=1, prioritaet="low")  # bad: prioritaet
engine.map(asian_call, [EuropeanCall()], replicates=1)  # bad: map
engine.schedule(asian_call, replicates=1, cron="@daily", misfire="never")  # bad: misfire
engine.schedule(asian_call, replicates=1, cron="@daily", seeds=1)  # bad: seeds
engine.schedule(asian_call, EuropeanCall(), replicates=1, cron="@daily")  # bad: schedule
engine.schedule(asian_call, replicates=1)  # bad: cron
engine.retry("a", timeouts=1)  # bad: timeouts
engine.executor(priority="hihg")  # bad: priority
engine.as_completed([job], order="submision")  # bad: order
engine.submit_many(asian_call, [{}], replicates=1).as_completed(order="submision")  # bad: order
engine.store.find(asian_call, limit="3")  # bad: limit
engine.watch("job-1")  # bad: watch
engine.subscribe(print, job=3)  # bad: job
engine.close(cancle=True)  # bad: cancle
job.set_priority("hihg")  # bad: set_priority
job.cancel(timeout=1)  # bad: timeout
job.result(timeout="soon")  # bad: timeout
job.parameters.instance().strik  # bad: strik
job.state.word  # bad: word
job.add_done_callback(lambda: None)  # bad: add_done_callback
other: bgsim.Job[EuropeanCall] = job  # bad: EuropeanCall
for wrong in engine.sweep(asian_call, {"strike": [1.0]}, replicates=1):
    wrong.parameters.instance().days  # bad: days
asian_call.bind(EuropeanCall())  # bad: bind
asian_call.warmup(EuropeanCall())  # bad: warmup
asian_call(EuropeanCall(), bgsim.replicate_rng(1, 0))  # bad: __call__
asian_call(AsianCall(), 7)  # bad: __call__
summary = job.result().summary()
summary["payoff"].mean.upper()  # bad: upper
text: str = summary["payoff"].standard_error  # bad: str
summary.payoff  # bad: payoff
job.result().payof  # bad: payof
bgsim.Retry(retrys=3)  # bad: retrys
bgsim.Retry(retries="3")  # bad: retries
bgsim.Retry(retries=3, on=["ValueError"])  # bad: on
engine.submit_many(asian_call, [{}], replicates=1).to_pandas("points")  # bad: points
engine.sweep(asian_call, {"strike": [1.0]}, replicates=1).to_xarray("median")  # bad: median
engine.store.explain(asian_call, EuropeanCall(), replicates=1)  # bad: explain
bgsim.Priority.HIHG  # bad: HIHG
bgsim.notebook.explore(asian_call, EuropeanCall(), strike=(80, 120))  # bad: explore
bgsim.notebook.explore(asian_call, replicate=3.5, replicates="3")  # bad: replicates
bgsim.ParameterSet({}, 3)  # bad: ParameterSet
bgsim.submit  # bad: submit


@dataclass(frozen=True)
class Dice:
    number: int = 2
    sides: int = bgsim.parameter("six")  # bad: str
    bias: float = bgsim.parameter(0.5, gee=0.0)  # bad: parameter


@bgsim.simulation(outputs={"x": "f8"}, priority="hihg")  # bad: simulation
def misspelt(p: Dice, rng: bgsim.Rng) -> float:
    return 1.0


@bgsim.simulation(output={"x": "f8"})  # bad: simulation
def unnamed(p: Dice, rng: bgsim.Rng) -> float:
    return 1.0


@bgsim.simulation(outputs={"x": "f8"})  # bad: int
def with_number(p: Dice, rng: int) -> float:
    return 1.0


@bgsim.simulation(outputs={"x": "f8"})  # bad: RandomState
def with_old_generator(p: Dice, rng: np.random.RandomState) -> float:
    return 1.0


@bgsim.simulation(outputs={"x": "f8"})  # bad: Dice
def without_rng(p: Dice) -> float:
    return 1.0


@bgsim.simulation(outputs={"x": "f8"})  # bad: str
def with_text(p: Dice, rng: bgsim.Rng, control: str) -> float:
    return 1.0


@bgsim.simulation(outputs={"x": "f8"})
def throw(p: Dice, rng: bgsim.Rng, control: bgsim.Control) -> float:
    bgsim.report_fraction(0.5, control)  # bad: report_fraction
    bgsim.stop_requested(rng)  # bad: stop_requested
    rng.integer(1, 7)  # bad: integer
    return p.numbr  # bad: numbr


engine.submit(throw, asian_call, replicates=1)  # bad: submit
engine.submit(throw, AsianCall(), replicates=1)  # bad: submit
engine.submit(misspelt, Dice(number="two"), replicates=1)  # bad: number
"""

README = "\n\n".join(
    re.findall(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(), flags=re.DOTALL | re.MULTILINE)
)
SOURCES = {"engine": ENGINE, "kernels": KERNELS, "revealed": REVEALED, "bad": BAD, "readme": README}
CELLS = "# pyright: reportUnusedExpression=false\n"
"""A cell of a notebook ends with what it shows, and a bad line is one that is not run."""

Found: typing.TypeAlias = dict[str, dict[int, list[str]]]
"""Messages by file and line."""


def by_mypy(folder: Path) -> Found:
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(ROOT / ".mypy_cache" / "users"), "."]
    environment = {"MYPYPATH": str(ROOT), "PATH": ""}
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, env=environment)
    assert not done.stderr, done.stderr
    found: Found = {name: {} for name in SOURCES}
    for name, number, text in re.findall(r"^(\w+)\.py:(\d+): (?:error|note): (.*)$", done.stdout, re.MULTILINE):
        found[name].setdefault(int(number), []).append(text)
    return found


def by_pyright(folder: Path) -> Found:
    """Run pyright, as it comes in its wheel, by the node of a wheel: nothing is fetched."""
    settings = {"typeCheckingMode": "strict", "extraPaths": [str(ROOT)], "include": ["*.py"]}
    (folder / "pyrightconfig.json").write_text(json.dumps(settings))
    command = [sys.executable, "-m", "pyright", "--pythonpath", sys.executable, "--outputjson"]
    environment = {"PYRIGHT_PYTHON_GLOBAL_NODE": "0", "HOME": str(folder), "PATH": ""}
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    found: Found = {name: {} for name in SOURCES}
    for each in json.loads(done.stdout)["generalDiagnostics"]:
        name, number = Path(each["file"]).stem, each["range"]["start"]["line"] + 1
        found[name].setdefault(number, []).append(each["message"])
    return found


@pytest.fixture(scope="module", params=[by_mypy, by_pyright], ids=["mypy", "pyright"])
def found(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Found:
    """What a checker says of all the code, in one run; the lines are those of the texts above."""
    folder = tmp_path_factory.mktemp("user")
    for name, code in SOURCES.items():
        (folder / f"{name}.py").write_text(CELLS + code)
    said: Found = request.param(folder)
    return {name: {number - 1: texts for number, texts in lines.items()} for name, lines in said.items()}


@pytest.mark.parametrize("name", ["engine", "kernels", "readme"])
def test_a_checker_says_nothing_of_good_code(found: Found, name: str) -> None:
    assert found[name] == {}


def test_a_job_is_of_the_parameter_class_of_its_simulation(found: Found) -> None:
    [(number, [revealed])] = found["revealed"].items()
    assert REVEALED.splitlines()[number - 1].startswith("reveal_type")
    assert re.search(r'"([\w.]*\.)?Job\[([\w.]*\.)?AsianCall\]"', revealed)


def test_a_checker_finds_each_error_in_bad_code(found: Found) -> None:
    """In its line, with the word that helps; and in no other."""
    lines = enumerate(BAD.splitlines(), 1)
    expected = {number: line.partition("  # bad: ")[2] for number, line in lines if "  # bad: " in line}
    missed = {n: (word, found["bad"].get(n)) for n, word in expected.items() if word not in str(found["bad"].get(n))}
    assert missed == {}
    assert found["bad"].keys() - expected.keys() == set()


def test_the_types_of_settings_and_options_are_those_of_the_classes() -> None:
    assert typing.get_type_hints(EngineSettings) == {
        name: kind
        for name, kind in typing.get_type_hints(EngineConfig).items()
        if name in {f.name for f in fields(EngineConfig)}
    }
    options = [f.name for f in fields(Request) if f.init]
    assert [*ChangedOptions.__annotations__] == [*JobOptions.__annotations__, "parameters", "replicates"]
    assert {"simulation", *ChangedOptions.__annotations__} == set(options)
    for function, options_of in ((Engine.submit, JobOptions), (simulation, Declared)):
        annotations = function.__annotations__
        assert {name: annotations[name] for name in options_of.__annotations__} == {
            name: re.sub(r"^typing\.Required\[(.*)\]$", r"\1", kind.__forward_arg__)
            for name, kind in options_of.__annotations__.items()
        }


def test_the_words_and_limits_that_a_checker_knows_are_those_that_are_taken() -> None:
    assert typing.get_args(Shown) == KINDS
    assert [*Limited.__annotations__] == [f.name for f in fields(Limits)]


def test_generic_classes_can_be_subscripted_and_stay_what_they_are() -> None:
    """As a function's annotation is, where it is evaluated."""
    for generic in (bgsim.Simulation, bgsim.Job, bgsim.ParameterSet):
        assert typing.get_origin(generic[AsianCall]) is generic  # type: ignore[index]
    again: bgsim.Simulation[AsianCall] = bgsim.Simulation[AsianCall](asian_call.function, outputs={"payoff": "f8"})
    assert again.fingerprint == asian_call.fingerprint
    assert bgsim.ParameterSet[AsianCall](AsianCall(), AsianCall) == asian_call.bind()


def annotated(p: AsianCall, rng: bgsim.Rng, control: bgsim.Control) -> float:
    return p.strike + rng.random()


def unannotated(p: AsianCall, rng, control):  # type: ignore[no-untyped-def]
    return p.strike + rng.random()


def test_annotations_change_no_fingerprint_and_compile() -> None:
    made = [bgsim.simulation(f, outputs={"x": "f8"}) for f in (annotated, unannotated)]
    assert made[0].fingerprint == made[1].fingerprint
    columns = [bgsim.run(each, replicates=5, seed=3)["x"].tolist() for each in made]
    assert columns[0] == columns[1]
    assert made[0].takes_control
