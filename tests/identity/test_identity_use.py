"""The identity as users meet it: what a submission says, how often plain code is looked at, and what `explain` tells."""

from __future__ import annotations

import enum
import functools
import sys
import typing
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import bgsim
from bgsim.errors import IdentityError, NotStoredError
from bgsim.identity import limits
from bgsim.kernels.revision import Revision

# ---- members of an Enum that no annotation names ---------------------------------------------------


class Mode(enum.Enum):
    SLOW = 1.0
    FAST = 2.0

    def speed(self) -> float:
        return self.value * 10.0


class Plain(enum.Enum):
    ONE = 1


class Kind(enum.IntFlag):
    A = 1
    B = 2


def speed(p: Any, rng: np.random.Generator) -> float:
    return p.mode.speed() if isinstance(p.mode, Mode) else 0.0


def test_a_member_with_methods_that_no_annotation_names_is_warned_of_and_not_kept() -> None:
    """An edit of its methods would go unseen, for the identity holds the classes that the parameter class names."""
    sim = bgsim.simulation(speed, outputs={"x": "f8"}, compile=False)
    with bgsim.Engine() as engine:
        with pytest.warns(bgsim.IdentityWarning, match="a Mode in its parameter 'mode'.*Annotate the field") as caught:
            result = engine.submit(sim, {"mode": Mode.FAST}, replicates=2).result()
        assert caught[0].filename == __file__
        assert result["x"].tolist() == [20.0, 20.0]
        assert engine.store.results() == []
        with pytest.raises(NotStoredError, match="Annotate the field"):
            engine.submit(sim, {"mode": Mode.FAST}, replicates=2, cache="only")
    with bgsim.Engine(identity="strict") as engine, pytest.raises(IdentityError, match="Annotate the field"):
        engine.submit(sim, {"mode": Mode.FAST}, replicates=2)


@dataclass(frozen=True)
class Annotated:
    mode: Mode = Mode.SLOW


@dataclass(frozen=True)
class OneOf:
    mode: typing.Literal[Mode.SLOW, Mode.FAST] = Mode.SLOW


def of_annotated(p: Annotated, rng: np.random.Generator) -> float:
    return p.mode.speed()


def of_one_of(p: OneOf, rng: np.random.Generator) -> float:
    return p.mode.speed()


@pytest.mark.parametrize(
    ("function", "value"),
    [(speed, Plain.ONE), (speed, Kind.A | Kind.B), (of_annotated, Mode.FAST), (of_one_of, Mode.FAST)],
)
def test_other_members_are_kept(function: Any, value: Any) -> None:
    """The value of a member counts as a parameter, and the methods of an annotated class count as code."""
    sim = bgsim.simulation(function, outputs={"x": "f8"}, compile=False)
    with bgsim.Engine() as engine, warnings.catch_warnings(action="error"):
        engine.submit(sim, {"mode": value}, replicates=2).result()
        assert engine.submit(sim, {"mode": value}, replicates=2).status().from_store == 2


RATE = 2.0


@dataclass(frozen=True)
class Derived:
    a: float = 1.0

    @functools.cached_property
    def rate(self) -> float:
        return self.a * RATE


def of_derived(p: Derived, rng: np.random.Generator) -> float:
    return p.rate


def test_a_cached_property_of_parameters_is_computed_by_the_code_of_the_submission(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whether an instance or a set of parameters is submitted again after a change."""
    sim = bgsim.simulation(of_derived, outputs={"x": "f8"}, compile=False)
    given = Derived()
    bound = sim.bind(given)
    with bgsim.Engine() as engine:
        assert engine.submit(sim, given, replicates=2).result()["x"].tolist() == [2.0, 2.0]
        assert engine.submit(sim, bound, replicates=3).result()["x"].tolist() == [2.0, 2.0, 2.0]
        assert given.rate == 2.0
        monkeypatch.setattr(sys.modules[__name__], "RATE", 7.0)
        for asked in (given, bound):
            assert engine.submit(sim, asked, replicates=2).result()["x"].tolist() == [7.0, 7.0]


# ---- how often plain code is looked at ---------------------------------------------------------------

TABLE = np.arange(1_000_000.0)


def reads_a_table(p: Any, rng: np.random.Generator) -> float:
    return float(TABLE[3])


def test_a_large_table_is_not_looked_at_after_each_replicate(monkeypatch: pytest.MonkeyPatch) -> None:
    """A look at it takes milliseconds, and a replicate microseconds."""
    looks = []
    look = Revision.check_unchanged
    monkeypatch.setattr(Revision, "check_unchanged", lambda self: looks.append(look(self)))
    sim = bgsim.simulation(reads_a_table, outputs={"x": "f8"}, compile=False)
    with bgsim.Engine(store=None) as engine:
        result = engine.submit(sim, replicates=3000).result()
    assert set(result["x"].tolist()) == {3.0}
    assert len(looks) < 300


# ---- explain -----------------------------------------------------------------------------------------


def _made(**options: Any) -> bgsim.Simulation:
    return bgsim.simulation(reads_a_table, **{"outputs": {"x": "f8"}, "compile": False, "name": "made", **options})


@pytest.mark.parametrize(
    ("options", "part"),
    [({"version": "2"}, "version"), ({"outputs": {"x": "f4"}}, "outputs"), ({"compile": True}, "compile")],
)
def test_explain_names_what_its_author_declares(options: dict[str, Any], part: str) -> None:
    """Those are no code, and each changes the identity."""
    with bgsim.Engine() as engine:
        engine.submit(_made(), replicates=2).result()
        found = _made(**options).explain(engine.store)
    assert found.differences == {part: "changed"}
    assert f"was computed by other code: {part} changed" in str(found)


def test_a_module_that_is_kept_from_being_imported_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """None in its place in `sys.modules` does that."""
    monkeypatch.setitem(sys.modules, "runpy", None)
    limits._by_address.cache_clear()
    assert limits.why_not(globals) is not None
    limits._by_address.cache_clear()


def test_explain_says_why_it_was_computed_again_after_that() -> None:
    """The newest result is of the code as it is now, so the newest of other code is what is compared with."""
    with bgsim.Engine() as engine:
        engine.submit(_made(), replicates=2).result()
        old = engine.store.results()[0].record.hash
        engine.submit(_made(version="2"), replicates=2).result()
        new = next(r.record.hash for r in engine.store.results() if r.record.hash != old)
        found = _made(version="2").explain(engine.store)
        assert (found.stored, found.current) == (old, new)
        assert f"{new[:12]} was computed by this code, and {old[:12]} by other: version changed" in str(found)
        same = _made(version="2").explain(engine.store, new)
        assert (same.differences, repr(same)) == ({}, str(same))
        assert "was computed by this code" in repr(same)
