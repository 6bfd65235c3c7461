"""A service in a process that kills itself: ``python service_process.py POINT STORE``.

The points are those of one submission: ``submitted`` when the engine has it and nothing is written, ``written`` when its
row is written, ``answered`` when all is done but the answer.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

import bgsim.service.routes.jobs
from bgsim.storage.sqlite.file_history import FileHistory
from bgsim.ui.cli import main


def die(*_: Any, **__: Any) -> Any:
    os.kill(os.getpid(), signal.SIGKILL)


def after(function: Any) -> Any:
    def dies(*arguments: Any, **more: Any) -> Any:
        function(*arguments, **more)
        return die()

    return dies


if __name__ == "__main__":
    point, store = sys.argv[1:]
    if point == "submitted":
        FileHistory.add_job = die  # type: ignore[method-assign]
    elif point == "written":
        FileHistory.add_job = after(FileHistory.add_job)  # type: ignore[method-assign]
    else:
        bgsim.service.routes.jobs._accepted = die
    main(["serve", store, "--port", "0", "--simulation", "kernels:walk"])
