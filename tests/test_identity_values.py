"""Values, classes and members that a simulation reaches: each counts, whether its file is edited or it is set."""

from __future__ import annotations

import itertools
import textwrap
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from test_identity import load

HEAD = """
import abc, array, collections, dataclasses, datetime, decimal, enum, functools, itertools, re, struct, threading, types
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar
import numpy as np
import bgsim
"""
SIM = """
@bgsim.simulation(outputs={"x": "f8"}, compile=False)
def sim(p, rng):
    return EXPRESSION
"""

Make = Callable[..., types.ModuleType]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Return what makes a module from a source, an expression and a value in the place of ``@V@``."""
    numbers = itertools.count()

    def module(source: str, expression: str, value: float = 2.0) -> types.ModuleType:
        text = HEAD + textwrap.dedent(source) + SIM.replace("EXPRESSION", expression)
        return load(tmp_path, f"valued_{next(numbers)}", text.replace("@V@", repr(value)))

    return module


def answer(module: Any) -> float:
    """Return what the simulation computes now."""
    found: float = module.sim.function(None, None)
    return found


ENUM = "class E(enum.Enum):\n    A = 1\n"

EDITED: dict[str, tuple[str, str]] = {
    "private method of an Enum": (
        ENUM + "    def _scale(self):\n        return @V@\n    def f(self):\n        return self._scale()\n",
        "E.A.f()",
    ),
    "cached method of an Enum": (ENUM + "    @functools.lru_cache\n    def f(self):\n        return @V@\n", "E.A.f()"),
    "attribute of a member": (ENUM + "E.A.mass = @V@\n", "E.A.mass"),
    "attribute that __new__ sets": (
        "class E(enum.Enum):\n    def __new__(cls, v):\n        o = object.__new__(cls)\n        o._value_ = v\n"
        "        o.mass = v * @V@\n        return o\n    A = 1\n",
        "E.A.mass",
    ),
    "nonmember": (ENUM + "    T = enum.nonmember({'r': @V@})\n", "E.T['r']"),
    "property of an Enum": (ENUM + "    @enum.property\n    def r(self):\n        return @V@\n", "E.A.r"),
    "what an Enum makes of no value": (
        "class E(enum.Enum):\n    A = 2.0\n    B = 7.0\n    @classmethod\n    def _missing_(cls, v):\n        return cls(@V@)\n",
        "E('x').value",
    ),
    "partial method of an Enum": (
        ENUM + "    def g(self, k):\n        return k\n    f = functools.partialmethod(g, @V@)\n",
        "E.A.f()",
    ),
    "boundary of a Flag": (
        "class E(enum.Flag, boundary=enum.KEEP if @V@ == 7.0 else enum.CONFORM):\n    A = 2\n",
        "7.0 if E(7).value == 7 else 2.0",
    ),
    "property over a field of a named tuple": (
        "class K(collections.namedtuple('B', 'a b')):\n    @property\n    def a(self):\n        return @V@\nC = K(1.0, 2.0)\n",
        "C.a",
    ),
}


@pytest.mark.parametrize("kind", EDITED)
def test_an_edit_of_each_kind_counts(make: Make, kind: str) -> None:
    """The same source has the same fingerprint, and all of it is followed."""
    source, expression = EDITED[kind]
    old, same, new = (make(source, expression, value) for value in (2.0, 2.0, 7.0))
    assert [answer(module) for module in (old, same, new)] == [2.0, 2.0, 7.0]
    assert old.sim.fingerprint == same.sim.fingerprint
    assert old.sim.fingerprint != new.sim.fingerprint
    assert old.sim.revision().identity.limits == ()


SET: dict[str, tuple[str, str, str]] = {
    "attribute of a member": (ENUM + "E.A.mass = 2.0\n", "E.A.mass", "E.A.mass = 7.0"),
    "private method of an Enum": (
        ENUM + "    def _scale(self):\n        return 2.0\n    def f(self):\n        return self._scale()\n",
        "E.A.f()",
        "E._scale = lambda self: 7.0",
    ),
}


@pytest.mark.parametrize("kind", SET)
def test_what_is_set_in_the_process_is_seen(make: Make, kind: str) -> None:
    """A look at what has not changed is a comparison only; it must see this."""
    source, expression, statement = SET[kind]
    module = make(source, expression)
    before = module.sim.fingerprint
    assert answer(module) == 2.0
    exec(statement, vars(module))
    assert answer(module) == 7.0
    assert module.sim.fingerprint != before
