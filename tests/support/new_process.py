"""Code in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path


def printed(code: str, folder: Path | None = None, *options: str, **environment: str) -> str:
    """Return what code prints in a new process, which must end well.

    Parameters
    ----------
    code : str
    folder : Path, optional
        The working folder, whose modules can be imported.
    *options : str
        Of the interpreter.
    **environment : str
        Variables that this process does not have, or has otherwise.
    """
    ours = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, *options, "-c", textwrap.dedent(code)],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, **ours, **environment},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def start_script(script: Path, *arguments: object) -> subprocess.Popen[str]:
    """Start a script in a new process, with pipes to and from it."""
    return subprocess.Popen(
        [sys.executable, str(script), *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
