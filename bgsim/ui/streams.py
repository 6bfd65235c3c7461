"""The standard streams of the command line: data to standard output, remarks to standard error, and nothing raw.

All text passes through `printable`, so that nothing that a file says acts on the terminal. What a stream cannot encode
is replaced. A standard error that cannot be written costs nothing but the remark; a standard output that cannot be
written is an error.
"""

from __future__ import annotations

import codecs
import io
import json
import math
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import click
import numpy as np
from rich.console import Console

from bgsim.errors import BgsimError, brief, printable
from bgsim.tables import Table
from bgsim.ui.fitting import lines_of

_STAND_INS = {
    "±": "+/-", "…": "...", "–": "-", "’": "'", "━": "-", "╸": "-", "╺": "-",
    "▁": "_", "▂": ".", "▃": ":", "▄": "-", "▅": "=", "▆": "+", "▇": "*", "█": "#",
}  # fmt: skip
"""What bgsim itself writes, where an encoding lacks it."""

_MOST_IN_A_CELL = 60

INTERRUPTED = "interrupted"

_owes_json = False


class FilePath(click.Path):
    """The path of a file, as a `pathlib.Path`; whoever opens it says what is wrong with it."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the path, or refuse what no path is."""
        try:
            return super().convert(value, param, ctx)
        except (OSError, ValueError) as error:
            self.fail(f"{brief(value)} is no path: {error}", param, ctx)


class StandardOutputError(BgsimError, OSError):
    """Standard output cannot be written."""


def set_up(*, as_json: bool = False) -> None:
    """Let both streams take any text; with `as_json` standard output owes a document, also of a failure."""
    global _owes_json  # noqa: PLW0603 - there is one standard output
    _owes_json = as_json
    codecs.register_error("bgsim", _replaced)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # it was closed before the process began
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115, PTH123 - to the end
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="bgsim")


def say(text: str = "") -> None:
    """Write a line of data to standard output.

    Raises
    ------
    StandardOutputError
    """
    with _writing():
        sys.stdout.write(f"{printable(text)}\n")  # click.echo writes UTF-8 where the encoding is ASCII


def say_json(value: Any) -> None:
    """Write a value as a line of JSON to standard output: NaN as null, infinity as the text that ``--set`` takes."""
    global _owes_json  # noqa: PLW0603 - there is one standard output
    with _writing():
        _owes_json = False
        text = json.dumps(_finite(value), default=_jsonable, allow_nan=False)
        sys.stdout.write(text.replace("\x7f", "\\u007f") + "\n")


def say_json_error(kind: str, text: str, code: int) -> None:
    """Write the JSON of a command that failed, if it was to write JSON and has not."""
    if _owes_json:
        with suppress(OSError, ValueError):
            kind = INTERRUPTED if text == INTERRUPTED else kind
            say_json({"error": {"type": kind, "message": printable(text), "exit_code": code}})


def show(table: Table, *, listing: bool = False) -> None:
    """Write a table to standard output: no wider than its terminal; if it is none, as wide as the table needs."""
    console = Console(file=sys.stdout)
    for line in lines_of(table, console.width if console.is_terminal else None, listing=listing):
        say(line)


def remark(text: str) -> None:
    """Write a line to standard error, if that can be written."""
    with suppress(OSError, ValueError):
        click.echo(f"bgsim: {printable(text)}", err=True)


def remark_of_click(error: click.ClickException) -> None:
    """Write an error of the command line's syntax to standard error, with the usage."""
    text = io.StringIO()
    error.show(file=text)
    with suppress(OSError, ValueError):
        click.echo(printable(text.getvalue()), err=True, nl=False)


def remark_console() -> Console:
    """Return a console on standard error, for what is drawn."""
    return Console(file=_Remarks(), markup=False, emoji=False, highlight=False)  # type: ignore[arg-type]


def cell(text: object, most: int = _MOST_IN_A_CELL) -> str:
    """Return a text in one line, of at most so many characters."""
    line = printable(str(text)).replace("\n", "\\n").replace("\t", "\\t")
    return line if len(line) <= most else line[: most - 1] + "…"


def give_up_output() -> None:
    """Drop what standard output cannot take, so that the end of the process does not fail with it."""
    with suppress(OSError, ValueError):
        try:
            sys.stdout.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def _writing() -> Iterator[None]:
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise StandardOutputError(f"standard output cannot be written: {error.strerror or error}") from error


class _Remarks(io.TextIOBase):
    """Standard error, where a failed write is lost and nothing else.

    It is the stream of now: while rich draws, `sys.stderr` is a stand-in that writes to the console, and so to this.
    """

    def __init__(self) -> None:
        self._stream = sys.stderr

    def write(self, text: str) -> int:
        with suppress(OSError, ValueError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            self._stream.flush()

    def fileno(self) -> int:
        return self._stream.fileno()

    def isatty(self) -> bool:
        return self._stream.isatty()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._stream.encoding


def _replaced(error: UnicodeError) -> tuple[str, int]:
    """Replace what an encoding lacks: by a stand-in, or by its escape."""
    assert isinstance(error, UnicodeEncodeError)
    lost = error.object[error.start : error.end]
    return "".join([_STAND_INS.get(c) or c.encode("ascii", "backslashreplace").decode() for c in lost]), error.end


def _finite(value: Any) -> Any:
    """Return a value without the numbers that JSON lacks."""
    if isinstance(value, dict):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, np.ndarray | np.generic | complex):
        found = _jsonable(value)
        return found if isinstance(found, str) else _finite(found)
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    return value


def _jsonable(value: Any) -> Any:
    """Return what JSON lacks: an array as lists, a complex number as its two parts, anything else as its text."""
    if isinstance(value, np.ndarray | np.generic) and value.dtype.kind in "biufcSU" and value.dtype != np.longdouble:
        return value.tolist()
    if isinstance(value, complex | np.complexfloating):
        return [float(value.real), float(value.imag)]
    return float(value) if isinstance(value, np.floating) else str(value)
