"""The compiled side of the control block: atomic loads and stores, and `bgsim.control`'s two functions made of them.

This module imports numba, so it is imported when a simulation is first compiled.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types
from numba.extending import intrinsic, overload

from bgsim import control as block


def _slot(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    array = context.make_array(signature.args[0])(context, builder, args[0])
    index = context.cast(builder, args[1], signature.args[1], types.intp)
    return builder.gep(array.data, [index])


@intrinsic
def load_slot(typingctx: Any, control: Any, index: Any) -> Any:
    """Load an int64 slot with an atomic, monotonic load, which LLVM leaves in the loop."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.load_atomic(_slot(context, builder, signature, args), "monotonic", 8)

    return types.int64(control, index), codegen


@intrinsic
def store_slot(typingctx: Any, control: Any, index: Any, value: Any) -> Any:
    """Store an int64 slot with an atomic release: who reads that a replicate is done finds its rows written."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.store_atomic(args[2], _slot(context, builder, signature, args), "release", 8)
        return context.get_dummy_value()

    return types.void(control, index, types.int64), codegen


@overload(block.stop_requested)
def _stop_requested(control: Any) -> Any:
    order, stop, observed = block.ORDER, block.STOP, block.OBSERVED

    def compiled(control: Any) -> Any:
        if load_slot(control, order) < stop:
            return False
        store_slot(control, observed, 1)
        return True

    return compiled


@overload(block.report_fraction)
def _report_fraction(control: Any, fraction: Any) -> Any:
    slot, unit = block.FRACTION, float(block.FRACTION_UNIT)

    def compiled(control: Any, fraction: Any) -> Any:
        store_slot(control, slot, np.int64(fraction * unit))

    return compiled
