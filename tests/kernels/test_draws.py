"""What compiled kernels draw: the bits of NumPy's own generator, by every method and in any order."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numba import njit

import bgsim
from bgsim.errors import CompileError
from bgsim.kernels.draws import RNG, layout, numpys, rng_of_replicate
from bgsim.kernels.stream import WorkerStream
from bgsim.streams import generator_at

DRAWS, STATES = 100_000, 10
"""From each of so many streams; together a million."""


def states() -> list[tuple[np.ndarray, int]]:
    """Return keys and indices of replicates."""
    source = np.random.default_rng(19)
    return [
        (source.integers(0, 2**64, 2, np.uint64), int(index)) for index in (0, *source.integers(0, 2**63, STATES - 1))
    ]


def drawn(body: str, dtype: Any = np.float64) -> Any:
    """Return a function that fills an array by an expression of rng and of parameters a, b and c."""
    names: dict[str, Any] = {"np": np}
    exec(
        f"def fill(rng, a, b, c, out):\n    for i in range(len(out)):\n        out[i] = {body.replace('@', '[i]')}\n",
        names,
    )
    fill = njit(names["fill"])

    @njit
    def run(state: Any, key0: Any, key1: Any, index: Any, a: Any, b: Any, c: Any, out: Any) -> None:
        fill(rng_of_replicate(state, key0, key1, index), a, b, c, out)

    stream = WorkerStream()

    def draw(key: np.ndarray, index: int, a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
        out = np.empty(len(a), dtype)
        run(stream.state, key[0], key[1], np.uint64(index), a, b, c, out)
        return out

    return draw


def parameters() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return two columns of positive numbers of many sizes, and one of numbers between 0 and 1."""
    source = np.random.default_rng(20)
    a, b = np.exp(source.normal(0.0, 1.5, (2, DRAWS)))
    return a, b, source.uniform(0.001, 0.999, DRAWS)


OWN = {
    "rng.random()": "rng.random(n)",
    "rng.standard_normal()": "rng.standard_normal(n)",
    "rng.standard_exponential()": "rng.standard_exponential(n)",
    "rng.uniform(-a@, b@)": "rng.uniform(-a, b)",
    "rng.uniform()": "rng.uniform(size=n)",
    "rng.normal(a@, b@)": "rng.normal(a, b)",
    "rng.normal(3)": "rng.normal(3, size=n)",
    "rng.exponential(b@)": "rng.exponential(b)",
    "rng.exponential()": "rng.exponential(size=n)",
}
"""A draw, and what NumPy fills an array with by the same bits."""

NUMBAS = {
    "rng.random(dtype=np.float32)": "rng.random(n, dtype=np.float32)",
    "rng.standard_normal(dtype=np.float32)": "rng.standard_normal(n, dtype=np.float32)",
    "rng.standard_exponential(dtype=np.float32)": "rng.standard_exponential(n, dtype=np.float32)",
    "rng.standard_exponential(method='inv')": "rng.standard_exponential(n, method='inv')",
    "rng.lognormal(c@, c@)": "rng.lognormal(c, c)",
    "rng.laplace(a@, b@)": "rng.laplace(a, b)",
    "rng.logistic(a@, b@)": "rng.logistic(a, b)",
    "rng.rayleigh(b@)": "rng.rayleigh(b)",
    "rng.standard_gamma(b@)": "rng.standard_gamma(b)",
    "rng.standard_gamma(np.float32(b@), dtype=np.float32)": (
        "rng.standard_gamma(b.astype(np.float32), dtype=np.float32)"
    ),
    "rng.gamma(b@, a@)": "rng.gamma(b, a)",
    "rng.chisquare(b@)": "rng.chisquare(b)",
    "rng.standard_cauchy()": "rng.standard_cauchy(n)",
    "rng.pareto(b@)": "rng.pareto(b)",
    "rng.weibull(b@)": "rng.weibull(b)",
    "rng.power(b@)": "rng.power(b)",
    "rng.geometric(c@)": "rng.geometric(c)",
    "rng.zipf(1.1 + b@)": "rng.zipf(1.1 + b)",
    "rng.triangular(-b@, c@, 1.0 + a@)": "rng.triangular(-b, c, 1.0 + a)",
    "rng.logseries(c@)": "rng.logseries(c)",
    "rng.binomial(np.int64(40.0 * b@), c@)": "rng.binomial((40.0 * b).astype(np.int64), c)",
}

NUMPYS = {
    "rng.beta(a@, b@)": "rng.beta(a, b)",
    "rng.beta(1e-5 * a@, 1e-5 * b@)": "rng.beta(1e-5 * a, 1e-5 * b)",
    "rng.f(a@, b@)": "rng.f(a, b)",
    "rng.negative_binomial(9.0 * a@, c@)": "rng.negative_binomial(9.0 * a, c)",
    "rng.noncentral_chisquare(a@, 20.0 * b@)": "rng.noncentral_chisquare(a, 20.0 * b)",
    "rng.noncentral_f(a@, b@, 20.0 * c@)": "rng.noncentral_f(a, b, 20.0 * c)",
    "rng.poisson()": "rng.poisson(size=n)",
    "rng.poisson(5.0 * b@)": "rng.poisson(5.0 * b)",
    "rng.poisson(10.0 + 5.0 * c@)": "rng.poisson(10.0 + 5.0 * c)",
    "rng.poisson(1e6 * b@)": "rng.poisson(1e6 * b)",
    "rng.standard_t(b@)": "rng.standard_t(b)",
    "rng.wald(a@, b@)": "rng.wald(a, b)",
}

INTEGERS = {
    "rng.integers(100)": "rng.integers(100, size=n)",
    "rng.integers(7, 8)": "rng.integers(7, 8, n)",
    "rng.integers(-5, 2**40)": "rng.integers(-5, 2**40, n)",
    "rng.integers(0, 3 * 2**30)": "rng.integers(0, 3 * 2**30, n)",
    "rng.integers(0, 3 * 2**62, dtype=np.uint64)": "rng.integers(0, 3 * 2**62, n, dtype=np.uint64)",
    "rng.integers(0, 2**32)": "rng.integers(0, 2**32, n)",
    "rng.integers(-(2**63), 2**63 - 1, endpoint=True)": "rng.integers(-(2**63), 2**63 - 1, n, endpoint=True)",
    "rng.integers(-9, 9, dtype=np.int32)": "rng.integers(-9, 9, n, dtype=np.int32)",
    "rng.integers(0, 2**32 - 1, dtype=np.uint32, endpoint=True)": (
        "rng.integers(0, 2**32 - 1, n, dtype=np.uint32, endpoint=True)"
    ),
    "rng.integers(np.int64(-9.0 * a@), 2)": "rng.integers((-9.0 * a).astype(np.int64), 2)",
}


def assert_equal(body: str, numpys: str, dtype: Any = np.float64) -> None:
    """Assert that a draw has NumPy's bits, from all states."""
    draw, (a, b, c) = drawn(body, dtype), parameters()
    for key, index in states():
        names = {"rng": generator_at(key, index), "np": np, "a": a, "b": b, "c": c, "n": DRAWS}
        expected = np.asarray(eval(numpys, names), dtype)
        found = draw(key, index, a, b, c)
        wrong = np.flatnonzero(found.view(f"u{found.itemsize}") != expected.view(f"u{found.itemsize}"))
        assert not len(wrong), (body, len(wrong), wrong[0], found[wrong[0]], expected[wrong[0]])


@pytest.mark.parametrize(("body", "numpys"), (OWN | NUMBAS | NUMPYS).items())
def test_a_method_draws_what_numpy_draws(body: str, numpys: str) -> None:
    assert_equal(body, numpys)


@pytest.mark.parametrize(("body", "numpys"), INTEGERS.items())
def test_integers_are_numpys(body: str, numpys: str) -> None:
    assert_equal(body, numpys, np.uint64 if "uint64" in body else np.int64)


@njit
def mixed(state: Any, key0: Any, key1: Any, index: Any, skip: Any, order: Any, out: Any) -> None:
    rng = rng_of_replicate(state, key0, key1, index)
    for _ in range(skip):
        rng.random()
    for i, method in enumerate(order):
        if method == 0:
            out[i] = rng.random()
        elif method == 1:
            out[i] = rng.standard_normal()
        elif method == 2:
            out[i] = rng.standard_exponential()
        elif method == 3:
            out[i] = rng.integers(0, 1000)
        elif method == 4:
            out[i] = rng.integers(0, 10**12)
        elif method == 5:
            out[i] = rng.integers(0, 200, dtype=np.uint8)
        elif method == 6:
            out[i] = rng.random(dtype=np.float32)
        elif method == 7:
            out[i] = rng.gamma(0.7, 2.0)
        elif method == 8:
            out[i] = rng.random(3)[2]
        elif method == 9:
            out[i] = rng.permutation(9)[4]
        elif method == 10:
            out[i] = rng.integers(0, 5, 3)[2]
        elif method == 11:
            out[i] = rng.poisson(12.0)
        else:
            out[i] = rng.wald(2.0, 3.0, 4)[3]


PLAIN = (
    lambda rng: rng.random(),
    lambda rng: rng.standard_normal(),
    lambda rng: rng.standard_exponential(),
    lambda rng: rng.integers(0, 1000),
    lambda rng: rng.integers(0, 10**12),
    lambda rng: rng.integers(0, 200, dtype=np.uint8),
    lambda rng: rng.random(dtype=np.float32),
    lambda rng: rng.gamma(0.7, 2.0),
    lambda rng: rng.random(3)[2],
    lambda rng: rng.permutation(9)[4],
    lambda rng: rng.integers(0, 5, 3)[2],
    lambda rng: rng.poisson(12.0),
    lambda rng: rng.wald(2.0, 3.0, 4)[3],
)


@settings(max_examples=300, deadline=None)
@given(
    st.integers(0, 2**64 - 1),
    st.integers(0, 2**63 - 1),
    st.one_of(st.integers(0, 20), st.integers(240, 340)),
    st.lists(st.integers(0, len(PLAIN) - 1), max_size=120),
)
@example(3, 7, 253, list(range(len(PLAIN))) * 4)
def test_methods_in_any_order_draw_what_numpy_draws(word: int, index: int, skip: int, order: list[int]) -> None:
    """Across the edges of blocks and of the buffer, with what is left of a word, by a stream that was used before."""
    key = np.array([word, word ^ 0xA5A5], np.uint64)
    found = np.empty(len(order))
    mixed(USED.state, key[0], key[1], np.uint64(index), skip, np.array(order, np.int64), found)
    rng = generator_at(key, index)
    rng.random(skip)
    assert found.tolist() == [float(PLAIN[method](rng)) for method in order]


USED = WorkerStream()


@njit
def from_block(state: Any, memory: Any, key0: Any, key1: Any, index: Any, blocks: Any, out: Any) -> None:
    rng = rng_of_replicate(state, key0, key1, index)
    memory[layout.BLOCKS] = blocks
    for i in range(len(out)):
        out[i] = rng.random()


@pytest.mark.parametrize("blocks", [0, 1, 31, 50, 62, 63, 64, 65, 2**32 - 5, 2**40, 2**63 - 2, 2**64 - 40])
def test_any_block_of_a_replicate_is_numpys(blocks: int) -> None:
    """Also those that no simulation reaches; computed one by one and by sixteen."""
    stream, key, found = WorkerStream(), np.array([2**63 + 5, 3], np.uint64), np.empty(130)
    memory = np.ctypeslib.as_array((ctypes.c_uint64 * layout.WORDS).from_address(int(stream.state)))
    from_block(stream.state, memory, key[0], key[1], np.uint64(2**62), np.uint64(blocks), found)
    rng = np.random.Generator(np.random.Philox(key=key, counter=np.array([blocks, 0, 2**62, 0], np.uint64)))
    assert np.array_equal(found, rng.random(130))


# ---- in a simulation ---------------------------------------------------------------------------------


@njit
def count(rng: Any, mean: float) -> int:
    return rng.poisson(mean)


@njit
def pair(generators: Any) -> float:
    return generators[0].random() + generators[1].standard_normal()


@bgsim.simulation(outputs={"events": "i8", "sum": "f8", "first": "i8", "words": ("f8", (3,))})
def draws_by_helpers(p: Any, rng: Any) -> Any:
    """Give rng to helpers, by value and in a tuple, keep a method's array, and shuffle one."""
    other = rng
    order = np.arange(9)
    rng.shuffle(order)
    return count(rng, p.mean), pair((other, rng)), order[0], rng.wald(1.0, 2.0, size=3)


def test_a_replay_is_exact_also_of_what_numpy_computes() -> None:
    result = bgsim.run(draws_by_helpers, {"mean": 12.0}, replicates=300, seed=4)
    for index in (0, 7, 299):
        events, total, first, words = result.replay(index)
        assert (events, total, first) == tuple(result[name][index] for name in ("events", "sum", "first"))
        assert words.tolist() == result["words"][index].tolist()


def test_poisson_has_no_bias() -> None:
    """For means from 10 to 15, numba's has: of 2,000,000 numbers 5 standard errors too many are 0."""
    draw = drawn("rng.poisson(10.0)", np.int64)
    found = [draw(key, index, *(np.empty(DRAWS),) * 3) for key, index in states()]
    share, exact = float((np.concatenate(found) == 0).mean()), np.exp(-10.0)
    assert abs(share - exact) < 4.0 * np.sqrt(exact / (DRAWS * STATES))


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("rng.poisson(-1.0)", "poisson: lam"),
        ("rng.poisson(1e19)", "poisson: lam"),
        ("rng.beta(0.0, 1.0)", "beta: a and b"),
        ("rng.f(1.0, -1.0)", "f: dfnum and dfden"),
        ("rng.negative_binomial(1.0, 0.0)", "negative_binomial: n must be"),
        ("rng.negative_binomial(1e18, 1e-3)", "negative_binomial: n is too large"),
        ("rng.noncentral_chisquare(1.0, -1.0)", "noncentral_chisquare: df"),
        ("rng.noncentral_f(1.0, 0.0, 1.0)", "noncentral_f: dfnum"),
        ("rng.standard_t(-0.5)", "standard_t: df"),
        ("rng.wald(1.0, 0.0)", "wald: mean and scale"),
        ("rng.integers(3, 2)", "low is greater than high"),
        ("rng.integers(0, 2**40, dtype=np.int32)", "high is out of bounds"),
    ],
)
def test_what_numpy_refuses_is_refused(body: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        drawn(body)(np.zeros(2, np.uint64), 0, *(np.empty(1),) * 3)
    with pytest.raises(ValueError):
        eval(body, {"rng": generator_at(np.zeros(2, np.uint64), 0), "np": np})


def test_a_method_that_this_numpy_does_not_export_is_an_error_that_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    @bgsim.simulation(outputs={"x": "f8"})
    def walds(p: Any, rng: Any) -> float:
        return rng.wald(p.mean, 1.0)

    monkeypatch.setattr(numpys, "MISSING", ["random_wald"])
    with pytest.raises(CompileError, match=r"offers rng\.wald to Python alone") as caught:
        walds.warmup({"mean": 1.0})
    assert "return rng.wald(p.mean, 1.0)" in str(caught.value)


def test_a_function_for_kernels_refuses_a_generator_of_python() -> None:
    """It was compiled for a stream, which Python has none of; of its own generators it compiles another."""

    @njit
    def draw(rng: Any) -> float:
        return rng.random()

    draw.compile((RNG,))
    draw.disable_compile()
    with pytest.raises(TypeError):
        draw(np.random.default_rng(1))
