"""The compiled loops that add values to a tally.

This module imports numba, so it is imported when the first value is added. Its machine code is kept on disk. Where
numba compiles nothing (``NUMBA_DISABLE_JIT=1``) the same functions run as plain Python.

Each loop takes one element after the other, so that its blocks stay in the cache and its least and greatest value in
registers. A carry into the highest word of a sum is rare, so a branch that is predicted takes less than an addition.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import config, njit, types
from numba.extending import intrinsic

from bgsim.kernels.cache import keep_ours
from bgsim.kernels.parts import Part, WholeCompiler
from bgsim.summaries.layout import COUNTS, LARGE, SMALL_BITS, WORDS

_U = np.uint64
_0, _1, _2, _3, _4 = map(_U, range(5))
_7, _45, _52, _63 = _U(7), _U(45), _U(52), _U(63)
_COUNTS, _WORDS, _LARGE = _U(COUNTS), _U(WORDS), _U(LARGE)
_MANTISSA, _HIDDEN = _U(2**52 - 1), _U(2**52)
_EXPONENT, _SLOT = _U(2047), _U(127)
_MAGNITUDE, _SIGN = _U(2**63 - 1), _U(2**63)
_HALF_SMALL, _SMALL = _U(2**SMALL_BITS // 2), _U(2**SMALL_BITS)
_INFINITY = _U(2047 << 52)
_ONES = _U(1075)
"""The biased exponent of a double whose mantissa counts ones."""

_loop = njit(nogil=True, no_cfunc_wrapper=True, pipeline_class=WholeCompiler)
_part = (lambda function: function) if config.DISABLE_JIT else Part


@intrinsic
def _compiled_product(typingctx: Any, a: Any, b: Any) -> Any:
    """Return the low and the high word of a product."""
    signature = types.UniTuple(types.uint64, 2)(types.uint64, types.uint64)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        wide, word = ir.IntType(128), ir.IntType(64)
        product = builder.mul(*(builder.zext(value, wide) for value in args))
        low = builder.trunc(product, word)
        high = builder.trunc(builder.lshr(product, wide(64)), word)
        return context.make_tuple(builder, signature.return_type, (low, high))

    return signature, codegen


def _plain_product(a: Any, b: Any) -> Any:
    product = int(a) * int(b)
    return _U(product & (2**64 - 1)), _U(product >> 64)


_product = _plain_product if config.DISABLE_JIT else _compiled_product


@_part
def _add_product(words: Any, at: Any, a: Any, b: Any) -> None:
    """Add a product to three words; the high word of a product of 64-bit numbers leaves room for a carry."""
    p_low, p_high = _product(a, b)
    low = words[at] + p_low
    words[at] = low
    if low < p_low:
        p_high += _1
    middle = words[at + _1] + p_high
    words[at + _1] = middle
    if middle < p_high:
        words[at + _2] += _1


@_part
def _add_square(words: Any, at: Any, value: Any) -> None:
    """Add a value to two words, and its square to the three behind them."""
    low = words[at] + value
    words[at] = low
    if low < value:
        words[at + _1] += _1
    _add_product(words, at + _2, value, value)


@_part
def _new_block(element: Any, key: Any, index: Any, owners: Any, words: Any, used: Any) -> Any:
    """Return where a new block begins, 0 if there is no room for one."""
    row = _U(used[0])
    at = row * _WORDS
    if at == _U(len(words)):
        return _0
    used[0] += 1
    index[element, key] = at
    owners[row] = _U(element) * _U(index.shape[1]) + key
    return at


@_part
def _order_of(pattern: Any) -> Any:
    """Return an integer that orders doubles."""
    order = np.int64(pattern)
    return order if order >= 0 else np.int64(pattern ^ _MAGNITUDE)


@_loop
def add_floats(bits: Any, start: Any, index: Any, owners: Any, words: Any, ends: Any, used: Any) -> Any:
    """Add bit patterns of doubles, one element after the other.

    Parameters
    ----------
    bits : ndarray of uint64, shape (elements, rows)
    start : int
        Where to begin: an element times the rows, plus a row.
    index, owners, words, ends, used : ndarray
        The tally's; see `bgsim.summaries.tally`.

    Returns
    -------
    int
        Where it stopped, for want of a block; the size of `bits`, if it did not.
    """
    rows = bits.shape[1]
    row = start % rows
    for element in range(start // rows, len(bits)):
        row = _add_floats(bits[element], row, element, index, owners, words, ends, used)
        if row < rows:
            return element * rows + row
        row = 0
    return bits.size


@_part
def _add_floats(bits: Any, first: Any, element: Any, index: Any, owners: Any, words: Any, ends: Any, used: Any) -> Any:
    """Add to one element; return the row at which it stopped."""
    blocks = index[element]
    nan, least, greatest, stopped = ends[element, 0], ends[element, 1], ends[element, 2], len(bits)
    for row in range(first, len(bits)):
        pattern = bits[row]
        if pattern & _MAGNITUDE > _INFINITY:
            nan += 1
            continue
        key, mantissa = pattern >> _52, pattern & _MANTISSA
        at = _U(blocks[key])
        if at == _0:
            at = _new_block(element, key, index, owners, words, used)
            if at == _0:
                stopped = row
                break
        words[at + _COUNTS + (mantissa >> _45)] += _1
        if key & _EXPONENT != _0:
            mantissa |= _HIDDEN
        _add_square(words, at, mantissa)
        order = _order_of(pattern)
        least, greatest = min(least, order), max(greatest, order)
    ends[element, 0], ends[element, 1], ends[element, 2] = nan, least, greatest
    return stopped


@_loop
def add_integers(bits: Any, start: Any, index: Any, owners: Any, words: Any, ends: Any, used: Any, signed: Any) -> Any:
    """Add integers of 64 bits; see `add_floats`."""
    rows = bits.shape[1]
    row = start % rows
    for element in range(start // rows, len(bits)):
        row = _add_integers(bits[element], row, element, index, owners, words, ends, used, signed)
        if row < rows:
            return element * rows + row
        row = 0
    return bits.size


@_part
def _add_integers(
    bits: Any, first: Any, element: Any, index: Any, owners: Any, words: Any, ends: Any, used: Any, signed: Any
) -> Any:
    """Add to one element; return the row at which it stopped."""
    blocks, small = index[element], _SMALL if signed else _HALF_SMALL
    least, greatest, stopped = ends[element, 1], ends[element, 2], len(bits)
    offset = _HALF_SMALL if signed else _0
    for row in range(first, len(bits)):
        pattern = bits[row]
        shifted, magnitude = pattern + offset, _0
        if shifted < small:
            shifted += _HALF_SMALL - offset
            key, slot = shifted >> _7, shifted & _SLOT
        else:
            key, slot, magnitude = _large(pattern, signed)
        at = _U(blocks[key])
        if at == _0:
            at = _new_block(element, key, index, owners, words, used)
            if at == _0:
                stopped = row
                break
        words[at + _COUNTS + slot] += _1
        if magnitude != _0:
            _add_square(words, at, magnitude)
        order = np.int64(pattern if signed else pattern ^ _SIGN)
        least, greatest = min(least, order), max(greatest, order)
    ends[element, 1], ends[element, 2] = least, greatest
    return stopped


@_part
def _large(pattern: Any, signed: Any) -> Any:
    """Return key, slot and magnitude of an integer that has no count of its own."""
    sign, magnitude = _0, pattern
    if signed and pattern >= _SIGN:
        sign, magnitude = _1, ~pattern + _1
    # As a double it has the exponent of its highest bit; without the bit below that, no rounding raises it.
    highest = (np.float64(magnitude & ~(magnitude >> _1)).view(np.uint64) >> _52) - _U(1023)
    return _LARGE + (sign << _U(6)) + highest, (magnitude >> (highest - _7)) & _SLOT, magnitude


@_part
def _parts(pattern: Any, kind: Any) -> Any:
    """Return sign, biased exponent and magnitude of a number that is not NaN."""
    if kind == 0:
        exponent, magnitude = (pattern >> _52) & _EXPONENT, pattern & _MANTISSA
        if exponent == _0:
            return pattern >> _63, _1, magnitude
        return pattern >> _63, exponent, magnitude | _HIDDEN
    if kind == 1 and pattern >= _SIGN:
        return _1, _ONES, ~pattern + _1
    return _0, _ONES, pattern


@_loop
def add_pairs(x: Any, y: Any, x_kind: Any, y_kind: Any, sides: Any, products: Any, tail: Any) -> None:
    """Add pairs of 64-bit patterns; a kind is 0 for doubles, 1 for signed and 2 for unsigned integers.

    Parameters
    ----------
    x, y : ndarray of uint64
    x_kind, y_kind : int
    sides, products, tail : ndarray
        The tally's, the first two flat; see `bgsim.summaries.pairs`.
    """
    for i in range(len(x)):
        x_nan = x_kind == 0 and x[i] & _MAGNITUDE > _INFINITY
        y_nan = y_kind == 0 and y[i] & _MAGNITUDE > _INFINITY
        if x_nan or y_nan:
            continue
        tail[0] += 1
        x_sign, x_exponent, x_value = _parts(x[i], x_kind)
        y_sign, y_exponent, y_value = _parts(y[i], y_kind)
        if max(x_exponent, y_exponent) == _EXPONENT:
            _add_infinite(x_sign, x_exponent, y_sign, y_exponent, tail)
            continue
        _add_square(sides, _U(5) * (x_sign << _U(11) | x_exponent), x_value)
        _add_square(sides, _U(5) * (_U(4096) | y_sign << _U(11) | y_exponent), y_value)
        _add_product(products, _3 * ((x_sign ^ y_sign) << _U(12) | x_exponent + y_exponent), x_value, y_value)


@_part
def _add_infinite(x_sign: Any, x_exponent: Any, y_sign: Any, y_exponent: Any, tail: Any) -> None:
    """Count the infinities of a pair; the number beside one is in no sum."""
    if x_exponent == _EXPONENT:
        tail[_1 + x_sign] += 1
    if y_exponent == _EXPONENT:
        tail[_3 + y_sign] += 1


if not config.DISABLE_JIT:
    for _dispatcher in (add_floats, add_integers, add_pairs):
        keep_ours(_dispatcher)
