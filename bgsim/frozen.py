"""A copy of a kernel and of all jitted helpers that it reaches, with the values of the moment.

numba takes the values of globals when it compiles, which may be long after a request was made, and what it has compiled
of a helper it keeps, whatever happens to the constants that the helper reads. A frozen copy has names of its own for
what it reads, and helpers of its own that nothing has compiled before. So what is compiled of it is what was looked at.
"""

from __future__ import annotations

import builtins
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

from bgsim.identity.machine import numba_is_here
from bgsim.identity.watch import ABSENT, contents_of

HOME = __name__
"""The module that copies name as theirs: numba's cache imports it again, and any process can."""


def freeze(function: types.FunctionType, tag: str) -> types.FunctionType:
    """Return a copy of a kernel whose helpers are copies, too.

    Parameters
    ----------
    function : function
    tag : str
        Stands in the names of the copies, and so of their machine code: two versions of one function must not meet in
        one process, where machine code is found by its name.
    """
    return _Copies(tag).function(function)


class _Copies:
    """Copies made so far, by the address of the original, which is kept so that the address stays its own."""

    def __init__(self, tag: str) -> None:
        self._jitted: Any = sys.modules["numba.core.dispatcher"].Dispatcher if numba_is_here() else ()
        self._tag = tag
        self._made: dict[int, tuple[Any, Any]] = {}

    def function(self, function: types.FunctionType) -> types.FunctionType:
        """Return a copy of a function with names of its own for what it reads."""
        copy = self._empty(function)
        self._fill(function, copy)
        return copy

    def _empty(self, function: types.FunctionType) -> types.FunctionType:
        """Return a copy that has no values yet: what it reads may lead back to it."""
        closure = tuple([types.CellType() for _ in function.__closure__ or ()])
        space = {"__name__": HOME, "__builtins__": builtins}
        copy = types.FunctionType(function.__code__, space, function.__name__, None, closure or None)
        copy.__qualname__ = f"{function.__qualname__}_{self._tag}"
        if function.__defaults__ is not None:
            copy.__defaults__ = tuple([self._value(value, set()) for value in function.__defaults__])
        if function.__kwdefaults__ is not None:
            copy.__kwdefaults__ = {name: self._value(value, set()) for name, value in function.__kwdefaults__.items()}
        return copy

    def _fill(self, function: types.FunctionType, copy: types.FunctionType) -> None:
        names = set(_names(function.__code__))
        for name in names & function.__globals__.keys():
            copy.__globals__[name] = self._value(function.__globals__[name], names)
        for cell, original in zip(copy.__closure__ or (), function.__closure__ or (), strict=True):
            value = contents_of(original)
            if value is not ABSENT:
                cell.cell_contents = self._value(value, names)

    def _value(self, value: Any, names: set[str]) -> Any:
        """Return what stands for a value in a copy: copies of jitted functions, all else as it is."""
        if isinstance(value, self._jitted):
            return self._once(value, self._dispatcher)
        if isinstance(value, types.ModuleType):
            return self._once(value, lambda module: self._module(module, names))
        if type(value) is tuple:
            items = tuple([self._value(item, names) for item in value])
            return items if any(a is not b for a, b in zip(items, value, strict=True)) else value
        return value

    def _once(self, original: Any, make: Callable[[Any], Any]) -> Any:
        if id(original) not in self._made:
            self._made[id(original)] = (original, original)  # for modules that hold each other
            self._made[id(original)] = (original, make(original))
        return self._made[id(original)][1]

    def _dispatcher(self, dispatcher: Any) -> Any:
        function = self._empty(dispatcher.py_func)
        options = {name: option for name, option in dispatcher.targetoptions.items() if name != "cache"}
        copy = type(dispatcher)(function, dispatcher.locals, options, dispatcher._compiler.pipeline_class)
        self._made[id(dispatcher)] = (dispatcher, copy)  # it may call itself
        self._fill(dispatcher.py_func, function)
        if not dispatcher._can_compile:  # it was declared with signatures
            for signature in dispatcher.nopython_signatures:
                copy.compile(signature)
            copy.disable_compile()
        return copy

    def _module(self, module: types.ModuleType, names: set[str]) -> types.ModuleType:
        """Return a module with copies of the jitted functions that are read of it; itself if there are none."""
        read = {name: vars(module)[name] for name in names & vars(module).keys()}
        copies = {name: self._value(value, names) for name, value in read.items()}
        if all(copies[name] is read[name] for name in read):
            return module
        stand_in = types.ModuleType(module.__name__)
        vars(stand_in).update({**vars(module), **copies})
        return stand_in


def _names(code: types.CodeType) -> Iterator[str]:
    """Yield the names that a code object and its inner functions read, of globals and of attributes."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names(constant)
