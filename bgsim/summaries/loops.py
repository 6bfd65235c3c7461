"""The compiled loops that add values to a tally.

This module imports numba, so it is imported when the first value is added. Where numba compiles nothing
(``NUMBA_DISABLE_JIT=1``) the same functions run as plain Python.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import config, njit, types
from numba.extending import intrinsic

from bgsim.summaries.layout import COUNTS, LARGE, SMALL_BITS

_U = np.uint64
_ZERO, _ONE = _U(0), _U(1)
_MANTISSA = _U(2**52 - 1)
_MAGNITUDE = _U(2**63 - 1)
_SIGN = _U(2**63)
_HALF_SMALL = _U(2**SMALL_BITS // 2)
_SMALL = _U(2**SMALL_BITS)
_ONE_OF_INTEGERS = _U(1075)
"""The biased exponent of a double whose mantissa counts ones."""


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


@njit(nogil=True)
def _add_square(words: Any, row: Any, first: Any, value: Any) -> None:
    """Add a value to two words of a row, and its square to the three behind them."""
    low = words[row, first] + value
    words[row, first] = low
    if low < value:
        words[row, first + 1] += _ONE
    _add_product(words, row, first + 2, value, value)


@njit(nogil=True)
def _add_product(words: Any, row: Any, first: Any, a: Any, b: Any) -> None:
    """Add a product to three words of a row."""
    p_low, p_high = _product(a, b)
    low = words[row, first] + p_low
    words[row, first] = low
    carry = _ONE if low < p_low else _ZERO
    middle = words[row, first + 1] + p_high
    top = _ONE if middle < p_high else _ZERO
    summed = middle + carry
    if summed < carry:
        top = _ONE
    words[row, first + 1] = summed
    if top != _ZERO:
        words[row, first + 2] += _ONE


@njit(nogil=True)
def add_floats(bits: Any, start: Any, index: Any, owners: Any, blocks: Any, ends: Any, used: Any) -> Any:
    """Add bit patterns of doubles, one element after the other; return at which it stopped, for want of a block.

    Parameters
    ----------
    bits : ndarray of uint64, shape (rows, elements)
    start : int
        Where to begin: the element times the rows, plus the row.
    index, owners, blocks, ends, used : ndarray
        The tally's; see `bgsim.summaries.tally`.
    """
    rows, keys = bits.shape[0], index.shape[1]
    for position in range(start, bits.size):
        element = position // rows
        pattern = bits[position - element * rows, element]
        key = pattern >> _U(52)
        exponent = key & _U(2047)
        mantissa = pattern & _MANTISSA
        if exponent == _U(2047) and mantissa != _ZERO:
            ends[element, 0] += 1
            continue
        row = index[element, np.int64(key)]
        if row == 0:
            row = used[0]
            if row == len(blocks):
                return position
            used[0] = row + 1
            index[element, np.int64(key)] = row
            owners[row] = element * keys + np.int64(key)
        slot = np.int64(mantissa >> _U(45))
        if exponent != _ZERO:
            mantissa |= _U(2**52)
        blocks[row, COUNTS + slot] += _ONE
        _add_square(blocks, row, 0, mantissa)
        order = np.int64(pattern)
        if order < 0:
            order = np.int64(pattern ^ _MAGNITUDE)
        ends[element, 1] = min(ends[element, 1], order)
        ends[element, 2] = max(ends[element, 2], order)
    return bits.size


@njit(nogil=True)
def add_integers(
    bits: Any, start: Any, index: Any, owners: Any, blocks: Any, ends: Any, used: Any, signed: bool
) -> Any:
    """Add integers of 64 bits; see `add_floats`."""
    rows, keys = bits.shape[0], index.shape[1]
    for position in range(start, bits.size):
        element = position // rows
        pattern = bits[position - element * rows, element]
        magnitude, length = pattern, 0
        shifted = pattern + _HALF_SMALL
        small = shifted < _SMALL and (signed or pattern < _HALF_SMALL)
        if small:
            key, slot = np.int64(shifted >> _U(7)), np.int64(shifted & _U(127))
        else:
            negative = signed and pattern >= _SIGN
            if negative:
                magnitude = ~pattern + _ONE
            length = _length(magnitude)
            key = LARGE + (64 if negative else 0) + length - 1
            slot = np.int64((magnitude >> _U(length - 8)) & _U(127))
        row = index[element, key]
        if row == 0:
            row = used[0]
            if row == len(blocks):
                return position
            used[0] = row + 1
            index[element, key] = row
            owners[row] = element * keys + key
        blocks[row, COUNTS + slot] += _ONE
        if not small:
            _add_square(blocks, row, 0, magnitude)
        order = np.int64(pattern if signed else pattern ^ _SIGN)
        ends[element, 1] = min(ends[element, 1], order)
        ends[element, 2] = max(ends[element, 2], order)
    return bits.size


@njit(nogil=True)
def _length(value: Any) -> int:
    """Return the bits of a positive integer."""
    length, step = 1, 32
    while step:
        if value >> _U(step) != _ZERO:
            value >>= _U(step)
            length += step
        step >>= 1
    return length


@njit(nogil=True)
def _parts(pattern: Any, kind: int) -> Any:
    """Return sign, biased exponent and magnitude of a number that is not NaN."""
    if kind == 0:
        sign, exponent, magnitude = pattern >> _U(63), (pattern >> _U(52)) & _U(2047), pattern & _MANTISSA
        if exponent == _ZERO:
            return sign, _ONE, magnitude
        return sign, exponent, magnitude | _U(2**52)
    if kind == 1 and pattern >= _SIGN:
        return _ONE, _ONE_OF_INTEGERS, ~pattern + _ONE
    return _ZERO, _ONE_OF_INTEGERS, pattern


@njit(nogil=True)
def _is_nan(pattern: Any, kind: int) -> bool:
    return kind == 0 and (pattern & _MAGNITUDE) > _U(0x7FF0000000000000)


@njit(nogil=True)
def add_pairs(x: Any, y: Any, x_kind: int, y_kind: int, sides: Any, products: Any, tail: Any) -> None:
    """Add pairs of 64-bit patterns; a kind is 0 for doubles, 1 for signed and 2 for unsigned integers.

    Parameters
    ----------
    x, y : ndarray of uint64
    x_kind, y_kind : int
    sides, products, tail : ndarray
        The tally's; see `bgsim.summaries.pairs`.
    """
    for i in range(len(x)):
        if _is_nan(x[i], x_kind) or _is_nan(y[i], y_kind):
            continue
        tail[0] += 1
        x_sign, x_exponent, x_value = _parts(x[i], x_kind)
        y_sign, y_exponent, y_value = _parts(y[i], y_kind)
        x_finite, y_finite = x_exponent != _U(2047), y_exponent != _U(2047)
        if x_finite:
            _add_square(sides, np.int64((x_sign << _U(11)) | x_exponent), 0, x_value)
        else:
            tail[1 + np.int64(x_sign)] += 1
        if y_finite:
            _add_square(sides, np.int64(_U(4096) | (y_sign << _U(11)) | y_exponent), 0, y_value)
        else:
            tail[3 + np.int64(y_sign)] += 1
        if x_finite and y_finite:
            key = ((x_sign ^ y_sign) << _U(12)) | (x_exponent + y_exponent)
            _add_product(products, np.int64(key), 0, x_value, y_value)
