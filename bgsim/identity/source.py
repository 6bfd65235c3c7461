"""What a code object counts as: its source, if that compiles to it, else its byte code.

The source of a function is read when the function is looked at, which may be long after it was compiled: the file may
have been edited since. So the source counts only if compiling it again gives the code that runs. It is then the same
text under every Python, whatever its comments, docstrings and layout.
"""

from __future__ import annotations
import __future__

import ast
import functools
import linecache
import struct
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

from bgsim.threads.locks import Lock

_FUTURE_FLAGS = functools.reduce(
    lambda flags, name: flags | getattr(__future__, name).compiler_flag, __future__.all_feature_names, 0
)
_TRIES = 5

_parsing = Lock()
"""CPython 3.11 counts the depth of the tree that it makes for all threads together, and raises if two make one."""

_known: dict[int, tuple[types.CodeType, str]] = {}
"""By the address of a code object, which is kept so that the address stays its own."""

_MOST_KNOWN = 10_000


def text_of(code: types.CodeType, namespace: dict[str, Any]) -> str:
    """Return the canonical text of a function's code object.

    Parameters
    ----------
    code : code object
        Of a function or a lambda.
    namespace : dict
        The function's globals, whose loader may have the source.
    """
    known = _known.get(id(code))
    if known is None:
        if len(_known) >= _MOST_KNOWN:
            _known.clear()
        node = _node_of(code, namespace)
        known = _known[id(code)] = (code, _byte_code(code) if node is None else _canonical(node, code))
    return known[1]


# ---- finding the source ------------------------------------------------------------------------------


def _node_of(code: types.CodeType, namespace: dict[str, Any]) -> ast.AST | None:
    """Return the syntax tree of the function, None if no source compiles to it."""
    linecache.checkcache(code.co_filename)
    text = "".join(linecache.getlines(code.co_filename, namespace))
    wanted = _comparable(code)
    file = _file_of(text, code.co_flags & _FUTURE_FLAGS) if text else None
    if file is None:
        return None
    # The line is the same unless the file was edited since, so it is looked at first.
    for found in sorted(file.codes.get(code.co_name, ()), key=lambda c: c.co_firstlineno != code.co_firstlineno):
        if _comparable(found) == wanted:
            nodes = [node for node in file.nodes(code.co_name) if _is_of(found, node)]
            if len(nodes) == 1:
                return nodes[0]
    return None


class _File:
    """A file's functions: their code objects and their syntax trees, by name."""

    def __init__(self, tree: ast.Module, code: types.CodeType) -> None:
        self.codes: dict[str, list[types.CodeType]] = {}
        for inner in _inner(code):
            self.codes.setdefault(inner.co_name, []).append(inner)
        self._tree = tree
        self._nodes: dict[str, list[ast.AST]] = {}
        self._collect(tree.body)

    def nodes(self, name: str) -> list[ast.AST]:
        """Return the syntax trees of the functions with a name; lambdas are looked for when they are asked for."""
        if name == "<lambda>" and name not in self._nodes:
            self._nodes[name] = [node for node in ast.walk(self._tree) if isinstance(node, ast.Lambda)]
        return self._nodes.get(name, [])

    def _collect(self, statements: list[Any]) -> None:
        for statement in statements:
            if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
                self._nodes.setdefault(statement.name, []).append(statement)
            for block in ("body", "orelse", "finalbody", "handlers", "cases"):
                inner = getattr(statement, block, None)
                if isinstance(inner, list):
                    self._collect(inner)


@functools.lru_cache(maxsize=64)
def _file_of(text: str, flags: int) -> _File | None:
    """Parse and compile a file. The whole of it: what a function compiles to depends on the imports above it."""
    tree = _alone(lambda: ast.parse(text))
    code = tree and _alone(lambda: compile(tree, "<source>", "exec", flags, dont_inherit=True))
    return None if code is None else _File(tree, code)


def _alone(make: Callable[[], Any]) -> Any:
    """Return what the parser or the compiler makes, None if it refuses."""
    for _ in range(_TRIES):
        try:
            with _parsing:
                return make()
        except SystemError:  # another thread parses at this moment, without our lock
            continue
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return None
    return None


def _inner(code: types.CodeType) -> Iterator[types.CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield constant
            yield from _inner(constant)


def _first_line(node: Any) -> int:
    decorators = getattr(node, "decorator_list", None)
    line: int = decorators[0].lineno if decorators else node.lineno
    return line


def _is_of(code: types.CodeType, node: Any) -> bool:
    """Tell whether a code object was compiled from a syntax tree: it begins in its line.

    Of several lambdas in one line, the positions of the code lie within the one's body.
    """
    if _first_line(node) != code.co_firstlineno:
        return False
    if not isinstance(node, ast.Lambda):
        return True
    body: Any = node.body
    first, last = (body.lineno, body.col_offset), (body.end_lineno, body.end_col_offset)
    for line, end_line, column, end_column in code.co_positions():
        if None in (line, end_line, column, end_column) or end_column == 0:
            continue  # of no place in the source, such as the start of the function
        if (line, column) < first or (end_line, end_column) > last:
            return False
    return True


def _comparable(code: types.CodeType) -> types.CodeType:
    """Return a code object that is equal to another one if both do the same, wherever they stand."""
    constants = tuple(_comparable(c) if isinstance(c, types.CodeType) else c for c in code.co_consts)
    return code.replace(co_filename="", co_firstlineno=1, co_linetable=b"", co_consts=constants)


# ---- canonical text ----------------------------------------------------------------------------------


def _canonical(node: Any, code: types.CodeType) -> str:
    """Return a function's tree as text, without what does not count: name, decorators, defaults and annotations.

    What decorators and defaults have made is looked at itself. Expressions that are a constant alone, docstrings among
    them, do nothing, unless the code reads a docstring.
    """
    keep_constants = any("__doc__" in c.co_names for c in (code, *_inner(code)))
    parts = [_arguments(node.args)]
    body = [ast.Expr(node.body)] if isinstance(node, ast.Lambda) else node.body
    _write_list(body, parts, keep_constants or isinstance(node, ast.Lambda))
    if "Assert(" in parts or "id='__debug__'" in parts:  # python -O runs other code
        parts.append(f"optimize={min(sys.flags.optimize, 1)}")
    return " ".join(parts)


def _arguments(arguments: ast.arguments) -> str:
    a = arguments
    groups: list[list[Any]] = [a.posonlyargs, a.args, [a.vararg], a.kwonlyargs, [a.kwarg]]
    return "(" + "/".join(",".join(one.arg for one in group if one is not None) for group in groups) + ")"


def _write(value: Any, parts: list[str], keep_constants: bool) -> None:
    """Append a field of a syntax tree; the name of a field with plain text stands together with it."""
    if isinstance(value, ast.Constant):
        parts.append(constant_text(value.value))
        return
    parts.append(type(value).__name__ + "(")
    for name in value._fields:
        field = getattr(value, name, None)
        if field is None or name in _UNSEEN or (name == "annotation" and isinstance(value, ast.AnnAssign | ast.arg)):
            continue
        if isinstance(field, list):
            if field:
                parts.append(f"{name}=")
                _write_list(_flat(field) if isinstance(value, ast.Delete) else field, parts, keep_constants)
        elif isinstance(field, ast.AST):
            parts.append(f"{name}=")
            _write(field, parts, keep_constants)
        else:
            parts.append(f"{name}={field!r}")
    parts.append(")")


_UNSEEN = frozenset({"ctx", "kind", "returns", "type_comment", "type_params"})
"""Fields of a syntax tree that change no result."""


def _write_list(values: list[Any], parts: list[str], keep_constants: bool) -> None:
    parts.append("[")
    for value in values:
        if not isinstance(value, ast.AST):
            parts.append(repr(value))  # a name of ``global`` and ``nonlocal``, or no key of a dictionary's ``**``
        elif keep_constants or not (isinstance(value, ast.Expr) and isinstance(value.value, ast.Constant)):
            _write(value, parts, keep_constants)
    parts.append("]")


def _flat(targets: list[ast.expr]) -> list[ast.expr]:
    """Return the targets of ``del (a, b)`` as those of ``del a, b``, which is the same."""
    found = []
    for target in targets:
        found += _flat(target.elts) if isinstance(target, ast.Tuple | ast.List) else [target]
    return found


def constant_text(value: Any) -> str:
    """Return a constant of a code object as text that tells type and bits apart, in the same way in each process."""
    if isinstance(value, float):
        return f"f{struct.pack('>d', value).hex()}"
    if isinstance(value, complex):
        return f"c{constant_text(value.real)}{constant_text(value.imag)}"
    if isinstance(value, tuple):
        return f"t({','.join(map(constant_text, value))})"
    if isinstance(value, frozenset):
        return f"s({','.join(sorted(map(constant_text, value)))})"
    if isinstance(value, types.CodeType):
        return _byte_code(value)
    return f"{type(value).__name__}:{value!r}"


def _byte_code(code: types.CodeType) -> str:
    """Return what a code object does as text, of this version of Python."""
    return " ".join(
        [
            str(sys.implementation.cache_tag),
            code.co_code.hex(),
            code.co_exceptiontable.hex(),
            constant_text(code.co_consts),
            repr((code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)),
            repr((code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags)),
        ]
    )
