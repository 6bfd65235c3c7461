"""The control block: one cache line shared by a worker and the kernel that it runs.

The engine writes the order, the kernel writes how far it is. Kernels use `stop_requested` and
`report_fraction` only; both mean the same in compiled and in plain Python. The compiled forms are in
`bgsim.kernels.atomics`: they use atomic loads and stores, since LLVM moves a plain load out of the loop and
the stop would never be seen.
"""

from __future__ import annotations

import importlib
from typing import Any, TypeAlias

import numpy as np

Control: TypeAlias = np.ndarray[Any, np.dtype[np.int64]]
"""The type of a control block, to annotate the third argument of a simulation: int64 of shape (8,)."""

ORDER, DONE, OBSERVED, FRACTION, PROCESS, PROBING, HALF_DONE = range(7)
"""Slots: the order; replicates done in this chunk; whether the kernel saw a stop; fraction of this replicate; the id of
the process, if it is another one; whether it computes probes, so that slot ``DONE`` counts none of the chunk's; the
replicates of which a first of two parts is done."""

GO, YIELD, STOP = range(3)
"""Orders: go on; stop at the next replicate boundary; stop now, giving up the replicate in hand."""

FRACTION_UNIT = 2**52
"""`FRACTION` is a fixed-point number with this many steps from 0 to 1."""

_LINE_BYTES = 64


def new_control_block() -> Control:
    """Return a zeroed block, int64 of shape (8,), aligned to a cache line of its own."""
    raw = np.zeros(2 * _LINE_BYTES, np.uint8)
    offset = -raw.ctypes.data % _LINE_BYTES
    return raw[offset : offset + _LINE_BYTES].view(np.int64)


def stop_requested(control: Control) -> bool:
    """Tell whether the replicate should give up; for kernels that run long.

    Parameters
    ----------
    control : Control
        The third argument of the simulation.

    Returns
    -------
    bool
        When True, return at once, with any value of the right type: the replicate does not count
        and will be run again from its start if it is wanted.
    """
    if control[ORDER] < STOP:
        return False
    control[OBSERVED] = 1
    return True


def report_fraction(control: Control, fraction: float) -> None:
    """Say how far this replicate is, from 0 to 1; for kernels that run long.

    Parameters
    ----------
    control : Control
        The third argument of the simulation.
    fraction : float
        Part of the replicate that is done. Costs one store.
    """
    control[FRACTION] = int(fraction * FRACTION_UNIT)


def register_compiled_forms() -> None:
    """Let `stop_requested` and `report_fraction` compile in any kernel; numba's extension entry point.

    numba calls it before it compiles anything, so machine code gets its names from here on.
    """
    importlib.import_module("bgsim.kernels.atomics")
    importlib.import_module("bgsim.kernels.cache").name_apart()
