"""What runs on the workers of a Dask cluster: chunks, orders that reach them, and how far they are."""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple

from bgsim.backends import remote
from bgsim.control import DONE, FRACTION, GO, ORDER, new_control_block
from bgsim.threads.locks import Lock

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bgsim.control import Control

PROGRESS_S = 0.25
"""Between two messages of a worker."""

_MOST_NAMES = 1000
"""Of chunks that have ended, and of those that have an order and have not begun; the newest are kept."""

_TELLER = "bgsim-progress"
"""The name of what tells how far chunks are, among the callbacks of a worker."""


class _AtWork(NamedTuple):
    worker: Any
    topic: str
    control: Control


_lock = Lock()  # guards what follows, of all workers of this process
_at_work: dict[str, _AtWork] = {}
_orders: OrderedDict[str, int] = OrderedDict()
_ended: OrderedDict[str, None] = OrderedDict()


def compute_chunk(task: remote.ChunkTask, name: str, topic: str) -> remote.Reply | None:
    """Compute a chunk, in a thread of a worker; return None if an order came before.

    Parameters
    ----------
    task : ChunkTask
    name : str
        By which orders find it.
    topic : str
        Of the messages about how far it is.
    """
    from distributed import get_worker  # noqa: PLC0415 - an extra

    worker, control = get_worker(), new_control_block()
    with _lock:
        control[ORDER] = _orders.pop(name, GO)
        if control[ORDER] != GO:
            return None
        _at_work[name] = _AtWork(worker, topic, control)
    worker.loop.add_callback(_begin_telling, worker)
    try:
        return remote.compute(task, control)
    finally:
        with _lock:
            del _at_work[name]
            _ended[name] = None
            _keep_newest(_ended)


class Packed:
    """A call of `compute_chunk`, which is made where this is unpickled.

    A scheduler unpickles the functions and arguments of tasks, and a worker that cannot unpickle a task ends. So what
    they get are bytes, and one without bgsim fails in the task alone.
    """

    def __init__(self, *arguments: Any) -> None:
        self._arguments = arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return compute_chunk, self._arguments


async def set_orders(orders: Mapping[str, int]) -> list[str]:
    """Give orders to chunks; in the worker's loop, while its threads are in kernels.

    Parameters
    ----------
    orders : mapping of str to int

    Returns
    -------
    list of str
        The names of those that have not begun. They do nothing when they do.
    """
    before = []
    with _lock:
        for name, order in orders.items():
            work = _at_work.get(name)
            if work is not None:
                work.control[ORDER] = max(order, int(work.control[ORDER]))
            elif name not in _ended:
                _orders[name] = order
                before.append(name)
        _keep_newest(_orders)
    return before


async def keep_payload(key: str, payload: bytes) -> None:
    """Keep what is too large to travel with a task; in the worker's loop."""
    remote.keep(key, payload)


def _keep_newest(names: OrderedDict[str, Any]) -> None:
    while len(names) > _MOST_NAMES:
        names.popitem(last=False)


def _begin_telling(worker: Any) -> None:
    """Tell how far the chunks of a worker are, until there is none; in its loop, and with its end at the latest."""
    from tornado.ioloop import PeriodicCallback  # noqa: PLC0415 - comes with Dask

    def tell() -> None:
        chunks: defaultdict[str, dict[str, tuple[int, int]]] = defaultdict(dict)
        with _lock:
            for name, work in _at_work.items():
                if work.worker is worker:
                    chunks[work.topic][name] = int(work.control[DONE]), int(work.control[FRACTION])
        if not chunks:
            worker.periodic_callbacks.pop(_TELLER).stop()
        for topic, message in chunks.items():
            worker.log_event(topic, {"chunks": message})

    if _TELLER not in worker.periodic_callbacks:
        worker.periodic_callbacks[_TELLER] = PeriodicCallback(tell, 1000 * PROGRESS_S)
        worker.periodic_callbacks[_TELLER].start()
