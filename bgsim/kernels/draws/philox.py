"""Philox4x64-10 (Salmon, Moraes, Dror and Shaw 2011) as LLVM code: the words of a replicate in NumPy's order.

A block is four words, of a counter that goes up by one. The first blocks of a replicate are computed one by one, so
that a short one does not pay for words that it never draws; later ones by eight and by sixteen at once, in vectors
that LLVM maps onto whatever the processor has.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from bgsim.kernels.draws.layout import (
    BLOCKS,
    BUFFER,
    BUFFERED,
    HALF,
    HAS_HALF,
    I32,
    I64,
    INDEX,
    POSITION,
    REFILL,
    ROUND_KEYS,
    ROUNDS,
    call,
    load,
    new_function,
    pointer,
    store,
)

_I128, _F64 = ir.IntType(128), ir.DoubleType()
_MULTIPLIERS = (0xD2E7470EE14C6C93, 0xCA5A826395121157)
_KEY_STEPS = (0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B)

_BY_ONE = 3
_BY_EIGHT = 19
"""Blocks of a replicate after which eight, and then sixteen, are computed at once."""


# ---- blocks ------------------------------------------------------------------------------------------


def define_refill(module: Any) -> Any:
    """Return the function that computes further words of a stream whose buffer is empty, and returns the first."""
    function, builder, (state,) = new_function(module, "bgsim.refill", I64, 1)
    done = load(builder, state, BLOCKS)
    with builder.if_then(builder.icmp_unsigned("<", done, I64(_BY_ONE)), likely=False):
        builder.ret(_fill(builder, state, done, _one_block))
    with builder.if_then(builder.icmp_unsigned("<", done, I64(_BY_EIGHT)), likely=False):
        builder.ret(_fill(builder, state, done, lambda *a: _blocks(*a, lanes=8)))
    builder.ret(_fill(builder, state, done, lambda *a: _blocks(*a, lanes=16)))
    return function


def _fill(builder: Any, state: Any, done: Any, compute: Any) -> Any:
    """Put blocks at the end of the buffer, and take the first word."""
    words = compute(builder, state, done)
    for place, word in enumerate(words, BUFFERED - len(words)):
        store(builder, word, state, BUFFER + place)
    store(builder, builder.add(done, I64(len(words) // 4)), state, BLOCKS)
    store(builder, I64(BUFFERED - len(words) + 1), state, POSITION)
    return words[0]


def _rounds(builder: Any, counter: list[Any], state: Any, multiply: Any, widen: Any) -> list[Any]:
    for i in range(ROUNDS):
        key0, key1 = (widen(load(builder, state, ROUND_KEYS + 2 * i + word)) for word in (0, 1))
        high0, low0 = multiply(builder, I64(_MULTIPLIERS[0]), counter[0])
        high1, low1 = multiply(builder, I64(_MULTIPLIERS[1]), counter[2])
        counter = [
            builder.xor(high1, builder.xor(counter[1], key0)),
            low1,
            builder.xor(high0, builder.xor(counter[3], key1)),
            low0,
        ]
    return counter


def _one_block(builder: Any, state: Any, done: Any) -> list[Any]:
    counter = [builder.add(done, I64(1)), I64(0), load(builder, state, INDEX), I64(0)]
    return _rounds(builder, counter, state, _product, lambda word: word)


def _blocks(builder: Any, state: Any, done: Any, *, lanes: int) -> list[Any]:
    kind = ir.VectorType(I64, lanes)
    undefined, first = ir.Constant(kind, ir.Undefined), ir.Constant(ir.VectorType(I32, lanes), [0] * lanes)

    def widen(word: Any) -> Any:
        return builder.shuffle_vector(builder.insert_element(undefined, word, I32(0)), undefined, first)

    def multiply(builder: Any, multiplier: Any, factor: Any) -> tuple[Any, Any]:
        return _products(builder, lambda number: ir.Constant(kind, [number] * lanes), multiplier.constant, factor)

    zero = ir.Constant(kind, [0] * lanes)
    ahead = ir.Constant(kind, list(range(1, lanes + 1)))
    counter = [builder.add(widen(done), ahead), zero, widen(load(builder, state, INDEX)), zero]
    found = _rounds(builder, counter, state, multiply, widen)
    return [builder.extract_element(found[word], I32(lane)) for lane in range(lanes) for word in range(4)]


def _product(builder: Any, one: Any, other: Any) -> tuple[Any, Any]:
    """Return the high and the low word of a product."""
    product = builder.mul(builder.zext(one, _I128), builder.zext(other, _I128))
    return builder.trunc(builder.lshr(product, _I128(64)), I64), builder.trunc(product, I64)


def _products(builder: Any, constant: Any, multiplier: int, factor: Any) -> tuple[Any, Any]:
    """Return the same of vectors, whose processors multiply halves of words."""
    half, low = constant(32), constant(0xFFFFFFFF)
    multiplier_low, multiplier_high = constant(multiplier & 0xFFFFFFFF), constant(multiplier >> 32)
    factor_low, factor_high = builder.and_(factor, low), builder.lshr(factor, half)
    lowest = builder.mul(multiplier_low, factor_low)
    left = builder.add(builder.mul(multiplier_low, factor_high), builder.lshr(lowest, half))
    right = builder.add(builder.mul(multiplier_high, factor_low), builder.and_(left, low))
    highest = builder.mul(multiplier_high, factor_high)
    high = builder.add(builder.add(highest, builder.lshr(left, half)), builder.lshr(right, half))
    return high, builder.or_(builder.shl(right, half), builder.and_(lowest, low))


@intrinsic
def product_of(typingctx: Any, one: Any, other: Any) -> Any:
    """Return the high and the low word of a product."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return context.make_tuple(builder, signature.return_type, _product(builder, *arguments))

    return types.UniTuple(types.uint64, 2)(types.uint64, types.uint64), codegen


# ---- where a stream begins ---------------------------------------------------------------------------


def place(builder: Any, state: Any, key0: Any, key1: Any, index: Any) -> None:
    """Put a stream at the start of a replicate under a key."""
    kept0, kept1 = (load(builder, state, ROUND_KEYS + word) for word in (0, 1))
    changed = builder.or_(builder.xor(kept0, key0), builder.xor(kept1, key1))
    with builder.if_then(builder.icmp_unsigned("!=", changed, I64(0)), likely=False):
        for i in range(ROUNDS):
            for word, key in enumerate((key0, key1)):
                step = i * _KEY_STEPS[word] % 2**64
                store(builder, builder.add(key, I64(step)), state, ROUND_KEYS + 2 * i + word)
    for word, value in ((POSITION, I64(BUFFERED)), (BLOCKS, I64(0)), (INDEX, index), (HALF, I64(0))):
        store(builder, value, state, word)


# ---- the next number ---------------------------------------------------------------------------------


def word_of(builder: Any, state: Any) -> Any:
    """Draw a word."""
    position = load(builder, state, POSITION)
    with builder.if_else(builder.icmp_unsigned("!=", position, I64(BUFFERED)), likely=True) as (some, none):
        with some:
            store(builder, builder.add(position, I64(1)), state, POSITION)
            kept = builder.load(builder.gep(pointer(builder, state, BUFFER), [position]))
            from_buffer = builder.block
        with none:
            computed = call(builder, REFILL, I64, state)
            from_refill = builder.block
    word = builder.phi(I64)
    word.add_incoming(kept, from_buffer)
    word.add_incoming(computed, from_refill)
    return word


def half_of(builder: Any, state: Any) -> Any:
    """Draw 32 bits: the low half of a word, and the next time its high half."""
    left = load(builder, state, HALF)
    with builder.if_else(builder.icmp_unsigned("!=", left, I64(0))) as (some, none):
        with some:
            store(builder, I64(0), state, HALF)
            kept = builder.trunc(left, I32)
            from_left = builder.block
        with none:
            word = word_of(builder, state)
            rest = builder.or_(builder.lshr(word, I64(32)), I64(HAS_HALF))
            store(builder, rest, state, HALF)
            low = builder.trunc(word, I32)
            from_word = builder.block
    half = builder.phi(I32)
    half.add_incoming(kept, from_left)
    half.add_incoming(low, from_word)
    return half


def double_of(builder: Any, state: Any) -> Any:
    """Draw a double from [0, 1): the upper 53 bits of a word."""
    upper = builder.lshr(word_of(builder, state), I64(11))
    return builder.fmul(builder.sitofp(upper, _F64), _F64(2.0**-53))


def drawn_by(draw: Any, kind: Any) -> Any:
    """Return what draws a number of a numba type in compiled code, given the stream's address."""

    @intrinsic
    def drawn(typingctx: Any, state: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return draw(builder, arguments[0])

        return kind(types.uintp), codegen

    return drawn


next_word = drawn_by(word_of, types.uint64)
next_half = drawn_by(half_of, types.uint32)
next_double = drawn_by(double_of, types.float64)
