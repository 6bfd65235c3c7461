"""Normal and exponential numbers by NumPy's ziggurats (Marsaglia and Tsang 2000), from the words of a stream.

About 98 of 100 numbers need one word and one comparison, and that is what goes into a kernel; for the others it calls
a function whose address lies in the stream.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numba.np.random import _constants as tables

from bgsim.kernels.draws.layout import I64, SLOW_EXPONENTIAL, SLOW_NORMAL, call, new_function
from bgsim.kernels.draws.philox import drawn_by, next_double, next_word, word_of
from bgsim.kernels.parts import Part

_F64 = ir.DoubleType()
_LOW_BITS = np.uint64(0xFF)
_MANTISSA = 0x000FFFFFFFFFFFFF


def _entry(builder: Any, name: str, index: Any) -> Any:
    """Return an entry of one of the tables, which goes into the machine code once."""
    module, values = builder.module, getattr(tables, name)
    kind = _F64 if values.dtype == np.float64 else I64
    found = module.globals.get(f"bgsim.{name}")
    if found is None:
        row = ir.ArrayType(kind, len(values))
        found = ir.GlobalVariable(module, row, f"bgsim.{name}")
        found.linkage, found.global_constant, found.unnamed_addr = "internal", True, True
        found.initializer = ir.Constant(row, [kind(value) for value in values.tolist()])
    return builder.load(builder.gep(found, [I64(0), index], inbounds=True))


def _signed(builder: Any, number: Any, bit: Any) -> Any:
    """Return a double, or where the lowest bit of a word is set its negative."""
    return builder.bitcast(builder.xor(builder.bitcast(number, I64), builder.shl(bit, I64(63))), _F64)


def _split_for_normal(builder: Any, word: Any) -> tuple[Any, Any, Any]:
    """Return the layer that a word means, the distance in it, and the number that both make."""
    layer = builder.and_(word, I64(0xFF))
    distance = builder.and_(builder.lshr(word, I64(9)), I64(_MANTISSA))
    number = builder.fmul(builder.sitofp(distance, _F64), _entry(builder, "wi_double", layer))
    return layer, distance, _signed(builder, number, builder.lshr(word, I64(8)))


def _split_for_exponential(builder: Any, word: Any) -> tuple[Any, Any, Any]:
    layer = builder.and_(builder.lshr(word, I64(3)), I64(0xFF))
    distance = builder.lshr(word, I64(11))
    return layer, distance, builder.fmul(builder.sitofp(distance, _F64), _entry(builder, "we_double", layer))


def _drawn(split: Any, widths: str, slow: int) -> Any:
    """Return what draws a number: from its layer, or slowly where it is near the layer's edge."""

    def draw(builder: Any, state: Any) -> Any:
        word = word_of(builder, state)
        layer, distance, number = split(builder, word)
        inside = builder.icmp_unsigned("<", distance, _entry(builder, widths, layer))
        with builder.if_else(inside, likely=True) as (then, otherwise):
            with then:
                from_layer = builder.block
            with otherwise:
                other = call(builder, slow, _F64, state, word)
                from_slow = builder.block
        found = builder.phi(_F64)
        found.add_incoming(number, from_layer)
        found.add_incoming(other, from_slow)
        return found

    return draw


next_normal = drawn_by(_drawn(_split_for_normal, "ki_double", SLOW_NORMAL), types.float64)
next_exponential = drawn_by(_drawn(_split_for_exponential, "ke_double", SLOW_EXPONENTIAL), types.float64)


# ---- near the edges ----------------------------------------------------------------------------------


def _splitter(split: Any) -> Any:
    @intrinsic
    def splits(typingctx: Any, word: Any) -> Any:
        kind = types.Tuple((types.uint64, types.uint64, types.float64))

        def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return context.make_tuple(builder, kind, split(builder, arguments[0]))

        return kind(types.uint64), codegen

    return splits


_normal_of, _exponential_of = _splitter(_split_for_normal), _splitter(_split_for_exponential)
_NORMAL_WIDTHS, _NORMAL_DENSITIES = tables.ki_double, tables.fi_double
_EXPONENTIAL_WIDTHS, _EXPONENTIAL_DENSITIES = tables.ke_double, tables.fe_double
_NORMAL_TAIL, _NORMAL_TAIL_INVERSE, _EXPONENTIAL_TAIL = (
    tables.ziggurat_nor_r,
    tables.ziggurat_nor_inv_r,
    tables.ziggurat_exp_r,
)


@Part
def slow_normal(state: Any, word: Any) -> Any:
    """Return the normal number that begins with a word which is not inside of its layer."""
    while True:
        layer, distance, number = _normal_of(word)
        if distance < _NORMAL_WIDTHS[layer]:
            return number
        if layer == 0:
            while True:
                beyond = -_NORMAL_TAIL_INVERSE * np.log1p(-next_double(state))
                height = -np.log1p(-next_double(state))
                if height + height > beyond * beyond:
                    tail = _NORMAL_TAIL + beyond
                    return -tail if (distance >> np.uint64(8)) & np.uint64(1) else tail
        above, below = _NORMAL_DENSITIES[layer - np.uint64(1)], _NORMAL_DENSITIES[layer]
        if (above - below) * next_double(state) + below < np.exp(-0.5 * number * number):
            return number
        word = next_word(state)


@Part
def slow_exponential(state: Any, word: Any) -> Any:
    """Return the exponential number that begins with a word which is not inside of its layer."""
    while True:
        layer, distance, number = _exponential_of(word)
        if distance < _EXPONENTIAL_WIDTHS[layer]:
            return number
        if layer == 0:
            return _EXPONENTIAL_TAIL - np.log1p(-next_double(state))
        above, below = _EXPONENTIAL_DENSITIES[layer - np.uint64(1)], _EXPONENTIAL_DENSITIES[layer]
        if (above - below) * next_double(state) + below < np.exp(-number):
            return number
        word = next_word(state)


def define_slow(context: Any, module: Any, part: Any) -> Any:
    """Return a function that other code finds by its address, which calls one of the parts above."""
    part.compile(_SLOW)
    compiled = part.overloads[_SLOW]
    context.add_linking_libs([compiled.library])
    function, builder, arguments = new_function(module, f"bgsim.{part.py_func.__name__}", _F64, 2)
    _, number = context.call_internal_no_propagate(builder, compiled.fndesc, compiled.signature, arguments)
    builder.ret(number)  # it never raises
    return function


_SLOW = (types.uint64, types.uint64)
