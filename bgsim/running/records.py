"""Log records of what happens under the engine's lock: they are made after its release, as handlers are users' code."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Any

from bgsim.kernels.plain import numba_is_off

if TYPE_CHECKING:
    from bgsim.running.state import State

logger = logging.getLogger("bgsim.engine")

_told: set[str] = set()


def debug(state: State, message: str, *arguments: Any) -> None:
    """Log at DEBUG once the lock is free; to be called while it is held. Nothing is made unless somebody listens."""
    if logger.isEnabledFor(logging.DEBUG):
        state.lock.defer(partial(logger.debug, message, *arguments))


def info(state: State, message: str, *arguments: Any) -> None:
    """Log at INFO, likewise."""
    if logger.isEnabledFor(logging.INFO):
        state.lock.defer(partial(logger.info, message, *arguments))


def warn(state: State, message: str, *arguments: Any) -> None:
    """Log at WARNING, likewise."""
    state.lock.defer(partial(logger.warning, message, *arguments))


def tell_if_numba_is_off() -> None:
    """Log, once a process, that numba compiles nothing, if that is so; to be called without the lock."""
    if numba_is_off() and "numba" not in _told:
        _told.add("numba")
        logger.warning("numba is switched off (NUMBA_DISABLE_JIT), so simulations run as plain Python, far slower")
