"""Code that numba cannot compile: the line, the reason and the remedy, in a few lines."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numba import njit
from numba.core.errors import TypingError

import bgsim
from bgsim.errors import CompileError, InvalidInputError, OutputError, ParameterError, ReplicateError, StoreError
from bgsim.kernels.compile_errors import compile_error
from bgsim.models.options import european_call


@dataclass(frozen=True)
class Steps:
    """Parameters of the kernels below."""

    x: float = 1.0
    steps: int = 3


class Thing:
    """No number."""

    x = 1.0


THING = Thing()
TABLE = {"a": 1.0}
LIST = [1.0, 2.0]


def helper(x: float) -> float:
    """Not compiled."""
    return x + 1.0


@njit
def asks_a_float_for_an_attribute(x: float) -> Any:
    """Fail inside of a helper."""
    return x.nothing  # type: ignore[attr-defined] # the line that is meant


@njit
def two(x: float, y: float) -> float:
    """Take two arguments."""
    return x + y


Kernel = Any
CASES: list[tuple[Kernel, str, str]] = []


def case(line: str, remedy: str) -> Any:
    """Note a kernel, a part of the line that its error points at, and the words of its remedy."""

    def noted(function: Any) -> Any:
        CASES.append((function, line, remedy))
        return function

    return noted


@case(
    "return helper(p.x)",
    "helper is a plain function, and compiled code calls compiled ones alone: decorate it with @numba.n",
)
def plain_helper(p: Steps, rng: Any) -> Any:
    return helper(p.x)


@case('TABLE["a"]', "TABLE, a global, is a dict, and a kernel sees numbers, texts, tuples and arrays of numbers alone")
def global_dict(p: Steps, rng: Any) -> Any:
    return TABLE["a"]


@case("return LIST[0]", "Make LIST a tuple or an array")
def global_list(p: Steps, rng: Any) -> Any:
    return LIST[0]


@case("return THING.x", "THING, a global, is a Thing")
def global_object(p: Steps, rng: Any) -> Any:
    return THING.x


def _closure(table: Any) -> Any:
    @case('return table["a"]', "table, a variable of the function around it, is a dict")
    def enclosed(p: Steps, rng: Any) -> Any:
        return table["a"]

    return enclosed


_closure({"a": 1.0})


@case("return Thing().x", "Thing is a class, and a kernel makes no objects")
def makes_an_object(p: Steps, rng: Any) -> Any:
    return Thing().x


@case(
    "return european_call(p, rng)",
    "european_call is a simulation: move what both need into a function with @numba.njit",
)
def calls_a_simulation(p: Steps, rng: Any) -> Any:
    return european_call(p, rng)


@case("return len(open", "numba does not know open(): do that before or after the run")
def opens_a_file(p: Steps, rng: Any) -> Any:
    return len(open("x").read())  # noqa: PTH123


@case("return p.stps", "Steps has no field 'stps'; did you mean 'steps'?")
def misspelt_parameter(p: Steps, rng: Any) -> Any:
    return p.stps  # type: ignore[attr-defined]


@case("return x.nothing", "A float64 has no nothing in compiled code")
def fails_in_a_helper(p: Steps, rng: Any) -> Any:
    return asks_a_float_for_an_attribute(p.x)


@case("return two(p.x)", "Give the function the arguments that it takes: missing a required argument: 'y'")
def leaves_an_argument_out(p: Steps, rng: Any) -> Any:
    return two(p.x)  # type: ignore[call-arg]


@case("np.einsum(", "numba does not know numpy.einsum, or not so: write it as a loop, or as simpler steps")
def unsupported_numpy(p: Steps, rng: Any) -> Any:
    return np.einsum("i,i", np.ones(2), np.ones(2))


@case("np.mean(", "numba does not know the argument axis of this function")
def unsupported_argument(p: Steps, rng: Any) -> Any:
    return np.mean(np.ones((2, 2)), axis=0)[0]


@case("", "numpy has no nothing: look at its spelling")
def unknown_numpy(p: Steps, rng: Any) -> Any:
    return np.nothing(1.0)  # type: ignore[attr-defined]


@case("return subprocess.run", "numba does not know subprocess.run: use math, NumPy, or a function with @numba.njit")
def other_module(p: Steps, rng: Any) -> Any:
    return subprocess.run(["x"]).returncode  # noqa: PLW1510


@case("rng.choice", "numba does not know rng.choice: draw by rng.random")
def unknown_draw(p: Steps, rng: Any) -> Any:
    return rng.choice(5)


@case("rng.normal(1", "numba does not know rng.normal for these types")
def wrong_draw(p: Steps, rng: Any) -> Any:
    return rng.normal(1, 2, 3, 4, 5)


@case("np.random.default_rng(1)", "Draw from rng, the kernel's second argument")
def own_generator(p: Steps, rng: Any) -> Any:
    return np.random.default_rng(1).random()


@case("import math", "Import at the top of the module")
def imports(p: Steps, rng: Any) -> Any:
    import math

    return math.pi


@case("return ", "Return values of the same types from each branch")
def other_types_of_results(p: Steps, rng: Any) -> Any:
    if p.x > 0:
        return 1.0
    return np.zeros(3)


@case("return y", "Keep y to one type throughout: it is float64 in one branch and Literal[str](text) in another")
def other_types_of_a_variable(p: Steps, rng: Any) -> Any:
    y: Any = 1.0
    if p.x > 0:
        y = "text"
    return y


@case("{p.x:.3f}", "Leave text out of the kernel")
def formats(p: Steps, rng: Any) -> Any:
    return len(f"{p.x:.3f}")


@case('print("%.3f"', "Leave text out of the kernel")
def prints(p: Steps, rng: Any) -> Any:
    print("%.3f" % p.x)  # noqa: UP031
    return 1.0


@case(".format(p.x)", "Leave text out of the kernel")
def formats_by_method(p: Steps, rng: Any) -> Any:
    return len("{}".format(p.x))  # noqa: UP032


@case("except ZeroDivisionError:", "Write `except Exception:` alone, or test for what would raise")
def one_kind_of_exception(p: Steps, rng: Any) -> Any:
    try:
        return 1.0 / p.x
    except ZeroDivisionError:
        return 0.0


@case("except Exception as error:", "Write `except Exception:` alone")
def kept_exception(p: Steps, rng: Any) -> Any:
    try:
        return 1.0 / p.x
    except Exception as error:  # noqa: F841
        return 0.0


@case("", "numba knows no `with` in a kernel")
def with_block(p: Steps, rng: Any) -> Any:
    with open("x") as file:  # noqa: PTH123
        return file


@case("values = []", "numba cannot tell what an empty list or dict will have: make an array")
def empty_list(p: Steps, rng: Any) -> Any:
    values = []  # type: ignore[var-annotated]
    return len(values)


@case("return undefined_name", "Define or import 'undefined_name' at the top of the module")
def undefined(p: Steps, rng: Any) -> Any:
    return undefined_name(p.x)  # type: ignore[name-defined] # noqa: F821


@case("sum(i for i in", "Write a loop in place of the generator expression")
def generator(p: Steps, rng: Any) -> Any:
    return sum(i for i in range(3))


@case("return p.x[0]", "A float64 has no elements: look at what stands before the bracket")
def indexes_a_number(p: Steps, rng: Any) -> Any:
    return p.x[0]  # type: ignore[index]


@case("", "Parameters reach a compiled kernel as numbers and arrays only, and numba knows a part of Python")
def what_numba_lets_through(p: Steps, rng: Any) -> Any:
    values = [1, 2]
    del values[0]
    return 1.0


@pytest.mark.parametrize(("function", "line", "remedy"), CASES, ids=lambda found: getattr(found, "__name__", ""))
def test_the_line_the_reason_and_the_remedy(function: Any, line: str, remedy: str) -> None:
    with pytest.raises(CompileError) as caught:
        bgsim.simulation(function, outputs={"a": "f8"}).warmup()
    lines = str(caught.value).splitlines()
    assert len(lines) == 5
    file, _, number = (
        lines[0].removeprefix(f"numba cannot compile {__name__}.{function.__qualname__}: ").rpartition(", ")
    )
    assert Path(file).name == Path(__file__).name
    pointed_at = Path(__file__).read_text().splitlines()[int(number.removeprefix("line ")) - 1].strip()
    assert lines[1] == f"    {pointed_at}"
    assert line in pointed_at
    assert remedy in lines[2]
    assert lines[3].startswith("numba says: ")
    assert len(lines[3]) < 260
    assert "compile=False" in lines[4]
    assert isinstance(caught.value.__cause__, Exception)
    assert caught.value.details.strip()
    assert "View:" not in str(caught.value) + caught.value.details


def test_an_error_of_a_wrong_input_is_short_in_a_notebook() -> None:
    """IPython prints what `_render_traceback_` returns: the text, and where the caller's code was."""

    def fails(p: Steps, rng: Any) -> float:
        raise ValueError("no such thing")

    tries: list[tuple[Any, type[Any], str]] = [
        (
            lambda: bgsim.simulation(plain_helper, outputs={"a": "f8"}).warmup(),
            CompileError,
            "decorate it with @numba.njit",
        ),
        (lambda: european_call.bind({"strik": 1.0}), ParameterError, "did you mean 'strike'"),
        (lambda: bgsim.simulation(fails, outputs={"a": "?x"}), OutputError, "such as 'f8', 'i8' or '?'; got '?x'"),
        (
            lambda: bgsim.run(bgsim.simulation(fails, outputs={"a": "f8"}, compile=False), replicates=1),
            ReplicateError,
            "line 244",
        ),
    ]
    for attempt, kind, words in tries:
        with pytest.raises(kind) as caught:
            attempt()
        lines = caught.value._render_traceback_()
        assert lines[0].startswith(f"{kind.__name__}: ")
        assert len(lines) <= 10
        assert len("\n".join(lines).splitlines()) <= 10
        assert lines[-1] == "all frames: import traceback; traceback.print_last()"
        assert f"{Path(__file__).name}, line " in lines[-2]
        if kind is ReplicateError:
            assert (
                f'raised in {__file__}, line {fails.__code__.co_firstlineno + 1}: raise ValueError("no such thing")'
                in lines
            )
        else:
            assert words in "\n".join(lines)


SCRIPT = """
import bgsim

def helper(x):
    return x + 1.0

@bgsim.simulation(outputs={"a": "f8"})
def kernel(p, rng):
    return helper(p.x)

bgsim.run(kernel, {"x": 1.0}, replicates=10)
"""


def test_what_a_script_and_a_notebook_print_last_is_the_remedy(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(SCRIPT))
    told = [
        f"numba cannot compile __main__.kernel: {script.name}, line 9",
        "    return helper(p.x)",
        "helper is a plain function, and compiled code calls compiled ones alone: decorate it with @numba.njit",
    ]
    done = subprocess.run([sys.executable, script.name], cwd=tmp_path, capture_output=True, text=True, check=False)
    *_, first, source, remedy, _, _ = done.stderr.splitlines()
    assert [first, source, remedy] == [f"bgsim.errors.CompileError: {told[0]}", *told[1:]]
    command = [sys.executable, "-m", "IPython", "--colors=NoColor", "--no-banner", script.name]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, check=False, env={"HOME": str(tmp_path)}
    )
    shown = (done.stdout + done.stderr).splitlines()
    begin = shown.index(f"CompileError: {told[0]}")
    assert shown[begin + 1 : begin + 3] == told[1:]
    assert len(shown) - begin <= 10


def test_the_colours_of_numba_hide_no_remedy() -> None:
    """Where colorama is installed, numba puts escape codes into the words by which bgsim knows what is wrong."""

    def kernel(p: object, rng: object) -> float:
        return undeclared(p)  # type: ignore[name-defined,no-any-return] # noqa: F821

    words = "Untyped global name 'undeclared': Cannot determine Numba type of <class 'function'>"
    plain, coloured = (
        compile_error("kernel", kernel, TypingError(text))
        for text in (words, "\x1b[1m\x1b[31m" + words.replace(":", ":\x1b[0m") + "\x1b[0m")
    )
    assert "decorate it with @numba.njit" in str(coloured)
    assert (str(coloured), coloured.details) == (str(plain), plain.details)


def test_every_error_of_bgsim_is_shown_with_the_line_that_asked_for_it(tmp_path: Path) -> None:
    def refused() -> None:  # in the `__init__` of a dataclass, which has no source
        bgsim.Engine(immediate=True).submit(european_call, replicates=1, priority="hihg")  # type: ignore[arg-type]

    def lost() -> None:
        bgsim.ResultStore(tmp_path / "none" / "s.db")

    for attempt, kind, line in ((refused, InvalidInputError, ".submit("), (lost, StoreError, "bgsim.ResultStore(")):
        with pytest.raises(kind) as caught:
            attempt()
        lines = caught.value._render_traceback_()
        assert len(lines) == 3
        assert f"{Path(__file__).name}, line " in lines[1]
        assert line in lines[1]
