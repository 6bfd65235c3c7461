"""Names are taken in the form NFKC, as Python reads them in source: two that look the same are the same."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

import bgsim
from bgsim.errors import InvalidInputError, OutputError, ParameterError
from bgsim.parameters import ParameterSet
from bgsim.testing import SteppedEngine, run_all

MICRO, MU = "\u00b5", "\u03bc"


@dataclass(frozen=True)
class Greek:
    µ: float = 1.0  # noqa: PLC2401 - Python reads it as the Greek letter


@bgsim.simulation(outputs={MICRO: "f8"}, compile=False)
def free(p: Any, rng: Any) -> Any:
    return p.µ


@bgsim.simulation(outputs={"x": ("f8", MICRO)})
def sized(p: Any, rng: Any) -> Any:
    return rng.random(p.µ)


def test_a_parameter_is_found_by_either_sign() -> None:
    for name in (MICRO, MU):
        result = bgsim.run(free, {name: 2.0}, replicates=1)
        assert list(result) == [MU]
        assert (result[name][0], result.parameters[name]) == (2.0, 2.0)
        assert ParameterSet({name: 2.0}, Greek).instance().µ == 2.0
        assert bgsim.run(sized, {name: 3}, replicates=2)["x"].shape == (2, 3)
    assert ParameterSet({MICRO: 2.0}) == ParameterSet({MU: 2.0})
    assert ParameterSet({"\ufb01t": 1}) == ParameterSet({"fit": 1})
    with pytest.raises(KeyError):
        ParameterSet({"a": 1})[MICRO]


@pytest.mark.parametrize("kind", [None, Greek])
def test_two_names_that_become_one_are_refused(kind: type | None) -> None:
    with pytest.raises(ParameterError, match="two names that are one in the form NFKC") as caught:
        ParameterSet({MICRO: 1.0, MU: 2.0}, kind)
    assert caught.value.field == MU
    with pytest.raises(OutputError, match="outputs has two names"):
        bgsim.simulation(free.function, outputs={MICRO: "f8", MU: "f8"}, compile=False)
    with SteppedEngine() as engine, pytest.raises(InvalidInputError, match="grid has two names"):
        engine.sweep(free, {MICRO: [1.0], MU: [2.0]}, replicates=1)


def test_workspaces_groups_and_words_are_normal() -> None:
    with SteppedEngine(limits={MICRO: 1}) as engine:
        assert dict(engine.config.limits) == {MU: 1}
        job = engine.submit(free, {MU: 1.0}, replicates=1, workspace=MICRO, group=MICRO, supersede=MICRO)
        assert (job.workspace, job.request.group, job.request.supersede) == (MU, MU, MU)
        sweep = engine.sweep(free, {MICRO: [1.0, 2.0]}, parameters={MU: 5.0}, replicates=1)
        run_all(engine)
        assert [job.parameters[MU] for job in sweep] == [1.0, 2.0]
        assert MU in engine.store.workspaces()
        for bad in ("a\ud800", 3):
            with pytest.raises(InvalidInputError, match="workspace must be a text"):
                engine.submit(free, {MU: 1.0}, replicates=1, workspace=bad)


def test_the_hash_of_a_normal_name_stays() -> None:
    """Results that are stored already are found."""
    assert ParameterSet({"é": 1.0, "strike": 2}).encoding.hex() == (
        "730000000000000006737472696b65690000000000000001327300000000000000 02c3a966000000000000000 83ff0000000000000"
    ).replace(" ", "")


@pytest.mark.parametrize("value", ["caf\udce9.csv", ("a", "\ud800"), [[["\udfff"]]]])
def test_a_text_that_no_utf_8_holds_is_refused(value: Any) -> None:
    with pytest.raises(ParameterError, match=r"lone surrogate, '\\ud.*os.fsencode") as caught:
        ParameterSet({"path": value})
    assert caught.value.field == "path"


def test_values_that_answer_badly_are_refused() -> None:
    class Bad:
        def __repr__(self) -> str:
            raise RuntimeError("no")

        def __array__(self, *_: object, **__: object) -> Any:
            raise KeyError("no")

    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    endless: list[Any] = []
    endless += [endless, endless]
    for value in (Bad(), deep, endless, 10**5000, {"a": 1}):
        with pytest.raises(ParameterError) as caught:
            ParameterSet({"a": value})
        assert caught.value.field == "a"
        assert len(str(caught.value)) < 500
    for name in (3, "", "a b", "class", "_x", Bad(), "\ud800"):
        with pytest.raises(ParameterError):
            ParameterSet({name: 1})
        with pytest.raises(ParameterError):
            ParameterSet({name: 1}, Greek)
