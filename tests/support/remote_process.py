"""A process without the modules of the test, as a worker on another machine is: it computes a task."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

_CODE = """
import pickle, sys
from bgsim.backends import remote
from bgsim.control import new_control_block
replies = [remote.compute(task, new_control_block()) for task in pickle.load(sys.stdin.buffer)]
sys.stdout.buffer.write(b"\\n--replies--\\n" + pickle.dumps(replies))
"""

ROOT = Path(__file__).parents[2]


def replies_to(*tasks: Any, path: Path | None = None) -> list[Any]:
    """Return what a new process replies to tasks, one after the other.

    Parameters
    ----------
    *tasks : Task
    path : Path, optional
        A folder whose modules the process can import; of this project it has bgsim alone.
    """
    folders = [str(ROOT)] if path is None else [str(path), str(ROOT)]
    done = subprocess.run(
        [sys.executable, "-P", "-c", _CODE],
        input=pickle.dumps(tasks),
        capture_output=True,
        timeout=120,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(folders), "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    found: list[Any] = pickle.loads(done.stdout.partition(b"\n--replies--\n")[2])
    return found
