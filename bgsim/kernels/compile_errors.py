"""What numba says of code that it cannot compile, in a few lines: where, why, and what to do about it.

numba's own text is a page, or several: it names each of its functions that did not match. All of it stays in
`CompileError.details`.
"""

from __future__ import annotations

import builtins
import inspect
import linecache
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bgsim.errors import CompileError, nearest

_VIEW = re.compile(r"\bView:[\w,]*")
"""The name of the type of the parameters; see `bgsim.parameters.parameter_set.view_class`."""

_COLOUR = re.compile(r"\x1b\[[\d;]*m")
"""What numba puts around parts of its messages where colorama is installed."""

_PLACE = re.compile(r'File "(?P<file>[^"\n]+)", line (?P<line>\d+)|(?:at|from) (?P<path>/[^\n]*?) \((?P<at>\d+)\)')
_SIGNATURE = re.compile(r"No implementation of function .*? found for signature:\s*>>> (.*)")
_METHOD = re.compile(r"^(?:NumPyRandomGeneratorType|_rng)_")
"""What stands before the name of a method of rng: in numba, and in `bgsim.kernels.draws.methods`."""

_NOT_OF_USERS = (f"{os.sep}numba{os.sep}", f"{os.sep}bgsim{os.sep}kernels{os.sep}")
_MOST_REASON = 240


def compile_error(
    name: str, function: Callable[..., Any], error: BaseException, remedy: str | None = None
) -> CompileError:
    """Return the error that says what numba cannot compile, with its cause.

    Parameters
    ----------
    name : str
        Of the simulation.
    function : function
    error : Exception
        What numba raised.
    remedy : str or None
        What to do about it, where the caller knows.
    """
    details = _VIEW.sub("parameters", _COLOUR.sub("", str(error)))
    if not type(error).__module__.startswith("numba."):  # one that numba lets through
        details = f"{type(error).__name__}: {details}"
    reason = _reason(details)
    path, number = _place(details, function, reason)
    source = linecache.getline(path, number).strip()
    lines = [
        f"numba cannot compile {name}: {_file(path)}, line {number}",
        *([f"    {source}"] if source else []),
        remedy or _remedy(f"{reason}\n{details}", function),
        f"numba says: {reason}",
        "Or leave it as it is: @simulation(compile=False) runs plain Python. The error's `details` has all numba says.",
    ]
    found = CompileError("\n".join(lines), details=details)
    is_numbas = type(error).__module__.startswith("numba.")
    found.__cause__ = error.with_traceback(None) if is_numbas else error  # numba's own frames tell nothing
    return found


def _reason(details: str) -> str:
    """Return the sentence that says why."""
    called = _SIGNATURE.search(details)
    lines = [line.strip().removeprefix("- ") for line in details.splitlines()]
    said = [line for line in lines if line and not line.startswith(("Failed in ", "Resolution failure for"))]
    if called is not None and said and said[0].startswith("No implementation of function"):
        reason = f"no implementation of {_METHOD.sub('rng.', called[1].strip())}"
    else:
        reason = re.split(r"\.? ?Raised from ", said[0])[0] if said else details
    reason = re.sub(r" from '[^']*'", "", reason)  # where a module is
    return reason if len(reason) <= _MOST_REASON else f"{reason[: _MOST_REASON - 3]}..."


def _place(details: str, function: Callable[..., Any], reason: str) -> tuple[str, int]:
    """Return file and line of the user's code that is meant, the innermost."""
    for found in _PLACE.finditer(details):
        path = found["path"] or str(Path(os.path.normpath(Path.cwd() / found["file"])))
        if not any(part in path for part in _NOT_OF_USERS):
            return path, int(found["line"] or found["at"])
    code = function.__code__
    undefined = re.match(r"NameError: name '(\w+)'", reason)
    if undefined is not None:
        lines, first = _source_of(function)
        uses = [n for n, line in enumerate(lines) if re.search(rf"\b{undefined[1]}\b", line)]
        if uses:
            return code.co_filename, first + uses[0]
    return code.co_filename, code.co_firstlineno


def _source_of(function: Callable[..., Any]) -> tuple[list[str], int]:
    try:
        return inspect.getsourcelines(function.__code__)
    except (OSError, TypeError):
        return [], 1


def _file(path: str) -> str:
    """Return a path as people know it: a cell's as that, one below the working directory from there on."""
    if "ipykernel_" in path or path.startswith("<"):
        return "in a cell"
    try:
        return str(Path(path).relative_to(Path.cwd()))
    except ValueError:
        return path


# ---- what to do --------------------------------------------------------------------------------------


def _remedy(said: str, function: Callable[..., Any]) -> str:
    for pattern, text in _REMEDIES:
        found = re.search(pattern, said)
        if found is not None:
            return text(found, function) if callable(text) else found.expand(text)
    return "Parameters reach a compiled kernel as numbers and arrays only, and numba knows a part of Python"


def _of_value(found: re.Match[str], function: Callable[..., Any]) -> str:
    """Say what to do about a global, or a variable of an enclosing function, that numba has no type for."""
    name, kind = found[1], found[2].rpartition(".")[2]
    where = "a variable of the function around it" if name in function.__code__.co_freevars else "a global"
    if kind == "function":
        return f"{name} is a plain function, and compiled code calls compiled ones alone: decorate it with @numba.njit"
    if kind == "Simulation":
        return f"{name} is a simulation: move what both need into a function with @numba.njit, and call that"
    if kind == "ufunc":
        return f"numba knows no {name}, nor others of scipy.special: use math, NumPy, or a function with @numba.njit"
    if kind in ("type", "ABCMeta", "EnumType", "EnumMeta"):
        return f"{name} is a class, and a kernel makes no objects: use numbers, tuples and arrays"
    if kind == "builtin_function_or_method":
        return f"numba does not know {name}(): do that before or after the run, not in the kernel"
    return (
        f"{name}, {where}, is a {kind}, and a kernel sees numbers, texts, tuples and arrays of numbers alone: make it "
        "one of these, or a field of the parameters"
    )


def _of_name(found: re.Match[str], function: Callable[..., Any]) -> str:
    known = [*function.__globals__, *dir(builtins), *function.__code__.co_varnames]
    return f"Define or import {found[1]!r} at the top of the module{nearest(found[1], known)}"


_TEXT = "Leave text out of the kernel: return numbers, and format them after the run"
_STEPS = "write it as a loop, or as simpler steps"

_REMEDIES: tuple[tuple[str, str | Callable[[re.Match[str], Callable[..., Any]], str]], ...] = (
    (r"Untyped global name '(\w+)': Cannot determine Numba type of <class '([\w.]+)'>", _of_value),
    (r"NameError: name '(\w+)' is not defined", _of_name),
    (r"AttributeError: module '([\w.]+)' has no attribute '(\w+)'", r"\1 has no \2: look at its spelling"),
    (r"IMPORT_NAME", "Import at the top of the module, not in the function"),
    (r"STORE_GLOBAL|DELETE_GLOBAL", "A kernel must not change a global: return the value as an output"),
    (r"LOAD_BUILD_CLASS", "A kernel makes no classes: use numbers, tuples and arrays"),
    (r"DICT_MERGE", "Give the arguments one by one: numba unpacks no dict in a call"),
    (r"f-string", _TEXT),
    (
        r"Exception object cannot be stored|Exception matching is limited",
        "Write `except Exception:` alone, or test for what would raise before it does: numba tells no kinds of "
        "exceptions apart, and keeps none in a variable",
    ),
    (r"context manager", "numba knows no `with` in a kernel: open files and locks before the run"),
    (r"yield in a closure", "Write a loop in place of the generator expression, or a list in brackets"),
    (r"Can't unify return type", "Return values of the same types from each branch: both floats, or both arrays"),
    (
        r"Cannot unify (.+?) and (.+?) for '(\w+)",
        r"Keep \3 to one type throughout: it is \1 in one branch and \2 in another",
    ),
    (
        r"use of a reflected list\(.*?assigned to variable '(\w+)' in globals",
        r"Make \1 a tuple or an array: a kernel does not see a list that may change",
    ),
    (
        r"imprecise type: (?:list|DictType|set)",
        "numba cannot tell what an empty list or dict will have: make an array, as np.empty(n) does, or a typed one by "
        "numba.typed",
    ),
    (r"imprecise type: pyobject", "An array of objects reaches no kernel: make it an array of numbers"),
    (
        r"Unknown attribute '(\w+)' of type Rng",
        r"numba does not know rng.\1: draw by rng.random, rng.integers, rng.normal, rng.exponential and their like; "
        "values[rng.integers(len(values))] is a choice",
    ),
    (
        r"does not export random_(\w+)",
        r"This build of NumPy offers rng.\1 to Python alone: use another method of rng in the kernel",
    ),
    (r"Unknown attribute 'default_rng'", "Draw from rng, the kernel's second argument, and make no generator"),
    (r"unsupported NumPy function '([\w.]+)'", rf"numba does not know \1, or not so: {_STEPS}"),
    (
        r"Unknown attribute '(\w+)' of type Module\(<module '([\w.]+)'",
        r"numba does not know \2.\1: use math, NumPy, or a function with @numba.njit",
    ),
    (r"Unknown attribute '(\w+)' of type (?:Literal\[str\]|unicode_type)", _TEXT),
    (r"Unknown attribute '(\w+)' of type (\w+)", r"A \2 has no \1 in compiled code: compute with numbers and arrays"),
    (r"no implementation of mod\((?:Literal\[str\]|unicode_type)", _TEXT),
    (
        r"no implementation of (?:static_)?getitem\((\w+)",
        r"A \1 has no elements: look at what stands before the bracket",
    ),
    (r"Cannot bind 'args=.*?due to \"TypeError: (.+?)\"", r"Give the function the arguments that it takes: \1"),
    (r"unexpected keyword argument '(\w+)'", rf"numba does not know the argument \1 of this function: {_STEPS}"),
    (r"no implementation of ([\w.]+)\(", rf"numba does not know \1 for these types: look at what it gets, or {_STEPS}"),
)
"""What numba says, as a pattern, and what to do about it; the first that is found counts."""
