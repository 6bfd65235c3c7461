"""The compiled side: the loop over the replicates of a chunk, and a kernel compiled for it.

This module imports numba, so it is imported when a simulation is first compiled.

numba's on-disk cache never hits for a closure over a dispatcher. So `run_chunk` takes the kernel's address, and is
compiled once per layout of parameters and outputs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numba
import numpy as np
from numba import njit, types
from numba.core import errors as numba_errors
from numba.extending import intrinsic

from bgsim import control as block
from bgsim.errors import BgsimError, CompileError, OutputError
from bgsim.kernels.address import address_of, call_kernel
from bgsim.kernels.atomics import load_slot, store_slot
from bgsim.kernels.cache import KernelCache, keep_ours
from bgsim.kernels.compile_errors import compile_error
from bgsim.kernels.draws import RNG, rng_of_replicate
from bgsim.kernels.outputs import Output, check_count
from bgsim.kernels.parts import Part, WholeCompiler

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bgsim.kernels.stream import WorkerStream


@intrinsic
def _put(typingctx: Any, columns: Any, row: Any, value: Any) -> Any:
    """Store what one replicate returned in a row of the columns."""
    values = list(value) if isinstance(value, types.BaseTuple) else [value]
    stores = [_store_for(typingctx, column, row, part) for column, part in zip(columns, values, strict=True)]

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        columns, row, given = args
        for i, (store, types_) in enumerate(stores):
            part = builder.extract_value(given, i) if isinstance(value, types.BaseTuple) else given
            context.get_function(store, types_)(builder, (builder.extract_value(columns, i), row, part))
        return context.get_dummy_value()

    return types.void(columns, row, value), codegen


@intrinsic
def _put_one(typingctx: Any, column: Any, row: Any, value: Any) -> Any:
    """Store one value in a row of its column."""
    store, signature = _store_for(typingctx, column, row, value)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return context.get_function(store, signature)(builder, args)

    return signature, codegen


def _store_for(typingctx: Any, column: Any, row: Any, value: Any) -> tuple[Any, Any]:
    """Return what stores all of a value of this type, or raises, and its signature; a float may be rounded."""
    value = types.unliteral(value)
    if isinstance(value, types.Array):
        store = _put_array
    elif isinstance(value, types.Integer) and isinstance(column.dtype, types.Integer) and column.dtype != value:
        store = _put_narrowed
    elif _is_narrower(column.dtype, value):
        store = _put_rounded
    else:
        store = _put_alike
    kind = types.Dispatcher(store)
    return kind, kind.get_call_type(typingctx, (column, row, value), {})


def _is_narrower(kept: Any, given: Any) -> bool:
    floats = (types.Float, types.Complex)
    return isinstance(kept, floats) and isinstance(given, floats) and kept.bitwidth < given.bitwidth


@Part
def _put_array(column: Any, row: Any, value: Any) -> None:
    target = column[row]
    if target.shape != value.shape:
        raise OutputError("an array output does not have the declared shape")
    for i in range(len(value)):
        _put_one(target, i, value[i])


@Part
def _put_narrowed(column: Any, row: Any, value: Any) -> None:
    column[row] = value
    if column[row] != value:
        raise OutputError("an integer output does not fit its declared dtype")


@Part
def _put_rounded(column: Any, row: Any, value: Any) -> None:
    column[row] = value
    if np.isinf(column[row]) and not np.isinf(value):
        raise OutputError("a float output does not fit its declared dtype")


@Part
def _put_alike(column: Any, row: Any, value: Any) -> None:
    column[row] = value


@njit(nogil=True, no_cfunc_wrapper=True, pipeline_class=WholeCompiler)
def run_chunk(
    kernel: Any,
    p: Any,
    state: int,
    key0: int,
    key1: int,
    first: int,
    count: int,
    columns: Any,
    control: Any,
    before: int,
    slot: int,
) -> int:
    """Run replicates `first` to ``first + count`` without the GIL, until an order in the control block.

    `state` is a `WorkerStream`'s. Returns how many are done; the slot, mostly ``DONE``, counts them and the `before`
    that the chunk had before these, also when the kernel raises.
    """
    for i in range(count):
        if load_slot(control, block.ORDER) != block.GO:
            return i
        rng = rng_of_replicate(state, key0, key1, np.uint64(first + i))
        value = call_kernel(kernel, p, rng, control)
        if load_slot(control, block.OBSERVED) != 0:
            return i  # the kernel gave up, so its value does not count
        _put(columns, i, value)
        store_slot(control, block.FRACTION, 0)
        store_slot(control, slot, before + i + 1)
    return count


def make_dispatcher(function: Any, kept_as: str | None, approve: Callable[[bool], None]) -> Any:
    """Return a frozen function as a numba dispatcher.

    Parameters
    ----------
    function : function
    kept_as : str or None
        The identity under which its machine code is kept on disk; None keeps none.
    approve : callable
        Called before new machine code is kept, with whether it draws from numba's own random streams; raises to refuse.
    """
    dispatcher = njit(nogil=True, no_cpython_wrapper=True, no_cfunc_wrapper=True, pipeline_class=WholeCompiler)(
        function
    )
    dispatcher._cache = KernelCache(kept_as, lambda compiled: approve(_draws(compiled)))  # noqa: SLF001 - numba has no setting for it
    return dispatcher


def _draws(compiled: Any) -> bool:
    """Tell whether machine code uses the streams behind `np.random` and `random`, in whatever function it calls."""
    return any(function.name in _SHARED_STREAMS for function in compiled.library._final_module.functions)  # noqa: SLF001 - numba has no public name for it


_SHARED_STREAMS = ("numba_get_np_random_state", "numba_get_py_random_state")


class CompiledKernel:
    """A kernel compiled for one layout of parameters and columns; called by any number of threads.

    Parameters
    ----------
    dispatcher : numba Dispatcher
        The kernel, from `make_dispatcher`.
    name : str
        Of the simulation, for errors.
    view : namedtuple
        Parameters as the kernel sees them; only the types count.
    outputs : sequence of Output
        What the simulation declares.
    takes_control : bool
        Whether the kernel has a third argument.

    Raises
    ------
    CompileError
        If numba cannot compile it.
    OutputError
        If it returns something else than is declared.
    """

    def __init__(
        self,
        dispatcher: Any,
        name: str,
        view: Any,
        outputs: tuple[Output, ...],
        takes_control: bool,
    ) -> None:
        control_type = types.int64[::1]
        arguments = (numba.typeof(view), RNG, *([control_type] if takes_control else []))
        try:
            dispatcher.compile(arguments)
        except (BgsimError, MemoryError):
            raise
        except Exception as error:  # numba lets errors of its own through, such as an AssertionError
            raise compile_error(name, dispatcher.py_func, error)  # noqa: B904 - it has its cause
        returned = dispatcher.overloads[arguments].signature.return_type
        _check_returned(name, types.unliteral(returned), outputs)
        column_types = types.Tuple([types.Array(numba.from_dtype(o.dtype), 1 + len(o.shape), "C") for o in outputs])
        self._kernel, kernel_type = address_of(dispatcher, arguments)
        self._dispatcher = dispatcher  # keeps the machine code
        words = (types.uint64, types.uint64, types.uint64, types.int64, types.int64)
        layout = (kernel_type, numba.typeof(view), *words, column_types, control_type, types.int64, types.int64)
        keep_ours(run_chunk)
        try:
            run_chunk.compile(layout)
        except numba_errors.NumbaError as error:
            raise CompileError(
                f"numba cannot store what {name} returns in the declared outputs: return numbers, or use "
                "@simulation(compile=False)",
                details=str(error),
            ) from error
        self._entry = run_chunk.overloads[layout].entry_point

    def __call__(
        self,
        view: Any,
        stream: WorkerStream,
        key: NDArray[np.uint64],
        first: int,
        columns: tuple[NDArray[Any], ...],
        control: NDArray[np.int64],
        before: int = 0,
        slot: int = block.DONE,
    ) -> int:
        """Run as many replicates as the columns have rows, from `first` on; see `run_chunk`."""
        count = len(columns[0])
        done: int = self._entry(self._kernel, view, stream.state, *key, first, count, columns, control, before, slot)
        return done


def _check_returned(name: str, returned: Any, outputs: tuple[Output, ...]) -> None:
    if isinstance(returned, types.NoneType):
        raise OutputError(
            f"{name} declares outputs and never returns: a `return` is missing, or it always raises", field="outputs"
        )
    values = list(returned) if isinstance(returned, types.BaseTuple) else [returned]
    check_count(name, outputs, len(values))
    for value, output in zip(values, outputs, strict=True):
        is_array = isinstance(value, types.Array)
        ndim = value.ndim if is_array else 0
        try:
            dtype = numba.np.numpy_support.as_dtype(value.dtype if is_array else value)
        except (NotImplementedError, numba_errors.NumbaError):
            dtype = None
        if dtype is None or ndim != len(output.shape):
            raise OutputError(
                f"output {output.name!r} of {name} is declared as {output.describe()}; the function returns {value}",
                field=output.name,
            )
        output.check_dtype(name, dtype)
        if dtype.kind not in "biufc" and dtype.itemsize > output.dtype.itemsize:
            raise OutputError(
                f"output {output.name!r} of {name} is declared as {output.dtype}, and the function returns {dtype}, "
                "which is longer. Declare that",
                field=output.name,
            )
