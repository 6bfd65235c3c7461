"""A worker's random stream, which compiled code puts at the start of each replicate.

This module imports numba, so it is imported when a simulation is first compiled.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, types
from numba.extending import intrinsic

from bgsim.kernels.cache import keep_ours
from bgsim.kernels.draws import layout
from bgsim.kernels.draws.numpys import store_bitgen
from bgsim.kernels.draws.philox import define_refill
from bgsim.kernels.draws.ziggurat import define_slow, slow_exponential, slow_normal
from bgsim.kernels.parts import WholeCompiler

_LINE = 64
"""Bytes of a cache line, to which vectors of any processor are aligned."""


@intrinsic
def _store_functions(typingctx: Any, state: Any) -> Any:
    """Put the addresses of what kernels call into a stream."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        module = builder.module
        functions = {
            layout.REFILL: define_refill(module),
            layout.SLOW_NORMAL: define_slow(context, module, slow_normal),
            layout.SLOW_EXPONENTIAL: define_slow(context, module, slow_exponential),
        }
        for word, function in functions.items():
            layout.store(builder, builder.ptrtoint(function, layout.I64), arguments[0], word)
        store_bitgen(builder, arguments[0])
        return context.get_dummy_value()

    return types.void(types.uint64), codegen


@njit(nogil=True, no_cfunc_wrapper=True, pipeline_class=WholeCompiler)
def equip(state: int) -> None:
    """Put into a stream what kernels need of it; `rng_of_replicate` puts it somewhere."""
    _store_functions(state)


class WorkerStream:
    """The memory of a stream, which a worker owns and compiled code puts at the start of each replicate.

    For one thread at a time.

    Attributes
    ----------
    state : int
        Its address; see `bgsim.kernels.draws.layout`.
    """

    __slots__ = ("_memory", "state")

    def __init__(self) -> None:
        self._memory = np.zeros(layout.WORDS + _LINE // 8, np.uint64)
        address: int = self._memory.ctypes.data
        self.state = np.uint64(address + -address % _LINE)
        keep_ours(equip)
        equip(self.state)
