"""A worker's random stream, which compiled code puts at the start of each replicate.

This module imports numba, so it is imported when a simulation is first compiled.
"""

from __future__ import annotations

import ctypes
import functools
import warnings
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from bgsim.streams import generator_at

_I32, _I64 = ir.IntType(32), ir.IntType(64)


@intrinsic
def place_stream(typingctx: Any, state: Any, key0: Any, key1: Any, index: Any) -> Any:
    """Put the Philox state at this address at the start of replicate `index` under the key.

    NumPy's ``philox_state`` begins with the pointers to the counter (4 words) and to the key (2), then
    ``int buffer_pos``, four buffered words, and ``int has_uint32``. `placing_works` checks that this holds.
    """

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        def at(base: Any, offset: int, kind: Any) -> Any:
            return builder.inttoptr(builder.add(base, _I64(offset)), kind.as_pointer())

        state, key0, key1, index = args
        counter = builder.load(at(state, 0, _I64))
        for word, value in enumerate((_I64(0), _I64(0), index, _I64(0))):
            builder.store(value, at(counter, 8 * word, _I64))
        key = builder.load(at(state, 8, _I64))
        builder.store(key0, at(key, 0, _I64))
        builder.store(key1, at(key, 8, _I64))
        builder.store(_I32(4), at(state, 16, _I32))
        builder.store(_I32(0), at(state, 56, _I32))
        return context.get_dummy_value()

    return types.void(types.uint64, types.uint64, types.uint64, types.uint64), codegen


@njit(no_cfunc_wrapper=True)
def place(state: int, key0: int, key1: int, index: int) -> None:
    """Call `place_stream` from Python."""
    place_stream(state, key0, key1, index)


@functools.cache
def placing_works() -> bool:
    """Tell whether placing a generator in place equals building a new one, as it must.

    Checked once a process, on draws that use the buffer, the stored half word and the ziggurat. Where
    it fails (another layout in another NumPy), every replicate gets a generator of its own.
    """
    key = np.array([0x0123456789ABCDEF, 0xFEDCBA9876543210], np.uint64)
    used = generator_at(np.array([3, 5], np.uint64), 11)
    for index in (0, 1, 2**40 + 7):
        used.random(3)
        used.integers(0, 9, dtype=np.uint32)  # leaves half a word behind
        place(np.uint64(used.bit_generator.ctypes.state_address), key[0], key[1], np.uint64(index))
        fresh = generator_at(key, index)
        for draw in ("random", "standard_normal", "standard_exponential"):
            if not np.array_equal(getattr(used, draw)(5), getattr(fresh, draw)(5)):
                return _placing_failed()
        if not np.array_equal(used.integers(0, 2**20, 5, np.int32), fresh.integers(0, 2**20, 5, np.int32)):
            return _placing_failed()
    return True


def _placing_failed() -> bool:
    warnings.warn(
        f"NumPy {np.__version__} lays out its Philox state in a way that this bgsim does not know; results stay "
        "right, each replicate costs some 30 us more. Please report it.",
        RuntimeWarning,
        stacklevel=2,
    )
    return False


class WorkerStream:
    """A generator that a worker owns and places at the start of each replicate.

    For one thread at a time.

    Attributes
    ----------
    rng : numpy.random.Generator
    state : int
        Address of its Philox state.
    addresses : ndarray of uint64, shape (8,)
        What compiled code needs of it; see `generator_of`.
    """

    __slots__ = ("addresses", "rng", "state")

    def __init__(self, rng: np.random.Generator | None = None) -> None:
        self.rng = rng or generator_at(np.zeros(2, np.uint64), 0)
        interface = self.rng.bit_generator.ctypes
        self.state: int = interface.state_address
        pointers = (interface.state, interface.next_uint64, interface.next_uint32, interface.next_double)
        state, *functions = (ctypes.cast(pointer, ctypes.c_void_p).value for pointer in pointers)
        generator = interface.bit_generator.value
        self.addresses = np.array(
            [id(self.rng.bit_generator), self.state, state, *functions, generator, id(self.rng)], np.uint64
        )


GENERATOR = numba.typeof(np.random.Generator(np.random.Philox(0)))
"""The type of a generator in compiled code."""


@intrinsic
def generator_of(typingctx: Any, addresses: Any) -> Any:
    """Return a generator as compiled code sees it, from `WorkerStream.addresses`.

    Passing the generator itself costs 15 to 20 us a call, for numba looks all of this up. It is borrowed: the caller
    keeps it alive.
    """

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, args[0])

        def word(index: int) -> Any:
            return builder.load(builder.gep(array.data, [_I32(index)]))

        generator = cgutils.create_struct_proxy(GENERATOR)(context, builder)
        source = cgutils.create_struct_proxy(_BITGENERATOR)(context, builder)
        pointer = context.get_value_type(types.pyobject)
        source.parent = builder.inttoptr(word(0), pointer)
        names = (
            "state_address",
            "state",
            "fnptr_next_uint64",
            "fnptr_next_uint32",
            "fnptr_next_double",
            "bit_generator",
        )
        for index, name in enumerate(names, 1):
            setattr(source, name, word(index))
        generator.bit_generator = source._getvalue()  # noqa: SLF001 - numba's own name for it
        generator.meminfo = cgutils.get_null_value(generator.meminfo.type)
        generator.parent = builder.inttoptr(word(7), pointer)
        return generator._getvalue()  # noqa: SLF001 - numba's own name for it

    return GENERATOR(addresses), codegen


_BITGENERATOR = types.NumPyRandomBitGeneratorType("bit_generator")
