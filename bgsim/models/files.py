"""The text of a file that a user names: of a scenario, or of a network.

Whatever the name stands for, reading it ends soon and takes little memory: a pipe and a device are refused before
anything is read of them, and so is a file that is larger than any scenario.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

from bgsim.errors import ScenarioError
from bgsim.parameters.fields import brief

MAX_BYTES = 8 * 2**20
"""Of a file; the largest scenarios and networks of people have a hundredth of it."""

_UTF_16 = (b"\xff\xfe", b"\xfe\xff")


def read_text(path: str | Path) -> str:
    """Return the text of a file of UTF-8, without its byte order mark.

    Raises
    ------
    ScenarioError
        Naming the file, and what it is instead.
    """
    try:
        with open(Path(path), "rb", opener=_open_without_waiting) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise unreadable(path, "it is a pipe or a device; write what it gives into a file")
            content = file.read(MAX_BYTES + 1)
    except (OSError, TypeError, ValueError) as error:  # the latter two: no path, a zero byte or a surrogate in it
        if isinstance(error, ScenarioError):
            raise
        raise unreadable(path, error) from error
    if len(content) > MAX_BYTES:
        raise unreadable(path, f"it is larger than {MAX_BYTES:,} bytes, the most that is allowed")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        hint = "it is UTF-16" if content.startswith(_UTF_16) else str(error)
        raise unreadable(path, f"{hint}; save it as UTF-8") from error


def unreadable(path: str | Path, why: object) -> ScenarioError:
    """Return the error for a file that cannot be read."""
    return ScenarioError(f"{path} cannot be read: {why}", field="scenario", value=str(path))


def shown(name: str) -> str:
    """Return a name of a file as a message shows it: as it is, or quoted where that would not do."""
    return name if name.isprintable() and len(name) <= 60 else brief(name)


def _open_without_waiting(path: Any, flags: int) -> int:
    """Open a file; a pipe that nobody writes to does not keep the caller waiting."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
