"""Ctrl-C, SIGTERM and SIGHUP for the ``bgsim`` command: it ends with 128 and the signal's number, without a traceback.

Where nothing is lost it ends at once, whatever it is doing: loading modules, say. In a ``with STOPPING:`` block the
first signal is raised as KeyboardInterrupt, so that what is done is kept; the next one ends the process.

`bgsim/__init__.py` imports this module before any other, so it imports next to nothing itself.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found] # what `signal` wraps; that takes longer to import
import os
import sys

_DEFAULTS = {"SIGINT": _signal.default_int_handler, "SIGTERM": _signal.SIG_DFL, "SIGHUP": _signal.SIG_DFL}
"""The handlers that are replaced. A signal that the parent has ignored, as nohup does, stays ignored."""

_stopping = False  # within a STOPPING block
_raised: int | None = None  # the signal that was raised there


class Stopping:
    """A block in which the first signal is raised as KeyboardInterrupt."""

    def __enter__(self) -> None:
        global _stopping  # noqa: PLW0603 - there is one process
        _stopping = True

    def __exit__(self, *exception: object) -> None:
        global _stopping  # noqa: PLW0603
        _stopping = False


STOPPING = Stopping()


def is_command() -> bool:
    """Tell whether this process is the ``bgsim`` script or ``python -m bgsim``, which has no name yet."""
    name = os.path.basename(sys.argv[0]) if getattr(sys, "argv", None) else ""  # noqa: PTH119 - pathlib takes long to import
    return name in ("bgsim", "bgsim.exe") or (name == "-m" and "bgsim" in sys.orig_argv)


def handle_signals() -> None:
    """Have the signals handled so from now on; again does no harm."""
    for name, default in _DEFAULTS.items():
        number = getattr(_signal, name, None)
        if number is not None and _signal.getsignal(number) == default:
            _signal.signal(number, _handle)


def exit_code() -> int:
    """Return the exit code of a process that a signal ends; that of Ctrl-C if none was raised."""
    return 128 + int(_raised or _signal.SIGINT)


def end_at_once() -> None:
    """End the process, whatever its threads do: the store's file stays whole."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):  # nobody reads it any more
            continue
    os._exit(exit_code())


def _handle(number: int, _: object) -> None:
    global _raised
    first, _raised = _raised is None, number
    if first and _stopping:
        raise KeyboardInterrupt
    if os.isatty(2):
        os.write(2, b"\x1b[?25h")  # a progress bar hides the cursor
    os._exit(exit_code())
