"""What a checker of types finds in code that uses bgsim: mypy, over good code and bad."""

from __future__ import annotations

import re
import subprocess
import sys
import typing
from dataclasses import fields
from pathlib import Path

from paths import ROOT

from bgsim.config import EngineConfig, EngineSettings
from bgsim.engine import Engine
from bgsim.request import ChangedOptions, JobOptions, Request

GOOD = """
import datetime

import bgsim
from bgsim.models.options import asian_call, european_call

with bgsim.Engine("runs.db", workers=2, identity="strict", limits={"gpu": 1}) as engine:
    job = engine.submit(asian_call, replicates=10, priority="high", cache="refresh", retry=bgsim.Retry(retries=2))
    engine.submit(european_call, {"strike": 95.0}, replicates=10, priority=bgsim.Priority.LOW, cache="only")
    engine.submit_many(asian_call, [{}, {"strike": 90.0}], replicates=10, seed=3, workspace="a", timeout_s=1.5)
    engine.sweep(asian_call, {"strike": [1.0, 2.0]}, replicates=10, group="gpu", at=datetime.datetime.now(datetime.UTC))
    engine.sweep(asian_call, {"strike": (1.0, 2.0)}, replicates=10, design="sobol", points=8)
    engine.schedule(asian_call, replicates=10, cron="0 2 * * *", misfire="skip", cache="refresh")
    engine.retry("a", parameters={"strike": 90.0}, replicates=5, timeout_s=None)
    job.set_priority("critical")
    found = engine.store.find(asian_call, strike=(90, 100), since="2 days", limit=3)
    engine.store.load_result(found[0], asian_call).summary()
    first: str = found[:2][0].hash
result = bgsim.run(european_call, replicates=10, immediate=True)


@bgsim.simulation(outputs={"x": "f8"}, priority="low")
def walk(p: object, rng: object) -> float:
    return 1.0
"""

BAD = """
import bgsim
from bgsim.models.options import asian_call

engine = bgsim.Engine(wokers=2)  # Unexpected keyword argument "wokers" for "Engine"; did you mean "workers"?
bgsim.Engine(identity="strikt")  # Argument "identity" to "Engine" has incompatible type "Literal['strikt']"
bgsim.Engine(workers="2")  # Argument "workers" to "Engine" has incompatible type "str"; expected "int"
bgsim.run(asian_call, replicates=1, imediate=True)  # Unexpected keyword argument "imediate" for "run"
engine.submit(asian_call, replicates=1, priority="hihg")  # Argument "priority" to "submit" of "Engine" has incompatible
engine.submit(asian_call, replicates=1, cache="of")  # Argument "cache" to "submit" of "Engine" has incompatible type
engine.submit(asian_call, replicates=1, timeout=1)  # Unexpected keyword argument "timeout" for "submit" of "Engine"
engine.sweep(asian_call, {"strike": [1.0]}, replicates=1, workspce="a")  # Unexpected keyword argument "workspce"
engine.sweep(asian_call, {"strike": [1.0]}, replicates=1, design="sobel")  # Argument "design" to "sweep" of
engine.submit_many(asian_call, [{}], replicates=1, cache="of")  # Argument "cache" to "submit_many" of "JobVerbs"
engine.map(asian_call, [{}], replicates=1, prioritaet="low")  # Unexpected keyword argument "prioritaet" for "map"
engine.schedule(asian_call, replicates=1, cron="@daily", misfire="never")  # Argument "misfire" to "schedule" of
engine.schedule(asian_call, replicates=1, cron="@daily", seeds=1)  # Unexpected keyword argument "seeds" for "schedule"
engine.retry("a", timeouts=1)  # Unexpected keyword argument "timeouts" for "retry" of "JobVerbs"
engine.executor(priority="hihg")  # Argument "priority" to "executor" of "JobVerbs" has incompatible type
engine.store.find(asian_call, limit="3")  # Argument "limit" to "find" of "Questions" has incompatible type "str"


@bgsim.simulation(outputs={"x": "f8"}, priority="hihg")  # No overload variant of "simulation" matches
def walk(p: object, rng: object) -> float:
    return 1.0
"""


def checked(tmp_path: Path, code: str) -> dict[int, list[str]]:
    """Return the errors that mypy finds in user code, by line."""
    (tmp_path / "user.py").write_text(code)
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(ROOT / ".mypy_cache" / "users"), "user.py"]
    environment = {"MYPYPATH": str(ROOT), "PATH": ""}
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, env=environment)
    assert not done.stderr, done.stderr
    errors: dict[int, list[str]] = {}
    for number, text in re.findall(r"^user\.py:(\d+): error: (.*)$", done.stdout, re.MULTILINE):
        errors.setdefault(int(number), []).append(text)
    return errors


def test_mypy_says_nothing_of_good_code(tmp_path: Path) -> None:
    assert checked(tmp_path, GOOD) == {}


def test_mypy_finds_misspelt_settings_options_and_words(tmp_path: Path) -> None:
    found = checked(tmp_path, BAD)
    expected = {n: line.partition("  # ")[2] for n, line in enumerate(BAD.splitlines(), 1) if "  # " in line}
    for number, text in expected.items():
        assert any(error.startswith(text) for error in found.get(number, [])), (number, found.get(number))


def test_the_types_of_settings_and_options_are_those_of_the_classes() -> None:
    assert typing.get_type_hints(EngineSettings) == {
        name: kind
        for name, kind in typing.get_type_hints(EngineConfig).items()
        if name in {f.name for f in fields(EngineConfig)}
    }
    options = [f.name for f in fields(Request) if f.init]
    assert [*ChangedOptions.__annotations__] == [*JobOptions.__annotations__, "parameters", "replicates"]
    assert {"simulation", *ChangedOptions.__annotations__} == set(options)
    submit = Engine.submit.__annotations__
    assert {name: submit[name] for name in JobOptions.__annotations__} == {
        name: kind.__forward_arg__ for name, kind in JobOptions.__annotations__.items()
    }
