"""What a function returns is stored as it is, or refused by name: nothing is cut, wrapped, or turned into another kind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import bgsim
from bgsim.analysis.summary import summarize
from bgsim.errors import CompileError, OutputError
from bgsim.kernels.outputs import flat_columns
from bgsim.ui.streams import say_json, show
from bgsim.ui.terminal import histogram, summary_table

PAIR = np.dtype([("a", "i4"), ("b", "f8", (2,))])
DAY = np.datetime64("2024-01-01T05:00:00", "s")


def made(outputs: Any, value: Any, *, compile: bool = False) -> Any:
    def function(p: Any, rng: np.random.Generator) -> Any:
        return value

    return bgsim.simulation(function, outputs={"x": outputs}, compile=compile, depends_on=())


@pytest.mark.parametrize(
    ("outputs", "value"),
    [
        ("U2", "abc"), ("S2", b"abc"), ("U3", "a\0"), ("S3", b"a\0"), (("U1", 2), np.array(["a", "bc"])),
        ("i1", 1000), ("i1", -129), (("i1", 2), np.array([1, 300])), ("i8", np.uint64(2**63)), ("i8", 2**63),
        ("f4", 1e300), ("f2", 70000), ("c8", 1e300 + 0j), ("M8[D]", DAY), ("V2", np.void(b"abcd")),
        (PAIR, np.array((2**40, [1, 2]), [("a", "i8"), ("b", "f8", (2,))])),
    ],
)  # fmt: skip
def test_what_an_output_cannot_hold_is_refused(outputs: Any, value: Any) -> None:
    with pytest.raises(OutputError, match=r"output 'x' of .* is declared as .*, which cannot hold ") as caught:
        bgsim.run(made(outputs, value), replicates=1)
    assert caught.value.field == "x"


@pytest.mark.parametrize(
    ("outputs", "value"),
    [
        ("i8", 1.5), ("f8", 1j), ("?", 2), ("U30", 5), ("U30", True), ("S3", "abc"), ("U3", b"abc"), ("m8[s]", 5), ("f8", None),
        ("f8", {}), pytest.param("f8", 10**5000, id="long"), (("f8", 2), [[1], [1, 2]]), (PAIR, np.zeros((), [("c", "i4"), ("b", "f8", (2,))])),
        ("M8[s]", np.timedelta64(1, "s")),
    ],
)  # fmt: skip
def test_another_kind_is_refused(outputs: Any, value: Any) -> None:
    with pytest.raises(OutputError, match=r"output 'x' of .* is declared as .*; the function return"):
        bgsim.run(made(outputs, value), replicates=1)


SHOWN: dict[str, tuple[Any, Callable[[int], Any]]] = {
    "structure": (PAIR, lambda i: np.array((i, [2.0, 3.0]), PAIR)),
    "structures": ((PAIR, 2), lambda i: np.zeros(2, PAIR)),
    "text": ("U9", lambda i: ["", "abc", "\x1b[2J\u202e"][i % 3]),
    "bytes": ("S3", lambda i: b"ab"),
    "texts": (("U3", 2), lambda i: np.array(["a", "bcd"])),
    "bool": ("?", lambda i: i % 2 == 0),
    "date": ("M8[s]", lambda i: DAY),
    "span": ("m8[ms]", lambda i: np.timedelta64("NaT", "ms")),
    "complex": ("c16", lambda i: 1 + 2j * i),
    "subarray": (np.dtype(("f8", (2,))), lambda i: np.ones(2)),
    "subarrays": ((np.dtype(("f8", (2,))), 3), lambda i: np.ones((3, 2))),
    "empty": (("f8", 0), lambda i: np.ones(0)),
    "nan": ("f8", lambda i: float("nan")),
    "infinite": ("f8", lambda i: [1.0, float("inf"), float("-inf"), 1e308][i % 4]),
    "half": ("f2", lambda i: np.float16(60000)),
    "long double": ("g", lambda i: np.longdouble(1)),
    "large": ("u8", lambda i: np.uint64(2**64 - 1 - i)),
    "far": ("f8", lambda i: [-1.7e308, 1.7e308][i % 2]),
    "near": ("f8", lambda i: 1e16 + 2 * (i % 2)),
    "raw": ("V4", lambda i: np.void(b"abcd")),
}


@pytest.mark.parametrize("kind", SHOWN)
@pytest.mark.parametrize("rows", [1, 5])
def test_every_kind_of_output_is_shown(kind: str, rows: int, capsys: pytest.CaptureFixture[str]) -> None:
    outputs, value = SHOWN[kind]
    numbers = iter(range(1000))

    def function(p: Any, rng: Any) -> Any:
        return value(next(numbers))

    result = bgsim.run(
        bgsim.simulation(function, outputs={"x": outputs}, compile=False, depends_on=()), replicates=rows
    )
    show(summary_table(result))
    for text in (repr(result), result._repr_html_(), capsys.readouterr().out):
        assert "x" in text
        assert all(c.isprintable() or c == "\n" for c in text)
    say_json({name: s.mean for name, s in result.summary().items()})
    assert len(result.to_pandas()) == rows
    assert all(column.ndim == 1 and column.dtype.names is None for column in flat_columns(result).values())


def test_statistics_beside_infinities_are_right() -> None:
    inf = float("inf")
    s = summarize(np.array([1.0, 2.0, inf]), (0.0, 0.25, 0.5, 0.75, 1.0))
    assert list(s.quantiles.values()) == [1.0, 1.5, 2.0, inf, inf]
    assert (s.mean, s.minimum, s.maximum) == (inf, 1.0, inf)
    assert summarize(np.array([], "f8")).count == 0
    half = summarize(np.full(5, 60000, "f2"))
    assert (half.mean, half.sd) == (60000.0, 0.0)
    text = summarize(np.array(["a"]))
    assert (text.count, text.mean, text.quantiles) == (1, None, {})


def test_a_histogram_counts_each_value_once() -> None:
    assert histogram(np.array([0, 0, 1])) == "0 █▄ 1"
    assert histogram(np.array([-1.7e308, 1.7e308])) == "-1.7e+308 █            █ 1.7e+308"
    assert histogram(np.array([3.0])).count("█") == 1
    assert histogram(np.array([float("nan")])) == ""


@pytest.mark.parametrize("shape", [(), (2,)])
@pytest.mark.parametrize(("kept", "given"), [("i1", 300), ("u1", np.uint16(256)), ("f4", 1e300), ("c8", 1e300 + 0j)])
def test_compiled_code_refuses_the_same(kept: str, given: Any, shape: tuple[int, ...]) -> None:
    array = np.full(shape, given) if shape else np.full((1,), given)

    @bgsim.simulation(outputs={"x": (kept, shape)})
    def whole(p: Any, rng: Any) -> Any:
        return array.copy()

    @bgsim.simulation(outputs={"x": (kept, shape)})
    def single(p: Any, rng: Any) -> Any:
        return array[0]

    with pytest.raises(OutputError, match=r"output 'x' of .* which cannot hold"):
        bgsim.run(whole if shape else single, replicates=1)


def test_compiled_texts_are_not_cut() -> None:
    names = np.array(["a", "bcd"])

    @bgsim.simulation(outputs={"x": "U2"})
    def cut(p: Any, rng: Any) -> Any:
        return names[1]

    with pytest.raises(OutputError, match=r"declared as <U2, and the function returns <U3, which is longer"):
        cut.warmup()


def test_a_kernel_that_never_returns_is_told_so() -> None:
    @bgsim.simulation(outputs={"x": "f8"})
    def always(p: Any, rng: Any) -> Any:
        raise ValueError("no")

    with pytest.raises(OutputError, match="never returns: a `return` is missing, or it always raises"):
        bgsim.run(always, replicates=1)


def test_a_parameter_that_no_kernel_sees_is_named() -> None:
    @bgsim.simulation(outputs={"x": "f8"})
    def reads(p: Any, rng: Any) -> Any:
        return 0.0 if p.k is None else p.k

    for given in ({"k": None}, {"k": "text"}, {"other": 1.0}):
        with pytest.raises(CompileError, match="Parameter 'k' was not given, or is None or a text here") as caught:
            bgsim.run(reads, given, replicates=1)
        assert "View:" not in str(caught.value)
