"""What runs on the workers of a Dask cluster: chunks, orders that reach them, and how far they are."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from bgsim.backends import remote
from bgsim.control import DONE, FRACTION, GO, ORDER, new_control_block
from bgsim.threads.locks import Lock

if TYPE_CHECKING:
    from bgsim.control import Control

PROGRESS_S = 0.25
"""Between two messages of a worker."""

_IDLE_MESSAGES = 40
"""So many times without a chunk, and a worker stops looking."""

_MOST_ORDERS = 1000
"""Orders that are kept of chunks that have not begun."""

_lock = Lock()  # guards what follows
_blocks: dict[str, Control] = {}
_orders: OrderedDict[str, int] = OrderedDict()
_told: set[str] = set()


def compute_chunk(task: remote.Task, name: str, topic: str) -> remote.Reply:
    """Compute a chunk, in a thread of a worker.

    Parameters
    ----------
    task : Task
    name : str
        By which orders find it.
    topic : str
        Of the messages about how far it is.
    """
    from distributed import get_worker  # noqa: PLC0415 - an extra

    control = new_control_block()
    with _lock:
        _blocks[name] = control
        control[ORDER] = _orders.pop(name, GO)
        is_new = topic not in _told
        _told.add(topic)
    if is_new:
        worker = get_worker()
        worker.loop.add_callback(_tell, worker, topic)
    try:
        return remote.compute(task, control)
    finally:
        with _lock:
            del _blocks[name]


async def set_order(name: str, order: int) -> None:
    """Give an order to a chunk; in the worker's loop, while its threads are in kernels."""
    with _lock:
        control = _blocks.get(name)
        if control is not None:
            control[ORDER] = max(order, int(control[ORDER]))
            return
        _orders[name] = order
        while len(_orders) > _MOST_ORDERS:
            _orders.popitem(last=False)


async def _tell(worker: Any, topic: str) -> None:
    """Tell how far the chunks of a worker are, until there is none for a while; in its loop."""
    idle = 0
    while idle < _IDLE_MESSAGES:
        await asyncio.sleep(PROGRESS_S)
        with _lock:
            chunks = {name: (int(control[DONE]), int(control[FRACTION])) for name, control in _blocks.items()}
            idle = 0 if chunks else idle + 1
            if idle == _IDLE_MESSAGES:
                _told.discard(topic)
        if chunks:
            worker.log_event(topic, {"chunks": chunks})
