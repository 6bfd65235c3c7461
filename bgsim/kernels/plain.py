"""Runs chunks: what every runner does, and the one for a function that numba does not compile."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, Any, Protocol

from bgsim import control as block
from bgsim.kernels.outputs import put_replicate
from bgsim.streams import generator_at

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from bgsim.kernels.definition import Definition
    from bgsim.kernels.revision import Revision
    from bgsim.kernels.stream import WorkerStream


class ChunkRunner(Protocol):
    """Runs replicates from `first` on, as many as the columns have rows, and returns how many are done.

    It stops early on an order in the control block. The slot, ``DONE`` unless told otherwise, counts the replicates
    that are done, also when the simulation raises, and the `before` that the chunk had before these. A `stream` serves
    one thread at a time; plain Python needs none.
    """

    def __call__(
        self,
        stream: WorkerStream | None,
        key: NDArray[np.uint64],
        first: int,
        columns: tuple[NDArray[Any], ...],
        control: NDArray[np.int64],
        before: int = 0,
        slot: int = block.DONE,
    ) -> int:
        """Run them."""


def run_plain(
    definition: Definition,
    revision: Revision,
    p: Any,
    stream: WorkerStream | None,
    key: NDArray[np.uint64],
    first: int,
    columns: tuple[NDArray[Any], ...],
    control: NDArray[np.int64],
    before: int = 0,
    slot: int = block.DONE,
) -> int:
    """Run a chunk as plain Python, with the streams, results and orders of a compiled one.

    Its rows count only if the code and all that it reaches are still what they were when the job was submitted.
    """
    extra = (control,) if definition.takes_control else ()
    done = 0
    for i in range(len(columns[0])):
        if control[block.ORDER] != block.GO:
            break
        returned = definition.function(p, generator_at(key, first + i), *extra)
        if control[block.OBSERVED]:
            break  # the function gave up, so its value does not count
        put_replicate(definition.name, definition.outputs, columns, i, returned)
        control[block.FRACTION] = 0
        done = i + 1
        control[slot] = before + done
    began = time.perf_counter()
    revision.check_unchanged()
    revision.check_s = time.perf_counter() - began
    return done


def numba_is_off() -> bool:
    """Tell whether numba compiles nothing."""
    found = getattr(sys.modules.get("numba.core.config"), "DISABLE_JIT", None)
    if found is not None:
        return bool(found)
    return os.environ.get("NUMBA_DISABLE_JIT", "0").strip() not in ("", "0")
