"""Tests of bgsim.models.network: what is built, and each refusal by name."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bgsim.errors import ParameterError
from bgsim.models.network import MAX_CHANGE, MAX_COUNT, Network, parse_equation, write_equation


@pytest.mark.parametrize(
    ("text", "reactants", "products"),
    [
        ("2 A + B -> C", {"A": 2, "B": 1}, {"C": 1}),
        ("2A+B->10C", {"A": 2, "B": 1}, {"C": 10}),
        ("A + A -> B", {"A": 2}, {"B": 1}),
        ("-> X", {}, {"X": 1}),
        ("X ->", {"X": 1}, {}),
        ("0 -> X_1", {}, {"X_1": 1}),
        ("∅ → αβ", {}, {"αβ": 1}),
        ("A2 -> 2 A2", {"A2": 1}, {"A2": 2}),
    ],
)
def test_equations(text, reactants, products):
    """A coefficient may touch its species; a side may be empty."""
    assert parse_equation(text) == (reactants, products)
    assert parse_equation(write_equation(reactants, products)) == (reactants, products)


def test_tables():
    """One row a reaction: molecules that meet one by one, and net changes; what is fixed is in the rate."""
    network = (
        Network()
        .reaction("2 A + F -> A + B + F", rate=3.0)
        .species("A", 10)
        .species("B")
        .species("F", 4, fixed=True)
        .reaction("2 F -> F", rate=1.0, name="only what is fixed")
        .reaction("A -> A", rate=2.0, name="changes nothing")
    )
    tables = network.tables([0, 1.5])
    assert tables["names"] == ("A", "B", "F")
    assert tables["initial"].tolist() == [10, 0, 4]
    assert tables["rates"].tolist() == [12.0, 6.0, 2.0]
    assert tables["reactants"].tolist() == [[0, 0, 3], [3, 3, 3], [0, 3, 3]]
    assert tables["changed"].tolist() == [[0, 1], [3, 3], [3, 3]]
    assert tables["changes"].tolist() == [[-1, 1], [0, 0], [0, 0]]
    assert tables["times"].tolist() == [0.0, 1.5]
    assert (tables["species"], tables["observations"]) == (3, 2)


def test_mappings_say_the_same_as_an_equation():
    network = Network().species("A", 3).species("B")
    by_mappings = Network().species("A", np.int64(3)).species("B")
    network.reaction("2 A -> B", 0.5)
    by_mappings.reaction(({"A": 2}, {"B": 1}), np.float64(0.5))
    assert repr(network) == repr(by_mappings) == "<network of A, B: 2 A -> B at 0.5>"
    for name, value in network.tables([1.0]).items():
        assert np.array_equal(value, by_mappings.tables([1.0])[name])


@pytest.mark.parametrize(
    ("build", "field", "message"),
    [
        (lambda n: n.species("2A"), "species", "must have a Python name; got '2A'"),
        (lambda n: n.species(3), "species", "must have a Python name; got 3"),
        (lambda n: n.species("A"), "species", "there is a species 'A' already"),
        (lambda n: n.species("X", -1), "count", "the count of species 'X' must be a whole number from 0"),
        (lambda n: n.species("X", MAX_COUNT + 1), "count", str(MAX_COUNT)),
        (lambda n: n.species("X", 1.5), "count", "got 1.5"),
        (lambda n: n.species("X", True), "count", "got True"),
        (lambda n: n.species("X", 1, fixed="yes"), "fixed", "fixed of species 'X' must be a bool"),
        (lambda n: n.reaction("A", 1.0), "equation", "must have one '->'"),
        (lambda n: n.reaction("A <-> B", 1.0), "equation", "as two reactions"),
        (lambda n: n.reaction("A => B", 1.0), "equation", "must have one '->'"),
        (lambda n: n.reaction("A -> B -> C", 1.0), "equation", "must have one '->'"),
        (lambda n: n.reaction("A + -> B", 1.0), "equation", "'' is no species"),
        (lambda n: n.reaction("1.5 A -> B", 1.0), "equation", "'1.5 A' is no species with a whole coefficient"),
        (lambda n: n.reaction("A B -> C", 1.0), "equation", "'A B' is no species"),
        (lambda n: n.reaction("00 A -> B", 1.0), "equation", "the coefficient of 'A' must be a whole number from 1"),
        (lambda n: n.reaction("4 A -> B", 1.0), "equation", "lets 4 molecules meet; at most 3"),
        (lambda n: n.reaction("2 A + 2 B ->", 1.0), "equation", "lets 4 molecules meet"),
        (lambda n: n.reaction(f"A -> {MAX_CHANGE + 1} B", 1.0), "equation", str(MAX_CHANGE)),
        (lambda n: n.reaction(({"A": 0.5}, {}), 1.0), "equation", "the coefficient of 'A' must be"),
        (lambda n: n.reaction(["A", "B"], 1.0), "equation", "a pair of mappings"),
        (lambda n: n.reaction("A -> B", -1.0), "rate", "the rate of reaction 'A -> B' must be a finite number"),
        (lambda n: n.reaction("A -> B", math.nan), "rate", "got nan"),
        (lambda n: n.reaction("A -> B", math.inf), "rate", "got inf"),
        (lambda n: n.reaction("A -> B", "fast"), "rate", "got 'fast'"),
        (lambda n: n.reaction("A -> B", 1.0, 7), "name", "must be text; got 7"),
        (lambda n: n.reaction("B -> A", 1.0), "name", "there is a reaction 'B -> A' already"),
        (lambda n: n.reaction("A -> Bee", 1.0).tables([1]), "equation", "'Bee', which is not declared"),
        (lambda n: n.reaction("A -> Be", 1.0).tables([1]), "equation", "did you mean 'B'?"),
        (lambda _: Network().tables([1]), "species", "no species"),
        (lambda _: Network().species("A").tables([1]), "reaction", "no reaction"),
    ],
)
def test_refusals(build, field, message):
    """Each names what it is about, and what is allowed."""
    network = Network().species("A", 1).species("B").reaction("B -> A", 1.0)
    with pytest.raises(ParameterError) as caught:
        build(network)
    assert message in str(caught.value)
    assert caught.value.field == field
