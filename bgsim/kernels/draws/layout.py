"""The memory of a stream, in words of 64 bits, and the code that reads and writes it.

A kernel holds the address alone. So it can hand its ``rng`` on by value, as numba does, and all copies draw from one
stream.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir

I32, I64 = ir.IntType(32), ir.IntType(64)

POSITION = 0
"""Index of the next word in the buffer; `BUFFERED` when none is left."""

BLOCKS = 1
"""How many blocks of this replicate were computed: the first word of the counter of the last one."""

HALF = 2
"""What `next_uint32` left of a word, with `HAS_HALF`; else 0."""

HAS_HALF = 1 << 32

ROUND_KEYS = 3
"""Two words for each round; the first two are the key of the seed."""

ROUNDS = 10

REFILL, SLOW_NORMAL, SLOW_EXPONENTIAL = 24, 25, 26
"""Addresses of functions that kernels call."""

BITGEN = 27
"""NumPy's ``bitgen_t``: the address of a state, and of four functions that draw from it."""

SECOND_ROUND = 32
"""Three words of all blocks of this replicate after two rounds, which the first word of the counter has no part in."""

BUFFER = 40
BUFFERED = 64
"""Words that the buffer has room for: 16 blocks."""

WORDS = BUFFER + BUFFERED

LAYOUT = (
    POSITION,
    BLOCKS,
    HALF,
    ROUND_KEYS,
    SECOND_ROUND,
    REFILL,
    SLOW_NORMAL,
    SLOW_EXPONENTIAL,
    BITGEN,
    BUFFER,
    BUFFERED,
)
"""What machine code on disk was compiled for."""


def pointer(builder: Any, state: Any, word: int, kind: Any = I64) -> Any:
    """Return a pointer to a word of the stream at an address."""
    return builder.inttoptr(builder.add(state, I64(8 * word)), kind.as_pointer())


def load(builder: Any, state: Any, word: int) -> Any:
    """Return a word."""
    return builder.load(pointer(builder, state, word))


def store(builder: Any, value: Any, state: Any, word: int) -> None:
    """Write a word."""
    builder.store(value, pointer(builder, state, word))


def call(builder: Any, function: int, result: Any, state: Any, *arguments: Any) -> Any:
    """Call one of the functions whose addresses lie in the stream, with the stream's address and some words."""
    kind = ir.FunctionType(result, [I64] * (1 + len(arguments)))
    found = builder.load(pointer(builder, state, function, kind.as_pointer()))
    return builder.call(found, [state, *arguments])


def new_function(module: Any, name: str, result: Any, arguments: int) -> tuple[Any, Any, tuple[Any, ...]]:
    """Return a function of words that other code finds by its address alone, its builder, and its arguments."""
    function = ir.Function(module, ir.FunctionType(result, [I64] * arguments), module.get_unique_name(name))
    function.linkage = "internal"
    function.attributes.add("nounwind")
    return function, ir.IRBuilder(function.append_basic_block()), tuple(function.args)
