"""How often the interval at the stop has the true mean, over 2,000 seeds: the rule chooses where it stops.

Here with looks from 256 replicates on, and NumPy's numbers; `benchmarks/bench_coverage.py` does the same with kernels.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest

import bgsim
from bgsim.precision import Look, Moments, student

SEEDS = 2000
MINIMUM = 256
MAXIMUM = 4096
LOOKS = bgsim.Precision("x", relative=0.5, minimum=MINIMUM, maximum=MAXIMUM).looks()


@dataclass(frozen=True)
class Law:
    """A distribution with a known mean, and bounds if it has some."""

    draw: Callable[[np.random.Generator, tuple[int, int]], Any]
    mean: float
    bounds: tuple[float, float] | None = None


def call(rng: np.random.Generator, shape: tuple[int, int]) -> Any:
    """Return payoffs of `bgsim.models.options.european_call`, with its default parameters."""
    return math.exp(-0.05) * np.maximum(100 * np.exp(0.03 + 0.2 * rng.standard_normal(shape)) - 100, 0)


PHI = NormalDist().cdf
LAWS = {
    "normal": Law(lambda rng, shape: rng.normal(1, 1, shape), 1.0),
    "exponential": Law(lambda rng, shape: rng.exponential(1, shape), 1.0),
    "Bernoulli": Law(lambda rng, shape: rng.random(shape) < 0.01, 0.01),
    "call": Law(call, 100 * PHI(0.35) - 100 * math.exp(-0.05) * PHI(0.15)),
}
BOUNDED = {
    "Bernoulli": LAWS["Bernoulli"],
    "coin": Law(lambda rng, shape: rng.random(shape) < 0.5, 0.5),
    "uniform": Law(lambda rng, shape: rng.random(shape), 0.5, (0, 1)),
    "rare": Law(lambda rng, shape: np.where(rng.random(shape) < 0.01, 5.0, 0.0), 0.05, (0, 5)),
    "exponential": Law(lambda rng, shape: np.minimum(rng.exponential(1, shape), 10), 1 - math.exp(-10), (0, 10)),
}


def prefixes(law: Law) -> list[list[Moments]]:
    """Return of each seed the moments at each look."""
    rng = np.random.default_rng(20)
    found = []
    for _ in range(SEEDS // 100):
        values = law.draw(rng, (100, MAXIMUM))
        numbers = values.astype(float)
        columns = []
        for n in LOOKS:
            first = numbers[:, :n]
            columns.append((first.mean(axis=1), first.var(axis=1, ddof=1), first.min(axis=1), first.max(axis=1)))
        for i in range(100):
            of_look = [[float(column[i]) for column in look] for look in columns]
            found.append([Moments(n, n, *f, values.dtype.kind == "b") for n, f in zip(LOOKS, of_look, strict=True)])
    return found


def stop(rule: bgsim.Precision, moments: list[Moments]) -> Look:
    """Return the look at which the rule stops."""
    for n, known in zip(LOOKS, moments, strict=True):
        look = rule.judge(n, {"x": known})
        if look.reached:
            break
    return look


def coverage(rule: bgsim.Precision, law: Law, found: list[list[Moments]]) -> float:
    """Return how often the interval at the stop has the mean."""
    stops = [stop(rule, moments).outputs["x"] for moments in found]
    return float(np.mean([at.low <= law.mean <= at.high for at in stops]))


def targets(law: Law, found: list[list[Moments]]) -> list[dict[str, float]]:
    """Return targets of each kind: reached at the first look, between two looks, and at a late one."""
    deviation = math.sqrt(np.mean([moments[-1].variance for moments in found]))
    given = []
    for part in (1.2, 1.0, 0.9, 0.5, 0.3):
        error = part * deviation / math.sqrt(MINIMUM)
        half = 2.18 * error
        relative = {"relative": half / law.mean} if half < law.mean else {}
        given += [{"standard_error": error}, {"half_width": half}, *([relative] if relative else [])]
    return given


@pytest.mark.parametrize("name", LAWS)
def test_the_interval_at_the_stop_has_the_mean(name: str) -> None:
    law = LAWS[name]
    found = prefixes(law)
    for target in targets(law, found):
        rule = bgsim.Precision("x", minimum=MINIMUM, maximum=MAXIMUM, **target)  # type: ignore[arg-type]
        assert coverage(rule, law, found) >= 0.94, rule


def test_students_interval_alone_would_miss_too_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reason why the intervals of the default rule are wider."""
    monkeypatch.setattr(student, "of_two_looks", lambda confidence: confidence)
    law = LAWS["call"]
    found = prefixes(law)
    rules = [bgsim.Precision("x", minimum=MINIMUM, maximum=MAXIMUM, **t) for t in targets(law, found)]  # type: ignore[arg-type]
    assert min(coverage(rule, law, found) for rule in rules) < 0.94


@pytest.mark.parametrize("name", BOUNDED)
def test_a_confidence_sequence_holds_at_all_looks_at_once(name: str) -> None:
    law = BOUNDED[name]
    rule = bgsim.Precision(
        "x", half_width=1e-9, minimum=MINIMUM, maximum=MAXIMUM, rule="anytime", bounds=law.bounds, confidence=0.95
    )
    held = 0
    for moments in prefixes(law):
        looks = [rule.judge(n, {"x": m}).outputs["x"] for n, m in zip(LOOKS, moments, strict=True)]
        held += all(look.low <= law.mean <= look.high for look in looks)
    assert held / SEEDS >= 0.95


def test_it_would_not_hold_without_the_price_of_looking_often() -> None:
    """A coin's interval by Wilson, valid at one look, misses at one of five more often than it says."""
    law = BOUNDED["coin"]
    held = 0
    for moments in prefixes(law):
        intervals = [student.interval(m, 0.95, several_looks=False) for m in moments]
        held += all(low <= law.mean <= high for low, high in intervals)
    assert held / SEEDS < 0.9
