"""Philox4x64-10 (Salmon, Moraes, Dror and Shaw 2011) as LLVM code: the words of a replicate in NumPy's order.

A block is four words, of a counter that goes up by one. The first blocks of a replicate are computed one by one: a
short replicate does not pay for words that it never draws, and a processor does it while it waits for the kernel's own
results. Later ones are computed by sixteen at once, in vectors that LLVM maps onto whatever the processor has.

The counter's third word is the index of the replicate, its second and fourth are 0. So half of what the first two
rounds compute is the same for all blocks of a replicate, and computed where it begins.
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
    POSITION,
    REFILL,
    ROUND_KEYS,
    ROUNDS,
    SECOND_ROUND,
    call,
    load,
    new_function,
    pointer,
    store,
)

_I128, _F64 = ir.IntType(128), ir.DoubleType()
_MULTIPLIERS = (0xD2E7470EE14C6C93, 0xCA5A826395121157)
_KEY_STEPS = (0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B)

_ONE_BY_ONE = 64
"""Blocks of a replicate that are computed one by one."""

_LANES = 16


# ---- blocks ------------------------------------------------------------------------------------------


def define_refill(module: Any) -> Any:
    """Return the function that computes further words of a stream whose buffer is empty, and returns the first."""
    function, builder, (state,) = new_function(module, "bgsim.refill", I64, 1)
    done = load(builder, state, BLOCKS)
    with builder.if_then(builder.icmp_unsigned("<", done, I64(_ONE_BY_ONE))):
        builder.ret(_fill(builder, state, done, _one_block(builder, state, done)))
    builder.ret(_fill(builder, state, done, _blocks(builder, state, done)))
    return function


def _fill(builder: Any, state: Any, done: Any, words: list[Any]) -> Any:
    """Put blocks at the end of the buffer, and take the first word."""
    for place, word in enumerate(words, BUFFERED - len(words)):
        store(builder, word, state, BUFFER + place)
    store(builder, builder.add(done, I64(len(words) // 4)), state, BLOCKS)
    store(builder, I64(BUFFERED - len(words) + 1), state, POSITION)
    return words[0]


def _one_block(builder: Any, state: Any, done: Any) -> list[Any]:
    """Return the words of the next block."""
    return _rounds(builder, state, builder.add(done, I64(1)), lambda word: word, I64, _product)


def _blocks(builder: Any, state: Any, done: Any) -> list[Any]:
    """Return the words of the next blocks."""
    kind = ir.VectorType(I64, _LANES)
    undefined, first = ir.Constant(kind, ir.Undefined), ir.Constant(ir.VectorType(I32, _LANES), [0] * _LANES)

    def widen(word: Any) -> Any:
        return builder.shuffle_vector(builder.insert_element(undefined, word, I32(0)), undefined, first)

    def constant(number: int) -> Any:
        return ir.Constant(kind, [number] * _LANES)

    def product(builder: Any, one: Any, other: Any) -> tuple[Any, Any]:
        return _products(builder, constant, one, other)

    counters = builder.add(widen(done), ir.Constant(kind, list(range(1, _LANES + 1))))
    found = _rounds(builder, state, counters, widen, constant, product)
    return [builder.extract_element(found[word], I32(lane)) for lane in range(_LANES) for word in range(4)]


def _rounds(builder: Any, state: Any, counter: Any, widen: Any, constant: Any, product: Any) -> list[Any]:
    """Return the four words of a block, or of many at once, from the first word of the counter."""

    def key(i: int, word: int) -> Any:
        return widen(load(builder, state, ROUND_KEYS + 2 * i + word))

    multipliers = [constant(number) for number in _MULTIPLIERS]
    same = [widen(load(builder, state, SECOND_ROUND + word)) for word in range(3)]
    high0, low0 = product(builder, multipliers[0], counter)
    high1, low1 = product(builder, multipliers[1], builder.xor(high0, key(0, 1)))
    words = [builder.xor(high1, same[0]), low1, builder.xor(low0, same[1]), same[2]]
    for i in range(2, ROUNDS):
        high0, low0 = product(builder, multipliers[0], words[0])
        high1, low1 = product(builder, multipliers[1], words[2])
        left, right = builder.xor(words[1], key(i, 0)), builder.xor(words[3], key(i, 1))
        words = [builder.xor(high1, left), low1, builder.xor(high0, right), low0]
    return words


def _product(builder: Any, one: Any, other: Any) -> tuple[Any, Any]:
    """Return the high and the low word of a product."""
    product = builder.mul(builder.zext(one, _I128), builder.zext(other, _I128))
    return builder.trunc(builder.lshr(product, _I128(64)), I64), builder.trunc(product, I64)


def _products(builder: Any, constant: Any, one: Any, other: Any) -> tuple[Any, Any]:
    """Return the same of vectors, whose processors multiply halves of words."""
    half, low_half = constant(32), constant(2**32 - 1)
    (one_low, one_high), (other_low, other_high) = (
        (builder.and_(factor, low_half), builder.lshr(factor, half)) for factor in (one, other)
    )
    lowest = builder.mul(one_low, other_low)
    left = builder.add(builder.mul(one_low, other_high), builder.lshr(lowest, half))
    right = builder.add(builder.mul(one_high, other_low), builder.and_(left, low_half))
    highest = builder.mul(one_high, other_high)
    high = builder.add(builder.add(highest, builder.lshr(left, half)), builder.lshr(right, half))
    return high, builder.or_(builder.shl(right, half), builder.and_(lowest, low_half))


@intrinsic
def product_of(typingctx: Any, one: Any, other: Any) -> Any:
    """Return the high and the low word of a product."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return context.make_tuple(builder, signature.return_type, _product(builder, *arguments))

    return types.UniTuple(types.uint64, 2)(types.uint64, types.uint64), codegen


# ---- where a stream begins ---------------------------------------------------------------------------


def place(builder: Any, state: Any, key0: Any, key1: Any, index: Any) -> None:
    """Put a stream at the start of a replicate under a key."""
    kept = [load(builder, state, ROUND_KEYS + word) for word in (0, 1)]
    changed = builder.or_(builder.xor(kept[0], key0), builder.xor(kept[1], key1))
    with builder.if_then(builder.icmp_unsigned("!=", changed, I64(0)), likely=False):
        for i in range(ROUNDS):
            for word, key in enumerate((key0, key1)):
                store(builder, _key_after(builder, key, word, i), state, ROUND_KEYS + 2 * i + word)
    for word, value in ((POSITION, I64(BUFFERED)), (BLOCKS, I64(0)), (HALF, I64(0))):
        store(builder, value, state, word)
    high1, low1 = _product(builder, I64(_MULTIPLIERS[1]), index)
    high0, low0 = _product(builder, I64(_MULTIPLIERS[0]), builder.xor(high1, key0))
    same = (
        builder.xor(low1, _key_after(builder, key0, 0, 1)),
        builder.xor(high0, _key_after(builder, key1, 1, 1)),
        low0,
    )
    for word, value in enumerate(same, SECOND_ROUND):
        store(builder, value, state, word)


def _key_after(builder: Any, key: Any, word: int, rounds: int) -> Any:
    """Return a word of the key of a round."""
    return builder.add(key, I64(rounds * _KEY_STEPS[word] % 2**64))


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
