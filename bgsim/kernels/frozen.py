"""A copy of a kernel and of all jitted helpers that it reaches, with the values of the moment.

numba takes the values of globals when it compiles, maybe long after the submission. It keeps what it has compiled of a
helper, whatever happens to the constants that the helper reads. A frozen copy has its own globals and its own helpers,
which numba has not compiled before, and copies of the user's modules and arrays. So numba compiles what was looked at.
"""

from __future__ import annotations

import builtins
import operator
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from bgsim.identity.machine import numba_is_here
from bgsim.identity.watch import ABSENT, contents_of

_OBJECT_MODE = "_ObjModeContextType"
"""The type of numba's ``objmode``, under which a part of a kernel runs as Python."""

HOME = __name__
"""The module that copies name as theirs: numba's cache imports it again, and any process can."""


def freeze(function: types.FunctionType, tag: str, is_installed: Callable[[str], Any]) -> types.FunctionType:
    """Return a copy of a kernel whose helpers, modules and arrays are copies, too.

    Parameters
    ----------
    function : function
    tag : str
        Stands in the names of the copies, and so of their machine code: two versions of one function must not meet in
        one process, where machine code is found by its name.
    is_installed : callable
        Tells of a module's name whether it is an installed package's, which stays as it is.
    """
    return _Copies(tag, is_installed).function(function)


class _Copies:
    """Copies made so far, by the address of the original, which is kept so that the address stays its own."""

    def __init__(self, tag: str, is_installed: Callable[[str], Any]) -> None:
        self._jitted = _class_of_numba("numba.core.dispatcher", "Dispatcher")
        self._callback = _class_of_numba("numba.core.ccallback", "CFunc")
        self._tag = tag
        self._is_installed = is_installed
        self._made: dict[int, tuple[Any, Any]] = {}
        self._entered: set[int] = set()  # addresses of modules that are being looked into: they may hold each other

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
        for name in sorted(names & function.__globals__.keys()):
            copy.__globals__[name] = self._value(function.__globals__[name], names)
        for cell, original in zip(copy.__closure__ or (), function.__closure__ or (), strict=True):
            value = contents_of(original)
            if value is not ABSENT:
                cell.cell_contents = self._value(value, names)
        values = [*copy.__globals__.values(), *map(contents_of, copy.__closure__ or ())]
        if "objmode" in names or any(type(value).__name__ == _OBJECT_MODE for value in values):
            copy.__module__ = None  # type: ignore[assignment] # so numba looks names up here, when that code runs

    def _value(self, value: Any, names: set[str]) -> Any:
        """Return what stands for a value in a copy: copies of what can change, all else as it is."""
        if isinstance(value, self._jitted):
            return self._dispatcher(value)
        if isinstance(value, self._callback):
            return self._once(value, lambda: self._c_callback(value))
        if isinstance(value, types.ModuleType):
            return self._module(value, names)
        if type(value) is np.ndarray:
            return self._once(value, lambda: _array(value))
        if isinstance(value, tuple):
            return self._once(value, lambda: self._tuple(value, names))
        return value

    def _tuple(self, value: Any, names: set[str]) -> Any:
        items = [self._value(item, names) for item in value]
        return tuple.__new__(type(value), items) if any(map(operator.is_not, items, value)) else value

    def _once(self, original: Any, make: Callable[[], Any]) -> Any:
        if id(original) not in self._made:
            self._made[id(original)] = (original, make())
        return self._made[id(original)][1]

    def _dispatcher(self, dispatcher: Any) -> Any:
        if id(dispatcher) in self._made:
            return self._made[id(dispatcher)][1]
        function = self._empty(dispatcher.py_func)
        options = {name: option for name, option in dispatcher.targetoptions.items() if name != "cache"}
        kind = _kind_of_copy(dispatcher)
        copy = kind(function, dispatcher.locals, options, dispatcher._compiler.pipeline_class)  # noqa: SLF001 - numba has no public name for it
        self._made[id(dispatcher)] = (dispatcher, copy)  # it may call itself
        self._fill(dispatcher.py_func, function)
        if not dispatcher._can_compile:  # noqa: SLF001 - numba has no public name for it
            for signature in dispatcher.nopython_signatures:  # it was declared with these
                copy.compile(signature)
            copy.disable_compile()
        return copy

    def _c_callback(self, callback: Any) -> Any:
        """Return a copy of what numba compiled when it was defined."""
        compiler, signature = callback._compiler, callback._sig  # noqa: SLF001 - numba has no public names for them
        copy = type(callback)(
            self.function(callback._pyfunc),  # noqa: SLF001 - the same
            (signature.args, signature.return_type),
            compiler.locals,
            compiler.targetoptions,
            pipeline_class=compiler.pipeline_class,
        )
        copy.compile()
        return copy

    def _module(self, module: types.ModuleType, names: set[str]) -> types.ModuleType:
        """Return a module with copies of what is read of it by all the functions that were copied so far."""
        if self._is_installed(module.__name__) and not self._holds_jitted(module, names):
            return module
        copy: types.ModuleType = self._once(module, lambda: _same_names(module))
        if id(module) not in self._entered:
            self._entered.add(id(module))
            for name in sorted(names & vars(module).keys()):
                setattr(copy, name, self._value(vars(module)[name], names))
            self._entered.remove(id(module))
        return copy

    def _holds_jitted(self, module: types.ModuleType, names: set[str]) -> bool:
        return any(isinstance(vars(module)[name], self._jitted) for name in names & vars(module).keys())


def _kind_of_copy(dispatcher: Any) -> Any:
    """Return the class of a copy: of numba's own functions for the processor, those that only compiled code calls."""
    from numba.core.registry import CPUDispatcher  # noqa: PLC0415 - it is there

    from bgsim.kernels.parts import Part  # noqa: PLC0415 - imports numba

    return Part if isinstance(dispatcher, CPUDispatcher) else type(dispatcher)


def _class_of_numba(module: str, name: str) -> Any:
    """Return a class for `isinstance`; nothing is one where its module is not imported."""
    return getattr(sys.modules.get(module), name, ()) if numba_is_here() else ()


def _same_names(module: types.ModuleType) -> types.ModuleType:
    copy = types.ModuleType(module.__name__)
    vars(copy).update(vars(module))
    return copy


def _array(array: np.ndarray) -> np.ndarray:
    """Return a copy of an array that may change, laid out as it is."""
    if not array.flags.writeable and array.base is None:
        return array
    copy = array.copy(order="K")
    copy.flags.writeable = array.flags.writeable
    return copy


def _names(code: types.CodeType) -> Iterator[str]:
    """Yield the names that a code object and its inner functions read, of globals and of attributes."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names(constant)
