"""Every error that bgsim raises, in one tree, split by where the remedy lies.

::

    BgsimError
    ├── InvalidInputError (ValueError)      the caller's input; nothing has started
    │   ├── ParameterError                  a parameter's name, type, shape or range
    │   ├── OutputError                     outputs that the function does not return
    │   ├── IdentityError                   code that cannot be followed, where that is asked for
    │   ├── StreamError                     random numbers of other streams than the replicate's
    │   └── ScenarioError                   a scenario file
    ├── NotPicklableError (TypeError)       what belongs to one process; it says what to pickle instead
    ├── CompileError (TypeError)            numba cannot compile the kernel
    ├── SimulationNotFoundError (LookupError)
    ├── QueueFullError (queue.Full)         try later, wait, or make room
    ├── RequestNotFoundError (KeyError)
    ├── EngineClosedError (RuntimeError)
    ├── NoThreadError (RuntimeError)        the system starts no more threads
    ├── GuiError (RuntimeError)             what belongs to a window's thread, elsewhere
    ├── DeadlockError (RuntimeError)        a wait that would have no end
    ├── ReplicateError (RuntimeError)       the simulation itself raised
    ├── SimulationChangedError (RuntimeError)   its code or a value changed while it ran, or since
    ├── JobTimeoutError (TimeoutError)
    ├── NoRowsError (LookupError)           a summary was asked for rows, which it does not keep
    ├── NotStoredError (LookupError)        cache="only" and nothing stored
    ├── StoreError (OSError)                the store cannot serve
    │   ├── ForeignFileError                another program's file; left untouched
    │   ├── NewerSchemaError                written by a newer bgsim
    │   └── DamagedResultError              a checksum does not match
    ├── BackendError (RuntimeError)         what computes elsewhere cannot
    │   ├── ChunkTooLargeError              one replicate is larger than what is sent
    │   ├── ShippingError                   a simulation cannot be sent there
    │   └── WorkerMismatchError             a worker has other versions, or computes other bits
    └── MissingExtraError (ImportError)     an optional package is not installed

Each also inherits the builtin that a caller would catch, and says what to do next. Its text is `printable`, whatever
it quotes.
"""

from __future__ import annotations

import difflib
import os
import pickle
import queue
import threading
import traceback
import unicodedata
from collections.abc import Iterable
from pathlib import Path
from typing import Any

_MOST_LINES = 7
"""Of an error's text, where IPython shows it."""

_NOT_OF_USERS = (
    f"{os.sep}site-packages{os.sep}",
    f"{Path(os.__file__).parent}{os.sep}",
    f"{Path(__file__).parent}{os.sep}",
)
"""Parts of the paths of files that are no user's."""

_MOST_SHOWN = 200
"""Characters of a value in a message."""


class BgsimError(Exception):
    """The root of the tree.

    It can be pickled and copied with its attributes. What of them cannot be pickled is kept as the text that shows it.
    The text says what has to be done, so IPython shows that and the caller's line, and no pages of frames;
    ``traceback.print_last()`` prints those.
    """

    def __str__(self) -> str:
        return printable(super().__str__())

    def __reduce__(self) -> tuple[Any, ...]:
        return _made_again, (type(self), self.args), {name: _kept(value) for name, value in vars(self).items()}

    def _render_traceback_(self) -> list[str]:
        first, *rest = str(self).splitlines()[:_MOST_LINES] or [""]
        frames = [("raised in", _place_of_user(self.__cause__)), ("asked for in", _place_of_user(self))]
        places = [f"{how} {place}" for how, place in frames if place]
        return [
            f"{type(self).__name__}: {first}",
            *rest,
            *places,
            "all frames: import traceback; traceback.print_last()",
        ]


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


class NotPicklableError(BgsimError, TypeError):
    """What belongs to the process that made it can be neither pickled nor copied."""


class CompileError(BgsimError, TypeError):
    """numba cannot compile the kernel; the message points at the line, and says what to do.

    Attributes
    ----------
    details : str
        All that numba says, a page or more.
    """

    def __init__(self, message: str = "", *, details: str = "") -> None:
        super().__init__(message)
        self.details = details


class SimulationNotFoundError(BgsimError, LookupError):
    """No simulation has this name."""


class QueueFullError(BgsimError, queue.Full):
    """The queue holds as many requests as it may."""


class RequestNotFoundError(BgsimError, KeyError):
    """No request or job has this id."""

    def __str__(self) -> str:
        return printable(str(self.args[0])) if self.args else ""


class EngineClosedError(BgsimError, RuntimeError):
    """The engine no longer accepts jobs."""


class DeadlockError(BgsimError, RuntimeError):
    """A function that a worker runs waits for what cannot come before the function has returned."""


class NoThreadError(BgsimError, RuntimeError):
    """The system starts no more threads: it limits them, or is short of memory."""


class GuiError(BgsimError, RuntimeError):
    """What belongs to a window's thread was made or called in another one, or before there was an application."""


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


class NoRowsError(BgsimError, LookupError):
    """A result keeps a summary, and was asked for what only its rows could tell."""


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


class BackendError(BgsimError, RuntimeError):
    """What computes elsewhere cannot: a cluster that is not there, or whose workers do not fit."""


class ShippingError(BackendError):
    """A simulation cannot be sent to another process."""


class ChunkTooLargeError(BackendError):
    """The outputs of one replicate are larger than what the backend sends."""


class WorkerMismatchError(BackendError):
    """A worker has other versions than the engine, or computes other bits."""


class MissingExtraError(BgsimError, ImportError):
    """An optional package is not installed; the message names the package, as ``pip install`` takes it."""


def __dir__() -> list[str]:
    return [name for name, value in globals().items() if isinstance(value, type) and issubclass(value, BgsimError)]


def printable(text: str) -> str:
    """Return a text that acts on no terminal: all but visible characters, spaces, tabs and line breaks is escaped.

    Escaped are control characters (C0, C1), those that change the direction of text or have no width, lone surrogates,
    and what Unicode has not assigned.
    """
    if text.isprintable():
        return text
    return "".join([c if c.isprintable() or c in "\n\t" or _is_space(c) else ascii(c)[1:-1] for c in text])


def brief(value: object, most: int = _MOST_SHOWN) -> str:
    """Return a value as a message shows it: its `repr`, cut to `most` characters, if it has one."""
    if isinstance(value, int) and value.bit_length() > 1000:  # Python refuses to write long ones
        return f"an integer of {value.bit_length():,} bits"
    try:
        text = repr(value)
    except Exception:  # of the value's own class
        return f"<{type(value).__name__}>"
    return text if len(text) <= most else text[: most - 3] + "..."


def text_of(error: BaseException) -> str:
    """Return an exception's text; its class may have none."""
    try:
        return str(error)
    except BaseException as unreadable:
        return f"a text that cannot be made ({type(unreadable).__name__})"


def named_text(error: BaseException) -> str:
    """Return the class and the text of an exception."""
    return f"{type(error).__name__}: {text_of(error)}"


def short_text(error: BaseException, most: int = 300) -> str:
    """Return the same, cut to `most` characters: others' errors may quote anything."""
    text = named_text(error)
    return text if len(text) <= most else f"{text[: most - 3]}..."


def start_thread(thread: threading.Thread) -> None:
    """Start a thread.

    Raises
    ------
    NoThreadError
        If the system starts none.
    """
    try:
        thread.start()
    except (RuntimeError, MemoryError) as error:
        raise NoThreadError(
            f"the thread {thread.name} cannot be started: {error or type(error).__name__}; end other threads or "
            "processes, or raise the limit on them (ulimit -u)"
        ) from error


def nearest(name: object, allowed: Iterable[str]) -> str:
    """Say which of the allowed names comes closest, as the tail of a message.

    Returns
    -------
    str
        ``"; did you mean 'x'?"``, or an empty string when nothing is close.
    """
    if not isinstance(name, str):
        return ""
    close = difflib.get_close_matches(name[:_MOST_SHOWN], list(allowed), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def frame_of_user(error: BaseException | None) -> traceback.FrameSummary | None:
    """Return the innermost frame of code that is the user's own; None if there is none."""
    if error is None:
        return None
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if (
            frame.line  # what dataclasses makes has none
            and not frame.filename.startswith("<frozen ")
            and not any(part in frame.filename for part in _NOT_OF_USERS)
        ):
            return frame
    return None


def shown_path(file: str) -> str:
    """Return the path of a file as a user would write it: from the working folder if it is in there."""
    try:
        return str(Path(file).relative_to(Path.cwd()))
    except (ValueError, OSError):
        return file


def _place_of_user(error: BaseException | None) -> str:
    """Return where the innermost code that is the user's own was, with the line; empty if there is none."""
    frame = frame_of_user(error)
    if frame is None:
        return ""
    cell = "ipykernel_" in frame.filename or frame.filename.startswith("<")
    return printable(f"{'a cell' if cell else frame.filename}, line {frame.lineno}: {frame.line}")


def _is_space(character: str) -> bool:
    return unicodedata.category(character) == "Zs"


def _made_again(kind: type[BgsimError], arguments: tuple[Any, ...]) -> BgsimError:
    """Return an error without calling its `__init__`; unpickling adds the attributes."""
    return kind.__new__(kind, *arguments)


def _kept(value: Any) -> Any:
    try:
        pickle.dumps(value)
    except Exception:  # of the value's own class
        return brief(value)
    return value
