"""A copy of a kernel and of all jitted helpers that it reaches, with the values of the moment.

numba takes the values of globals when it compiles, which may be long after a request was made, and what it has compiled
of a helper it keeps, whatever happens to the constants that the helper reads. A frozen copy has names of its own for
what it reads, and helpers of its own that nothing has compiled before. So what is compiled of it is what was looked at.
"""

from __future__ import annotations

import builtins
import sys
import types
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from bgsim.identity.machine import numba_is_here
from bgsim.identity.ownership import Ownership, own_modules
from bgsim.identity.watch import ABSENT, contents_of

HOME = __name__
"""The module that copies name as theirs: numba's cache imports it again, and any process can."""


def freeze(function: types.FunctionType, tag: str) -> types.FunctionType:
    """Return a copy of a kernel whose helpers, modules and arrays are copies, too.

    Parameters
    ----------
    function : function
    tag : str
        Stands in the names of the copies, and so of their machine code: two versions of one function must not meet in
        one process, where machine code is found by its name.
    """
    return _Copies(tag, Ownership(own_modules(function.__module__))).function(function)


class _Copies:
    """Copies made so far, by the address of the original, which is kept so that the address stays its own."""

    def __init__(self, tag: str, ownership: Ownership) -> None:
        self._jitted = _class_of_numba("numba.core.dispatcher", "Dispatcher")
        self._callback = _class_of_numba("numba.core.ccallback", "CFunc")
        self._object_mode = _class_of_numba("numba.core.withcontexts", "_ObjModeContextType")
        self._tag = tag
        self._ownership = ownership
        self._made: dict[int, tuple[Any, Any]] = {}
        self._modules = 0
        self._entered: set[int] = set()  # modules that are being looked into

    def function(self, function: types.FunctionType) -> types.FunctionType:
        """Return a copy of a function with names of its own for what it reads."""
        copy = self._empty(function)
        self._fill(function, copy)
        return copy

    def _empty(self, function: types.FunctionType) -> types.FunctionType:
        """Return a copy that has no values yet: what it reads may lead back to it."""
        closure = tuple([types.CellType() for _ in function.__closure__ or ()])
        space = self._space(function)
        copy = types.FunctionType(function.__code__, space, function.__name__, None, closure or None)
        if space["__name__"] != HOME:
            weakref.finalize(copy, sys.modules.pop, space["__name__"], None)
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

    def _space(self, function: types.FunctionType) -> dict[str, Any]:
        """Return globals for a copy; those of one that enters object mode are a module's: there numba looks them up."""
        space = {"__name__": HOME, "__builtins__": builtins}
        if not self._enters_object_mode(function):
            return space
        self._modules += 1
        module = types.ModuleType(f"{HOME}.of_{self._tag}_{self._modules}")
        sys.modules[module.__name__] = module
        vars(module)["__builtins__"] = builtins
        return vars(module)

    def _enters_object_mode(self, function: types.FunctionType) -> bool:
        names, space = set(_names(function.__code__)), function.__globals__
        held = [space[name] for name in names & space.keys()]
        modules = [value for value in held if isinstance(value, types.ModuleType)]
        held += [vars(module)[name] for module in modules for name in names & vars(module).keys()]
        return any(isinstance(value, self._object_mode) for value in held)

    def _value(self, value: Any, names: set[str]) -> Any:
        """Return what stands for a value in a copy: copies of what can change, all else as it is."""
        if isinstance(value, types.ModuleType):
            return self._module(value, names)
        if isinstance(value, self._jitted):
            return self._once(value, self._dispatcher)
        if isinstance(value, self._callback):
            return self._once(value, self._c_callback)
        if isinstance(value, tuple):
            return self._once(value, lambda items: self._tuple(items, names))
        if isinstance(value, np.ndarray) and value.flags.writeable and not isinstance(value, np.memmap):
            return self._once(value, np.ndarray.copy)
        return value

    def _once(self, original: Any, make: Callable[[Any], Any]) -> Any:
        if id(original) not in self._made:
            self._made[id(original)] = (original, make(original))
        return self._made[id(original)][1]

    def _tuple(self, value: Any, names: set[str]) -> Any:
        items = [self._value(item, names) for item in value]
        if all(a is b for a, b in zip(items, value, strict=True)):
            return value
        if hasattr(value, "_make"):  # a named tuple
            return value._make(items)
        return tuple(items) if type(value) is tuple else value

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

    def _c_callback(self, callback: Any) -> Any:
        """Return a copy of what numba compiled when it was defined."""
        compiler = callback._compiler
        copy = type(callback)(
            self.function(callback._pyfunc),
            (callback._sig.args, callback._sig.return_type),
            compiler.locals,
            compiler.targetoptions,
            pipeline_class=compiler.pipeline_class,
        )
        copy.compile()
        return copy

    def _module(self, module: types.ModuleType, names: set[str]) -> types.ModuleType:
        """Return a module with copies of what is read of it; an installed one itself, if there is nothing to copy.

        All who read of one module have one copy of it, to which each adds what it reads.
        """
        if id(module) in self._entered:  # for modules that hold each other
            met: types.ModuleType = self._made.get(id(module), (module, module))[1]
            return met
        own = type(module) is types.ModuleType and self._ownership.installed(module.__name__) is None
        stand_in: types.ModuleType | None = self._once(module, _empty_module) if own else None
        self._entered.add(id(module))
        read = {name: vars(module)[name] for name in sorted(names & vars(module).keys())}
        copies = {name: self._value(value, names) for name, value in read.items()}
        self._entered.remove(id(module))
        if stand_in is None and all(copies[name] is read[name] for name in read):
            return module
        found: types.ModuleType = stand_in or self._once(module, _whole_module)
        vars(found).update(copies)
        return found


def _class_of_numba(module: str, name: str) -> Any:
    """Return a class for `isinstance`; nothing is one where its module is not imported."""
    return getattr(sys.modules.get(module), name, ()) if numba_is_here() else ()


def _empty_module(module: types.ModuleType) -> types.ModuleType:
    """Return a module that will have only what is read of it."""
    return types.ModuleType(module.__name__)


def _whole_module(module: types.ModuleType) -> types.ModuleType:
    copy = types.ModuleType(module.__name__)
    vars(copy).update(vars(module))
    return copy


def _names(code: types.CodeType) -> Iterator[str]:
    """Yield the names that a code object and its inner functions read, of globals and of attributes."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names(constant)
