"""Every error that bgsim raises, in one tree, split by where the remedy lies.

::

    BgsimError
    ├── InvalidInputError (ValueError)      the caller's input; nothing has started
    │   ├── ParameterError                  a parameter's name, type, shape or range
    │   ├── OutputError                     outputs that the function does not return
    │   ├── IdentityError                   code that cannot be followed, where that is asked for
    │   ├── StreamError                     random numbers of other streams than the replicate's
    │   └── ScenarioError                   a scenario file
    ├── CompileError (TypeError)            numba cannot compile the kernel
    ├── SimulationNotFoundError (LookupError)
    ├── QueueFullError (queue.Full)         try later, wait, or make room
    ├── RequestNotFoundError (KeyError)
    ├── EngineClosedError (RuntimeError)
    ├── ReplicateError (RuntimeError)       the simulation itself raised
    ├── SimulationChangedError (RuntimeError)   its code or a value changed while it ran, or since
    ├── JobTimeoutError (TimeoutError)
    ├── NotStoredError (LookupError)        cache="only" and nothing stored
    ├── StoreError (OSError)                the store cannot serve
    │   ├── ForeignFileError                another program's file; left untouched
    │   ├── NewerSchemaError                written by a newer bgsim
    │   └── DamagedResultError              a checksum does not match
    └── MissingExtraError (ImportError)     ``pip install "bgsim[...]"``

Each also inherits the builtin that a caller would catch, and says what to do next.
"""

from __future__ import annotations

import difflib
import queue
from collections.abc import Iterable
from typing import Any


class BgsimError(Exception):
    """The root of the tree."""


class InvalidInputError(BgsimError, ValueError):
    """An input was refused before any work started.

    Attributes
    ----------
    field : str
        The name of the argument, parameter or entry that was refused.
    value : object
        What was given.
    """

    def __init__(self, message: str, *, field: str = "", value: Any = None) -> None:
        super().__init__(message)
        self.field = field
        self.value = value


class ParameterError(InvalidInputError):
    """A parameter has a wrong name, type, shape or value."""


class OutputError(InvalidInputError):
    """The declared outputs are not what the function returns."""


class IdentityError(InvalidInputError):
    """A simulation reaches what cannot be followed, so that a change of it would go unseen."""


class StreamError(InvalidInputError):
    """A simulation draws random numbers that do not come from `rng`, so it is no function of the seed."""


class ScenarioError(InvalidInputError):
    """A scenario file cannot be used; the message names the entry and what is allowed."""


class CompileError(BgsimError, TypeError):
    """numba cannot compile the kernel; the message points at the line."""


class SimulationNotFoundError(BgsimError, LookupError):
    """No simulation has this name."""


class QueueFullError(BgsimError, queue.Full):
    """The queue holds as many requests as it may."""


class RequestNotFoundError(BgsimError, KeyError):
    """No request or job has this id."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class EngineClosedError(BgsimError, RuntimeError):
    """The engine no longer accepts jobs."""


class ReplicateError(BgsimError, RuntimeError):
    """A replicate raised; raised ``from`` the exception of the simulation.

    Attributes
    ----------
    replicate : int
        Index of the replicate.
    parameters : ParameterSet
        What it ran with.
    """

    def __init__(self, message: str, *, replicate: int, parameters: Any) -> None:
        super().__init__(message)
        self.replicate = replicate
        self.parameters = parameters


class SimulationChangedError(BgsimError, RuntimeError):
    """A simulation's code, or a value that it reads, is no longer what it was when the job was submitted."""


class JobTimeoutError(BgsimError, TimeoutError):
    """A job ran longer than its ``timeout_s``."""


class NotStoredError(BgsimError, LookupError):
    """The store does not hold what ``cache="only"`` asked for."""


class StoreError(BgsimError, OSError):
    """The store cannot be opened, read or written."""


class ForeignFileError(StoreError):
    """The file belongs to another program; it was not touched."""


class NewerSchemaError(StoreError):
    """The file was written by a newer version of bgsim."""


class DamagedResultError(StoreError):
    """Stored bytes do not match their checksum or their description."""


class MissingExtraError(BgsimError, ImportError):
    """An optional package is not installed; the message names the extra."""


def nearest(name: str, allowed: Iterable[str]) -> str:
    """Say which of the allowed names comes closest, as the tail of a message.

    Returns
    -------
    str
        ``"; did you mean 'x'?"``, or an empty string when nothing is close.
    """
    close = difflib.get_close_matches(name, list(allowed), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""
