"""Tests of bgsim.models.tau_leaping: against exact moments and exact paths, within its epsilon."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import binom, chisquare
from test_reactions import SUITE, suite_case

import bgsim
from bgsim.errors import ParameterError, ReplicateError
from bgsim.models.direct_method import FEW_REACTIONS
from bgsim.models.network import MAX_CHANGE, MAX_COUNT, Network
from bgsim.models.reactions import Reactions, reactions
from bgsim.models.tau_leaping import TauLeaping, tau_leaping

CASES = {path.stem: path for path in SUITE}
REPLICATES = 4000


def assert_within(found, exact, error, epsilon):
    """Fail where a mean or standard deviation is further off than epsilon of it and three standard errors."""
    assert np.all(np.abs(found - exact) <= epsilon * np.abs(exact) + 3 * error), (found, exact, error)


@pytest.mark.parametrize("epsilon", [0.1, 0.03])
@pytest.mark.parametrize("case", ["dsmts-001-01", "dsmts-001-05", "dsmts-002-03", "dsmts-002-04", "dsmts-003-01"])
def test_exact_moments(case, epsilon):
    """Means and standard deviations of the test suite, with few molecules and with many."""
    exact_p, moments = suite_case(CASES[case])
    chosen = np.array([1, 5, 20, 50])
    fields = {name: getattr(exact_p, name) for name in exact_p.__dataclass_fields__}
    fields |= {"times": exact_p.times[chosen], "observations": len(chosen)}
    counts = bgsim.run(tau_leaping, TauLeaping(**fields, epsilon=epsilon), replicates=REPLICATES, seed=71)["counts"]
    for s, name in enumerate(exact_p.names):
        x, mean, sd = counts[:, :, s], np.array(moments["mean"][name])[chosen], np.array(moments["sd"][name])[chosen]
        assert_within(x.mean(axis=0), mean, sd / math.sqrt(REPLICATES), epsilon)
        assert_within(x.std(axis=0), sd, sd / math.sqrt(2 * REPLICATES), epsilon)


OSCILLATOR = (
    Network()
    .species("Y", 1000)
    .species("Z", 1000)
    .reaction("Y -> 2 Y", 10.0)
    .reaction("Y + Z -> 2 Z", 0.01)
    .reaction("Z ->", 10.0)
)
"""Lotka and Volterra's, as in Gillespie (1977)."""

DIMERS = Network().species("P", 10_000).species("D").reaction("2 P -> D", 1e-5).reaction("D -> 2 P", 0.02)
TRIMERS = Network().species("P", 3000).species("T").reaction("3 P -> T", 1e-8).reaction("T -> 3 P", 0.05)


@pytest.mark.parametrize(
    ("network", "times"), [(OSCILLATOR, [0.1, 0.3]), (DIMERS, [5.0, 50.0]), (TRIMERS, [1.0, 20.0])]
)
def test_exact_paths(network, times):
    """Second and third order, against exact paths."""
    exact = bgsim.run(reactions, Reactions.of(network, times), replicates=1000, seed=72)["counts"]
    for epsilon in (0.05, 0.02):
        p = TauLeaping.of(network, times, epsilon=epsilon)
        found = bgsim.run(tau_leaping, p, replicates=1000, seed=73)["counts"]
        sd = exact.std(axis=0)
        assert_within(found.mean(axis=0), exact.mean(axis=0), sd * math.sqrt(2 / 1000), epsilon)
        assert_within(found.std(axis=0), sd, sd * math.sqrt(1 / 1000), epsilon)


@pytest.mark.parametrize("idle", [0, FEW_REACTIONS])
def test_rare_molecules_beside_many(idle):
    """Five molecules that decay one by one beside a million: their number is binomial, and never negative."""
    network = Network().species("X", 10**6).species("S", 5).reaction("S ->", 1.0)
    network.reaction("X ->", 1.0).reaction("-> X", 1e6)
    for i in range(idle):
        network.reaction("S -> 2 S", 0.0, f"idle {i}")
    counts = bgsim.run(tau_leaping, TauLeaping.of(network, [0.0, 1.0]), replicates=20_000, seed=74)["counts"]
    assert np.all(counts[:, 0] == [10**6, 5])
    seen = np.bincount(counts[:, 1, 1], minlength=6)
    assert chisquare(seen, 20_000 * binom.pmf(np.arange(6), 5, math.exp(-1))).pvalue > 1e-3


def test_no_count_is_negative_when_leaps_are_wild():
    """With nothing critical and a large epsilon some leaps must be thrown away; what is conserved stays so."""
    network = Network().species("A", 300).species("B").reaction("A -> B", 5.0).reaction("2 A -> 2 B", 0.1)
    p = TauLeaping.of(network, np.linspace(0.1, 2.0, 20), epsilon=0.9, critical=1)
    counts = bgsim.run(tau_leaping, p, replicates=20_000, seed=75)["counts"]
    assert counts.min() == 0
    assert np.all(counts.sum(axis=2) == 300)


@pytest.mark.parametrize("idle", [0, FEW_REACTIONS])
def test_few_molecules_are_simulated_exactly(idle):
    """Where no leap is worth it the path is that of the exact method, draw by draw."""
    network, times = Network().species("X").reaction("-> X", 1.0).reaction("X ->", 0.1), np.arange(51.0)
    for i in range(idle):
        network.reaction("3 X ->", 0.0, f"idle {i}")
    exact = bgsim.run(reactions, Reactions.of(network, times), replicates=200, seed=76)["counts"]
    leaps = bgsim.run(tau_leaping, TauLeaping.of(network, times), replicates=200, seed=76)["counts"]
    assert np.array_equal(leaps, exact)


def test_an_end_and_an_explosion():
    """What can no longer happen leaves the counts as they are; what grows without bound is an error."""
    decay = TauLeaping.of(Network().species("X", 10**6).reaction("X ->", 1.0), [1.0, 1e3, 1e6])
    assert not bgsim.run(tau_leaping, decay, replicates=20)["counts"][:, 1:].any()
    for growth in ("X -> 2 X", f"X -> {MAX_CHANGE} X"):
        p = TauLeaping.of(Network().species("X", MAX_COUNT // 2).reaction(growth, 1.0), [1e3])
        with pytest.raises(ReplicateError, match="grows without bound"):
            bgsim.run(tau_leaping, p, replicates=1)


def test_a_long_replicate_tells_how_far_it_is_and_stops():
    network = Network().species("X", 10**6).reaction("-> X", 1e6).reaction("X ->", 1.0)
    with bgsim.Engine(progress_update_interval_ms=1) as engine:
        job = engine.submit(tau_leaping, TauLeaping.of(network, [1e12]), replicates=1)
        for update in job.updates():
            if update.fraction > 0:
                assert update.fraction < 1e-2
                job.cancel()
        assert job.status().state is bgsim.JobState.CANCELLED


@pytest.mark.parametrize(("field", "value"), [("epsilon", 0.0), ("epsilon", 1.0), ("critical", 0)])
def test_bad_parameters(field, value):
    """Each is refused by name."""
    with pytest.raises(ParameterError) as caught:
        tau_leaping.bind(TauLeaping.of(DIMERS, [1.0], **{field: value}))
    assert caught.value.field == field
