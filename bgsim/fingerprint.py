"""The fingerprint of a simulation: a hash of all the code and constants that its results depend on.

It covers the function's source without docstring, comments and layout, and, followed by name, the plain and
jitted functions, classes and constants that it uses. What is installed from another package (the standard
library, NumPy, numba, bgsim's interface) counts by name only. An edited kernel so never meets an old result,
and a notebook cell that is run again does.
"""

from __future__ import annotations

import ast
import enum
import hashlib
import inspect
import sys
import sysconfig
import textwrap
import threading
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from bgsim.encoding import encode

_INSTALLED = tuple(
    str(Path(p)) for p in {sysconfig.get_path(k) for k in ("stdlib", "platstdlib", "purelib", "platlib")}
)
_OUR_INTERFACE = ("bgsim.control", "bgsim.streams")


class Dependencies:
    """What a function's results depend on, found by following the names in its source.

    Attributes
    ----------
    parts : list of str
        A line for each piece: canonical source, constant, or name of an installed function.
    methods : set of str
        Names of the methods that the code calls, to warn of those that are known to be wrong.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self.parts: list[str] = []
        self.methods: set[str] = set()
        self._seen: set[int] = set()
        self._package = function.__module__.partition(".")[0]
        self._function(function)

    @property
    def digest(self) -> str:
        """128 bits of SHA-256 over the parts, as 32 hexadecimal digits."""
        return hashlib.sha256("\n".join(self.parts).encode()).hexdigest()[:32]

    def _function(self, function: Callable[..., Any]) -> None:
        if id(function) in self._seen:
            return
        self._seen.add(id(function))
        tree = _canonical_tree(function)
        if tree is None:
            self.parts.append(_bytecode(function.__code__))
            names: Iterator[tuple[str, ...]] = ((name,) for name in function.__code__.co_names)
        else:
            self.parts.append(ast.unparse(tree))
            self.methods |= {
                n.func.attr for n in ast.walk(tree) if isinstance(n, ast.Call) and isinstance(n.func, ast.Attribute)
            }
            names = _loaded_names(tree)
        closure = inspect.getclosurevars(function) if function.__closure__ else None
        scope = {**function.__globals__, **(closure.nonlocals if closure else {})}
        for path in sorted(set(names)):
            self._follow(".".join(path), path, scope)

    def _follow(self, label: str, path: tuple[str, ...], scope: dict[str, Any]) -> None:
        if path[0] not in scope:
            return  # a builtin, or a local name
        value = scope[path[0]]
        for attribute in path[1:]:
            if not isinstance(value, types.ModuleType | type):
                break
            value = getattr(value, attribute, None)
        self._value(label, value)

    def _value(self, label: str, value: Any) -> None:
        value = getattr(value, "py_func", value)
        value = getattr(value, "__wrapped__", value)
        if isinstance(value, types.ModuleType) or value is None:
            self.parts.append(f"{label} = {getattr(value, '__name__', None)}")
        elif isinstance(value, type) and issubclass(value, enum.Enum):
            self.parts.append(f"{label} = {[(m.name, m.value) for m in value]}")
        elif isinstance(value, types.FunctionType) and not self._foreign(value):
            self._function(value)
        elif isinstance(value, bool | int | float | complex | str | bytes | tuple | np.ndarray | np.generic):
            self.parts.append(f"{label} = {_constant(value)}")
        else:
            self.parts.append(
                f"{label}: {getattr(value, '__module__', '')}.{getattr(value, '__qualname__', type(value))}"
            )

    def _foreign(self, function: types.FunctionType) -> bool:
        """Tell whether a function is a library's: installed, and of another package than the simulation."""
        if function.__module__ in _OUR_INTERFACE:
            return True
        module = sys.modules.get(function.__module__)
        file = getattr(module, "__file__", None) or function.__code__.co_filename
        return str(file).startswith(_INSTALLED) and function.__module__.partition(".")[0] != self._package


_parsing = threading.Lock()
"""CPython 3.11 counts the depth of the tree that it makes for all threads together, and raises if two make one."""


def _canonical_tree(function: Callable[..., Any]) -> ast.AST | None:
    """Return the function's syntax tree without decorators and docstring, None where there is no source."""
    try:
        source = textwrap.dedent(inspect.getsource(function))
        with _parsing:
            tree = ast.parse(source)
    except (OSError, TypeError, SyntaxError):
        return None
    node = tree.body[0]
    if not isinstance(node, ast.FunctionDef):
        return None
    node.decorator_list = []
    node.returns = None
    for argument in node.args.args:
        argument.annotation = None
    for inner in ast.walk(node):
        if isinstance(inner, ast.FunctionDef) and ast.get_docstring(inner, clean=False) is not None:
            inner.body = inner.body[1:] or [ast.Pass()]
    return node


def _loaded_names(tree: ast.AST) -> Iterator[tuple[str, ...]]:
    """Yield each name that is read, with the attributes after it: ``math.sqrt`` as ("math", "sqrt")."""
    for node in ast.walk(tree):
        inner, attributes = node, ()  # type: ast.AST, tuple[str, ...]
        while isinstance(inner, ast.Attribute):
            attributes = (inner.attr, *attributes)
            inner = inner.value
        if isinstance(inner, ast.Name):
            yield (inner.id, *attributes)


def _constant(value: Any) -> str:
    parts: list[bytes] = []
    try:
        encode(value.item() if isinstance(value, np.generic) else value, parts)
    except (AssertionError, AttributeError):
        return repr(value)
    return hashlib.sha256(b"".join(parts)).hexdigest()


def _bytecode(code: types.CodeType) -> str:
    constants = [_bytecode(c) if isinstance(c, types.CodeType) else repr(c) for c in code.co_consts]
    return f"{code.co_code.hex()} {constants} {code.co_names}"
