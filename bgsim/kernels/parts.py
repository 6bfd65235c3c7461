"""A kernel and its helpers as one piece of machine code.

numba makes machine code of each jitted function, so that Python can call it, and optimises a function anew in each one
that calls it. Of a helper that only a kernel calls, that is most of the time that it takes to compile. So its code is
a part here: it goes into the kernel as it is, and all parts are optimised together, once. Nothing else can call them,
so LLVM may change what they take.

This module imports numba, so it is imported when a simulation is first compiled.
"""

from __future__ import annotations

import functools
from typing import Any

from llvmlite.binding import Linkage
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler
from numba.core.environment import lookup_environment
from numba.core.registry import CPUDispatcher


class _PartLibrary(JITCodeLibrary):  # type: ignore[misc]
    """The code of a part and of all that it calls, neither optimised nor made machine code of."""

    part: Part

    def finalize(self) -> None:
        """Add the code of what it calls."""
        if self.part.calls_itself:
            super().finalize()
            return
        for library in dict.fromkeys(self._linking_libraries):
            self._reload_init.update(library._reload_init)  # noqa: SLF001 - as numba's own does
            self._final_module.link_in(library._get_module_for_linking(), preserve=True)  # noqa: SLF001 - the same
        self._finalize_dynamic_globals()
        self._finalized = True


class _WholeLibrary(JITCodeLibrary):  # type: ignore[misc]
    """The code of a function that Python or an address leads to, with all its parts."""

    def _optimize_final_module(self) -> None:
        for function in self._final_module.functions:
            if function.linkage is Linkage.linkonce_odr and function.name.startswith("_ZN"):
                function.linkage = Linkage.internal
        super()._optimize_final_module()


class _Compiler:
    """What numba's compilers do with one of these libraries; mixed into them."""

    state: Any

    def compile_into(self, library: Any, function: Any, make_executable: Any) -> Any:
        """Compile a function into a library; `make_executable` returns by what callers find the code."""
        context = self.state.targetctx  # a copy for this compilation, and for what runs as Python in the function
        library.enable_object_caching()
        self.state.library = library
        context.get_executable = make_executable
        context.get_abi_sizeof = functools.partial(_size_of, context.target_data)
        try:
            return super().compile_extra(function)  # type: ignore[misc]
        finally:
            del context.get_executable, context.get_abi_sizeof


@functools.cache
def _size_of(machine: Any, kind: Any) -> int:
    """Return the size of a type, which numba asks LLVM for with a module of its own for each variable."""
    size: int = kind.get_abi_size(machine)
    return size


class WholeCompiler(_Compiler, Compiler):  # type: ignore[misc]
    """Compiles a function with all its parts."""

    def compile_extra(self, function: Any) -> Any:
        """Compile a function."""
        context = self.state.targetctx
        library = _WholeLibrary(context.codegen(), function.__qualname__)
        return self.compile_into(library, function, functools.partial(_executable, context.get_executable))


def _executable(make: Any, library: Any, description: Any, environment: Any) -> Any:
    """Return numba's Python function for machine code, and let all parts find what Python keeps for them."""
    made = make(library, description, environment)
    for variable in library._final_module.global_variables:  # noqa: SLF001 - numba has no public name for it
        found = lookup_environment(variable.name)
        if found is not None:
            library.codegen.set_env(variable.name, found)
    return made


class _PartCompiler(_Compiler):
    """Compiles a part; mixed into one of numba's compilers for each."""

    part: Part

    def compile_extra(self, function: Any) -> Any:
        """Compile a function."""
        flags, context = self.state.flags, self.state.targetctx
        flags.no_cpython_wrapper = flags.no_cfunc_wrapper = flags.release_gil = True
        library = _PartLibrary(context.codegen(), function.__qualname__)
        library.part = self.part
        return self.compile_into(library, function, functools.partial(_handle, context.get_executable))


def _handle(make: Any, library: Any, description: Any, environment: Any) -> Any:
    """Return by what callers find code: of a part, or of what numba makes for it, as it does for a parallel loop."""
    if not isinstance(library, _PartLibrary) or library.part.calls_itself:
        return make(library, description, environment)
    library._ensure_finalized()  # noqa: SLF001 - numba's own name for it
    return _Handle(environment)


class _Handle:
    """Holds what Python keeps for a part, which numba finds by its name."""

    def __init__(self, environment: Any) -> None:
        self._environment = environment


class Part(CPUDispatcher):  # type: ignore[misc]
    """A jitted function for other compiled functions; for Python there is one of numba's, made when it is asked for.

    Attributes
    ----------
    calls_itself : bool
        Through others or directly: numba calls it by its address, so it is made machine code of.
    """

    def __init__(
        self,
        py_func: Any,
        locals: Any = None,
        targetoptions: Any = None,
        pipeline_class: type = Compiler,
    ) -> None:
        compiler = type("PartCompiler", (_PartCompiler, pipeline_class), {"part": self})
        super().__init__(py_func, locals, targetoptions, compiler)
        self.calls_itself = False
        self._pipeline_class = pipeline_class

    @functools.cached_property
    def _for_python(self) -> CPUDispatcher:
        return CPUDispatcher(self.py_func, self.locals, self.targetoptions, self._pipeline_class)

    def __call__(self, *args: Any, **named: Any) -> Any:
        """Call it from Python, as object mode does."""
        return self._for_python(*args, **named)

    def get_compile_result(self, sig: Any) -> Any:
        """Return what has an address, for a function that is a value."""
        return self._for_python.get_compile_result(sig)

    def add_overload(self, cres: Any) -> None:
        """Take what was compiled, which Python cannot call."""
        self.overloads[tuple(cres.signature.args)] = cres

    @property
    def is_compiling(self) -> Any:
        """Whether it is being compiled; numba asks when it meets the function in one that it compiles."""
        self.calls_itself = self.calls_itself or bool(self._compiling_counter)
        return self._compiling_counter
