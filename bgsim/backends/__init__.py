"""Where chunks are computed: threads of this process, an executor's processes, or the workers of a Dask cluster.

``base`` defines a backend, its lanes, and the chunks that they compute; ``threads`` is the one that an engine has by
itself. ``executor`` has any executor compute, which ``pool`` replaces when it breaks; ``blocks`` are the control blocks
that processes share. ``dask`` has a cluster compute: ``dask_link`` is its connection, ``dask_lanes`` waits for what
``dask_worker`` does there. Both send ``remote`` tasks:
``shipping`` pickles the simulation, ``attestation`` tells whether bits agree, ``sending`` keeps both for a run, and
``turnstile`` lets a chunk be alone that may end its process.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bgsim.backends.base import Backend
    from bgsim.backends.dask import DaskBackend
    from bgsim.backends.executor import ExecutorBackend

_PUBLIC = {"Backend": "base", "DaskBackend": "dask", "ExecutorBackend": "executor"}
"""Public name to module; each is imported when it is first used, for it imports multiprocessing, or Dask."""

__all__ = ["Backend", "DaskBackend", "ExecutorBackend"]


def __dir__() -> list[str]:
    return __all__


def _import(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(f"{__name__}.{_PUBLIC[name]}"), name)
    return value


if not TYPE_CHECKING:  # or a checker of types would take any name for one of this package
    __getattr__ = _import
